//! Everything that can go wrong, said to a person: what happened, to what, and
//! the next step.
//!
//! It never holds secrets or internals; those belong to the server's log.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong; it decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// The object does not exist (any more).
    NotFound,
    /// Not possible in the present state.
    Denied,
    /// The same request id came with another wish, or the object is not as expected any more.
    Conflict,
    /// An argument is at fault.
    Invalid,
    /// The host's libvirt does not answer.
    Unreachable,
    /// The host cannot do this at all.
    Unsupported,
    /// The host took too long; what happened is unknown.
    TimedOut,
    /// The server's account may not do this on the host.
    Forbidden,
    /// Nobody said who this is.
    SignedOut,
    /// The account's role may not do this.
    NotAllowed,
    /// Too many attempts.
    TooMany,
    /// The server has too much to do.
    Busy,
    /// libvirt refused for a reason of its own.
    Refused,
    /// Somebody cancelled it.
    Cancelled,
    /// The server stopped in between.
    Interrupted,
    /// The server cannot write its journal, so it does nothing that must be recorded.
    InsufficientStorage,
    /// A defect of the server.
    Internal,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::NotFound,
        Self::Denied,
        Self::Conflict,
        Self::Invalid,
        Self::Unreachable,
        Self::Unsupported,
        Self::TimedOut,
        Self::Forbidden,
        Self::SignedOut,
        Self::NotAllowed,
        Self::TooMany,
        Self::Busy,
        Self::Refused,
        Self::Cancelled,
        Self::Interrupted,
        Self::InsufficientStorage,
        Self::Internal,
    ];

    /// The code of a fault whose kind says all.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unreachable => "unreachable",
            Self::Unsupported => "unsupported",
            Self::TimedOut => "timed-out",
            Self::Forbidden => "forbidden",
            Self::SignedOut => "signed-out",
            Self::NotAllowed => "not-allowed",
            Self::TooMany => "too-many",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::InsufficientStorage => "insufficient-storage",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status code that carries it (RFC 9110).
    pub fn status(self) -> u16 {
        match self {
            Self::SignedOut => 401,
            Self::NotAllowed => 403,
            Self::NotFound => 404,
            Self::Denied | Self::Conflict | Self::Unsupported | Self::Refused | Self::Cancelled => 409,
            Self::Invalid => 422,
            Self::TooMany => 429,
            Self::Unreachable | Self::Forbidden | Self::Busy => 503,
            Self::TimedOut => 504,
            Self::InsufficientStorage => 507,
            Self::Internal | Self::Interrupted => 500,
        }
    }
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fault {
    /// What kind of thing.
    #[serde(rename = "fault")]
    pub kind: FaultKind,
    /// A sentence without final period that names the object.
    pub reason: String,
    /// What to do now, a sentence without final period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The argument at fault, as it is called in commands; its name begins the reason, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The reason as a stable code for programs and translations; empty where its kind says all.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub code: Cow<'static, str>,
    /// What the code is about, by name: what a translation would fill in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<Cow<'static, str>, String>,
}

impl Fault {
    /// A fault without a next step.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), next: None, field: None, code: "".into(), arguments: BTreeMap::new() }
    }

    /// The same fault with its next step.
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// This fault with the stable code of its reason, and what that is about.
    pub fn with_code<const N: usize>(mut self, code: &'static str, arguments: [(&'static str, &str); N]) -> Self {
        self.code = code.into();
        self.arguments = arguments.into_iter().map(|(name, value)| (name.into(), value.to_owned())).collect();
        self
    }

    /// Not possible now, with the reason.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Denied, reason)
    }

    /// An argument at fault.
    pub fn invalid(field: &str, why: &str) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(FaultKind::Invalid, format!("{field}: {why}")) }
    }

    /// Whether the same may work when it is tried again, with nothing else changed.
    pub fn may_pass(&self) -> bool {
        use FaultKind as K;
        match self.kind {
            K::Busy | K::Cancelled | K::Conflict | K::InsufficientStorage | K::Internal | K::Interrupted => true,
            K::Refused | K::TimedOut | K::TooMany | K::Unreachable => true,
            K::Denied | K::Forbidden | K::Invalid | K::NotAllowed | K::NotFound | K::SignedOut | K::Unsupported => {
                false
            }
        }
    }

    /// What is wrong and the next step as one text for people.
    pub fn sentence(&self) -> String {
        let why = match &self.field {
            Some(field) => format!("{}: {}", label_of(field), self.about_field()),
            None => self.reason.clone(),
        };
        match &self.next {
            Some(next) => format!("{why}. {next}."),
            None => format!("{why}."),
        }
    }

    /// The reason without the name of the argument, for a place beside it.
    pub fn about_field(&self) -> &str {
        let field = self.field.as_deref().unwrap_or_default();
        self.reason.strip_prefix(field).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&self.reason)
    }

    /// Whether the field of a form with that name holds the argument at fault. One within another
    /// argument has both names, with a dot between.
    pub fn is_about(&self, name: &str) -> bool {
        self.field.as_deref().is_some_and(|field| name.rsplit('.').next() == Some(field))
    }
}

/// What forms call an argument.
fn label_of(field: &str) -> &str {
    match field {
        "address" => "Address",
        "backing" => "Based on",
        "backingFormat" => "Format of that",
        "code" => "Code",
        "days" => "Days until it expires",
        "old" => "Current password",
        "role" => "Role",
        "scope" => "Scope",
        "bridge" => "Bridge of the host",
        "capacityBytes" | "size" => "Size",
        "description" => "Description",
        "device" => "Device",
        "dhcpFirst" => "DHCP from",
        "dhcpLast" => "DHCP to",
        "dhcp6First" => "DHCPv6 from",
        "dhcp6Last" => "DHCPv6 to",
        "domain" => "DNS domain",
        "folder" => "Folder",
        "format" => "Format",
        "group" => "Volume group",
        "host" => "Host",
        "ipv4" => "IPv4: this host's address",
        "ipv6" => "IPv6: this host's address",
        "key" => "Key",
        "kind" | "type" => "Type",
        "mac" => "Hardware address",
        "mode" => "Mode",
        "name" => "Name",
        "names" => "Names",
        "password" => "Password",
        "path" => "Path on the host",
        "seconds" => "Seconds",
        "select" => "Selection",
        "sha256" => "SHA-256",
        "tags" => "Tags",
        "title" => "Title",
        "to" => "Name of the copy",
        "url" => "Address",
        "user" => "User",
        other => other,
    }
}

#[cfg(test)]
mod field_tests {
    use super::*;

    #[test]
    fn people_read_the_label_and_programs_the_name_of_an_argument() {
        let fault = Fault::invalid("ipv4", "it is the host's address with its prefix").with_next("Mend it");
        assert_eq!(fault.sentence(), "IPv4: this host's address: it is the host's address with its prefix. Mend it.");
        assert_eq!(fault.about_field(), "it is the host's address with its prefix");
        let said = serde_json::to_value(&fault).expect("JSON");
        assert_eq!(
            (&said["field"], &said["reason"]),
            (&"ipv4".into(), &"ipv4: it is the host's address with its prefix".into())
        );
        assert_eq!(Fault::denied("web-01 runs").sentence(), "web-01 runs.");
    }
}
