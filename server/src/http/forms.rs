//! Form submissions, without JavaScript and on server-rendered pages: a form becomes a command. The
//! page is returned with the result; a script that requests JSON gets the request ids immediately.

use std::{sync::Arc, time::Duration};

use app::{backend::Refused, routes};
use axum::{
    Extension, Form, Json,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use futures_util::future::join_all;
use model::{
    Command, CommandRequest, Fault, FaultKind, HostId, NetworkCommand, ObjectRef, Origin, PoolCommand, RequestId,
    Source,
};
use serde_json::json;
use uuid::Uuid;

use super::{Failed, authorize::Admitted, pages::Pages};
use crate::visibility::Sight;

/// How long a form waits for its command before the page is returned.
pub(super) const FORM_WAIT: Duration = Duration::from_secs(8);
/// Maximum machines per form.
const MAX_BATCH: usize = 200;
/// Fields of every command form; all others are the command's arguments.
const OF_THE_FORM: [&str; 6] = ["token", "do", "back", "from", "confirm", "select"];

/// The fields of a form.
struct Fields(Vec<(String, String)>);

impl Fields {
    /// The last field of that name: the button comes after all fields.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().trim().to_owned()
    }

    /// The command's fields, as in a URL.
    fn own(&self) -> Vec<(&str, &str)> {
        let own = self.0.iter().filter(|(name, _)| !OF_THE_FORM.contains(&name.as_str()));
        own.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The targets. A new object gets an id that is derived from the form.
    fn targets(&self, kind: &str, target: &str, token: Uuid) -> Result<Vec<ObjectRef>, Fault> {
        let object = Command::object_of(kind);
        let read = |text: &str| ObjectRef::parse(object, text);
        let targets: Result<Vec<ObjectRef>, String> = match target {
            "selected" => {
                let ticked = self.0.iter().filter(|(key, _)| key == "select");
                ticked.map(|(_, value)| read(value)).collect()
            }
            "new" => {
                let id = Uuid::new_v5(&token, format!("new {kind}").as_bytes());
                self.text("host").parse::<HostId>().map(|host| vec![ObjectRef::new(object, &host, id)])
            }
            one => read(one).map(|target| vec![target]),
        };
        let targets = targets.map_err(|why| Fault::invalid("target", &why))?;
        match targets.len() {
            0 => Err(Fault::invalid("select", "no machine selected; go back and select at least one")),
            1..=MAX_BATCH => Ok(targets),
            _ => Err(Fault::invalid("select", "at most 200 machines at a time without JavaScript")),
        }
    }
}

/// `POST /commands`: a form of buttons. The page is returned with the result of each machine;
/// losses are confirmed first.
pub(crate) async fn form(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    Extension(pages): Extension<Arc<Pages>>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let fields = Fields(fields);
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fault = match take(sight, origin, &fields, accepts == "application/json").await {
        Ok(answer) => return answer,
        Err(fault) => fault,
    };
    if !accepts.contains("text/html") {
        return Failed(fault).into_response();
    }
    // Users get the page of the form with the entered values.
    let page = super::back_to(fields.get("from").or_else(|| fields.get("back")), routes::VMS);
    let wish = fields.get("do").unwrap_or_default().to_owned();
    let back = match wish.split_once('@').map_or("", |(kind, _)| kind) {
        kind if PoolCommand::about_kind(kind).is_some() => routes::STORAGE,
        kind if NetworkCommand::about_kind(kind).is_some() => routes::NETWORKS,
        _ => routes::VMS,
    };
    let refused = Refused { wish, fields: fields.0, fault };
    pages.refused((&page, back), &headers, &admitted.visit(), refused).await
}

async fn take(sight: Sight, origin: Origin, fields: &Fields, scripted: bool) -> Result<Response, Fault> {
    let token: Uuid = fields
        .get("token")
        .and_then(|token| token.parse().ok())
        .ok_or_else(|| Fault::invalid("token", "the form is invalid; reload the page"))?;
    let (kind, target) = fields
        .get("do")
        .and_then(|wish| wish.split_once('@'))
        .ok_or_else(|| Fault::invalid("do", "no action selected"))?;
    sight.backend.may_send(&origin)?;
    let (command, targets) = (wanted(kind, fields)?, fields.targets(kind, target, token)?);
    sight.backend.may_send_parts(&origin, targets.len())?;
    let back = super::back_to(fields.get("back"), routes::VMS);
    let hosts = sight.backend.feed().snapshot().hosts;
    let name_of = |id: &ObjectRef| command.target_name(hosts.hosts.get(&id.host)?, id.id);
    let names: Vec<String> = targets.iter().filter_map(name_of).collect();
    let typed = command.typed(names.first().map_or("", String::as_str), targets.len());
    let said = fields.get("confirm");
    let confirmed = said.is_some_and(|said| typed.as_ref().is_none_or(|typed| said.trim() == typed));
    if command.asks(targets.len()).is_some() && !confirmed {
        let confirm = routes::confirm(kind, &targets, &back, &fields.own());
        return Ok(match scripted {
            true => Json(json!({ "confirm": confirm })).into_response(),
            false => Redirect::to(&confirm).into_response(),
        });
    }
    for target in &targets {
        sight.target(&command, target)?;
    }
    let source = if scripted { Source::Page } else { Source::Form };
    let (origin, backend) = (Origin { source, ..origin }, &sight.backend);
    let label = command.label();
    // The same form sent twice produces the same ids, and so has one effect.
    let wish = format!("{kind}@{target} {:?}", fields.own());
    let sent = targets.into_iter().map(|target| {
        let request_id = RequestId(Uuid::new_v5(&token, format!("{wish} {target}").as_bytes()));
        let request = CommandRequest::new(request_id, &target, command.clone());
        let origin = origin.clone();
        async move {
            match backend.accept(request, origin).await {
                Ok(_) if scripted => {}
                Ok(_) => backend.wait(request_id, FORM_WAIT).await,
                Err(fault) if scripted => return Err(fault),
                // A request that was not recorded cannot be shown by its id.
                Err(fault) if fault.kind == FaultKind::InsufficientStorage => return Err(fault),
                // Other refusals are recorded with the id and shown as results.
                Err(_) => {}
            }
            Ok(request_id)
        }
    });
    let ids: Vec<RequestId> = join_all(sent).await.into_iter().collect::<Result<_, _>>()?;
    // A form with fields is shown until it succeeds; the result of a button is shown on the page.
    let kept = !scripted && said.is_none() && !fields.own().is_empty();
    if let ([id], true) = (&ids[..], kept)
        && let Some(Err(fault)) = backend.done(*id).and_then(|done| done.outcome)
    {
        return Err(fault);
    }
    if scripted {
        let answer = json!({ "requestIds": ids, "label": label, "done": command.done(), "name": names.join(", ") });
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    }
    Ok(Redirect::to(&routes::with_results(&back, &ids)).into_response())
}

/// The command of a form.
fn wanted(kind: &str, fields: &Fields) -> Result<Command, Fault> {
    Command::from_form(kind, |name| fields.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_is_new_gets_the_same_id_from_the_same_form() {
        let (all, token) = (fields(&[("host", "atlas")]), Uuid::from_u128(1));
        let target = |kind| all.targets(kind, "new", token).expect("one").remove(0);
        assert_eq!(target("definePool"), target("definePool"));
        assert_ne!(target("definePool"), target("defineNetwork"));
        assert!(fields(&[("host", "a/b")]).targets("definePool", "new", token).is_err());
    }
}
