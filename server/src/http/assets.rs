//! Scripts, styles and images: found once, served precompressed and for ever.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use app::{backend::AssetNames, routes};
use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, get_service},
};
use sha2::{Digest, Sha256};
use tower_http::services::{ServeDir, ServeFile};

use crate::hex::hex;

/// The files that the build left in the site folder.
pub(crate) struct Assets {
    /// Their addresses, for pages.
    pub(crate) names: AssetNames,
    site: std::path::PathBuf,
    /// What of all builds only this one has, as a folder in addresses.
    build: String,
}

/// The folder of hashed files below the site, and in addresses.
const PACKAGE: &str = "pkg";
/// The folder of what draws consoles, in both.
const CONSOLE: &str = "console";

impl Assets {
    /// Looks for the newest script, module and style sheet. A build that has none
    /// serves pages without them, and they work.
    pub(crate) fn find(site: &Path) -> Self {
        let folder = site.join(PACKAGE);
        let build = build_of(&folder, &site.join(CONSOLE));
        let newest = |extension: &str| {
            let files = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
            let ours = files.filter(|file| {
                let name = file.file_name();
                let name = name.to_string_lossy();
                name.starts_with("belvedere") && name.ends_with(extension)
            });
            let written = |file: &fs::DirEntry| {
                file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
            };
            let newest = ours.max_by_key(written)?;
            Some(routes::at(&format!("/{PACKAGE}/{build}/{}", newest.file_name().to_string_lossy())))
        };
        let names = AssetNames {
            script: newest(".js"),
            module: newest(".wasm"),
            style: newest(".css"),
            folder: routes::at(&format!("/{PACKAGE}/{build}")),
        };
        if names.script.is_none() {
            tracing::warn!("no scripts in {}; pages work without JavaScript only (make build)", folder.display());
        }
        Self { names, site: site.to_owned(), build }
    }

    /// The script of the shared worker: it keeps early connections until the
    /// module is there, and hands them over.
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

/// The names of all files of a build, in a few letters. The script has its own hash in its
/// name, and names the loader of the module's parts without a part in that hash: only the
/// names of all of them say which belong together. What draws consoles has no hashes in its
/// names, so its content counts.
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
    hex(&digest.finalize()[..8])
}

/// The routes of the files.
pub(crate) fn routes(assets: &Arc<Assets>) -> Router {
    let files = |folder| get_service(ServeDir::new(assets.site.join(folder)).precompressed_br().precompressed_gzip());
    let package = Router::new()
        .nest_service(&format!("/{CONSOLE}"), files(CONSOLE))
        .fallback_service(files(PACKAGE))
        .layer(middleware::from_fn(for_ever));
    let worker = {
        let assets = assets.clone();
        get(async move || assets.worker())
    };
    let icon = ServeFile::new(assets.site.join("favicon.svg"));
    let package_at = format!("/{PACKAGE}/{}", assets.build);
    Router::new()
        .nest(&package_at, package)
        .route("/worker.js", worker)
        .route_service("/favicon.svg", get_service(icon))
}

/// What a name of a build holds never changes.
async fn for_ever(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status().is_success() {
        let value = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_has_addresses_of_its_own_also_when_its_script_keeps_its_name() {
        let site = tempfile::tempdir().expect("a folder");
        let folder = site.path().join(PACKAGE);
        fs::create_dir(&folder).expect("made");
        let write = |name: &str| fs::write(folder.join(name), "").expect("written");
        write("belvedere.same.js");
        write("__wasm_split.one.js");
        let script = || Assets::find(site.path()).names.script.expect("there");
        let first = script();
        assert!(first.ends_with("/belvedere.same.js"), "{first}");
        assert_eq!(script(), first, "the same build has the same addresses");
        fs::rename(folder.join("__wasm_split.one.js"), folder.join("__wasm_split.two.js")).expect("renamed");
        assert_ne!(script(), first);
    }
}
