//! What the API answers in JSON beyond the model's own types.

use std::sync::Arc;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{AuditRecord, Fault, FaultKind, HostId, RequestId, Task, stats::Trend};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// Tasks, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct TaskPage {
    pub(super) tasks: Vec<Arc<Task>>,
    /// What `after` continues from; null at the end.
    pub(super) next: Option<u64>,
}

/// Audit records, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct RecordPage {
    pub(super) records: Vec<AuditRecord>,
    /// What `after` continues from; null at the end.
    pub(super) next: Option<u64>,
}

/// Past events, the oldest first unless asked otherwise.
#[derive(Serialize, JsonSchema)]
pub(super) struct EventPage {
    pub(super) events: Vec<PastEvent>,
    /// What `after` continues from; null at the end.
    pub(super) next: Option<u64>,
}

/// A past event.
#[derive(Serialize, JsonSchema)]
pub(super) struct PastEvent {
    /// Its position in the stream.
    pub(super) id: String,
    /// Its kind.
    pub(super) event: String,
    /// When it happened, in Unix milliseconds.
    pub(super) timestamp: u64,
    /// Its payload.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub(super) data: Box<RawValue>,
}

/// The task that something is done by.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    pub(super) task_id: RequestId,
}

/// How many bytes of an upload are written.
#[derive(Serialize, JsonSchema)]
pub(super) struct Offset {
    pub(super) offset: u64,
}

/// The WebSocket protocols that open a console; one of them is the ticket.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ticket {
    pub(super) protocols: [String; 2],
}

/// Whether the first listing of every host has finished or failed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// The hosts that are still read, as far as they are visible.
    pub(super) waiting_for: Vec<HostId>,
}

/// The last two minutes of every running machine.
#[derive(Serialize, JsonSchema)]
pub(super) struct Trends {
    pub(super) vms: Vec<Trend>,
}

/// An answer of which there may be more, with the address of the next one (RFC 8288).
pub(super) struct Paged<T> {
    pub(super) answer: T,
    pub(super) next: Option<String>,
    /// The address that was asked for.
    pub(super) uri: axum::http::Uri,
}

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.answer).into_response();
        if let Some(next) = self.next {
            let kept = form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(kept.filter(|(name, _)| name != "after")).append_pair("after", &next);
            let link = format!("<{}?{}>; rel=\"next\"", app::routes::at(self.uri.path()), query.finish());
            if let Ok(link) = HeaderValue::from_str(&link) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        response
    }
}

/// An error (RFC 9457), with what the model says of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Problem {
    /// What kind of error it is: `/errors/` and its code.
    #[serde(rename = "type")]
    uri: String,
    /// What its kind says.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The reason, with the field at fault.
    detail: String,
    #[serde(flatten)]
    fault: Fault,
}

impl Problem {
    /// A fault as it is answered.
    pub(super) fn of(mut fault: Fault, status: StatusCode) -> Self {
        let code = fault.code.get_or_insert_with(|| fault.kind.code().into());
        Self {
            uri: format!("{}{code}", app::routes::ERROR_TYPE),
            title: title(fault.kind),
            status: status.as_u16(),
            detail: fault.reason.clone(),
            fault,
        }
    }
}

/// What all faults of a kind have in common.
pub(super) fn title(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::NotFound => "The object does not exist",
        FaultKind::Denied => "Not possible in the present state",
        FaultKind::Conflict => "The object has changed, or the request id is taken",
        FaultKind::Invalid => "An argument is invalid",
        FaultKind::Unreachable => "The host's libvirt does not answer",
        FaultKind::Unsupported => "The host cannot do this",
        FaultKind::TimedOut => "No answer in time; the result is not known",
        FaultKind::Forbidden => "libvirt does not allow this to the server's account",
        FaultKind::SignedOut => "Sign-in is required",
        FaultKind::NotAllowed => "The account's role does not allow this",
        FaultKind::TooMany => "Too many requests",
        FaultKind::Busy => "The server or the object is busy",
        FaultKind::Refused => "libvirt refused it",
        FaultKind::Cancelled => "It was cancelled",
        FaultKind::Interrupted => "The server or the connection stopped meanwhile",
        FaultKind::InsufficientStorage => "The journal cannot be written",
        FaultKind::Internal => "Internal error",
    }
}

/// What this server can do.
#[derive(Serialize, JsonSchema)]
pub(super) struct Abilities {
    /// The version of Belvedere.
    version: &'static str,
    /// The kinds of commands.
    commands: Vec<&'static str>,
    /// The kinds of events.
    events: &'static [&'static str],
    /// The questions about objects.
    questions: Vec<String>,
    /// The optional parts that it was built with.
    features: Vec<&'static str>,
}

impl Abilities {
    /// Those of this server.
    pub(super) fn of(features: Vec<app::backend::Feature>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commands: model::Command::all().map(|about| about.kind).collect(),
            events: model::Event::KINDS,
            questions: model::query::ALL.iter().map(|about| format!("{}/{}", about.on.plural(), about.name)).collect(),
            features: features.into_iter().filter(|feature| feature.built).map(|feature| feature.flag).collect(),
        }
    }
}
