//! A command in progress: sender, progress and result.
//!
//! A task is the whole state of one request and the payload of all three task events. What is
//! stored and who may cancel it is decided by the server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Command, Fault, HostId, RequestId};

/// The state of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// Stored, waiting for its turn.
    #[default]
    Accepted,
    /// Running in libvirt.
    Running,
    /// It had its effect.
    Succeeded,
    /// It had no effect or not the requested one; the fault says why.
    Failed,
    /// The server or the connection ended meanwhile. Without an outcome the machine is still being
    /// checked; with one the result cannot be determined.
    Unknown,
}

impl TaskState {
    /// The label on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "Waiting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// The key in URLs and JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The result in a record: that of the task so far, or that the request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Recorded, and nothing is known of its end.
    Accepted,
    /// It was running when it was last heard of.
    Running,
    /// It had its effect.
    Succeeded,
    /// It had no effect or not the requested one.
    Failed,
    /// Its effect cannot be determined.
    Unknown,
    /// It was not run.
    Refused,
}

impl From<TaskState> for Outcome {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Accepted => Self::Accepted,
            TaskState::Running => Self::Running,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Failed => Self::Failed,
            TaskState::Unknown => Self::Unknown,
        }
    }
}

/// The progress of a task as reported by libvirt (`virDomainGetJobInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// From 0 to 100; none if unknown.
    pub percent: Option<u8>,
    /// The current step.
    pub text: String,
}

/// A line of a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogLine {
    /// Time in Unix milliseconds.
    pub at: u64,
    /// The text.
    pub text: String,
}

/// The origin of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// An API client.
    #[default]
    Api,
    /// The page.
    Page,
    /// A form without JavaScript.
    Form,
    /// The command line.
    Cli,
    /// The server itself.
    Server,
}

/// The sender of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    /// The account; none if there are no accounts.
    pub who: Option<String>,
    /// The origin.
    pub source: Source,
    /// The peer's network address.
    pub address: Option<String>,
    /// The browser session id, chosen by the client.
    pub session: Option<String>,
    /// The tab id, chosen by the client.
    pub tab: Option<String>,
}

/// A request and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The request id, which is also the task id.
    pub task_id: RequestId,
    /// The batch that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RequestId>,
    /// Its host.
    pub host_id: HostId,
    /// The command's kind.
    pub kind: String,
    /// The UUID of the machine; none for a batch.
    pub target: Option<Uuid>,
    /// The machine's name at the time of the command, or the number of machines.
    pub target_name: String,
    /// Its state.
    pub state: TaskState,
    /// The final state, once it has ended.
    pub outcome: Option<TaskState>,
    /// Why it failed or is unknown; none if it succeeded.
    pub fault: Option<Fault>,
    /// Its progress; none if unknown.
    pub progress: Option<Progress>,
    /// Whether it can be cancelled now.
    #[serde(default)]
    pub cancellable: bool,
    /// The account, if there are accounts.
    pub who: Option<String>,
    /// Its origin.
    #[serde(default)]
    pub source: Source,
    /// When it was accepted, in Unix milliseconds.
    pub created_at: u64,
    /// Its duration in milliseconds.
    pub duration_ms: u64,
    /// The time of this state, in Unix milliseconds.
    pub timestamp: u64,
    /// Its log, the oldest line first; not in lists.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

/// Maximum lines of a task's log; the first and the last ones are kept.
const MAX_LINES: usize = 40;

impl Task {
    /// Ends it.
    pub fn end(&mut self, outcome: TaskState, fault: Option<Fault>, now: u64) {
        (self.state, self.outcome, self.fault) = (outcome, Some(outcome), fault);
        (self.progress, self.cancellable, self.timestamp) = (None, false, now);
        self.duration_ms = now.saturating_sub(self.created_at);
    }

    /// Adds a line to its log.
    pub fn note(&mut self, at: u64, text: impl Into<String>) {
        if self.log.len() >= MAX_LINES {
            self.log.remove(MAX_LINES / 2);
        }
        self.log.push(LogLine { at, text: text.into() });
    }

    /// The label of its command.
    pub fn label(&self) -> String {
        Command::label_of(&self.kind)
    }
}

/// An audit record: the intent and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Its number in the chain of records; increases with time.
    pub seq: u64,
    /// The time of the request, in Unix milliseconds.
    pub timestamp: u64,
    /// The request; none for events without one, such as a start of the server.
    pub request_id: Option<RequestId>,
    /// The batch that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<RequestId>,
    /// The kind of the command, or an event of the server.
    pub kind: String,
    /// The command with its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// The host.
    pub host_id: Option<HostId>,
    /// The UUID of the machine.
    pub target: Option<Uuid>,
    /// Its name at that time.
    pub target_name: String,
    /// The sender.
    #[serde(flatten)]
    pub origin: Origin,
    /// The result.
    pub outcome: Outcome,
    /// Why it was refused, failed or is unknown.
    pub fault: Option<Fault>,
    /// When it ended, in Unix milliseconds.
    pub ended_at: Option<u64>,
}

/// Payload of `audit-appended`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditAppended {
    /// The host.
    pub host_id: Option<HostId>,
    /// The record, for API clients; our own client only counts records.
    #[serde(skip_deserializing)]
    pub record: Option<Box<AuditRecord>>,
    /// The time it was stored, in Unix milliseconds.
    pub timestamp: u64,
}

/// Number of ended tasks kept for new pages.
const KEPT: usize = 30;

/// Updates a task in a list, the oldest first. Applying it twice has no further effect, and an
/// older state never overwrites a newer one.
pub fn remember(tasks: &mut Vec<Arc<Task>>, task: &Arc<Task>) {
    match tasks.iter_mut().find(|known| known.task_id == task.task_id) {
        Some(known) if known.outcome.is_some() || known.timestamp > task.timestamp => {}
        Some(known) => *known = task.clone(),
        None => tasks.push(task.clone()),
    }
    let mut surplus = tasks.iter().filter(|task| task.outcome.is_some()).count().saturating_sub(KEPT);
    tasks.retain(|task| {
        let goes = surplus > 0 && task.outcome.is_some();
        surplus -= usize::from(goes);
        !goes
    });
}
