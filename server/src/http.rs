//! The routes and middleware, each as one list.
//!
//! A handler only translates between HTTP and the backend.

mod answers;
mod api;
mod assets;
mod authorize;
pub(crate) mod connection;
mod consoles;
mod content;
mod cookies;
mod domains;
mod events;
mod forms;
pub(crate) mod held;
mod history;
mod hosts;
mod login;
mod manage;
mod metrics;
pub(crate) mod openapi;
mod origin;
mod pages;
#[cfg(feature = "oidc")]
mod provider;
mod reports;
mod same_origin;
mod table;
pub(crate) mod takeover;
mod trace;
mod views;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use app::routes;
use axum::{
    Extension, Json, Router,
    extract::Request,
    http::{HeaderValue, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing,
};
use model::{
    BatchRequest, CommandRequest, Cursor, DomainRef, DomainState, Fault, FaultKind, HostId, ObjectKind, ObjectRef,
    Permission::{ManageAccounts, ManageHosts, Operate, OwnAccount, ReadAudit, ReadSecrets, View},
    Receipt, RequestId, query,
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
    answers::{Abilities, Accepted, EventPage, Offset, Problem, Readiness, RecordPage, TaskPage, Ticket, Trends},
    domains::{DomainPage, Machine},
    login::Door,
    openapi::{
        Content, Hosts, Machines, Moment, PageKey, PageSize, Seconds, Sort, Step, Topics, VersionName, WindowKey,
    },
    pages::Pages,
    same_origin::Guard,
    table::{Described, Route, Table, delete, get, post, put},
};
use crate::{
    Backend,
    auth::{Asking, Auth},
    config::{Config, Tls},
};

/// Maximum size of a request body; the longest command is a description of 16 KiB.
const MAX_BODY: usize = 64 * 1024;

/// Time limit without data of a request body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Time limit for the start of a response; forms wait some seconds for commands.
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
    let doors = Arc::new(origin::Proxies { behind_proxy: config.behind_proxy, trusted });
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
        // A third smaller than one level lower, the library's default, in the same time.
        .layer(CompressionLayer::new().quality(CompressionLevel::Precise(5)))
        // For slow bodies as well.
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ANSWER_WITHIN));
    // A stream is never compressed, so it does not need the buffers.
    let endless = streams.with_state(backend.clone()).merge(consoles);
    let contents = contents.layer(RequestBodyLimitLayer::new(content::MAX_PIECE));
    let all = answers
        .merge(endless.layer(CatchPanicLayer::custom(panicked)))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .merge(contents.with_state(backend.clone()).layer(CatchPanicLayer::custom(panicked)))
        // The outermost layer is last.
        .layer(middleware::from_fn_with_state(doors, origin::note))
        .layer(middleware::from_fn_with_state((door, decisions), authorize::check))
        .layer(middleware::from_fn_with_state(guard, same_origin::check))
        .layer(RequestBodyTimeoutLayer::new(BODY_WITHIN))
        .layer(middleware::from_fn_with_state(matches!(config.tls, Tls::Files { .. }), same_origin::headers))
        .layer(middleware::from_fn(trace::span));
    if routes::base().is_empty() {
        return all;
    }
    // Router layers run after routing, so this one wraps the router.
    Router::new().fallback_service(all.map_request(without_base))
}

/// A request without the base path; the proxy may have stripped it already.
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

/// Sign-in, sign-out and account management.
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
        post("/manage/hosts", manage::hosts).needs(ManageHosts),
        put("/api/v1/hosts/{host}", hosts::put)
            .needs(ManageHosts)
            .says("Adds a host, or gives it another connection URI; the same again changes nothing")
            .takes::<hosts::HostRequest>()
            .answers_with(204, Content::Nothing),
        delete("/api/v1/hosts/{host}", hosts::remove)
            .needs(ManageHosts)
            .says("Removes a host that was added here; its machines keep running, its history stays")
            .answers_with(204, Content::Nothing),
        post("/api/v1/host-tests", hosts::test)
            .needs(ManageHosts)
            .says("Whether libvirt answers at a connection URI")
            .takes::<hosts::HostRequest>()
            .answers_with(204, Content::Nothing),
        post("/manage/definition", manage::definition).needs(ReadSecrets),
    ]);
    #[cfg(feature = "oidc")]
    let table = table
        .with(get("/login/provider", provider::begin).public())
        .with(get("/login/provider/back", provider::back).public());
    table
}

/// The event stream.
fn streams() -> Table<Arc<Backend>> {
    Table::new([get("/events", events::stream)
        .needs(View)
        .says("The stream of events (server-sent events); it begins with `inventory` without a usable cursor")
        .query::<Cursor>("since", "The position to continue from; the header Last-Event-ID wins over it")
        .query::<Topics>("topics", "Event names with commas between; all without it")
        .query::<Hosts>("hosts", "Hosts with commas between; all without it")
        .query::<Machines>("watch", "Machines as host/uuid with commas between whose detailed statistics are wanted")
        .query::<String>(
            "view",
            "Addresses of pages, one a line: only machines that they show, and the frame `window` when that changes",
        )
        .query::<Seconds>(
            "poll",
            "Answer once with what there is within so many seconds, at most 25, instead of a stream",
        )
        .answers_with(200, Content::Stream)])
}

/// Consoles: tickets and WebSockets.
fn consoles() -> Table<()> {
    Table::new([
        get("/api/v1/consoles", consoles::open)
            .needs(Operate)
            .says("The WebSocket of a console; it is opened by the protocols of a ticket")
            .answers_with(101, Content::Nothing),
        post("/api/v1/consoles", consoles::ticket)
            .needs(Operate)
            .says("A ticket that opens a console once within 30 s")
            .takes::<consoles::ConsoleRequest>()
            .answers::<Ticket>(201),
    ])
}

/// Volume content, which is larger and slower than anything else.
fn contents() -> Table<Arc<Backend>> {
    const BYTES: &str = "application/octet-stream";
    Table::new([
        get("/api/v1/uploads/{id}", content::offset)
            .needs(Operate)
            .says("How many bytes of an upload are written")
            .answers::<Offset>(200),
        put("/api/v1/uploads/{id}", content::piece)
            .needs(Operate)
            .says("The next piece of an upload, at most 64 MiB")
            .needs_query::<u64>("offset", "Where the piece begins, in bytes")
            .takes_other(BYTES)
            .answers::<Offset>(200),
        // What lies in a volume is read by those who may use it.
        get("/api/v1/pools/{host}/{uuid}/content", content::download)
            .needs(Operate)
            .says("The content of a volume; the download is recorded")
            .needs_query::<String>("volume", "The name of the volume")
            .answers_with(200, Content::Other(BYTES)),
    ])
}

/// API routes, form routes, and monitoring.
fn answers() -> Table<Arc<Backend>> {
    let table = [state(), changes(), records(), service()].into_iter().flatten();
    let table = Table::new(table);
    query::ALL.iter().fold(table, |table, about| {
        let ask = async move |sight, on, fields| api::ask(about, sight, on, fields).await;
        table.with(get(about.path(), ask).needs(about.permission).asks(about))
    })
}

type Routes = Vec<Route<Arc<Backend>>>;

/// What there is.
fn state() -> Routes {
    vec![
        get("/api/v1", api::abilities)
            .needs(View)
            .says("What this server can do: commands, events, questions, features")
            .answers::<Abilities>(200),
        get("/api/v1/openapi.json", api::document)
            .needs(View)
            .says("This document")
            .query::<VersionName>("version", "3.2, or 3.1 for generators that do not know streams")
            .answers::<serde_json::Map<String, serde_json::Value>>(200),
        get("/api/v1/inventory", api::inventory)
            .needs(View)
            .says("All hosts with their machines, pools and networks, and the position that the stream continues from")
            .answers::<model::inventory::Snapshot>(200),
        get("/api/v1/view", api::view)
            .needs(View)
            .says("What a page of the browser starts with: of very many machines those that it shows, and figures")
            .query::<String>("of", "The address of the page with its query, such as /vms?q=web")
            .answers::<model::window::PageData>(200),
        get("/api/v1/domains", domains::list)
            .needs(View)
            .says("Machines that match, a window at a time, with counts")
            .query::<String>("q", "Words that all must occur in the name, title, host, tags, addresses or guest")
            .query::<DomainState>("state", "The only state")
            .query::<HostId>("host", "The only host")
            .query::<String>("tag", "The only tag")
            .query::<Sort>("sort", "The column to order by, with `-` in front for the largest first")
            .query::<WindowKey>("after", "`next` of the window before")
            .query::<PageSize>("limit", "Machines of this window; at most 500, 100 without it")
            .answers::<DomainPage>(200),
        get("/api/v1/domains/{host}/{uuid}", domains::one)
            .needs(View)
            .says("One machine; its version is the ETag")
            .answers::<Machine>(200)
            .answers_with(304, Content::Nothing),
        get("/api/v1/stats", history::trends)
            .needs(View)
            .says("The last two minutes of every running machine, in few points")
            .answers::<Trends>(200),
        get("/api/v1/stats/{host}/{uuid}", history::stats)
            .needs(View)
            .says("The usage of a machine over time")
            .query::<Moment>(
                "from",
                "The first moment, in Unix milliseconds or as 2026-11-21T08:00; an hour ago without it",
            )
            .query::<Moment>("to", "The last moment; now without it")
            .query::<Step>("step", "Milliseconds between points; without it the finest that reaches back so far")
            .answers::<model::stats::Usage>(200),
    ]
}

/// What changes something.
fn changes() -> Routes {
    vec![
        post("/api/v1/commands", api::command)
            .needs(Operate)
            .says("A command; the same request id again returns the same receipt and has no second effect")
            .takes::<CommandRequest>()
            .answers::<Receipt>(202),
        post("/api/v1/batches", api::batch)
            .needs(Operate)
            .says("One command for several machines of a host: a task with one task for each")
            .takes::<BatchRequest>()
            .answers::<Receipt>(202),
        post("/api/v1/tasks/{id}/cancel", history::cancel)
            .needs(Operate)
            .says("Cancels a task")
            .answers::<Accepted>(202),
        post("/api/v1/journal/check", api::check_journal)
            .needs(Operate)
            .says("Checks whether the journal can be written")
            .answers_with(204, Content::Nothing),
        post("/api/v1/hosts/{host}/reconnect", api::reconnect)
            .needs(Operate)
            .says("Tries to connect now")
            .answers_with(202, Content::Nothing),
        // What browsers complain of.
        post("/api/v1/reports", reports::report)
            .needs(View)
            .says("An error in a browser, for the server's log; at most 60 a minute")
            .takes::<reports::Report>()
            .answers_with(204, Content::Nothing),
    ]
}

/// What was done and what happened.
fn records() -> Routes {
    let paged = |route: Route<Arc<Backend>>| {
        route
            .query::<PageKey>("after", "`next` of the page before")
            .query::<PageSize>("limit", "Items of this page; 100 without it")
            .query::<Moment>("from", "The first moment, in Unix milliseconds or as 2026-11-21T08:00")
            .query::<Moment>("to", "The last moment")
            .query::<HostId>("host", "The only host")
            .query::<uuid::Uuid>("target", "The only object")
    };
    let recorded = |route: Route<Arc<Backend>>| {
        paged(route)
            .query::<String>("q", "Words to search for")
            .query::<String>("kind", "The only kind of command")
            .query::<String>("outcome", "The only outcome; `running` for tasks in progress")
            .query::<RequestId>("requestId", "The only request")
            .query::<RequestId>("parent", "Parts of this batch")
    };
    vec![
        recorded(get("/api/v1/tasks", history::tasks).needs(View).says("Tasks, the newest first"))
            .answers::<TaskPage>(200),
        get("/api/v1/tasks/{id}", history::task)
            .needs(View)
            .says("One task with its log; the parts of a batch are the tasks with it as `parent`")
            .answers::<model::Task>(200),
        recorded(get("/api/v1/audit", history::audit).needs(ReadAudit).says("Audit records, the newest first"))
            .answers::<RecordPage>(200),
        get("/api/v1/audit.jsonl", history::export)
            .needs(ReadAudit)
            .says("The whole chain of audit records with its hashes, the oldest first")
            .answers_with(200, Content::Other("application/jsonl")),
        paged(get("/api/v1/events", history::events).needs(View).says("Past events, the oldest first"))
            .query::<Topics>("topics", "Event names with commas between")
            .query::<String>("severity", "The only severity of errors")
            .query::<String>("order", "`newest` for the newest first")
            .answers::<EventPage>(200),
    ]
}

/// What watches the server, and what browsers need beyond pages.
fn service() -> Routes {
    vec![
        get("/healthz", async || "ok\n")
            .public()
            .says("Whether the server runs")
            .answers_with(200, Content::Other("text/plain")),
        get("/readyz", api::ready)
            .public()
            .says("Whether the first listing of every host has finished or failed")
            .answers::<Readiness>(200)
            .answers::<Readiness>(503),
        get("/metrics", metrics::metrics)
            .needs_all(View)
            .says("Figures for Prometheus (OpenMetrics)")
            .answers_with(200, Content::Other("application/openmetrics-text")),
        get("/api/{*unknown}", api::unknown).needs(View),
        post("/api/{*unknown}", api::unknown).needs(View),
        post("/commands", forms::form).needs(Operate),
        post("/cancel", history::cancel_form).needs(Operate),
        post("/reconnect", api::reconnect_form).needs(Operate),
        post("/theme", api::theme).public(),
    ]
}

/// All routes as the document of the API needs them.
fn described() -> Vec<Described> {
    let rest = [sign_in().described(), streams().described(), consoles().described(), contents().described()];
    answers().described().into_iter().chain(rest.into_iter().flatten()).collect()
}

/// The document of the API, made once for each version of OpenAPI.
pub(crate) fn document(version: openapi::Version) -> &'static serde_json::Value {
    static DOCUMENTS: [OnceLock<serde_json::Value>; 2] = [const { OnceLock::new() }; 2];
    DOCUMENTS[version as usize].get_or_init(|| openapi::document(&described(), version))
}

/// A panic in one request affects only that request; its message is logged.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    let fault = Fault::new(FaultKind::Internal, "Internal error");
    Failed(fault.with_next("See the server's log")).into_response()
}

/// The object of a host and UUID in a path.
///
/// # Errors
/// `Invalid`.
fn object(kind: ObjectKind, host: &str, uuid: &str) -> Result<ObjectRef, Fault> {
    ObjectRef::parse(kind, &format!("{host}/{uuid}")).map_err(|why: String| Fault::invalid("address", &why))
}

/// The machine of a host and UUID in a path.
///
/// # Errors
/// `Invalid`.
fn machine(host: &str, uuid: &str) -> Result<DomainRef, Fault> {
    format!("{host}/{uuid}").parse().map_err(|why: String| Fault::invalid("address", &why))
}

/// The target page of a form, or its default page.
fn back_to(wished: Option<&str>, page: &str) -> String {
    wished.filter(|back| routes::is_local(back)).map_or_else(|| routes::at(page), str::to_owned)
}

/// A fault as an answer: its status, and a problem (RFC 9457) with `{fault, reason, next}`.
pub(crate) struct Failed(pub(crate) Fault);

/// The HTTP status of a fault.
fn status(fault: &Fault) -> StatusCode {
    StatusCode::from_u16(fault.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A fault as an answer of this status.
fn failed(fault: Fault, status: StatusCode) -> Response {
    let waits = matches!(fault.kind, FaultKind::Busy | FaultKind::Unreachable | FaultKind::TooMany);
    let mut response = (status, Json(Problem::of(fault, status))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(openapi::PROBLEM));
    if waits {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
    }
    response
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = status(&self.0);
        failed(self.0, status)
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
    fn every_route_of_the_api_is_in_its_document() {
        let known = ["/events", "/healthz", "/readyz", "/metrics"];
        let of_api = |path: &str| path.starts_with("/api/v1") || known.contains(&path);
        let missing: Vec<String> = described()
            .into_iter()
            .filter(|route| of_api(&route.path) != route.operation.is_some())
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert!(missing.is_empty(), "without a word in the document, or with one too many: {missing:?}");
    }

    #[test]
    fn every_route_has_a_decision() {
        let (_, decisions) = answers().split();
        let more = [sign_in().split().1, streams().split().1, consoles().split().1, contents().split().1];
        let decisions = more.into_iter().fold(decisions, table::Decisions::and);
        let (undecided, all) = decisions.undecided();
        assert!(undecided.is_empty() && all > 40, "closed to everybody: {undecided:?} of {all}");
    }
}
