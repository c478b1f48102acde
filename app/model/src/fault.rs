//! Everything that can go wrong, said to a person: what happened, to what, and
//! the next step.
//!
//! It never holds secrets or internals; those belong to the server's log.

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong; it decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
pub struct Fault {
    /// What kind of thing.
    #[serde(rename = "fault")]
    pub kind: FaultKind,
    /// A sentence without final period that names the object.
    pub reason: String,
    /// What to do now, a sentence without final period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Fault {
    /// A fault without a next step.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), next: None }
    }

    /// The same fault with its next step.
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Not possible now, with the reason.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Denied, reason)
    }

    /// An argument at fault.
    pub fn invalid(field: &str, why: &str) -> Self {
        Self::new(FaultKind::Invalid, format!("{field}: {why}"))
    }

    /// Reason and next step as one text.
    pub fn sentence(&self) -> String {
        match &self.next {
            Some(next) => format!("{}. {next}.", self.reason),
            None => format!("{}.", self.reason),
        }
    }
}
