//! Names of things: hosts, machines on a host, requests, positions in the stream.
//!
//! Each parses at the edge and cannot be wrong afterwards.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Fault, FaultKind, natural};

/// A short name of a host, chosen by whoever configured it: 1 to 63 letters,
/// digits, `-`, `_` or `.`, starting with a letter or digit, so that it can
/// stand in a URL without escaping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostId(Arc<str>);

/// Hosts are listed as people number them: `kvm-2` before `kvm-10`.
impl Ord for HostId {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(&self.0, &other.0)
    }
}

impl PartialOrd for HostId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl HostId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts && text.len() <= 63 && text.chars().all(allowed) {
            return Ok(Self(text.into()));
        }
        Err(format!(
            "\"{}\" is not a host name: use 1 to 63 letters, digits, '-', '_' or '.', starting with a letter or digit",
            text.escape_debug()
        ))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One machine of one host. Two hosts may know the same UUID (a migrated
/// machine), so neither half alone is an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainRef {
    /// The host that has it.
    pub host: HostId,
    /// libvirt's UUID of it.
    pub id: Uuid,
}

impl fmt::Display for DomainRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.id)
    }
}

impl FromStr for DomainRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, id) = text.split_once('/').ok_or_else(|| format!("\"{}\" is not host/uuid", text.escape_debug()))?;
        Ok(Self {
            host: host.parse()?,
            id: id.parse().map_err(|_| format!("\"{}\" is not a UUID", id.escape_debug()))?,
        })
    }
}

/// What kind of object something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// A virtual machine.
    Domain,
    /// A storage pool.
    Pool,
    /// A virtual network.
    Network,
    /// A host.
    Host,
}

impl ObjectKind {
    /// What stands for it in addresses of the API.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Domain => "domains",
            Self::Pool => "pools",
            Self::Network => "networks",
            Self::Host => "hosts",
        }
    }

    /// What people call it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Domain => "machine",
            Self::Pool => "storage pool",
            Self::Network => "network",
            Self::Host => "host",
        }
    }
}

/// One object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The host that has it, or is it.
    pub host: HostId,
    /// What it is.
    pub kind: ObjectKind,
    /// libvirt's UUID of it; nil for a host, which its name tells apart.
    pub id: Uuid,
}

impl ObjectRef {
    /// One that a UUID tells apart.
    pub fn new(kind: ObjectKind, id: &DomainRef) -> Self {
        Self { host: id.host.clone(), kind, id: id.id }
    }

    /// A host.
    pub fn host(host: &HostId) -> Self {
        Self { host: host.clone(), kind: ObjectKind::Host, id: Uuid::nil() }
    }

    /// What is said of an object that does not exist, or is out of sight.
    pub fn missing(&self) -> Fault {
        let list = if self.kind == ObjectKind::Host { "See the list of hosts" } else { "Look at the list" };
        Fault::new(FaultKind::NotFound, format!("There is no {} {self}", self.kind.noun())).with_next(list)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ObjectKind::Host => self.host.fmt(f),
            _ => write!(f, "{}/{}", self.host, self.id),
        }
    }
}

/// Made by the client for each command: tracking, idempotency, and the link
/// from cause to effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct RequestId(pub Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("\"{}\" is not a UUID", text.escape_debug()))
    }
}

/// A position in the one log of a server: `<epoch>-<seq>`. The epoch is random
/// per incarnation of the server, so positions of different ones never compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The incarnation.
    pub epoch: u64,
    /// How many events this incarnation has published; dense, from 0.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (epoch, seq) = text.split_once('-')?;
            let digits = epoch.len() == 16 && epoch.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then_some(())?;
            Some(Self { epoch: u64::from_str_radix(epoch, 16).ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| format!("\"{}\" is not a stream position", text.escape_debug()))
    }
}

/// Types that travel as their `Display` form and come back through `FromStr`.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(HostId, DomainRef, Cursor);

/// Schemas of what travels as text.
#[cfg(feature = "schema")]
mod schemas {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Cursor, DomainRef, HostId};

    macro_rules! text_schemas {
        ($($name:ident: $schema:tt),* $(,)?) => {$(
            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*};
    }

    text_schemas! {
        HostId: {
            "type": "string",
            "description": "The short name of a host",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        },
        DomainRef: { "type": "string", "description": "A host and a UUID with a slash between" },
        Cursor: { "type": "string", "description": "A position in the stream; opaque to clients" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_that_could_not_stand_in_a_url_is_refused() {
        for bad in ["", "-a", "a/b", "a b", "ä", "<b>", &"a".repeat(64)] {
            assert!(bad.parse::<HostId>().is_err(), "{bad:?}");
        }
        assert!("kvm-1.lab_a".parse::<HostId>().is_ok());
    }

    #[test]
    fn a_cursor_reads_back_what_it_wrote() {
        let cursor = Cursor { epoch: 0xabc, seq: 42 };
        assert_eq!(cursor.to_string(), "0000000000000abc-42");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "1-2", "0000000000000abc", "0000000000000abc-", "+000000000000abc-1"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_machine_is_named_by_host_and_uuid() {
        let text = "atlas/9d5815f3-0942-43f7-bd25-8c0cb4800b49";
        assert_eq!(text.parse::<DomainRef>().map(|d| d.to_string()), Ok(text.to_owned()));
        assert!("atlas".parse::<DomainRef>().is_err());
    }
}
