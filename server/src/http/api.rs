//! The JSON routes. The corresponding forms are in `forms`.

use std::{collections::BTreeMap, sync::Arc};

use app::{backend::Backend as _, routes};
use axum::{
    Extension, Form, Json,
    extract::{Path, Query, RawQuery, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use cookie::{Cookie, SameSite};
use model::{
    BatchRequest, CommandRequest, DomainRef, Fault, FaultKind, HostId, ObjectRef, Origin, Receipt, command,
    inventory::Snapshot,
    query::{self, Question},
    window::PageData,
};
use serde_json::Value;

use super::{
    Failed,
    answers::{Abilities, Readiness},
    cookies, domains, openapi,
};
use crate::{Backend, visibility::Sight};

/// `GET /api/v1/inventory`
pub(crate) async fn inventory(Extension(sight): Extension<Sight>) -> Json<Snapshot> {
    Json(sight.snapshot())
}

/// `GET /api/v1/view`: what the page of the browser at an address starts with.
pub(super) async fn view(
    Extension(sight): Extension<Sight>,
    Query(fields): Query<BTreeMap<String, String>>,
) -> Result<Json<PageData>, Failed> {
    let of = fields.get("of").ok_or_else(|| Fault::invalid("of", "must be the address of a page, such as /vms"))?;
    let (of, backend) = (of.clone(), sight.backend.clone());
    let page = backend.windows.of_requests.run(move || sight.page(&of)).await;
    Ok(Json(page.ok_or_else(|| Fault::new(FaultKind::Internal, "The page could not be read"))?))
}

/// `GET /api/v1`: what this server can do.
pub(super) async fn abilities(Extension(sight): Extension<Sight>) -> Json<Abilities> {
    Json(Abilities::of(sight.features()))
}

/// `GET /api/v1/openapi.json`
pub(super) async fn document(Query(fields): Query<BTreeMap<String, String>>) -> Result<Json<&'static Value>, Failed> {
    let version = openapi::Version::read(fields.get("version").map(String::as_str))?;
    Ok(Json(super::document(version)))
}

/// `POST /api/v1/commands`. The headers `Idempotency-Key` and `If-Match` are other spellings of
/// `requestId` and `expectedVersion`; another version than the header's is answered 412.
pub(crate) async fn command(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    request: Result<Json<Value>, JsonRejection>,
) -> Result<(StatusCode, Json<Receipt>), Response> {
    let refused = |fault: Fault| Failed(fault).into_response();
    sight.backend.may_send(&origin).map_err(refused)?;
    let Json(request) = request.map_err(|rejection| refused(unreadable(rejection)))?;
    let mut request: CommandRequest = with_key(request, &headers).and_then(read).map_err(refused)?;
    let expected = domains::expected(&headers).map_err(refused)?;
    request.expected_version = request.expected_version.or(expected);
    sight.target(&request.command, &request.object()).map_err(refused)?;
    match sight.backend.accept(request, origin).await {
        Ok(receipt) => Ok((StatusCode::ACCEPTED, Json(receipt))),
        Err(fault) if expected.is_some() && fault.code.as_deref() == Some(command::CHANGED) => {
            Err(super::failed(fault, StatusCode::PRECONDITION_FAILED))
        }
        Err(fault) => Err(refused(fault)),
    }
}

/// A request in JSON.
///
/// # Errors
/// `Invalid`, with what is wrong.
fn read<T: serde::de::DeserializeOwned>(request: Value) -> Result<T, Fault> {
    serde_json::from_value(request).map_err(|error| Fault::invalid("body", &one_line(&error.to_string())))
}

/// A request with the id that its header names.
///
/// # Errors
/// `Invalid`, when the two differ.
fn with_key(mut request: Value, headers: &HeaderMap) -> Result<Value, Fault> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(request) };
    // The draft has it as a string in quotes; clients send it without, too.
    let key = key.to_str().unwrap_or_default().trim().trim_matches('"');
    let id = request.as_object_mut().map(|fields| fields.entry("requestId").or_insert_with(|| key.into()));
    match id {
        Some(id) if id != key => Err(Fault::invalid("Idempotency-Key", "must equal requestId")),
        _ => Ok(request),
    }
}

/// `POST /api/v1/batches`
pub(crate) async fn batch(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    request: Result<Json<Value>, JsonRejection>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    sight.backend.may_send(&origin)?;
    let Json(request) = request.map_err(unreadable)?;
    let request: BatchRequest = with_key(request, &headers).and_then(read)?;
    if headers.contains_key(header::IF_MATCH) {
        return Err(Fault::invalid("If-Match", "a batch has many objects; send single commands").into());
    }
    sight.backend.may_send_parts(&origin, request.targets.len())?;
    // A machine outside of the scope is an error, so nothing of the batch starts.
    for id in &request.targets {
        sight.machine(&DomainRef { host: request.host.clone(), id: *id })?;
    }
    Ok((StatusCode::ACCEPTED, Json(sight.backend.accept_batch(request, origin).await?)))
}

/// Why a body is not a command.
pub(super) fn unreadable(rejection: JsonRejection) -> Fault {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Fault::invalid("Content-Type", "must be application/json"),
        other => Fault::invalid("body", &one_line(&other.body_text())),
    }
}

/// The host in a path.
fn host_of(text: &str) -> Result<HostId, Fault> {
    text.parse().map_err(|why: String| Fault::invalid("host", &why))
}

/// `POST /api/v1/hosts/{host}/reconnect`
pub(crate) async fn reconnect(
    Extension(sight): Extension<Sight>,
    Path(host): Path<String>,
) -> Result<StatusCode, Failed> {
    let host = host_of(&host)?;
    sight.host(&host)?;
    sight.backend.reconnect(&host)?;
    Ok(StatusCode::ACCEPTED)
}

/// `POST /reconnect`: reconnecting without JavaScript. The page is returned when the attempt has
/// ended.
pub(crate) async fn reconnect_form(
    Extension(sight): Extension<Sight>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Redirect, Failed> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let host = field("host").unwrap_or_default();
    let host = host_of(host)?;
    sight.host(&host)?;
    sight.backend.reconnect_and_wait(&host, super::forms::FORM_WAIT).await?;
    Ok(Redirect::to(&super::back_to(field("back"), routes::HOSTS)))
}

/// A query about an object, such as `GET /api/v1/domains/{host}/{uuid}/guest`.
pub(crate) async fn ask(
    about: &query::About,
    Extension(sight): Extension<Sight>,
    Path(on): Path<BTreeMap<String, String>>,
    RawQuery(fields): RawQuery,
) -> Result<Response, Failed> {
    let host = host_of(on.get("host").map(String::as_str).unwrap_or_default())?;
    let on = match on.get("uuid") {
        Some(uuid) => super::object(about.on, host.as_str(), uuid)?,
        None => ObjectRef::host(&host),
    };
    let fields = fields.unwrap_or_default();
    let fields = serde_urlencoded::Deserializer::new(form_urlencoded::parse(fields.as_bytes()));
    let question = Question::read(about, fields).ok_or_else(|| on.missing())?;
    let question = question.map_err(|error| Fault::invalid("query", &one_line(&error.to_string())))?;
    let answer = sight.ask(&on, question).await?;
    if !about.text {
        return Ok(Json(answer).into_response());
    }
    let text = match serde_json::to_value(answer) {
        Ok(Value::String(text)) => text,
        other => return Err(Fault::new(FaultKind::Internal, format!("{} is not text: {other:?}", about.name)).into()),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `POST /api/v1/journal/check`: checks whether the journal can be written.
pub(crate) async fn check_journal(State(backend): State<Arc<Backend>>) -> Result<StatusCode, Failed> {
    backend.check_journal().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Any other path below `/api`.
pub(crate) async fn unknown() -> Failed {
    Failed(Fault::new(FaultKind::NotFound, "Unknown API route"))
}

/// `GET /readyz`: 200 once the first listing of every host has finished or failed.
pub(crate) async fn ready(State(backend): State<Arc<Backend>>, sight: Option<Extension<Sight>>) -> Response {
    let mut waiting = backend.unsettled();
    let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let ready = waiting.is_empty();
    // Host names are only for accounts that see them.
    waiting.retain(|host| sight.as_ref().is_some_and(|sight| sight.host(host).is_ok()));
    (status, Json(Readiness { ready, waiting_for: waiting })).into_response()
}

/// `POST /theme`: stores the theme in a cookie, so that the server can render it. It contains
/// nothing else, so scripts may set it as well.
pub(crate) async fn theme(Form(fields): Form<Vec<(String, String)>>) -> Response {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let theme = match field("theme") {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "auto",
    };
    let back = super::back_to(field("back"), routes::VMS);
    let cookie =
        Cookie::build(("theme", theme)).path("/").max_age(cookies::lasting(31_536_000)).same_site(SameSite::Lax);
    cookies::set(Redirect::to(&back).into_response(), &cookie.build())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
