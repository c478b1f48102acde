//! Creates a volume from a file that the server downloads.

use super::{About, Fault, Field, HostInventory, Input, Lane, Pool, Verb, active, not_on_test_driver, to_volume, verb};
use crate::{command::Address, storage::check_volume_name};

verb! {
    /// Create a volume from the content of a URL (`virStorageVolUpload`); the server downloads it.
    pub struct FetchVolume {
        /// The volume's name; empty for the file name of the URL.
        pub name: String,
        /// The `http` or `https` URL. It is recorded without its query and must not contain a
        /// password.
        pub url: Address,
        /// The expected SHA-256 in hexadecimal digits, or empty.
        #[serde(default)]
        pub sha256: String,
    }
}

impl Verb for FetchVolume {
    type On = Pool;

    const ABOUT: About = About {
        kind: "fetchVolume",
        label: "Download from URL",
        done: "is downloaded",
        lane: Lane::Slow,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("url", "URL", Input::Line(2048)).required(),
        Field::new("name", "Volume name (default: file name)", Input::Line(200)),
        Field::new("sha256", "SHA-256 checksum (optional)", Input::Line(64)),
    ];

    fn filled(self) -> Self {
        let name = if self.name.is_empty() { name_at(&self.url.0).to_owned() } else { self.name };
        Self { name, sha256: self.sha256.to_ascii_lowercase(), ..self }
    }

    fn subject(&self, on: Option<&Pool>) -> Option<String> {
        to_volume(on, &self.name)
    }

    fn new_volume(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn check(&self, on: &Pool, host: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        not_on_test_driver(on, host)?;
        check_volume_name(&self.name)?;
        check_url(&self.url)?;
        check_sha256(&self.sha256)
    }
}

/// Maximum length of a URL in bytes.
const MAX_URL: usize = 2_048;

/// Whether a URL can be downloaded, as far as its text shows.
fn check_url(address: &Address) -> Result<(), Fault> {
    let url = &address.0;
    let wrong = |why: &str| Err(Fault::invalid("url", why));
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return wrong("must begin with https:// or http://");
    };
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if place.is_empty() || url.len() > MAX_URL || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("must be the URL of a file");
    }
    if place.contains('@') {
        return wrong("contains a user name or password, which would be recorded; use a URL without credentials");
    }
    if address.is_starred() {
        return wrong("the query string of this URL was not recorded; enter the whole URL");
    }
    Ok(())
}

/// Whether a text is a SHA-256 checksum or empty.
fn check_sha256(text: &str) -> Result<(), Fault> {
    if text.is_empty() || (text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())) {
        return Ok(());
    }
    Err(Fault::invalid("sha256", "must be 64 hexadecimal digits"))
}

/// The file name of a URL; empty if it has none.
fn name_at(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.split_once("://").and_then(|(_, rest)| rest.rsplit_once('/')).map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::name_at;

    #[test]
    fn a_file_has_the_name_that_ends_its_path() {
        assert_eq!(name_at("https://example.org/x/debian.iso?a=/b#c"), "debian.iso");
        assert_eq!(name_at("https://example.org"), "");
    }
}
