//! Arguments that are sent with a command but never stored: records, events and logs show them
//! masked. The command validates them.

use serde::{Deserialize, Serialize};

/// A secret text; serialised as stars.
#[derive(Clone, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Secret(pub String);

/// The mask.
const STARS: &str = "***";

impl Secret {
    /// Whether it was read from a record, so that its value is masked.
    pub(super) fn is_starred(&self) -> bool {
        self.0 == STARS
    }
}

impl PartialEq for Secret {
    /// A masked value may be any value.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.is_starred() || other.is_starred()
    }
}

impl std::hash::Hash for Secret {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STARS)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(STARS)
    }
}

/// A URL. Its query often grants access to the file, so it is serialised masked.
#[derive(Clone, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Address(pub String);

impl Address {
    /// The URL without its query, and the query; the fragment is dropped.
    fn parts(&self) -> (&str, Option<&str>) {
        let sent = self.0.split_once('#').map_or(self.0.as_str(), |(sent, _)| sent);
        sent.split_once('?').map_or((sent, None), |(place, query)| (place, Some(query)))
    }

    /// Whether it was read from a record, so that its query is masked.
    pub(super) fn is_starred(&self) -> bool {
        self.parts().1 == Some(STARS)
    }
}

impl PartialEq for Address {
    /// A masked query may be any query.
    fn eq(&self, other: &Self) -> bool {
        let ((place, query), (other_place, other_query)) = (self.parts(), other.parts());
        let unknown = (self.is_starred() || other.is_starred()) && query.is_some() && other_query.is_some();
        place == other_place && (query == other_query || unknown)
    }
}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.parts().0.hash(state);
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parts() {
            (place, None) => f.write_str(place),
            (place, Some(_)) => write!(f, "{place}?{STARS}"),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_question_mark_of_an_address_is_not_written_down() {
        let address = |text: &str| Address(text.into());
        let told = |text: &str| serde_json::to_string(&address(text)).expect("JSON");
        assert_eq!(told("https://a.example/b.iso"), r#""https://a.example/b.iso""#);
        assert_eq!(told("https://a.example/b.iso?key=geheim#part"), r#""https://a.example/b.iso?***""#);
        assert_eq!(told("https://a.example/b.iso#geheim?"), r#""https://a.example/b.iso""#);
        assert_eq!(format!("{:?}", address("https://a.example/?geheim")), "https://a.example/?***");
        // A value read back equals the one that was sent, and no other.
        assert_eq!(address("https://a.example/?geheim"), address("https://a.example/?***"));
        assert_ne!(address("https://a.example/?geheim"), address("https://a.example/?other"));
        assert_ne!(address("https://a.example/?geheim"), address("https://b.example/?***"));
        assert_ne!(address("https://a.example/"), address("https://a.example/?***"));
        assert_eq!(address("https://a.example/#one"), address("https://a.example/"));
    }
}
