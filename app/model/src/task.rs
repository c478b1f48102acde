//! A command on its way, as everybody sees it: who asked for what, how far it
//! is, and how it ended.
//!
//! A task is the whole state of one request and the payload of all three task
//! events. What is durable of it and who may cancel it is decided by the server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Command, Fault, HostId, RequestId};

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// It is on disk and waits for its turn.
    #[default]
    Accepted,
    /// libvirt works on it.
    Running,
    /// It had its effect.
    Succeeded,
    /// It had none, or not the wished one; the fault says why.
    Failed,
    /// The server or the link ended in between. Without an outcome the machine is
    /// still looked at; with one it does not tell.
    Unknown,
}

impl TaskState {
    /// The word for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "Waiting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// The word in URLs and JSON.
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

/// How much of a task is done, as far as libvirt tells (`virDomainGetJobInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// From 0 to 100; none when there is no measure.
    pub percent: Option<u8>,
    /// What is going on, in words.
    pub text: String,
}

/// A line of a task's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogLine {
    /// When, in Unix milliseconds.
    pub at: u64,
    /// What was seen.
    pub text: String,
}

/// Through which door a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A script's call of the API.
    #[default]
    Api,
    /// The page.
    Page,
    /// A form of the page without JavaScript.
    Form,
    /// The command line.
    Cli,
    /// None: the server did it by itself.
    Server,
}

/// Who sent a request and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    /// The account; none while there are no accounts.
    pub who: Option<String>,
    /// Through which door.
    pub source: Source,
    /// The peer's network address.
    pub address: Option<String>,
    /// The browser's session, as it names itself.
    pub session: Option<String>,
    /// The tab, as it names itself.
    pub tab: Option<String>,
}

/// A request and all that became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The id of the request, which is the id of the task.
    pub task_id: RequestId,
    /// The batch that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RequestId>,
    /// The host it runs on.
    pub host_id: HostId,
    /// The command's kind.
    pub kind: String,
    /// The UUID of the machine; none of a batch.
    pub target: Option<Uuid>,
    /// The machine's name when the command came, or how many there are.
    pub target_name: String,
    /// How far it is.
    pub state: TaskState,
    /// The state once it has ended.
    pub outcome: Option<TaskState>,
    /// Why it failed or is unknown; none when it worked.
    pub fault: Option<Fault>,
    /// How much is done; none where nothing tells.
    pub progress: Option<Progress>,
    /// Whether it can be cancelled now.
    #[serde(default)]
    pub cancellable: bool,
    /// Who asked, if there are accounts.
    pub who: Option<String>,
    /// Through which door it came.
    #[serde(default)]
    pub source: Source,
    /// When it was accepted, in Unix milliseconds.
    pub created_at: u64,
    /// How long it took or has taken, in milliseconds.
    pub duration_ms: u64,
    /// When this was so, in Unix milliseconds.
    pub timestamp: u64,
    /// What was seen on the way, the oldest first; not in lists.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

/// Lines of a task's log at most; the first and the last ones are kept.
const MAX_LINES: usize = 40;

impl Task {
    /// Ends it.
    pub fn end(&mut self, outcome: TaskState, fault: Option<Fault>, now: u64) {
        (self.state, self.outcome, self.fault) = (outcome, Some(outcome), fault);
        (self.progress, self.cancellable, self.timestamp) = (None, false, now);
        self.duration_ms = now.saturating_sub(self.created_at);
    }

    /// Notes something that was seen.
    pub fn note(&mut self, at: u64, text: impl Into<String>) {
        if self.log.len() >= MAX_LINES {
            self.log.remove(MAX_LINES / 2);
        }
        self.log.push(LogLine { at, text: text.into() });
    }

    /// What is done, as its button says it.
    pub fn label(&self) -> String {
        Command::label_of(&self.kind)
    }
}

/// One record of what people did: the intent, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Its number in the chain of records; grows with time.
    pub seq: u64,
    /// When it was asked, in Unix milliseconds.
    pub timestamp: u64,
    /// The request; none of what no request asked for, such as a start of the server.
    pub request_id: Option<RequestId>,
    /// The batch that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<RequestId>,
    /// What was asked: a command's kind, or an event of the server itself.
    pub kind: String,
    /// The command with its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// On which host.
    pub host_id: Option<HostId>,
    /// On what: the UUID of the machine.
    pub target: Option<Uuid>,
    /// Its name at that time.
    pub target_name: String,
    /// Who, and from where.
    #[serde(flatten)]
    pub origin: Origin,
    /// What became of it: a state of a task, or `refused`.
    pub outcome: String,
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
    /// The host it is about.
    pub host_id: Option<HostId>,
    /// The record. It is for programs: our own client only counts them and does not
    /// read it.
    #[serde(skip_deserializing)]
    pub record: Option<Box<AuditRecord>>,
    /// When it became durable, in Unix milliseconds.
    pub timestamp: u64,
}

/// Ended tasks that are kept for pages that have just come.
const KEPT: usize = 30;

/// Puts a task's new state into a list, the oldest first; once or twice is the
/// same, and an older state never overwrites a newer one.
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
