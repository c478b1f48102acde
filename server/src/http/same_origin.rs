//! Request checks and browser policies.
//!
//! It prevents two attacks: cross-site requests, and DNS rebinding. Authentication is done
//! elsewhere.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use model::{Fault, FaultKind};
use percent_encoding::percent_decode_str;

use super::Failed;
use crate::config::is_own_name;

/// The allowed host names of this server.
pub(crate) struct Guard {
    allowed: Vec<String>,
}

impl Guard {
    pub(crate) fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    /// Why a request is refused; none if it is allowed.
    fn objection(&self, request: &Request) -> Option<(StatusCode, Fault)> {
        if leaves(request.uri().path()) {
            return Some((StatusCode::BAD_REQUEST, Fault::invalid("address", "it contains dot segments")));
        }
        let forbidden = |reason: &str| (StatusCode::FORBIDDEN, Fault::new(FaultKind::Denied, reason));
        let Some(host) = authority(request) else {
            return Some(forbidden("The request has no Host header"));
        };
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        if !is_own_name(name, &self.allowed) {
            let (status, fault) = forbidden("This host name is not allowed for this server");
            let next = "Use the IP address or localhost, or start the server with --allow-host and this name";
            return Some((status, fault.with_next(next)));
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        // A WebSocket reads and writes, and browsers send no preflight for it.
        if reads && !request.headers().contains_key(header::UPGRADE) {
            return None;
        }
        if !is_same_origin(request.headers(), host) {
            let (status, fault) = forbidden("The request comes from another site");
            return Some((status, fault.with_next("Open Belvedere directly and try again")));
        }
        if !is_known_content(request.headers()) && !is_piece(request) {
            let fault = Fault::invalid("Content-Type", "must be JSON or a form");
            return Some((StatusCode::UNPROCESSABLE_ENTITY, fault));
        }
        None
    }
}

/// Whether a path contains dot segments, however encoded: one part of the server might treat as
/// public what another one resolves differently.
pub(super) fn leaves(path: &str) -> bool {
    // Decoded twice, because a part behind us may decode again.
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let once = decoded(path);
    let twice = decoded(&once);
    [path, once.as_str(), twice.as_str()]
        .iter()
        .any(|text| text.contains('\0') || text.split(['/', '\\']).any(|part| part == "." || part == ".."))
}

/// Whether the body of a changing request has an accepted type. Cross-site forms can send text
/// without a preflight, so text is not accepted as JSON.
fn is_known_content(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "application/x-www-form-urlencoded"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Whether a request brings a piece of a file, which other sites cannot send without asking. By
/// another method than `PUT` no route takes it.
fn is_piece(request: &Request) -> bool {
    request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream")
}

/// The host and port of a request (RFC 9110, 7.2).
fn authority(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or_default());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).filter(|host| !host.is_empty())
}

/// Whether a changing request is same-origin or not from a browser.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, origin)| origin == host)
        }
        // Browsers that send neither header send no cookies cross-site.
        None => true,
    }
}

/// The host and port of a request; HTTP/2 has no header for it.
#[derive(Clone, Debug)]
pub(crate) struct Addressed(pub(crate) String);

/// Middleware: passes a request with its host, or refuses it.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.objection(&request) {
        None => {
            let addressed = Addressed(authority(&request).unwrap_or_default().to_owned());
            request.extensions_mut().insert(addressed);
            next.run(request).await
        }
        Some((status, fault)) => {
            let mut response = Failed(fault).into_response();
            *response.status_mut() = status;
            response
        }
    }
}

/// Middleware: the headers of every response. Pages add a policy with their nonce. HSTS depends on
/// the certificate: with a self-signed one it would lock browsers out, because its warning could
/// not be skipped any more.
pub(crate) async fn headers(State(insist_on_tls): State<bool>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let says = |name: HeaderName, says: &str| {
        headers.get(name).is_some_and(|value| value.to_str().is_ok_and(|value| value.contains(says)))
    };
    let page = says(header::CONTENT_TYPE, "text/html");
    // A file of a build is no document: a browser that loads it has no use for policies.
    let document = !says(header::CACHE_CONTROL, "immutable");
    let policies = "camera=(), microphone=(), geolocation=(), payment=(), usb=()";
    let all = [
        (true, header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (true, HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (true, header::CACHE_CONTROL, "no-store"),
        (insist_on_tls, header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (document, header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (document, header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with it browsers send `Origin: null` from our own forms.
        (document, header::REFERRER_POLICY, "same-origin"),
        (page, HeaderName::from_static("permissions-policy"), policies),
    ];
    for (_, name, value) in all.into_iter().filter(|(needed, ..)| *needed) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
