//! Who may come in where: every route has one decision here, and what has none is
//! closed. Logging in and out.
//!
//! Who somebody is decides `auth`, what a role may do `model::user`.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use app::{
    backend::{AssetNames, Visit},
    plain, routes,
};
use axum::{
    Extension, Form,
    extract::{MatchedPath, Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use futures_util::{Stream, TryStreamExt, stream};
use model::{Fault, FaultKind, Origin, Permission, Viewer};

use super::{Failed, guard::Addressed, held::Connection, status};
use crate::{
    auth::{Auth, By, LoggedIn, Peer, Shown, hash, set_up_session},
    backend::console::Holder,
    config::{Config, Tls},
    local::LocalViewer,
    sight::Sight,
};

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Nothing: it tells and changes nothing of any host.
    Public,
    /// A viewer with this permission.
    Needs(Permission),
    /// The same, and one that sees everything.
    NeedsAll(Permission),
}

/// Whether somebody may have a page at an address of ours, as when it is asked for by itself.
pub(super) fn may_see(viewer: &Viewer, address: &str) -> bool {
    let path = routes::inner(address.split(['?', '#']).next().unwrap_or_default());
    let needed = access(&Method::GET, None, path).filter(|_| !super::guard::leaves(path));
    matches!(needed, Some(Access::Needs(permission)) if viewer.role.may(permission).is_ok())
}

/// The decision for a route; none closes it.
fn access(method: &Method, route: Option<&str>, path: &str) -> Option<Access> {
    use Access::{Needs, NeedsAll, Public};
    use Permission::{ManageAccounts, Operate, OwnAccount, ReadAudit, ReadSecrets, View};
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let Some(route) = route else {
        // Pages have no route of their own; the interface shows them.
        let below = |page: &str| path.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let needed = match () {
            () if below(routes::AUDIT) => ReadAudit,
            () if path.trim_end_matches('/') == routes::ACCOUNT => OwnAccount,
            () if below(routes::ACCOUNT) => ManageAccounts,
            () => View,
        };
        return reads.then_some(Needs(needed));
    };
    match route {
        "/healthz" | "/readyz" | "/worker.js" | "/favicon.svg" if reads => Some(Public),
        // Scripts and styles are the same for everybody.
        super::assets::ROUTE if reads => Some(Public),
        "/login/provider" | "/login/provider/back" if reads => Some(Public),
        "/login" | "/login/code" | "/login/{secret}" | "/setup/{secret}" | "/logout" | "/theme" => Some(Public),
        "/manage/password" | "/manage/factor" | "/manage/sessions" => Some(Needs(OwnAccount)),
        "/manage/users" | "/manage/tokens" => Some(Needs(ManageAccounts)),
        "/manage/definition" => Some(Needs(ReadSecrets)),
        "/api/v1/audit" | "/api/v1/audit.jsonl" if reads => Some(Needs(ReadAudit)),
        "/metrics" if reads => Some(NeedsAll(View)),
        "/events"
        | "/api/v1/inventory"
        | "/api/v1/tasks"
        | "/api/v1/tasks/{id}"
        | "/api/v1/events"
        | "/api/v1/stats"
        | "/api/v1/stats/{host}/{uuid}"
        | "/api/v1/domains/{host}/{uuid}/definition"
        | "/api/v1/domains/{host}/{uuid}/guest"
        | "/api/v1/pools/{host}/{uuid}/volumes"
        | "/api/v1/networks/{host}/{uuid}/leases"
        | "/api/v1/networks/{host}/{uuid}/definition"
        | "/api/v1/hosts/{host}/hardware"
            if reads =>
        {
            Some(Needs(View))
        }
        // What a browser complains of, and addresses that do not exist.
        "/api/v1/reports" | "/api/{*unknown}" => Some(Needs(View)),
        // What lies in a volume is read by whoever may use it.
        "/api/v1/domains/{host}/{uuid}/ssh-keys" | "/api/v1/uploads/{id}" | "/api/v1/pools/{host}/{uuid}/content" => {
            Some(Needs(Operate))
        }
        "/api/v1/consoles"
        | "/api/v1/commands"
        | "/api/v1/batches"
        | "/api/v1/tasks/{id}/cancel"
        | "/api/v1/journal/check"
        | "/api/v1/hosts/{host}/reconnect"
        | "/commands"
        | "/cancel"
        | "/reconnect" => Some(Needs(Operate)),
        _ => None,
    }
}

/// The door, and what its pages are drawn with.
pub(crate) struct Door {
    pub(crate) auth: Arc<Auth>,
    names: AssetNames,
    #[cfg(feature = "oidc")]
    pub(super) provider: Option<crate::auth::oidc::Provider>,
    /// Whether browsers come over TLS, so that the cookie never travels without it.
    secure: bool,
}

/// Who came in, and by what, for handlers that look again later.
#[derive(Clone)]
pub(crate) struct Admitted {
    auth: Arc<Auth>,
    shown: Option<Shown>,
    /// Whether the kernel says who it is, and nothing has to be shown.
    local: bool,
    viewer: Viewer,
}

impl Admitted {
    /// Whether who came in would still be let in as the same one.
    pub(crate) async fn still(&self, by: By) -> bool {
        if self.local {
            return true;
        }
        self.auth.viewer(self.shown.as_ref(), by).await.is_ok_and(|viewer| viewer.as_ref() == Some(&self.viewer))
    }

    /// When a stream has to look again.
    pub(crate) fn next_look() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Who came in.
    pub(crate) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// Who came in, and by what.
    pub(crate) fn holder(&self) -> Holder {
        (self.shown.clone(), self.viewer.clone())
    }

    /// Who came in, for their pages.
    pub(crate) fn visit(&self) -> Visit {
        let session = match self.shown {
            Some(Shown::Session(hash)) => Some(hash),
            _ => None,
        };
        Visit { viewer: self.viewer.clone(), session }
    }

    /// The account and the session of a person; programs and those who need no account have
    /// none.
    ///
    /// # Errors
    /// `Denied`.
    pub(crate) fn person(&self) -> Result<(&str, &Shown), Fault> {
        match (&self.viewer.name, &self.shown) {
            (Some(name), Some(shown @ Shown::Session(_))) => Ok((name, shown)),
            _ => Err(Fault::denied("Only who is logged in as a person has an account of their own")),
        }
    }
}

/// How often it is looked whether a long body may go on.
const LOOK: Duration = Duration::from_secs(2);

/// Parts of a long answer as long as who came in would still be let in as the same one, with the
/// same role and scope. After that the answer is cut short.
pub(crate) fn while_allowed<T: Send + 'static>(
    parts: impl Stream<Item = io::Result<T>> + Send + 'static,
    admitted: Admitted,
) -> impl Stream<Item = io::Result<T>> + Send + 'static {
    let begin = (Box::pin(parts), Instant::now() + LOOK, admitted);
    stream::try_unfold(begin, async |(mut parts, mut look, admitted)| {
        let Some(part) = parts.try_next().await? else { return Ok(None) };
        if look <= Instant::now() {
            if !admitted.still(By::Page).await {
                return Err(io::Error::other("the right to this has ended"));
            }
            look = Instant::now() + LOOK;
        }
        Ok(Some((part, (parts, look, admitted))))
    })
}

impl Door {
    pub(crate) fn new(auth: Arc<Auth>, names: AssetNames, config: &Config) -> Self {
        Self {
            auth,
            names,
            #[cfg(feature = "oidc")]
            provider: config.oidc.clone().map(crate::auth::oidc::Provider::new),
            secure: config.behind_proxy || config.tls != Tls::Off,
        }
    }

    /// Who else can log people in.
    fn provider_name(&self) -> Option<String> {
        #[cfg(feature = "oidc")]
        return self.provider.as_ref().map(crate::auth::oidc::Provider::name);
        #[cfg(not(feature = "oidc"))]
        None
    }

    /// Where browsers reach the server.
    pub(crate) fn address(&self, at: &Addressed) -> String {
        format!("{}://{}{}", if self.secure { "https" } else { "http" }, at.0, routes::base())
    }

    /// Whether browsers come over TLS.
    #[cfg(feature = "oidc")]
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    fn cookie_name(&self) -> &'static str {
        match self.secure {
            true if routes::base().is_empty() => "__Host-belvedere",
            // The other prefix would insist on the path `/`, which others share.
            true => "__Secure-belvedere",
            false => "belvedere",
        }
    }

    /// What a request shows: a token, or a session's cookie.
    fn shown(&self, headers: &HeaderMap) -> Option<Shown> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(token) = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")) {
            return Some(Shown::Token(hash(token.trim())));
        }
        cookie(headers, self.cookie_name()).map(|secret| Shown::Session(hash(secret)))
    }

    /// An answer that begins or ends a session.
    pub(super) fn with_cookie(&self, secret: &str, mut response: Response) -> Response {
        let seconds = if secret.is_empty() { 0 } else { crate::journal::accounts::ABSOLUTE / 1_000 };
        let secure = if self.secure { "; Secure" } else { "" };
        // Several servers may share an origin, each below a path of its own.
        let path = if routes::base().is_empty() { routes::OVERVIEW } else { routes::base() };
        let cookie = format!(
            "{}={secret}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
            self.cookie_name()
        );
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        response
    }

    /// The same page again with what was wrong.
    pub(super) fn not_in(&self, fault: &Fault, headers: &HeaderMap, page: plain::Page) -> Response {
        let mut response = self.page(status(fault), headers, page);
        if fault.kind == FaultKind::TooMany {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }

    /// A page that says what is not possible, and leads back.
    pub(super) fn refused(&self, fault: &Fault, headers: &HeaderMap, back: &'static str) -> Response {
        self.not_in(fault, headers, plain::Page::Refused { why: fault.sentence(), back })
    }

    pub(crate) fn page(&self, status: StatusCode, headers: &HeaderMap, page: plain::Page) -> Response {
        plain_page(status, headers, &self.names, page)
    }
}

/// A page without the frame, which runs no script.
pub(super) fn plain_page(status: StatusCode, headers: &HeaderMap, names: &AssetNames, page: plain::Page) -> Response {
    let theme = super::pages::theme(headers);
    let policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (status, [kind, (header::CONTENT_SECURITY_POLICY, policy)], plain::html(names, theme, page)).into_response()
}

/// Middleware: lets in, asks who it is, or says why not.
pub(crate) async fn check(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let is_page = route.is_none();
    let Some(access) = access(request.method(), route.as_deref(), request.uri().path()) else {
        let fault = Fault::new(FaultKind::NotAllowed, "Nobody may do this");
        return Failed(fault).into_response();
    };
    let shown = door.shown(request.headers());
    // An open page asks for these by itself, again and again, and says so when it reads itself anew.
    let by_itself = ["/events", "/api/v1/consoles"].contains(&request.uri().path())
        || request.headers().contains_key(routes::REFRESH_HEADER);
    let by = if by_itself { By::Page } else { By::Person };
    let local = request.extensions().get::<LocalViewer>().map(|LocalViewer(viewer)| viewer.clone());
    let is_local = local.is_some();
    let viewer = match local {
        Some(viewer) => Ok(Some(viewer)),
        None => door.auth.viewer(shown.as_ref(), by).await,
    };
    let viewer = match (access, viewer) {
        (_, Ok(viewer)) => viewer,
        // Health is told although accounts cannot be read.
        (Access::Public, Err(_)) => None,
        (_, Err(fault)) => return Failed(fault).into_response(),
    };
    if let Access::Needs(permission) | Access::NeedsAll(permission) = access {
        let Some(viewer) = &viewer else { return stranger(&request, is_page, shown.is_some()) };
        let all = matches!(access, Access::NeedsAll(_)) && !viewer.scope.is_everything();
        let some = Fault::new(FaultKind::NotAllowed, "This covers all machines, and you see some of them");
        let allowed = viewer.role.may(permission).and(if all { Err(some) } else { Ok(()) });
        if let Err(fault) = allowed {
            if is_page {
                return door.page(
                    StatusCode::FORBIDDEN,
                    request.headers(),
                    plain::Page::Refused { why: fault.sentence(), back: routes::OVERVIEW },
                );
            }
            return Failed(fault).into_response();
        }
    }
    if viewer.is_some() && request.extensions().get::<Connection>().is_some_and(|connection| !connection.is_known()) {
        let fault = Fault::new(FaultKind::TooMany, "There are too many connections from your address");
        return Failed(fault.with_next("Close some of them")).into_response();
    }
    if let Some(viewer) = viewer {
        request.extensions_mut().insert(Sight::new(door.auth.backend().clone(), viewer.clone()));
        request.extensions_mut().insert(Admitted { auth: door.auth.clone(), shown, local: is_local, viewer });
    }
    next.run(request).await
}

/// Where somebody goes of whom nothing is known.
fn stranger(request: &Request, is_page: bool, showed: bool) -> Response {
    let path = request.uri().path();
    let form = matches!(path, routes::COMMANDS | routes::CANCEL | routes::RECONNECT) || path.starts_with("/manage/");
    if !is_page && !form {
        let fault = Fault::new(FaultKind::SignedOut, "Belvedere does not know who you are");
        return Failed(fault.with_next("Log in, or send a token as Authorization: Bearer")).into_response();
    }
    let there = request.uri().path_and_query().map_or(routes::OVERVIEW, |there| there.as_str());
    let there = routes::at(if is_page && routes::is_local(there) { there } else { routes::OVERVIEW });
    // A link on another site brings no cookie that is for this site only. The second request
    // is our own and does.
    let elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_page && elsewhere && !showed {
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], plain::again(&there)).into_response();
    }
    Redirect::to(&routes::log_in(&there)).into_response()
}

/// A field of a form or an address as it came; empty when it is missing.
pub(super) fn field<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    fields.get(name).map(String::as_str).unwrap_or_default()
}

/// A cookie of a request.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The page that comes after logging in.
pub(super) fn next_page(fields: &BTreeMap<String, String>) -> String {
    super::back_to(fields.get("next").map(String::as_str), routes::OVERVIEW)
}

/// `GET /login`
pub(crate) async fn log_in_page(
    State(door): State<Arc<Door>>,
    admitted: Option<Extension<Admitted>>,
    Query(fields): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let next = next_page(&fields);
    if admitted.is_some() {
        return Redirect::to(&next).into_response();
    }
    door.page(
        StatusCode::OK,
        &headers,
        plain::Page::LogIn { next, name: String::new(), why: None, provider: door.provider_name() },
    )
}

/// From where somebody logs in.
pub(super) fn peer(origin: Origin, headers: &HeaderMap) -> Peer {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Peer { origin, agent: agent.chars().take(MAX_AGENT).collect() }
}

/// Longest name of a browser that is kept.
const MAX_AGENT: usize = 200;

/// `POST /login`
pub(crate) async fn log_in(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Response {
    let field = |name| field(&fields, name);
    let (name, next) = (field("name").trim(), next_page(&fields));
    match door.auth.log_in(name, field("password"), &peer(origin, &headers)).await {
        Ok(LoggedIn::Whole(secret)) => door.with_cookie(&secret, Redirect::to(&next).into_response()),
        Ok(LoggedIn::NeedsCode(between)) => {
            let page = plain::Page::Code { next, between, why: None };
            door.page(StatusCode::OK, &headers, page)
        }
        Err(fault) => {
            let why = Some(fault.sentence());
            let provider = door.provider_name();
            let page = plain::Page::LogIn { next, name: name.to_owned(), why, provider };
            door.not_in(&fault, &headers, page)
        }
    }
}

/// `POST /login/code`
pub(crate) async fn log_in_by_code(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Response {
    let field = |name| field(&fields, name);
    let (between, next) = (field("between"), next_page(&fields));
    match door.auth.log_in_by_code(between, field("code"), &peer(origin, &headers)).await {
        Ok(secret) => door.with_cookie(&secret, Redirect::to(&next).into_response()),
        Err(fault) => {
            let (between, why) = (between.to_owned(), Some(fault.sentence()));
            door.not_in(&fault, &headers, plain::Page::Code { next, between, why })
        }
    }
}

/// `GET /setup/{secret}`
pub(crate) async fn set_up_page(
    State(door): State<Arc<Door>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    if door.auth.may_set_up(&secret).await? {
        let page = door.page(StatusCode::OK, &headers, plain::Page::SetUp { name: String::new(), why: None });
        // The session is the link's own, so looking at the link changes nothing here.
        return Ok(door.with_cookie(&set_up_session(&secret), page));
    }
    let why = "This link made the first account already, or belongs to an earlier start of the server.".into();
    Ok(door.page(StatusCode::NOT_FOUND, &headers, plain::Page::Refused { why, back: routes::LOG_IN }))
}

/// `POST /setup/{secret}`
pub(crate) async fn set_up(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    Path(secret): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Response {
    let field = |name| field(&fields, name);
    let name = field("name").trim();
    match door.auth.set_up(&secret, name, field("password"), &peer(origin, &headers)).await {
        Ok(session) => door.with_cookie(&session, Redirect::to(&routes::at(routes::OVERVIEW)).into_response()),
        Err(fault) => {
            let page = plain::Page::SetUp { name: name.to_owned(), why: Some(fault.sentence()) };
            door.not_in(&fault, &headers, page)
        }
    }
}

/// `GET /login/{secret}`: asks before it uses the link up, as whoever looks at a link may be
/// a program.
pub(crate) async fn link_page(
    State(door): State<Arc<Door>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    Ok(match door.auth.link(&secret).await? {
        Some(name) => door.page(StatusCode::OK, &headers, plain::Page::ByLink { name }),
        None => {
            let why = "This link was used before or is too old. Make a new one with belvedere login-link.".into();
            door.page(StatusCode::NOT_FOUND, &headers, plain::Page::Refused { why, back: routes::LOG_IN })
        }
    })
}

/// `POST /login/{secret}`
pub(crate) async fn log_in_by_link(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let session = door.auth.log_in_by_link(&secret, &peer(origin, &headers)).await?;
    Ok(door.with_cookie(&session, Redirect::to(&routes::at(routes::OVERVIEW)).into_response()))
}

/// `POST /logout`
pub(crate) async fn log_out(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    admitted: Option<Extension<Admitted>>,
) -> Result<Response, Failed> {
    if let Some((name, shown)) = admitted.as_ref().and_then(|Extension(admitted)| admitted.person().ok()) {
        door.auth.log_out(shown, name, &origin).await?;
    }
    Ok(door.with_cookie("", Redirect::to(&routes::at(routes::LOG_IN)).into_response()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The routes as they stand in the sources; one that is added without a decision fails here.
    #[test]
    fn every_route_has_a_decision() {
        let sources = [include_str!("../http.rs"), include_str!("assets.rs")];
        let routes: Vec<&str> = sources
            .iter()
            .flat_map(|source| {
                let routes = source.split(".route(\"").skip(1);
                routes.chain(source.split(".route_service(\"").skip(1))
            })
            .filter_map(|rest| rest.split_once('"').map(|(route, _)| route))
            .filter(|route| route.starts_with('/'))
            .collect();
        assert!(routes.len() > 25, "{routes:?}");
        for route in routes {
            let open = [Method::GET, Method::POST].map(|method| access(&method, Some(route), route));
            assert!(open.iter().any(Option::is_some), "{route} is closed to everybody");
        }
        assert_eq!(access(&Method::GET, Some("/new"), "/new"), None);
        assert_eq!(access(&Method::GET, Some(super::super::assets::ROUTE), "/pkg/b/a.css"), Some(Access::Public));
        assert_eq!(access(&Method::GET, None, "/pkgs"), Some(Access::Needs(Permission::View)));
        assert_eq!(access(&Method::POST, None, "/vms"), None);
        let page = |path| access(&Method::GET, None, path);
        assert_eq!(page("/audit"), Some(Access::Needs(Permission::ReadAudit)));
        assert_eq!(page("/account/"), Some(Access::Needs(Permission::OwnAccount)));
        for managed in ["/account/users", "/account/tokens", "/account/x/y"] {
            assert_eq!(page(managed), Some(Access::Needs(Permission::ManageAccounts)), "{managed}");
        }
    }
}
