//! Who may talk to us at all, and what browsers are told to refuse.
//!
//! Two attacks end here: a page of a stranger that sends our users' browsers to
//! us (cross-site requests), and a stranger's name that points to our address
//! (DNS rebinding). Accounts are not decided here.

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

/// The names under which this server may be reached.
pub(crate) struct Guard {
    allowed: Vec<String>,
}

impl Guard {
    pub(crate) fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    /// Why a request is refused; none when it is not.
    fn objection(&self, request: &Request) -> Option<(StatusCode, Fault)> {
        if leaves(request.uri().path()) {
            return Some((StatusCode::BAD_REQUEST, Fault::invalid("address", "it contains dot segments")));
        }
        let forbidden = |reason: &str| (StatusCode::FORBIDDEN, Fault::new(FaultKind::Denied, reason));
        let Some(host) = authority(request) else {
            return Some(forbidden("The request names no host"));
        };
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        if !is_own_name(name, &self.allowed) {
            let (status, fault) = forbidden("This server is not known under the name in the address");
            let next = "Use its address or localhost, or start it with --allow-host and that name";
            return Some((status, fault.with_next(next)));
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        // What becomes a WebSocket reads and writes, and no browser asks before it begins one.
        if reads && !request.headers().contains_key(header::UPGRADE) {
            return None;
        }
        if !is_same_origin(request.headers(), host) {
            let (status, fault) = forbidden("The request comes from another site");
            return Some((status, fault.with_next("Open Belvedere itself and try again")));
        }
        if !is_known_content(request.headers()) && !is_piece(request) {
            let fault = Fault::invalid("Content-Type", "it is neither JSON nor a form");
            return Some((StatusCode::UNPROCESSABLE_ENTITY, fault));
        }
        None
    }
}

/// Whether a path has a segment that means another place, however it is written: what one part of
/// us takes for public, another one could resolve to something else.
pub(super) fn leaves(path: &str) -> bool {
    // Twice, as something behind us may decode once more.
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let once = decoded(path);
    let twice = decoded(&once);
    [path, once.as_str(), twice.as_str()]
        .iter()
        .any(|text| text.contains('\0') || text.split(['/', '\\']).any(|part| part == "." || part == ".."))
}

/// Whether the body of a changing request is of a kind that is read here. A form of another
/// site can send text without asking, so text is no JSON.
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

/// The host and port a request is addressed to (RFC 9110, 7.2).
fn authority(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or_default());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).filter(|host| !host.is_empty())
}

/// Whether a changing request comes from our own pages or from no browser.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, origin)| origin == host)
        }
        // Browsers that send neither header send no cookies of ours cross-site.
        None => true,
    }
}

/// The name and port that a request is addressed to; over HTTP/2 no header says it.
#[derive(Clone, Debug)]
pub(crate) struct Addressed(pub(crate) String);

/// Middleware: lets through, with the name it is addressed to, or says why not.
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

/// Middleware: what every answer carries. Pages bring a policy with their nonce. Whether
/// browsers shall insist on TLS is known by the certificate: one that was made here would lock
/// them out, as they could not pass its warning any more.
pub(crate) async fn headers(State(insist_on_tls): State<bool>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    put(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: with it browsers send `Origin: null` on our own forms.
    put(header::REFERRER_POLICY, "same-origin");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    put(HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()");
    put(header::CACHE_CONTROL, "no-store");
    if insist_on_tls {
        put(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}
