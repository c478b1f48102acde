//! Sign-in and sign-out pages, and the session cookie.
//!
//! Authentication is in `auth`, authorisation in `authorize`.

use std::{collections::BTreeMap, sync::Arc};

use app::{backend::AssetNames, no_script, routes};
use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use cookie::{Cookie, SameSite};
use model::{Fault, FaultKind, Origin};

use super::{Failed, authorize::Admitted, cookies, same_origin::Addressed, status};
use crate::{
    auth::{Auth, LoggedIn, Peer, Shown, hash, set_up_session},
    config::{Config, Tls},
};

/// The state of sign-in pages.
pub(crate) struct Door {
    pub(crate) auth: Arc<Auth>,
    names: AssetNames,
    #[cfg(feature = "oidc")]
    pub(super) provider: Option<crate::auth::oidc::Provider>,
    /// Whether browsers use TLS, so that the cookie requires it.
    secure: bool,
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

    /// The name of the provider, if any.
    fn provider_name(&self) -> Option<String> {
        #[cfg(feature = "oidc")]
        return self.provider.as_ref().map(crate::auth::oidc::Provider::name);
        #[cfg(not(feature = "oidc"))]
        None
    }

    /// The server's URL for browsers.
    pub(crate) fn address(&self, at: &Addressed) -> String {
        format!("{}://{}{}", if self.secure { "https" } else { "http" }, at.0, routes::base())
    }

    /// Whether browsers use TLS.
    #[cfg(feature = "oidc")]
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    fn cookie_name(&self) -> &'static str {
        match self.secure {
            true if routes::base().is_empty() => "__Host-belvedere",
            // The other prefix would require the path `/`, which is shared with others.
            true => "__Secure-belvedere",
            false => "belvedere",
        }
    }

    /// The credentials of a request: a token, or a session cookie.
    pub(super) fn shown(&self, headers: &HeaderMap) -> Option<Shown> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        if let Some(token) = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")) {
            return Some(Shown::Token(hash(token.trim())));
        }
        cookies::get(headers, self.cookie_name()).map(|secret| Shown::Session(hash(secret)))
    }

    /// A response that starts or ends a session.
    pub(super) fn with_cookie(&self, secret: &str, response: Response) -> Response {
        let milliseconds = if secret.is_empty() { 0 } else { crate::journal::accounts::ABSOLUTE };
        // Several servers may share an origin, each below its own path.
        let path = if routes::base().is_empty() { routes::OVERVIEW } else { routes::base() };
        let cookie =
            Cookie::build((self.cookie_name(), secret)).path(path).max_age(cookies::lasting(milliseconds / 1_000));
        cookies::set(response, &cookie.http_only(true).same_site(SameSite::Strict).secure(self.secure).build())
    }

    /// The sign-in page with an error.
    pub(super) fn not_in(&self, fault: &Fault, headers: &HeaderMap, page: no_script::Page) -> Response {
        let mut response = self.page(status(fault), headers, page);
        if fault.kind == FaultKind::TooMany {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }

    /// An error page with a link back.
    pub(super) fn refused(&self, fault: &Fault, headers: &HeaderMap, back: &'static str) -> Response {
        self.not_in(fault, headers, no_script::Page::Refused { why: fault.sentence(), back })
    }

    pub(crate) fn page(&self, status: StatusCode, headers: &HeaderMap, page: no_script::Page) -> Response {
        plain_page(status, headers, &self.names, page)
    }
}

/// A page without navigation and scripts.
pub(super) fn plain_page(
    status: StatusCode,
    headers: &HeaderMap,
    names: &AssetNames,
    page: no_script::Page,
) -> Response {
    let theme = super::pages::theme(headers);
    let policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (status, [kind, (header::CONTENT_SECURITY_POLICY, policy)], no_script::html(names, theme, page)).into_response()
}

/// A field of a form or URL; empty if missing.
pub(super) fn field<'a>(fields: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    fields.get(name).map(String::as_str).unwrap_or_default()
}

/// The page after sign-in.
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
        no_script::Page::LogIn { next, name: String::new(), why: None, provider: door.provider_name() },
    )
}

/// The client of a sign-in.
pub(super) fn peer(origin: Origin, headers: &HeaderMap) -> Peer {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Peer { origin, agent: agent.chars().take(MAX_AGENT).collect() }
}

/// Maximum length of a stored user agent.
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
            let page = no_script::Page::Code { next, between, why: None };
            door.page(StatusCode::OK, &headers, page)
        }
        Err(fault) => {
            let why = Some(fault.sentence());
            let provider = door.provider_name();
            let page = no_script::Page::LogIn { next, name: name.to_owned(), why, provider };
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
            door.not_in(&fault, &headers, no_script::Page::Code { next, between, why })
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
        let page = door.page(StatusCode::OK, &headers, no_script::Page::SetUp { name: String::new(), why: None });
        // The session is derived from the link, so opening the link changes nothing.
        return Ok(door.with_cookie(&set_up_session(&secret), page));
    }
    let why = "This link has already been used or is from an earlier start of the server.".into();
    Ok(door.page(StatusCode::NOT_FOUND, &headers, no_script::Page::Refused { why, back: routes::LOG_IN }))
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
            let page = no_script::Page::SetUp { name: name.to_owned(), why: Some(fault.sentence()) };
            door.not_in(&fault, &headers, page)
        }
    }
}

/// `GET /login/{secret}`: asks before the link is used, because a program may have opened it.
pub(crate) async fn link_page(
    State(door): State<Arc<Door>>,
    Path(secret): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    Ok(match door.auth.link(&secret).await? {
        Some(name) => door.page(StatusCode::OK, &headers, no_script::Page::ByLink { name }),
        None => {
            let why =
                "This sign-in link has been used or has expired. Create a new one with belvedere login-link.".into();
            door.page(StatusCode::NOT_FOUND, &headers, no_script::Page::Refused { why, back: routes::LOG_IN })
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
