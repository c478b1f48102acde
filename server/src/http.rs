//! The routes and the middleware, each as one list.
//!
//! A handler translates between HTTP and the backend and decides nothing else.

mod api;
mod assets;
pub(crate) mod connection;
mod consoles;
mod content;
mod door;
mod events;
mod forms;
mod guard;
pub(crate) mod held;
mod manage;
mod metrics;
mod origin;
mod pages;
mod past;
#[cfg(feature = "oidc")]
mod provider;
mod reports;
pub(crate) mod takeover;
mod trace;

use std::{sync::Arc, time::Duration};

use app::routes;
use axum::{
    Extension, Json, Router,
    extract::Request,
    http::{StatusCode, Uri},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use model::{DomainRef, Fault, FaultKind};
use tower::ServiceExt;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    limit::RequestBodyLimitLayer,
    timeout::{RequestBodyTimeoutLayer, TimeoutLayer},
};

pub(crate) use self::assets::Assets;
use self::{door::Door, guard::Guard, pages::Pages};
use crate::{
    Backend,
    auth::{Asking, Auth},
    config::{Config, Tls},
};

/// Largest request body; the longest command is a description of 16 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may bring nothing.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// How long an answer may take to begin; forms wait for commands some seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The whole server as a router.
pub(crate) fn router(
    backend: &Arc<Backend>,
    config: &Config,
    assets: Assets,
    asking: Asking,
    set_up: Option<&str>,
) -> Router {
    let assets = Arc::new(assets);
    let pages = Arc::new(Pages::new(backend.clone(), assets.clone()));
    let guard = Arc::new(Guard::new(config.allow_host.clone()));
    let trusted = config.trusted_proxies.clone();
    let doors = Arc::new(origin::Doors { behind_proxy: config.behind_proxy, trusted });
    let auth = Arc::new(Auth::new(backend.clone(), config, asking, set_up));
    let door = Arc::new(Door::new(auth, assets.names.clone(), config));
    let answers = answers()
        .with_state(backend.clone())
        .layer(Extension(assets.names.clone()))
        // For browsers.
        .merge(assets::routes(&assets))
        .merge(doorway().with_state(door.clone()))
        .layer(Extension(pages.clone()))
        .fallback(get(pages::render).with_state(pages))
        .layer(CatchPanicLayer::custom(panicked))
        // A third less than one step below, which the library would take, for the same time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Precise(5)))
        // Of a body that comes drop by drop, too.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER_WITHIN));
    // A stream is never compressed, so it does not carry the room for it, either.
    let streams = Router::new().route("/events", get(events::stream)).with_state(backend.clone());
    let consoles = Router::new().route("/api/v1/consoles", get(consoles::open).post(consoles::ticket));
    let all = answers
        .merge(streams.merge(consoles).layer(CatchPanicLayer::custom(panicked)))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .merge(contents().with_state(backend.clone()).layer(CatchPanicLayer::custom(panicked)))
        // The outermost layer stands last.
        .layer(middleware::from_fn_with_state(doors, origin::note))
        .layer(middleware::from_fn_with_state(door, door::check))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(RequestBodyTimeoutLayer::new(BODY_WITHIN))
        .layer(middleware::from_fn_with_state(matches!(config.tls, Tls::Files { .. }), guard::headers))
        .layer(middleware::from_fn(trace::span));
    if routes::base().is_empty() {
        return all;
    }
    // Layers of a router run once a route is chosen, so this one is around it.
    Router::new().fallback_service(all.map_request(without_base))
}

/// A request as it is without the path below which a proxy shows the server; the proxy may
/// have taken it away already.
fn without_base(mut request: Request) -> Request {
    let uri = request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let inner = format!("{}{query}", routes::inner(uri.path()));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = inner.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Coming in and going, and what people do with accounts.
fn doorway() -> Router<Arc<Door>> {
    let doorway = Router::new()
        .route("/login", get(door::log_in_page).post(door::log_in))
        .route("/login/code", post(door::log_in_by_code))
        .route("/login/{secret}", get(door::link_page).post(door::log_in_by_link))
        .route("/setup/{secret}", get(door::set_up_page).post(door::set_up))
        .route("/logout", post(door::log_out))
        .route("/manage/password", post(manage::password))
        .route("/manage/factor", post(manage::factor))
        .route("/manage/sessions", post(manage::sessions))
        .route("/manage/users", post(manage::users))
        .route("/manage/tokens", post(manage::tokens))
        .route("/manage/definition", post(manage::definition));
    #[cfg(feature = "oidc")]
    let doorway =
        doorway.route("/login/provider", get(provider::begin)).route("/login/provider/back", get(provider::back));
    doorway
}

/// The content of volumes, which is larger than anything else and takes its time.
fn contents() -> Router<Arc<Backend>> {
    Router::new()
        .route("/api/v1/uploads/{id}", get(content::offset).put(content::piece))
        .route("/api/v1/pools/{host}/{uuid}/content", get(content::download))
        .layer(RequestBodyLimitLayer::new(content::MAX_PIECE))
}

/// What is answered of the hosts.
fn answers() -> Router<Arc<Backend>> {
    Router::new()
        // For programs and for our own client.
        .route("/api/v1/inventory", get(api::inventory))
        .route("/api/v1/commands", post(api::command))
        .route("/api/v1/batches", post(api::batch))
        .route("/api/v1/tasks", get(past::tasks))
        .route("/api/v1/tasks/{id}", get(past::task))
        .route("/api/v1/tasks/{id}/cancel", post(past::cancel))
        .route("/api/v1/audit", get(past::audit))
        .route("/api/v1/audit.jsonl", get(past::export))
        .route("/api/v1/events", get(past::events))
        .route("/api/v1/stats", get(past::trends))
        .route("/api/v1/stats/{host}/{uuid}", get(past::stats))
        .route("/api/v1/journal/check", post(api::check_journal))
        .route("/api/v1/hosts/{host}/reconnect", post(api::reconnect))
        .route("/api/v1/domains/{host}/{uuid}/definition", get(api::definition))
        .route("/api/v1/domains/{host}/{uuid}/guest", get(api::guest))
        .route("/api/v1/domains/{host}/{uuid}/ssh-keys", get(api::ssh_keys))
        .route("/api/v1/pools/{host}/{uuid}/volumes", get(api::volumes))
        .route("/api/v1/hosts/{host}/hardware", get(api::hardware))
        .route("/api/v1/networks/{host}/{uuid}/leases", get(api::leases))
        .route("/api/v1/networks/{host}/{uuid}/definition", get(api::network_definition))
        .route("/api/{*unknown}", get(api::unknown).post(api::unknown))
        .route("/api/v1/reports", post(reports::report).with_state(Arc::new(reports::Reports::default())))
        // For forms.
        .route("/commands", post(forms::form))
        .route("/cancel", post(past::cancel_form))
        .route("/reconnect", post(api::reconnect_form))
        .route("/theme", post(api::theme))
        // For those who watch the server.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(metrics::metrics))
}

/// A panic in one request is that request's alone; its text stays in the log.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    let fault = Fault::new(FaultKind::Internal, "Belvedere made a mistake with this request");
    Failed(fault.with_next("See the server's log")).into_response()
}

/// What the host and the UUID of an address mean.
///
/// # Errors
/// `Invalid`.
fn object(host: &str, uuid: &str) -> Result<DomainRef, Fault> {
    format!("{host}/{uuid}").parse().map_err(|why: String| Fault::invalid("address", &why))
}

/// Where a form wants to go back to, or the page it belongs to.
fn back_to(wished: Option<&str>, page: &str) -> String {
    wished.filter(|back| routes::is_local(back)).map_or_else(|| routes::at(page), str::to_owned)
}

/// A fault as an answer: its status, and `{fault, reason, next}`.
pub(crate) struct Failed(pub(crate) Fault);

/// The status that a fault is answered with.
fn status(fault: &Fault) -> StatusCode {
    StatusCode::from_u16(fault.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = (status(&self.0), Json(&self.0)).into_response();
        if matches!(self.0.kind, FaultKind::Busy | FaultKind::Unreachable | FaultKind::TooMany) {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, axum::http::HeaderValue::from_static("3"));
        }
        response
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}
