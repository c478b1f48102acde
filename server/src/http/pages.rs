//! Renders pages, once per stream position, and shares them.
//!
//! Parts that differ between responses with the same content, the nonce of the content security
//! policy and the token of forms, are rendered as marks. A page is cut at its marks once, and a
//! response is a list of shared pieces with its own texts between them, so a page of megabytes is
//! never copied. The marks are random per process, so no text of a guest or user can contain one.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use app::{
    backend::{Backend as Interface, FormToken, Loaded, PageStatus, Refused, Theme, Visit},
    no_script, routes, shell,
};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http_body_util::BodyExt;
use leptos::{nonce::Nonce, prelude::provide_context};
use memchr::memmem;
use model::{FaultKind, Viewer};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{
    assets::Assets,
    authorize::{self, Admitted},
    login,
};
use crate::{Backend, visibility::Sight};

/// Maximum pages kept per position.
const MAX_PAGES: usize = 64;
/// How long a page is reused: pages contain durations, so they age without events.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Maximum length of a rendered URL.
const MAX_ADDRESS: usize = 16 * 1024;

/// A page, cut at its marks.
struct Page {
    status: StatusCode,
    pieces: Vec<Piece>,
}

/// A piece of a page.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    /// Identical in every response.
    Same(Bytes),
    /// The nonce of the response.
    Nonce,
    /// The form token of the response.
    Token,
}

/// The key of a page: what one viewer sees may differ from another.
type Key = (String, Theme, Viewer);

/// The pages of one stream position, for some seconds.
struct Kept {
    seq: u64,
    since: Instant,
    pages: HashMap<Key, Arc<OnceCell<Page>>>,
}

impl Kept {
    fn of(seq: u64) -> Self {
        Self { seq, since: Instant::now(), pages: HashMap::new() }
    }
}

/// Renders pages and keeps current ones.
pub(crate) struct Pages {
    backend: Arc<Backend>,
    assets: Arc<Assets>,
    nonce_mark: String,
    token_mark: String,
    kept: Mutex<Kept>,
}

impl Pages {
    pub(crate) fn new(backend: Arc<Backend>, assets: Arc<Assets>) -> Self {
        // Rendering spawns on tokio; a second server in the process finds it set.
        any_spawner::Executor::init_tokio().ok();
        let mark = || Uuid::new_v4().simple().to_string();
        Self {
            backend,
            assets,
            nonce_mark: mark(),
            token_mark: Uuid::new_v4().to_string(),
            kept: Mutex::new(Kept::of(0)),
        }
    }

    /// The cell of a page at the current position; one rendering serves all requests.
    fn cell(&self, key: Key) -> Arc<OnceCell<Page>> {
        let seq = self.backend.feed().cursor().seq;
        let mut kept = self.kept.lock();
        if kept.seq != seq || kept.since.elapsed() > FRESH_FOR || kept.pages.len() >= MAX_PAGES {
            *kept = Kept::of(seq);
        }
        kept.pages.entry(key).or_default().clone()
    }

    /// The page of a refused form, with the entered values and the error. It is not hydrated,
    /// because the module would expect the page of its URL.
    ///
    /// A request that is too large, or for a page the viewer may not see, gets a small page with a
    /// link `back`.
    pub(super) async fn refused(
        &self,
        (address, back): (&str, &'static str),
        headers: &HeaderMap,
        visit: &Visit,
        refused: Refused,
    ) -> Response {
        let (status, kind) = (super::status(&refused.fault), refused.fault.kind);
        let too_many = matches!(kind, FaultKind::TooMany | FaultKind::Busy);
        let is_page = address.len() <= MAX_ADDRESS && address.parse::<Uri>().is_ok();
        if too_many || !is_page || !authorize::may_see(&visit.viewer, address) {
            let page = no_script::Page::Refused { why: refused.fault.sentence(), back };
            let mut answer = login::plain_page(status, headers, &self.assets.names, page);
            if kind == FaultKind::TooMany {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            return answer;
        }
        let page = self.drawn(address, theme(headers), visit, Some(Arc::new(refused))).await;
        Self::answer(&Page { status, ..page })
    }

    async fn render(&self, address: &str, theme: Theme, visit: &Visit) -> Page {
        self.drawn(address, theme, visit, None).await
    }

    async fn drawn(&self, address: &str, theme: Theme, visit: &Visit, refused: Option<Arc<Refused>>) -> Page {
        let Ok(request) = Request::builder().uri(address).body(Body::empty()) else {
            return Page { status: StatusCode::BAD_REQUEST, pieces: Vec::new() };
        };
        let backend: Arc<dyn Interface> = Arc::new(Sight::new(self.backend.clone(), visit.viewer.clone()));
        let (nonce, token) = (Nonce::from_value(self.nonce_mark.clone()), FormToken(self.token_mark.clone()));
        let (mut names, answer) = (self.assets.names.clone(), PageStatus::default());
        if refused.is_some() {
            (names.script, names.module) = (None, None);
        }
        let said = answer.clone();
        let query = address.split_once('?').map_or("", |(_, query)| query);
        let loaded = match routes::Page::parse(address) {
            Some(page) => page.load(query, &*backend, visit).await,
            None => Loaded::default(),
        };
        let viewer = visit.viewer.clone();
        let context = move || {
            provide_context(viewer.clone());
            provide_context(backend.clone());
            provide_context(names.clone());
            provide_context(theme);
            provide_context(answer.clone());
            provide_context(token.clone());
            provide_context(nonce.clone());
            provide_context(loaded.clone());
            refused.clone().into_iter().for_each(provide_context);
        };
        let handler = leptos_axum::render_app_async_with_context(context, shell);
        let response = handler(request).await;
        let status = if said.is_not_found() { StatusCode::NOT_FOUND } else { response.status() };
        match response.into_body().collect().await {
            Ok(body) => Page { status, pieces: cut(&body.to_bytes(), &self.nonce_mark, &self.token_mark) },
            Err(error) => {
                tracing::error!(%error, address, "page could not be rendered");
                Page { status: StatusCode::INTERNAL_SERVER_ERROR, pieces: Vec::new() }
            }
        }
    }

    /// A page with its nonce and token as a response.
    fn answer(page: &Page) -> Response {
        let (nonce, token) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().to_string());
        let pieces = page.pieces.iter().map(|piece| match piece {
            Piece::Same(text) => text.clone(),
            Piece::Nonce => Bytes::from(nonce.clone()),
            Piece::Token => Bytes::from(token.clone()),
        });
        let pieces: Vec<Bytes> = pieces.collect();
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; style-src 'self' 'nonce-{nonce}'; \
             img-src 'self' data:; connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        );
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
        let mut response = (page.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Cuts a page at its marks.
fn cut(html: &Bytes, nonce: &str, token: &str) -> Vec<Piece> {
    let nonces = memmem::find_iter(html, nonce).map(|at| (at, nonce.len(), Piece::Nonce));
    let tokens = memmem::find_iter(html, token).map(|at| (at, token.len(), Piece::Token));
    let mut marks: Vec<_> = nonces.chain(tokens).collect();
    marks.sort_by_key(|(at, ..)| *at);
    let mut pieces = Vec::with_capacity(2 * marks.len() + 1);
    let mut from = 0;
    for (at, length, piece) in marks {
        pieces.extend([Piece::Same(html.slice(from..at)), piece]);
        from = at + length;
    }
    pieces.push(Piece::Same(html.slice(from..)));
    pieces
}

/// The theme of a browser.
pub(super) fn theme(headers: &HeaderMap) -> Theme {
    super::cookies::get(headers, "theme").map(Theme::of).unwrap_or_default()
}

pub(crate) async fn render(
    State(pages): State<Arc<Pages>>,
    admitted: Option<Extension<Admitted>>,
    request: Request,
) -> Response {
    // A public path that matches no file leads to no page.
    let Some(Extension(admitted)) = admitted else { return StatusCode::NOT_FOUND.into_response() };
    let visit = admitted.visit();
    let address = request.uri().path_and_query().map(|address| routes::at(address.as_str())).unwrap_or_default();
    if address.len() > MAX_ADDRESS {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    let theme = theme(request.headers());
    // Pages with data from outside of the log are not shared.
    if address.contains("result=") || request.uri().path().starts_with(routes::ACCOUNT) {
        return Pages::answer(&pages.render(&address, theme, &visit).await);
    }
    let cell = pages.cell((address.clone(), theme, visit.viewer.clone()));
    let page = cell.get_or_init(async || pages.render(&address, theme, &visit).await).await;
    Pages::answer(page)
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Piece, cut};

    #[test]
    fn a_page_is_cut_at_every_mark_and_loses_nothing() {
        let same = |text: &'static str| Piece::Same(Bytes::from_static(text.as_bytes()));
        let pieces = cut(&Bytes::from_static(b"a NN b TT c NN"), "NN", "TT");
        assert_eq!(pieces, [same("a "), Piece::Nonce, same(" b "), Piece::Token, same(" c "), Piece::Nonce, same("")]);
        assert_eq!(cut(&Bytes::from_static(b"plain"), "NN", "TT"), [same("plain")]);
    }
}
