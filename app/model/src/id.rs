//! Identifiers: hosts, machines, requests and stream positions.
//!
//! Each is validated when parsed.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Fault, FaultKind, natural};

/// A short host name from the configuration: 1 to 63 letters, digits, `-`, `_` or `.`, starting
/// with a letter or digit, so that it needs no escaping in URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostId(Arc<str>);

/// Natural order: `kvm-2` before `kvm-10`.
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
            "{text:?} is not a host name: use 1 to 63 letters, digits, '-', '_' or '.', starting with a letter or digit"
        ))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A machine of a host. Two hosts may have the same UUID (a migrated machine), so neither part
/// alone is an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainRef {
    /// The host that has it.
    pub host: HostId,
    /// libvirt's UUID.
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
        let (host, id) = text.split_once('/').ok_or_else(|| format!("{text:?} is not host/uuid"))?;
        Ok(Self { host: host.parse()?, id: id.parse().map_err(|_| format!("{id:?} is not a UUID"))? })
    }
}

/// The kind of an object.
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
    /// Its name in API paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Domain => "domains",
            Self::Pool => "pools",
            Self::Network => "networks",
            Self::Host => "hosts",
        }
    }

    /// Its name in texts.
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
    /// libvirt's UUID; nil for a host, which is identified by its name.
    pub id: Uuid,
}

impl ObjectRef {
    /// An object that libvirt identifies by a UUID.
    pub fn new(kind: ObjectKind, host: &HostId, id: Uuid) -> Self {
        Self { host: host.clone(), kind, id }
    }

    /// A storage pool.
    pub fn pool(host: &HostId, id: Uuid) -> Self {
        Self::new(ObjectKind::Pool, host, id)
    }

    /// A virtual network.
    pub fn network(host: &HostId, id: Uuid) -> Self {
        Self::new(ObjectKind::Network, host, id)
    }

    /// A host.
    pub fn host(host: &HostId) -> Self {
        Self { host: host.clone(), kind: ObjectKind::Host, id: Uuid::nil() }
    }

    /// Reads `host/uuid`, as `Display` writes it for all but hosts.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(kind: ObjectKind, text: &str) -> Result<Self, String> {
        let DomainRef { host, id } = text.parse()?;
        Ok(Self { host, kind, id })
    }

    /// It as a machine; none if it is something else.
    pub fn domain(&self) -> Option<DomainRef> {
        (self.kind == ObjectKind::Domain).then(|| DomainRef { host: self.host.clone(), id: self.id })
    }

    /// The error if it does not exist or is outside of the scope.
    pub fn missing(&self) -> Fault {
        let list = if self.kind == ObjectKind::Host {
            "Check the list of hosts"
        } else {
            "It may have been deleted; reload the list"
        };
        Fault::new(FaultKind::NotFound, format!("There is no {} {self}", self.kind.noun())).with_next(list)
    }
}

impl From<&DomainRef> for ObjectRef {
    fn from(machine: &DomainRef) -> Self {
        Self::new(ObjectKind::Domain, &machine.host, machine.id)
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

/// Chosen by the client for each command: for tracking, idempotency, and the link from cause to
/// effect.
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
        text.parse().map(Self).map_err(|_| format!("{text:?} is not a UUID"))
    }
}

/// A position in the server's event log: `<epoch>-<seq>`. The epoch is random per server run, so
/// positions of different runs never compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The server run.
    pub epoch: u64,
    /// The number of events published in this run, from 0 without gaps.
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
        parse().ok_or_else(|| format!("{text:?} is not a stream position"))
    }
}

/// Types serialised by `Display` and parsed by `FromStr`.
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
