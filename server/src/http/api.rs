//! The JSON routes, and the forms that do the same for browsers without
//! JavaScript.

use std::{sync::Arc, time::Duration};

use app::{backend::Backend as _, routes};
use axum::{
    Extension, Form, Json,
    extract::{Path, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::future::join_all;
use model::{
    BatchRequest, Command, CommandRequest, DomainRef, Fault, FaultKind, HostId, Origin, Receipt, RequestId, Source,
    inventory::Snapshot,
};
use serde_json::json;
use uuid::Uuid;

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
    let Json(request) = request.map_err(unreadable)?;
    sight.machine(&request.domain())?;
    Ok((StatusCode::ACCEPTED, Json(sight.backend.accept(request, origin).await?)))
}

/// `POST /api/v1/batches`
pub(crate) async fn batch(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    request: Result<Json<BatchRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let Json(request) = request.map_err(unreadable)?;
    // One that is out of sight is a mistake or worse, so nothing of it begins.
    for id in &request.targets {
        sight.machine(&DomainRef { host: request.host.clone(), id: *id })?;
    }
    Ok((StatusCode::ACCEPTED, Json(sight.backend.accept_batch(request, origin).await?)))
}

/// Why a body is no command.
fn unreadable(rejection: JsonRejection) -> Fault {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Fault::invalid("Content-Type", "a command is sent as application/json")
        }
        other => Fault::invalid("body", &one_line(&other.body_text())),
    }
}

/// `POST /api/v1/hosts/{host}/reconnect`
pub(crate) async fn reconnect(
    Extension(sight): Extension<Sight>,
    Path(host): Path<String>,
) -> Result<StatusCode, Failed> {
    let host: HostId = host.parse().map_err(|why: String| Fault::invalid("host", &why))?;
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
    let host: HostId = host.parse().map_err(|why: String| Fault::invalid("host", &why))?;
    sight.host(&host)?;
    sight.backend.reconnect_and_wait(&host, FORM_WAIT).await?;
    Ok(Redirect::to(&super::back_to(field("back"), routes::HOSTS)))
}

/// `GET /api/v1/domains/{host}/{uuid}/definition`
pub(crate) async fn definition(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let id: DomainRef = format!("{host}/{uuid}").parse().map_err(|why: String| Fault::invalid("address", &why))?;
    let text = sight.definition(&id).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
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

/// How long a form waits for its command to end before the page comes back.
const FORM_WAIT: Duration = Duration::from_secs(8);
/// Machines in one form.
const MAX_BATCH: usize = 200;

/// `POST /commands`: what buttons do without JavaScript. The page comes back
/// with the result of each machine; what loses something is confirmed first.
pub(crate) async fn form(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Failed> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let token: Uuid = field("token")
        .and_then(|token| token.parse().ok())
        .ok_or_else(|| Fault::invalid("token", "the form is damaged; load the page again"))?;
    let (kind, target) = field("do")
        .and_then(|wish| wish.split_once('@'))
        .ok_or_else(|| Fault::invalid("do", "no action was chosen"))?;
    let command = wanted(kind, &field)?;
    let targets: Vec<DomainRef> = if target == "selected" {
        fields.iter().filter(|(key, _)| key == "select").map(|(_, value)| value.parse()).collect::<Result<_, _>>()
    } else {
        target.parse().map(|target| vec![target])
    }
    .map_err(|why: String| Fault::invalid("target", &why))?;
    let back = super::back_to(field("back"), routes::VMS);
    if targets.is_empty() {
        return Err(Fault::invalid("select", "no machine was selected; go back and tick some").into());
    }
    if targets.len() > MAX_BATCH {
        return Err(Fault::invalid("select", "at most 200 machines at once without JavaScript").into());
    }
    if command.loses().is_some() && field("confirm").is_none() {
        return Ok(Redirect::to(&routes::confirm(kind, &targets, &back)).into_response());
    }
    for target in &targets {
        sight.machine(target)?;
    }
    let (origin, backend) = (Origin { source: Source::Form, ..origin }, &sight.backend);
    let sent = targets.into_iter().map(|target| {
        // The same form sent twice makes the same ids, and so has one effect.
        let request_id = RequestId(Uuid::new_v5(&token, format!("{kind}@{target}").as_bytes()));
        let request = CommandRequest::new(request_id, &target, command.clone());
        let origin = origin.clone();
        async move {
            match backend.accept(request, origin).await {
                Ok(_) => backend.wait(request_id, FORM_WAIT).await,
                // What was never written down cannot be shown by its id.
                Err(fault) if fault.kind == FaultKind::InsufficientStorage => return Err(fault),
                // Another refusal is remembered with the id and shown like any other result.
                Err(_) => {}
            }
            Ok(request_id)
        }
    });
    let ids: Vec<RequestId> = join_all(sent).await.into_iter().collect::<Result<_, _>>()?;
    Ok(Redirect::to(&routes::with_results(&back, &ids)).into_response())
}

/// The command that a form asks for.
fn wanted<'a>(kind: &str, field: &impl Fn(&str) -> Option<&'a str>) -> Result<Command, Fault> {
    let text = |name: &str| field(name).unwrap_or_default().to_owned();
    Ok(match kind {
        "setAutostart" => Command::SetAutostart { enabled: field("enabled") == Some("true") },
        "rename" => Command::Rename { name: text("name") },
        "setTitle" => Command::SetTitle { title: text("title") },
        // Browsers send line breaks of text areas as CR LF.
        "setDescription" => Command::SetDescription { description: text("description").replace("\r\n", "\n") },
        "setTags" => Command::SetTags { tags: app::format::tags(&text("tags")) },
        other => Command::button(other).ok_or_else(|| Fault::invalid("do", "there is no such action"))?,
    })
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
