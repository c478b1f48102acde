//! Connections to hosts, and background errors.

use serde::{Deserialize, Serialize};

use super::{Change, Line, Payload};
use crate::{Fault, FaultKind, Host, HostId};

/// Payload of `connection-status-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatusChanged {
    /// The host.
    pub host_id: HostId,
    /// Whether libvirt is connected.
    pub connected: bool,
    /// The connection URI without secrets.
    pub uri: String,
    /// Why it is not connected.
    pub error: Option<String>,
    /// The host without its machines.
    pub host: Box<Host>,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

impl Payload for ConnectionStatusChanged {
    fn change(&self) -> Change {
        Change::Host(self.host.clone())
    }

    fn line(&self) -> Option<Line> {
        Some(match &self.error {
            None => ("running", format!("{} is connected", self.host_id)),
            Some(error) => ("crashed", format!("{} is not connected: {error}", self.host_id)),
        })
    }
}

/// The severity of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// For information.
    Info,
    /// Degraded.
    Warning,
    /// An operation failed.
    Error,
    /// Action required.
    Critical,
}

impl Severity {
    /// All severities, the highest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Error, Self::Warning, Self::Info];

    /// Its name in JSON and URLs.
    pub fn key(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// Its name on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
            Self::Critical => "Critical",
        }
    }
}

/// Payload of `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// The host; none for the server.
    #[serde(default)]
    pub host_id: Option<HostId>,
    /// The object, the cause and the next step.
    pub message: String,
    /// Its severity.
    pub severity: Severity,
    /// The operation that failed.
    pub context: Option<String>,
    /// When it happened, in Unix milliseconds.
    pub timestamp: u64,
}

/// The context of journal errors, which are a state of the server.
const JOURNAL: &str = "journal";

impl Error {
    /// Reports that the journal cannot be written or, without `trouble`, that it is writable again.
    pub fn of_journal(trouble: Option<&Fault>, timestamp: u64) -> Self {
        let (message, severity) = match trouble {
            Some(fault) => (fault.sentence(), Severity::Critical),
            None => ("The journal is writable again. Commands are accepted.".into(), Severity::Info),
        };
        Self { host_id: None, message, severity, context: Some(JOURNAL.into()), timestamp }
    }

    /// Reports a failed background operation.
    pub fn of_background(host_id: Option<HostId>, context: &str, message: String, timestamp: u64) -> Self {
        Self { host_id, message, severity: Severity::Error, context: Some(context.to_owned()), timestamp }
    }

    /// Whether it reports the state of the journal.
    pub fn is_about_the_journal(&self) -> bool {
        self.context.as_deref() == Some(JOURNAL)
    }

    /// The journal's fault, if the error is about the journal.
    pub fn trouble(&self) -> Option<Fault> {
        (self.severity == Severity::Critical)
            .then(|| Fault::new(FaultKind::InsufficientStorage, self.message.trim_end_matches('.')))
    }
}

impl Payload for Error {
    fn change(&self) -> Change {
        Change::Error(Box::new(self.clone()))
    }

    fn line(&self) -> Option<Line> {
        Some((if self.severity == Severity::Info { "check" } else { "crashed" }, self.message.clone()))
    }
}
