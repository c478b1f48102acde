//! What an image, or an argument of QEMU, means when it names another file: read as generously as
//! QEMU reads it, so that no spelling hides a use.
//!
//! Whether those places exist, `places` knows; who uses them, `uses`.

use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::xml::sources::Place;

/// Descriptions within descriptions are not followed deeper than this.
const MAX_DEPTH: usize = 8;
/// Drivers before one another in a name (`blkdebug:…:blkverify:…`) are not followed further.
const MAX_DRIVERS: usize = 16;

/// All places that an image may mean when it names another one: a path, one from the image's folder
/// on, `file:`, `json:`, an address of a protocol, or any of these behind drivers of QEMU.
pub(crate) fn named(image: &Path, text: &OsStr) -> Vec<Place> {
    let mut found = Vec::new();
    read(image, text, 0, &mut found);
    found
}

/// The places in an argument of QEMU that describes a device in JSON; none in other arguments.
pub(crate) fn described_in(argument: &str) -> Vec<Place> {
    let mut found = Vec::new();
    let at = argument.find("json:").map(|at| at + 5).or(argument.trim_start().starts_with('{').then_some(0));
    if let Some(value) = at.and_then(|at| json(&argument[at..])) {
        // QEMU runs in the root folder.
        described(&value, Path::new("/x"), 0, &mut found);
    }
    found
}

fn read(image: &Path, text: &OsStr, depth: usize, found: &mut Vec<Place>) {
    let from_its_folder = |name: &OsStr| Place::Path(image.parent().unwrap_or(Path::new("/")).join(Path::new(name)));
    let described_as = text.to_str().and_then(|text| text.strip_prefix("json:")).and_then(json);
    if let Some(value) = described_as.filter(|_| depth < MAX_DEPTH) {
        return described(&value, image, depth + 1, found);
    }
    // The name itself, and all that stands behind a colon: which drivers QEMU knows depends on how
    // it was built, and a file may have colons in its name.
    let colons = text.as_bytes().iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1);
    for at in [0].into_iter().chain(colons).take(MAX_DRIVERS) {
        let rest = OsStr::from_bytes(&text.as_bytes()[at..]);
        if rest.is_empty() {
            continue;
        }
        found.push(from_its_folder(rest));
        found.extend(rest.to_str().and_then(network));
        if let Some(path) = rest.to_str().and_then(path_of_address) {
            found.push(Place::Path(path));
        }
    }
}

/// An image that is reached by a protocol: `rbd:pool/image:options`, `nbd://host/export`.
fn network(text: &str) -> Option<Place> {
    let (protocol, rest) = text.split_once(':').filter(|(before, _)| !before.contains('/'))?;
    let name = match rest.strip_prefix("//") {
        Some(rest) => name_of_address(rest),
        None => rest.split(':').next().unwrap_or_default(),
    };
    let protocol = protocol.split('+').next().unwrap_or_default().to_owned();
    Some(Place::Network { protocol, name: name.to_owned() })
}

/// What stands behind the host of an address.
fn name_of_address(rest: &str) -> &str {
    rest.split_once('/').map_or("", |(_, name)| name).split(['?', '#']).next().unwrap_or_default()
}

/// The path of an address such as `file:///srv/a`.
fn path_of_address(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once("://").filter(|(before, _)| !before.contains('/'))?;
    Some(Path::new("/").join(name_of_address(rest)))
}

/// What a description of a block device names, at any depth.
fn described(value: &Value, image: &Path, depth: usize, found: &mut Vec<Place>) {
    match value {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            if let (Some(pool), Some(image)) = (text("pool"), text("image")) {
                found.push(Place::Network { protocol: "rbd".into(), name: format!("{pool}/{image}") });
            }
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name.ends_with("filename") || name.ends_with("path") || text.contains('/') => {
                        read(image, OsStr::new(text), depth, found);
                    }
                    _ => described(value, image, depth, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| described(value, image, depth, found)),
        _ => {}
    }
}

/// Reads JSON as QEMU does, which knows texts in single quotes, too. What follows is left out.
fn json(text: &str) -> Option<Value> {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text.chars().peekable());
    while let Some(next) = rest.next() {
        if next != '\'' && next != '"' {
            plain.push(next);
            continue;
        }
        plain.push('"');
        loop {
            match rest.next()? {
                '\\' => match rest.next()? {
                    '\'' => plain.push('\''),
                    escaped => plain.extend(['\\', escaped]),
                },
                end if end == next => break,
                '"' => plain.push_str("\\\""),
                other => plain.push(other),
            }
        }
        plain.push('"');
    }
    serde_json::Deserializer::from_str(&plain).into_iter().next()?.ok()
}

/// The paths with commas in an argument of QEMU, where a comma separates parts and two mean one.
pub(crate) fn in_parts(argument: &str) -> impl Iterator<Item = String> {
    let parts = if argument.contains(",,") { argument.replace(",,", "\0") } else { String::new() };
    let paths: Vec<String> = parts
        .split([',', '\n'])
        .map(|part| part.split_once('=').map_or(part, |(_, value)| value).replace('\0', ","))
        .filter(|path| path.starts_with('/'))
        .collect();
    paths.into_iter()
}

/// Bytes of a header as a name: QEMU reads it to its first zero.
pub(crate) fn of_bytes(mut bytes: Vec<u8>) -> std::ffi::OsString {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    std::ffi::OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<PathBuf> {
        let path = |place| match place {
            Place::Path(path) => Some(path),
            _ => None,
        };
        named(Path::new("/images/overlay"), OsStr::new(text)).into_iter().filter_map(path).collect()
    }

    #[test]
    fn every_spelling_that_qemu_reads_names_the_file() {
        for text in [
            "/srv/base",
            "../srv/base",
            "file:/srv/base",
            "file:///srv/base",
            "blkdebug::/srv/base",
            "blkdebug:/etc/rules:blkverify:/srv/raw:/srv/base",
            "host_device:/srv/base",
            r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"/srv/base"}}"#,
            "json:{'driver':'qcow2','file':{'driver':'file','filename':'/srv/base'}}",
            r#"json:{'file.filename':"\u002fsrv/base"}"#,
            r#"json:{"file":[{"filename":"json:{\"filename\":\"/srv/base\"}"}]} and more"#,
            "json:{'filename':'file:/srv/base'}",
        ] {
            let found: Vec<PathBuf> = paths(text).iter().map(|path| crate::places::in_order(path)).collect();
            assert!(found.contains(&"/srv/base".into()), "{text}: {found:?}");
        }
        assert!(paths("json:{'filename':'it''s").is_empty() || !paths("json:{").is_empty(), "what is broken is a name");
        let image = Place::Network { protocol: "rbd".into(), name: "pool/image".into() };
        for text in ["rbd:pool/image:conf=/etc/ceph", "json:{'driver':'rbd','pool':'pool','image':'image'}"] {
            assert!(named(Path::new("/a"), OsStr::new(text)).contains(&image), "{text}");
        }
    }

    #[test]
    fn arguments_of_qemu_name_files_in_json_and_between_commas() {
        let described = described_in(r#"{"driver":"file","node-name":"x","filename":"/srv/base"}"#);
        assert_eq!(described[0], Place::Path("/srv/base".into()));
        assert_eq!(described_in("file=json:{'filename':'/srv/base'}")[0], Place::Path("/srv/base".into()));
        assert!(described_in("-drive").is_empty());
        assert_eq!(in_parts("file=/srv/a,,b,format=raw").collect::<Vec<_>>(), ["/srv/a,b"]);
    }
}
