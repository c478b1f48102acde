//! Sends commands to the server: of machines one by one or by host, of forms, and of uploads. No
//! other code of the browser does.
//!
//! What becomes of them arrives as events.

use model::{BatchRequest, CommandRequest, DomainCommand, DomainRef, HostId, RequestId};
#[cfg(feature = "hydrate")]
use {
    crate::{
        api::{answered, fault, no_answer},
        routes,
    },
    leptos::prelude::window,
    model::{Fault, ObjectRef, PoolCommand},
    serde::{Deserialize, Serialize},
};

/// A random request id (RFC 9562, version 4).
pub(crate) fn new_id() -> RequestId {
    let mut bytes = [0; 16];
    #[cfg(feature = "hydrate")]
    if let Ok(crypto) = window().crypto() {
        // `randomUUID` exists in secure contexts only, `getRandomValues` everywhere.
        crypto.get_random_values_with_u8_array(&mut bytes).ok();
    }
    RequestId(uuid::Builder::from_random_bytes(std::mem::take(&mut bytes)).into_uuid())
}

/// The request for the machines of one host.
#[derive(Clone)]
pub(super) enum HostRequest {
    One(CommandRequest<DomainCommand>),
    Many(BatchRequest),
}

impl HostRequest {
    pub(super) fn new(request_id: RequestId, host: HostId, targets: &[DomainRef], command: &DomainCommand) -> Self {
        let (session, tab, command) = (session(), Some(tab().to_string()), command.clone());
        match targets {
            [one] => {
                Self::One(CommandRequest { session, tab, ..CommandRequest::new(request_id, &one.into(), command) })
            }
            many => {
                let targets = many.iter().map(|id| id.id).collect();
                Self::Many(BatchRequest { request_id, host, targets, command, session, tab })
            }
        }
    }

    pub(super) fn id(&self) -> RequestId {
        match self {
            Self::One(request) => request.request_id,
            Self::Many(request) => request.request_id,
        }
    }

    #[cfg(feature = "hydrate")]
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::One(request) => request.command.kind(),
            Self::Many(request) => request.command.kind(),
        }
    }

    pub(super) fn host(&self) -> &HostId {
        match self {
            Self::One(request) => &request.host,
            Self::Many(request) => &request.host,
        }
    }
}

#[cfg(feature = "hydrate")]
impl HostRequest {
    pub(super) async fn send(&self) -> Result<(), Fault> {
        match self {
            Self::One(request) => post(routes::API_COMMANDS, request).await,
            Self::Many(request) => post(routes::API_BATCHES, request).await,
        }
    }
}

/// Posts a request; its receipt says nothing new.
#[cfg(feature = "hydrate")]
async fn post(path: &str, request: &impl Serialize) -> Result<(), Fault> {
    let request = gloo_net::http::Request::post(&routes::at(path)).json(request).map_err(|_| no_answer())?;
    let response = request.send().await.map_err(|_| no_answer())?;
    if response.ok() {
        return Ok(());
    }
    Err(fault(&response.text().await.unwrap_or_default()))
}

/// Asks for an upload; its content follows.
///
/// # Errors
/// Why the server refused it, or that it does not respond.
#[cfg(feature = "hydrate")]
pub(crate) async fn begin_upload(pool: &ObjectRef, command: PoolCommand) -> Result<RequestId, Fault> {
    let (request_id, session, tab) = (new_id(), session(), Some(tab().to_string()));
    let request = CommandRequest::<PoolCommand>::new(request_id, pool, command);
    post(routes::API_COMMANDS, &CommandRequest { session, tab, ..request }).await.map(|()| request_id)
}

/// The server's response to a form.
#[cfg(feature = "hydrate")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(crate) enum Answer {
    Accepted(Sent),
    Confirm {
        /// The page that asks.
        confirm: String,
    },
}

/// The accepted requests of a form.
#[cfg(feature = "hydrate")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sent {
    /// One for each target.
    pub(crate) request_ids: Vec<RequestId>,
    /// The action, for example "Create volume".
    pub(crate) label: String,
    /// The text for success, for example "is created".
    pub(crate) done: String,
    /// The names of the targets.
    pub(crate) name: String,
}

/// Sends the fields of a form, URL-encoded.
///
/// # Errors
/// Why the server refused it, or that it does not respond.
#[cfg(feature = "hydrate")]
pub(crate) async fn form(fields: String) -> Result<Answer, Fault> {
    let request = gloo_net::http::Request::post(&routes::at(routes::COMMANDS))
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(fields)
        .map_err(|_| no_answer())?;
    answered(request.send().await.map_err(|_| no_answer())?).await
}

/// The id of this tab, for its lifetime.
fn tab() -> uuid::Uuid {
    thread_local! {
        static TAB: uuid::Uuid = new_id().0;
    }
    TAB.with(|tab| *tab)
}

/// The id of this browser's session, shared by its tabs; `None` without local storage.
fn session() -> Option<String> {
    #[cfg(feature = "hydrate")]
    {
        let storage = window().local_storage().ok()??;
        if let Ok(Some(known)) = storage.get_item(SESSION) {
            return Some(known);
        }
        let fresh = new_id().to_string();
        storage.set_item(SESSION, &fresh).ok()?;
        Some(fresh)
    }
    #[cfg(not(feature = "hydrate"))]
    None
}

/// The key in local storage.
#[cfg(feature = "hydrate")]
const SESSION: &str = "belvedere-session";
