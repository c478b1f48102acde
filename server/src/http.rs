//! The routes and the middleware, each as one list.
//!
//! A handler translates between HTTP and the backend and decides nothing else.

mod api;
mod assets;
mod authorize;
pub(crate) mod connection;
mod consoles;
mod content;
mod events;
mod forms;
mod guard;
pub(crate) mod held;
mod login;
mod manage;
mod metrics;
mod origin;
mod pages;
mod past;
#[cfg(feature = "oidc")]
mod provider;
mod reports;
mod table;
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
    routing,
};
use model::{
    DomainRef, Fault, FaultKind,
    Permission::{ManageAccounts, Operate, OwnAccount, ReadAudit, ReadSecrets, View},
    query,
};
use tower::ServiceExt;
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    limit::RequestBodyLimitLayer,
    timeout::{RequestBodyTimeoutLayer, TimeoutLayer},
};

pub(crate) use self::assets::Assets;
use self::{
    guard::Guard,
    login::Door,
    pages::Pages,
    table::{Table, get, post, put},
};
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
    let (answers, a) = answers().split();
    let (files, b) = assets::table(&assets).split();
    let (sign_in, c) = sign_in().split();
    let (streams, d) = streams().split();
    let (consoles, e) = consoles().split();
    let (contents, f) = contents().split();
    let decisions = Arc::new(a.and(b).and(c).and(d).and(e).and(f));
    let answers = answers
        .with_state(backend.clone())
        .layer(Extension(assets.names.clone()))
        .layer(Extension(Arc::new(reports::Reports::default())))
        // For browsers.
        .merge(files)
        .merge(sign_in.with_state(door.clone()))
        .layer(Extension(pages.clone()))
        .fallback(routing::get(pages::render).with_state(pages))
        .layer(CatchPanicLayer::custom(panicked))
        // A third less than one step below, which the library would take, for the same time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Precise(5)))
        // Of a body that comes drop by drop, too.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER_WITHIN));
    // A stream is never compressed, so it does not carry the room for it, either.
    let endless = streams.with_state(backend.clone()).merge(consoles);
    let contents = contents.layer(RequestBodyLimitLayer::new(content::MAX_PIECE));
    let all = answers
        .merge(endless.layer(CatchPanicLayer::custom(panicked)))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .merge(contents.with_state(backend.clone()).layer(CatchPanicLayer::custom(panicked)))
        // The outermost layer stands last.
        .layer(middleware::from_fn_with_state(doors, origin::note))
        .layer(middleware::from_fn_with_state((door, decisions), authorize::check))
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

/// Signing in and out, and what people do with accounts.
fn sign_in() -> Table<Arc<Door>> {
    let table = Table::new([
        get("/login", login::log_in_page).public(),
        post("/login", login::log_in).public(),
        post("/login/code", login::log_in_by_code).public(),
        get("/login/{secret}", login::link_page).public(),
        post("/login/{secret}", login::log_in_by_link).public(),
        get("/setup/{secret}", login::set_up_page).public(),
        post("/setup/{secret}", login::set_up).public(),
        post("/logout", login::log_out).public(),
        post("/manage/password", manage::password).needs(OwnAccount),
        post("/manage/factor", manage::factor).needs(OwnAccount),
        post("/manage/sessions", manage::sessions).needs(OwnAccount),
        post("/manage/users", manage::users).needs(ManageAccounts),
        post("/manage/tokens", manage::tokens).needs(ManageAccounts),
        post("/manage/definition", manage::definition).needs(ReadSecrets),
    ]);
    #[cfg(feature = "oidc")]
    let table = table
        .with(get("/login/provider", provider::begin).public())
        .with(get("/login/provider/back", provider::back).public());
    table
}

/// The stream of events.
fn streams() -> Table<Arc<Backend>> {
    Table::new([get("/events", events::stream).needs(View)])
}

/// Consoles: tickets, and what they open.
fn consoles() -> Table<()> {
    Table::new([
        get("/api/v1/consoles", consoles::open).needs(Operate),
        post("/api/v1/consoles", consoles::ticket).needs(Operate),
    ])
}

/// The content of volumes, which is larger than anything else and takes its time.
fn contents() -> Table<Arc<Backend>> {
    Table::new([
        get("/api/v1/uploads/{id}", content::offset).needs(Operate),
        put("/api/v1/uploads/{id}", content::piece).needs(Operate),
        // What lies in a volume is read by those who may use it.
        get("/api/v1/pools/{host}/{uuid}/content", content::download).needs(Operate),
    ])
}

/// What is answered of the hosts: for programs and our own client, for forms, and for those who
/// watch the server.
fn answers() -> Table<Arc<Backend>> {
    let table = Table::new([
        get("/api/v1/inventory", api::inventory).needs(View),
        post("/api/v1/commands", api::command).needs(Operate),
        post("/api/v1/batches", api::batch).needs(Operate),
        get("/api/v1/tasks", past::tasks).needs(View),
        get("/api/v1/tasks/{id}", past::task).needs(View),
        post("/api/v1/tasks/{id}/cancel", past::cancel).needs(Operate),
        get("/api/v1/audit", past::audit).needs(ReadAudit),
        get("/api/v1/audit.jsonl", past::export).needs(ReadAudit),
        get("/api/v1/events", past::events).needs(View),
        get("/api/v1/stats", past::trends).needs(View),
        get("/api/v1/stats/{host}/{uuid}", past::stats).needs(View),
        post("/api/v1/journal/check", api::check_journal).needs(Operate),
        post("/api/v1/hosts/{host}/reconnect", api::reconnect).needs(Operate),
        // What browsers complain of.
        post("/api/v1/reports", reports::report).needs(View),
        get("/api/{*unknown}", api::unknown).needs(View),
        post("/api/{*unknown}", api::unknown).needs(View),
        post("/commands", forms::form).needs(Operate),
        post("/cancel", past::cancel_form).needs(Operate),
        post("/reconnect", api::reconnect_form).needs(Operate),
        post("/theme", api::theme).public(),
        get("/healthz", async || "ok\n").public(),
        get("/readyz", api::ready).public(),
        get("/metrics", metrics::metrics).needs_all(View),
    ]);
    query::ALL.iter().fold(table, |table, about| {
        let ask = async move |sight, on, fields| api::ask(about, sight, on, fields).await;
        table.with(get(about.path(), ask).needs(about.permission))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_decision() {
        let (_, decisions) = answers().split();
        let more = [sign_in().split().1, streams().split().1, consoles().split().1, contents().split().1];
        let decisions = more.into_iter().fold(decisions, table::Decisions::and);
        let (undecided, all) = decisions.undecided();
        assert!(undecided.is_empty() && all > 40, "closed to everybody: {undecided:?} of {all}");
    }
}
