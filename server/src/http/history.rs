//! Tasks, records, and past events, in pages. Reading changes nothing and executes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use app::routes;
use axum::{
    Extension, Form, Json,
    body::Body,
    extract::{Path, Query as Address, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::{StreamExt, stream};
use model::{Fault, RequestId, Task, stats::Usage};
use serde_json::value::RawValue;

use super::{
    Failed,
    answers::{Accepted, EventPage, PastEvent, RecordPage, TaskPage, Trends},
    authorize::{Admitted, while_allowed},
};
use crate::{
    Backend,
    history::{self, Parameters},
    journal::EventRow,
    tasks::now,
    visibility::Sight,
};

/// The fields of a query.
type Fields = Address<BTreeMap<String, String>>;

/// `GET /api/v1/tasks`: the newest first.
pub(crate) async fn tasks(
    Extension(sight): Extension<Sight>,
    Address(fields): Fields,
) -> Result<Json<TaskPage>, Failed> {
    let _turn = sight.turn().await?;
    let page = history::tasks(&sight.backend, Parameters(fields).query()?, &sight.eyes()).await?;
    Ok(Json(TaskPage { tasks: page.items, next: page.next }))
}

/// `GET /api/v1/tasks/{id}`: one with its log and its parts.
pub(crate) async fn task(
    Extension(sight): Extension<Sight>,
    Path(id): Path<String>,
) -> Result<Json<Arc<Task>>, Failed> {
    Ok(Json(sight.task(request_id(&id)?).await?))
}

pub(super) fn request_id(text: &str) -> Result<RequestId, Fault> {
    text.parse().map_err(|why: String| Fault::invalid("id", &why))
}

/// `POST /api/v1/tasks/{id}/cancel`
pub(crate) async fn cancel(
    Extension(sight): Extension<Sight>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Accepted>), Failed> {
    let id = request_id(&id)?;
    may_end(&sight, &admitted, id).await?;
    sight.backend.cancel(id).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { task_id: id })))
}

/// Whether a task may be cancelled by the client.
async fn may_end(sight: &Sight, admitted: &Admitted, id: RequestId) -> Result<(), Fault> {
    admitted.viewer().may_end(&*sight.task(id).await?)
}

/// How long a form waits for a cancelled task before the page is returned.
const FORM_WAIT: Duration = Duration::from_secs(3);

/// `POST /cancel`: cancelling without JavaScript.
pub(crate) async fn cancel_form(
    Extension(sight): Extension<Sight>,
    Extension(admitted): Extension<Admitted>,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Result<Redirect, Failed> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    let id = request_id(field("task").unwrap_or_default())?;
    may_end(&sight, &admitted, id).await?;
    let backend = &sight.backend;
    // A task that could not be cancelled is shown as it is on the returned page.
    if backend.cancel(id).await.is_ok() {
        backend.wait(id, FORM_WAIT).await;
    }
    Ok(Redirect::to(&super::back_to(field("back"), routes::TASKS)))
}

/// `GET /api/v1/audit`: the newest first.
pub(crate) async fn audit(
    Extension(sight): Extension<Sight>,
    Address(fields): Fields,
) -> Result<Json<RecordPage>, Failed> {
    let _turn = sight.turn().await?;
    let page = sight.backend.records(Parameters(fields).query()?).await?;
    Ok(Json(RecordPage { records: page.items, next: page.next }))
}

/// `GET /api/v1/audit.jsonl`: the whole chain, the oldest record first, exactly as in the file, so
/// that its hashes can be verified elsewhere.
pub(crate) async fn export(State(backend): State<Arc<Backend>>, Extension(admitted): Extension<Admitted>) -> Response {
    backend.note_everything().await;
    let lines = stream::unfold((backend, 0), async |(backend, after)| {
        let (lines, last) = match backend.journal.audit.export(after).await {
            Ok(piece) => piece?,
            Err(fault) => return Some((Err(std::io::Error::other(fault.reason)), (backend, u64::MAX))),
        };
        Some((Ok(lines), (backend, last)))
    });
    // It may take long, and ends when access is revoked.
    let lines = while_allowed(lines, admitted);
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"belvedere-audit.jsonl\""),
    ];
    // The compression layer polls again after the end.
    (headers, Body::from_stream(lines.fuse())).into_response()
}

/// The default range, in milliseconds.
const LAST_HOUR: u64 = 3_600_000;

/// `GET /api/v1/stats/{host}/{uuid}`: the usage of a machine.
pub(crate) async fn stats(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
    Address(fields): Fields,
) -> Result<Json<Usage>, Failed> {
    let id = super::machine(&host, &uuid)?;
    sight.machine(&id)?;
    let wishes = Parameters(fields);
    let to = wishes.moment("to")?.unwrap_or_else(now);
    let from = wishes.moment("from")?.unwrap_or(to.saturating_sub(LAST_HOUR));
    let _turn = sight.turn().await?;
    // In milliseconds, as in the response.
    let step = wishes.parsed("step", "number of milliseconds")?;
    Ok(Json(history::usage(&sight.backend, id, (from, to), step).await?))
}

/// The range of sparklines, in milliseconds.
const LAST_MINUTES: u64 = 120_000;

/// `GET /api/v1/stats`: the last two minutes of every running machine, in few points.
pub(crate) async fn trends(Extension(sight): Extension<Sight>) -> Json<Trends> {
    let trends = sight.backend.history.trends(now().saturating_sub(LAST_MINUTES));
    Json(Trends { vms: sight.trends(trends) })
}

/// `GET /api/v1/events`: what happened, the oldest first.
pub(crate) async fn events(
    Extension(sight): Extension<Sight>,
    Address(fields): Fields,
) -> Result<Json<EventPage>, Failed> {
    let _turn = sight.turn().await?;
    let page = history::events(&sight.backend, Parameters(fields).span()?, &sight.eyes()).await?;
    let event = |row: EventRow| {
        let data = RawValue::from_string(row.data).ok()?;
        Some(PastEvent { id: row.cursor, event: row.kind, timestamp: row.at, data })
    };
    Ok(Json(EventPage { events: page.items.into_iter().filter_map(event).collect(), next: page.next }))
}
