//! Machines for programs: windows of the list, and one with its version as `ETag`.
//!
//! Which machines match, and in which order, `model::selection` decides, as for the page.

use std::{collections::BTreeMap, sync::Arc};

use app::backend::Backend as _;
use axum::{
    Extension, Json,
    extract::{Path, Query as Address},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use model::{
    Domain, DomainRef, DomainState, Fault, FaultKind, HostId,
    selection::{COLUMNS, CountsByName, Order, Selection},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Failed, answers::Paged};
use crate::{history::Parameters, visibility::Sight, windows};

/// Machines of a window when nobody says how many, and at most.
const WINDOW: usize = 100;
const MAX_WINDOW: usize = 500;

/// A machine, and where it is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    /// The host that has it.
    host_id: HostId,
    #[serde(flatten)]
    domain: Arc<Domain>,
}

/// Some of the machines that match, in order.
#[derive(Serialize, JsonSchema)]
pub(super) struct DomainPage {
    /// The machines of this window.
    domains: Vec<Machine>,
    /// How many match in all.
    counts: CountsByName,
    /// What `after` continues from; null at the end. Opaque to clients.
    next: Option<String>,
}

/// `GET /api/v1/domains`
pub(super) async fn list(
    Extension(sight): Extension<Sight>,
    uri: Uri,
    Address(fields): Address<BTreeMap<String, String>>,
) -> Result<Response, Failed> {
    let wishes = Parameters(fields);
    let selection = selection(&wishes)?;
    let limit = wishes.parsed::<usize>("limit", "number")?.unwrap_or(WINDOW).clamp(1, MAX_WINDOW);
    let hosts = sight.snapshot().hosts;
    let after: Option<DomainRef> = wishes.parsed("after", "position")?;
    let after = match &after {
        None => None,
        Some(id) => Some((id, hosts.domain(id).cloned().ok_or_else(gone)?)),
    };
    let used = windows::used(&sight.backend.history, &selection);
    let ids: Vec<DomainRef> = hosts.ids().collect();
    let machines = || ids.iter().zip(hosts.domains()).map(|(id, (_, domain))| (id, domain.clone()));
    let (found, rest) = selection.found(&mut machines(), app::format::folded);
    let found = || found.iter().map(|(id, domain)| (*id, domain.clone()));
    let counts = rest.counts(&mut found(), app::format::folded);
    let (window, more) = rest.window(&mut found(), &used, app::format::folded, (after, limit));
    let next = window.last().filter(|_| more).map(|(id, _)| id.to_string());
    let domains = window.into_iter().map(|(id, domain)| Machine { host_id: id.host, domain }).collect();
    let link = next.clone();
    Ok(Paged { answer: DomainPage { domains, counts: counts.into(), next }, next: link, uri }.into_response())
}

/// The machine that a list would continue from is not there any more.
fn gone() -> Fault {
    Fault::new(FaultKind::NotFound, "The machine that this list would continue from no longer exists")
        .with_next("Read the list from its beginning")
}

/// What the query asks for. Programs are told of what the page would leave out.
fn selection(wishes: &Parameters) -> Result<Selection, Fault> {
    let state = wishes.text("state").map(|key| {
        let known = || DomainState::ALL.map(DomainState::key).join(", ");
        DomainState::from_key(key).ok_or_else(|| Fault::invalid("state", &format!("must be one of {}", known())))
    });
    let order = Order::parse(wishes.text("sort"), "name");
    if !COLUMNS.contains(&order.key.as_str()) {
        let why = format!("must be one of {}, with - in front for the largest first", COLUMNS.join(", "));
        return Err(Fault::invalid("sort", &why));
    }
    let text = |name| wishes.text(name).map(str::to_owned);
    Ok(Selection {
        search: text("q").unwrap_or_default(),
        state: state.transpose()?,
        host: text("host"),
        tag: text("tag"),
        order,
    })
}

/// `GET /api/v1/domains/{host}/{uuid}`
pub(super) async fn one(
    Extension(sight): Extension<Sight>,
    Path((host, uuid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let id = super::machine(&host, &uuid)?;
    sight.machine(&id)?;
    let missing = || model::ObjectRef::from(&id).missing();
    let domain = sight.snapshot().hosts.domain(&id).cloned().ok_or_else(missing)?;
    let tag = entity_tag(domain.version);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known == "*" || known.split(',').any(|known| known.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(Machine { host_id: id.host, domain })).into_response())
}

/// The version of an object as an entity tag (RFC 9110, 8.8.3).
fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version that a request is for (`If-Match`); none when any will do.
///
/// # Errors
/// `Invalid`, when it is not a version.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let wrong = || Fault::invalid("If-Match", "must be the ETag of the object, such as \"7\"");
    match value.to_str().map_err(|_| wrong())?.trim() {
        "*" => Ok(None),
        tag => {
            let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(wrong)?;
            version.parse().map(Some).map_err(|_| wrong())
        }
    }
}
