//! Errors for users: object, cause and next step.
//!
//! A fault never contains secrets or internals; those go to the server's log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kind of an error; determines the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// The object does not exist.
    NotFound,
    /// Not possible in the current state.
    Denied,
    /// The request id was used for another command, or the object has changed.
    Conflict,
    /// Invalid argument.
    Invalid,
    /// The host's libvirt does not respond.
    Unreachable,
    /// Not supported by the host.
    Unsupported,
    /// The host took too long; the result is unknown.
    TimedOut,
    /// The server's account lacks the right on the host.
    Forbidden,
    /// Not signed in.
    SignedOut,
    /// The account's role may not do this.
    NotAllowed,
    /// Too many attempts.
    TooMany,
    /// The server is overloaded.
    Busy,
    /// libvirt reported an error.
    Refused,
    /// Cancelled by a user.
    Cancelled,
    /// The server stopped meanwhile.
    Interrupted,
    /// The journal cannot be written, so nothing that must be recorded is done.
    InsufficientStorage,
    /// An internal error of the server.
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

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fault {
    /// Its kind.
    #[serde(rename = "fault")]
    pub kind: FaultKind,
    /// A sentence without final period that names the object and the cause.
    pub reason: String,
    /// The next step, a sentence without final period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The invalid argument, as named in commands; `reason` starts with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The reason as a stable code for programs and translations; none where its kind says all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Box<str>>,
    /// What the code is about, by name: what a translation would fill in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Box<BTreeMap<String, String>>>,
}

impl Fault {
    /// A fault without a next step.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), next: None, field: None, code: None, arguments: None }
    }

    /// With its next step.
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// This fault with the stable code of its reason, and what that is about.
    pub fn with_code<const N: usize>(mut self, code: &'static str, arguments: [(&'static str, &str); N]) -> Self {
        self.code = Some(code.into());
        let arguments = arguments.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.arguments = Some(Box::new(arguments.collect()));
        self
    }

    /// Not possible in the current state.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Denied, reason)
    }

    /// An invalid argument.
    pub fn invalid(field: &str, why: &str) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(FaultKind::Invalid, format!("{field}: {why}")) }
    }

    /// Whether a retry without other changes may succeed.
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

    /// Reason and next step as text.
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

    /// The reason without the argument name, for display at the field.
    pub fn about_field(&self) -> &str {
        let field = self.field.as_deref().unwrap_or_default();
        self.reason.strip_prefix(field).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&self.reason)
    }

    /// Whether a form field with that name is the invalid argument. Nested names are separated by
    /// dots.
    pub fn is_about(&self, name: &str) -> bool {
        self.field.as_deref().is_some_and(|field| name.rsplit('.').next() == Some(field))
    }
}

/// The form label of an argument.
fn label_of(field: &str) -> &str {
    match field {
        "address" => "Address",
        "backing" => "Backing volume",
        "backingFormat" => "Backing format",
        "code" => "Code",
        "days" => "Expires after (days)",
        "old" => "Current password",
        "role" => "Role",
        "scope" => "Scope",
        "bridge" => "Host bridge",
        "capacityBytes" | "size" => "Size",
        "description" => "Description",
        "device" => "Device",
        "dhcpFirst" => "DHCP range start",
        "dhcpLast" => "DHCP range end",
        "dhcp6First" => "DHCPv6 range start",
        "dhcp6Last" => "DHCPv6 range end",
        "domain" => "DNS domain",
        "folder" => "Export path",
        "format" => "Format",
        "group" => "Volume group",
        "host" => "Host",
        "ipv4" => "IPv4 gateway (CIDR)",
        "ipv6" => "IPv6 gateway (CIDR)",
        "key" => "Key",
        "kind" | "type" => "Type",
        "mac" => "MAC address",
        "mode" => "Mode",
        "name" => "Name",
        "names" => "Names",
        "password" => "Password",
        "path" => "Target path",
        "seconds" => "Seconds",
        "select" => "Selection",
        "sha256" => "SHA-256",
        "tags" => "Tags",
        "title" => "Title",
        "to" => "Name of the copy",
        "uri" => "Connection URI",
        "url" => "URL",
        "user" => "User",
        other => other,
    }
}

#[cfg(test)]
mod field_tests {
    use super::*;

    #[test]
    fn people_read_the_label_and_programs_the_name_of_an_argument() {
        let fault = Fault::invalid("ipv4", "must be an address with prefix length").with_next("Correct it");
        assert_eq!(fault.sentence(), "IPv4 gateway (CIDR): must be an address with prefix length. Correct it.");
        assert_eq!(fault.about_field(), "must be an address with prefix length");
        let said = serde_json::to_value(&fault).expect("JSON");
        assert_eq!(
            (&said["field"], &said["reason"]),
            (&"ipv4".into(), &"ipv4: must be an address with prefix length".into())
        );
        assert_eq!(Fault::denied("web-01 runs").sentence(), "web-01 runs.");
    }
}
