//! Scripts, styles and images: read once at start and kept in memory, precompressed. A new build
//! does not change what a running server serves.

use std::{collections::HashMap, fs, io, path::Path, sync::Arc, time::SystemTime};

use app::{backend::AssetNames, routes};
use axum::{
    body::Bytes,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::table::{Table, get};

/// The files of a build in the site directory.
pub(crate) struct Assets {
    /// Their URLs, for pages.
    pub(crate) names: AssetNames,
    /// Files by path below the site directory.
    files: HashMap<String, File>,
    /// A unique id of this build, used as a directory in URLs.
    build: String,
}

/// A file with its compressed versions.
struct File {
    kind: &'static str,
    plain: Bytes,
    /// Its encodings, the best first.
    encoded: Vec<(&'static str, Bytes)>,
}

/// The directory of hashed files, on disk and in URLs.
const PACKAGE: &str = "pkg";
/// The directory of console scripts, on disk and in URLs.
const CONSOLE: &str = "console";
/// The route of a build's files; files of other builds are not found.
pub(super) const ROUTE: &str = "/pkg/{*file}";
/// Encodings of the build with their file extensions, the best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

impl Assets {
    /// Reads the files of a build, with its newest script, module and style sheet.
    ///
    /// # Errors
    /// If one of these is missing, or a file cannot be read.
    pub(crate) fn load(site: &Path) -> io::Result<Self> {
        let folder = site.join(PACKAGE);
        let newest = |extension: &str| -> io::Result<String> {
            let missing = || {
                let what = format!("{} contains no {extension} file of a build", folder.display());
                io::Error::new(io::ErrorKind::NotFound, format!("{what}; run: make build"))
            };
            let ours = fs::read_dir(&folder).map_err(|_| missing())?.filter_map(Result::ok).filter(|file| {
                let name = file.file_name();
                let name = name.to_string_lossy();
                name.starts_with("belvedere") && name.ends_with(extension)
            });
            let written = |file: &fs::DirEntry| {
                file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
            };
            let newest = ours.max_by_key(written).ok_or_else(missing)?;
            Ok(newest.file_name().to_string_lossy().into_owned())
        };
        let (script, module, style) = (newest(".js")?, newest(".wasm")?, newest(".css")?);
        let build = build_of(&folder, &site.join(CONSOLE));
        let at = |name: String| Some(routes::at(&format!("/{PACKAGE}/{build}/{name}")));
        let names = AssetNames {
            script: at(script),
            module: at(module),
            style: at(style),
            folder: routes::at(&format!("/{PACKAGE}/{build}")),
        };
        let mut files = HashMap::new();
        for below in [PACKAGE, CONSOLE] {
            read_folder(site, below, &mut files)?;
        }
        Ok(Self { names, files, build })
    }

    /// For a server whose pages have no scripts, as in tests.
    pub(crate) fn none() -> Self {
        Self { names: AssetNames::default(), files: HashMap::new(), build: String::new() }
    }

    /// A file in the best encoding that the browser accepts.
    fn answer(&self, path: &str, method: &Method, headers: &HeaderMap) -> Response {
        let Some(file) = self.files.get(path) else { return StatusCode::NOT_FOUND.into_response() };
        if method != Method::GET && method != Method::HEAD {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let taken = file.encoded.iter().find(|(encoding, _)| accepts(headers, encoding));
        let body = taken.map_or(&file.plain, |(_, body)| body);
        let mut response = body.clone().into_response();
        let found = response.headers_mut();
        found.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
        found.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Some((encoding, _)) = taken {
            found.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        // The address has the build in it.
        found.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        response
    }

    /// The script of the shared worker: it keeps early connections until the module is loaded, and
    /// hands them over.
    fn worker(&self) -> Response {
        let (Some(script), Some(module)) = (&self.names.script, &self.names.module) else {
            return axum::http::StatusCode::NOT_FOUND.into_response();
        };
        let source = format!(
            "const early = [];\nself.onconnect = (event) => early.push(event.ports[0]);\n\
             const belvedere = await import({script:?});\nawait belvedere.default({{ module_or_path: {module:?} }});\n\
             belvedere.stream_worker(early);\n"
        );
        let policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";
        let headers = [
            (header::CONTENT_TYPE, "text/javascript"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, policy),
        ];
        (headers, source).into_response()
    }
}

/// An id of all file names of a build. The script's name contains its own hash, but not the hashes
/// of the module's parts, so only all names together identify a build. Console scripts have no
/// hashes in their names, so their content is included.
fn build_of(folder: &Path, consoles: &Path) -> String {
    let names = |folder| {
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<_> = files.map(|file| file.file_name()).collect();
        names.sort_unstable();
        names
    };
    let mut digest = Sha256::new();
    for name in names(folder) {
        digest.update(name.as_encoded_bytes());
        digest.update([0]);
    }
    for name in names(consoles) {
        digest.update(fs::read(consoles.join(name)).unwrap_or_default());
    }
    hex::encode(&digest.finalize()[..8])
}

/// Reads the files of a directory recursively.
fn read_folder(site: &Path, below: &str, files: &mut HashMap<String, File>) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(site.join(below)) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_folder(site, &path, files)?;
        } else if !ENCODINGS.iter().any(|(_, ending)| path.ends_with(ending)) {
            let read = |path: &str| fs::read(site.join(path)).map(Bytes::from);
            let of =
                |(encoding, ending): &(&'static str, &str)| Some((*encoding, read(&format!("{path}{ending}")).ok()?));
            let encoded = ENCODINGS.iter().filter_map(of).collect();
            let file = File { kind: kind_of(&path), plain: read(&path)?, encoded };
            files.insert(path, file);
        }
    }
    Ok(())
}

/// The media type of a file.
fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript",
        "wasm" => "application/wasm",
        "css" => "text/css",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a browser accepts an encoding (RFC 9110, `Accept-Encoding`).
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let refused = |weight: &str| weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
    given.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case(encoding) && !refused(weight)
    })
}

/// The routes of the files, which are public.
pub(super) fn table(assets: &Arc<Assets>) -> Table<()> {
    let package = {
        let assets = assets.clone();
        let at = format!("/{PACKAGE}/{}/", assets.build);
        async move |request: Request| {
            let name = request.uri().path().strip_prefix(&at).unwrap_or_default();
            let path = if name.starts_with("console/") { name.to_owned() } else { format!("{PACKAGE}/{name}") };
            assets.answer(&path, request.method(), request.headers())
        }
    };
    let worker = assets.clone();
    Table::new([get("/worker.js", async move || worker.worker()).public(), get(ROUTE, package).public()])
}

#[cfg(test)]
mod tests {
    use axum::body::HttpBody;

    use super::*;

    /// A build of one script, one module and one style sheet.
    fn site() -> tempfile::TempDir {
        let site = tempfile::tempdir().expect("a folder");
        let folder = site.path().join(PACKAGE);
        fs::create_dir(&folder).expect("made");
        for name in ["belvedere.same.js", "belvedere.wasm", "belvedere.css", "__wasm_split.one.js"] {
            fs::write(folder.join(name), name).expect("written");
        }
        site
    }

    #[test]
    fn a_build_has_addresses_of_its_own_also_when_its_script_keeps_its_name() {
        let site = site();
        let folder = site.path().join(PACKAGE);
        let script = || Assets::load(site.path()).expect("whole").names.script.expect("there");
        let first = script();
        assert!(first.ends_with("/belvedere.same.js"), "{first}");
        assert_eq!(script(), first, "the same build has the same addresses");
        fs::rename(folder.join("__wasm_split.one.js"), folder.join("__wasm_split.two.js")).expect("renamed");
        assert_ne!(script(), first);
    }

    #[test]
    fn half_a_build_is_none_and_a_later_one_changes_nothing() {
        let site = site();
        let folder = site.path().join(PACKAGE);
        fs::write(folder.join("belvedere.css.br"), "short").expect("written");
        let assets = Assets::load(site.path()).expect("whole");
        fs::remove_file(folder.join("belvedere.wasm")).expect("removed");
        fs::write(folder.join("belvedere.css"), "another").expect("written");
        let why = Assets::load(site.path()).err().expect("half a build").to_string();
        assert!(why.contains("no .wasm file of a build") && why.ends_with("make build"), "{why}");

        let ask = |path: &str, encoding: &str| {
            let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_str(encoding).expect("a value"))];
            let response = assets.answer(path, &Method::GET, &headers.into_iter().collect());
            let header = |name| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
            (
                response.status(),
                header(header::CONTENT_TYPE),
                header(header::CONTENT_ENCODING),
                response.body().size_hint().exact(),
            )
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(ask("pkg/belvedere.css", "gzip, br;q=0.9"), (StatusCode::OK, text("text/css"), text("br"), Some(5)));
        assert_eq!(ask("pkg/belvedere.css", "br;q=0, gzip"), (StatusCode::OK, text("text/css"), None, Some(13)));
        assert_eq!(ask("pkg/belvedere.wasm", ""), (StatusCode::OK, text("application/wasm"), None, Some(14)));
        assert_eq!(ask("pkg/../belvedere.css", "").0, StatusCode::NOT_FOUND);
    }
}
