//! The JSON routes. Forms that do the same are in `forms`.

use std::sync::Arc;

use app::{backend::Backend as _, routes};
use axum::{
    Extension, Form, Json,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use model::{
    BatchRequest, CommandRequest, DomainRef, Fault, FaultKind, HostId, Origin, Receipt, domain::GuestDetails,
    hardware::Hardware, inventory::Snapshot,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Failed;
use crate::{Backend, sight::Sight};

/// `GET /api/v1/inventory`
pub(crate) async fn inventory(Extension(sight): Extension<Sight>) -> Json<Snapshot> {
    Json(sight.snapshot())
}

/// `POST /api/v1/commands`
pub(crate) async fn command(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    request: Result<Json<CommandRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    sight.backend.may_send(&origin)?;
    let Json(request) = request.map_err(unreadable)?;
    sight.target(&request.command, &request.object())?;
    Ok((StatusCode::ACCEPTED, Json(sight.backend.accept(request, origin).await?)))
}

/// `POST /api/v1/batches`
pub(crate) async fn batch(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    request: Result<Json<BatchRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    sight.backend.may_send(&origin)?;
    let Json(request) = request.map_err(unreadable)?;
    sight.backend.may_send_parts(&origin, request.targets.len())?;
    // One that is out of sight is a mistake or worse, so nothing of it begins.
    for id in &request.targets {
        sight.machine(&DomainRef { host: request.host.clone(), id: *id })?;
    }
    Ok((StatusCode::ACCEPTED, Json(sight.backend.accept_batch(request, origin).await?)))
}

/// Why a body is no command.
pub(super) fn unreadable(rejection: JsonRejection) -> Fault {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Fault::invalid("Content-Type", "a command is sent as application/json")
        }
        other => Fault::invalid("body", &one_line(&other.body_text())),
    }
}

/// The host that an address names.
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

/// `POST /reconnect`: the same without JavaScript. The page comes back when the
/// attempt has ended.
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

/// `GET /api/v1/domains/{host}/{uuid}/definition`
pub(crate) async fn definition(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let id = super::object(&host, &uuid)?;
    let text = sight.definition(&id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `GET /api/v1/networks/{host}/{uuid}/definition`
pub(crate) async fn network_definition(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let id = super::object(&host, &uuid)?;
    let text = sight.network_definition(&id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `GET /api/v1/domains/{host}/{uuid}/guest`
pub(crate) async fn guest(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
) -> Result<Json<GuestDetails>, Failed> {
    let id = super::object(&host, &uuid)?;
    Ok(Json(sight.guest(&id).await?))
}

/// Whose keys are asked for.
#[derive(Deserialize)]
pub(crate) struct KeysOf {
    #[serde(default = "root")]
    user: String,
}

fn root() -> String {
    "root".into()
}

/// `GET /api/v1/domains/{host}/{uuid}/ssh-keys?user=`
pub(crate) async fn ssh_keys(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
    Query(KeysOf { user }): Query<KeysOf>,
) -> Result<Json<Value>, Failed> {
    let id = super::object(&host, &uuid)?;
    Ok(Json(json!({ "keys": sight.keys_of(&id, &user).await? })))
}

/// `GET /api/v1/pools/{host}/{uuid}/volumes`
pub(crate) async fn volumes(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
) -> Result<Json<Value>, Failed> {
    let id = super::object(&host, &uuid)?;
    Ok(Json(json!({ "volumes": sight.volumes(&id).await? })))
}

/// `GET /api/v1/hosts/{host}/hardware`
pub(crate) async fn hardware(
    Extension(sight): Extension<Sight>,
    Path(host): Path<String>,
) -> Result<Json<Hardware>, Failed> {
    Ok(Json(sight.hardware(&host_of(&host)?).await?))
}

/// `GET /api/v1/networks/{host}/{uuid}/leases`
pub(crate) async fn leases(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
) -> Result<Json<Value>, Failed> {
    let id = super::object(&host, &uuid)?;
    Ok(Json(json!({ "leases": sight.leases(&id).await? })))
}

/// `POST /api/v1/journal/check`: tries now whether the journal can be written.
pub(crate) async fn check_journal(State(backend): State<Arc<Backend>>) -> Result<StatusCode, Failed> {
    backend.check_journal().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Any other address below `/api`.
pub(crate) async fn unknown() -> Failed {
    Failed(Fault::new(FaultKind::NotFound, "There is no such address in the API"))
}

/// `GET /readyz`: 200 once every host's first listing has finished or failed.
pub(crate) async fn ready(State(backend): State<Arc<Backend>>, sight: Option<Extension<Sight>>) -> Response {
    let mut waiting = backend.unsettled();
    let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let ready = waiting.is_empty();
    // The names of hosts are for those who see them.
    waiting.retain(|host| sight.as_ref().is_some_and(|sight| sight.host(host).is_ok()));
    (status, Json(json!({ "ready": ready, "waitingFor": waiting }))).into_response()
}

/// `POST /theme`: remembers light or dark in a cookie, so that the server can
/// render it. It holds nothing else, so scripts may write it too.
pub(crate) async fn theme(Form(fields): Form<Vec<(String, String)>>) -> Response {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let theme = match field("theme") {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "auto",
    };
    let back = super::back_to(field("back"), routes::VMS);
    let cookie = format!("theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax");
    ([(header::SET_COOKIE, cookie)], Redirect::to(&back)).into_response()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
