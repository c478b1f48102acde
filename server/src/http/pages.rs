//! Renders pages, once for each position of the stream, and shares them.
//!
//! What must differ between two answers with the same content, the nonce of the
//! content security policy and the token of the forms, is rendered as a mark and
//! filled in for each answer. The marks are random per process, so no text of a
//! guest or an admin can hold one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use app::{
    backend::{Answer, Backend as Interface, FormToken, Theme},
    shell,
};
use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use leptos::{nonce::Nonce, prelude::provide_context};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::assets::Assets;
use crate::Backend;

/// Pages that are kept of one position.
const MAX_PAGES: usize = 64;
/// Longest address that is rendered.
const MAX_ADDRESS: usize = 16 * 1024;

/// A page with its marks.
struct Page {
    status: StatusCode,
    html: Bytes,
}

type Key = (String, Theme);

/// The pages of one position of the stream.
#[derive(Default)]
struct Kept {
    seq: u64,
    pages: HashMap<Key, Arc<OnceCell<Page>>>,
}

/// Renders pages and keeps the current ones.
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
        Self { backend, assets, nonce_mark: mark(), token_mark: Uuid::new_v4().to_string(), kept: Mutex::default() }
    }

    /// The cell of a page at the present position; one render serves all who ask.
    fn cell(&self, key: Key) -> Arc<OnceCell<Page>> {
        let seq = self.backend.feed().cursor().seq;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.seq != seq || kept.pages.len() >= MAX_PAGES {
            *kept = Kept { seq, pages: HashMap::new() };
        }
        kept.pages.entry(key).or_default().clone()
    }

    async fn render(&self, address: &str, theme: Theme) -> Page {
        let Ok(request) = Request::builder().uri(address).body(Body::empty()) else {
            return Page { status: StatusCode::BAD_REQUEST, html: Bytes::new() };
        };
        let backend: Arc<dyn Interface> = self.backend.clone();
        let (nonce, token) = (Nonce::from_value(self.nonce_mark.clone()), FormToken(self.token_mark.clone()));
        let (names, answer) = (self.assets.names.clone(), Answer::default());
        let said = answer.clone();
        let context = move || {
            provide_context(backend.clone());
            provide_context(names.clone());
            provide_context(theme);
            provide_context(answer.clone());
            provide_context(token.clone());
            provide_context(nonce.clone());
        };
        let handler = leptos_axum::render_app_async_with_context(context, shell);
        let response = handler(request).await;
        let status = if said.is_not_found() { StatusCode::NOT_FOUND } else { response.status() };
        match response.into_body().collect().await {
            Ok(body) => Page { status, html: body.to_bytes() },
            Err(error) => {
                tracing::error!(%error, address, "page could not be rendered");
                Page { status: StatusCode::INTERNAL_SERVER_ERROR, html: Bytes::new() }
            }
        }
    }

    /// A page with fresh marks, as an answer.
    fn answer(&self, page: &Page) -> Response {
        let (nonce, token) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().to_string());
        let html = fill(&page.html, [(&self.nonce_mark, &nonce), (&self.token_mark, &token)]);
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; style-src 'self'; \
             img-src 'self' data:; connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        );
        let mut response = (page.status, html).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Puts other texts of the same length in the place of marks.
fn fill(html: &[u8], marks: [(&str, &str); 2]) -> Vec<u8> {
    let mut filled = html.to_vec();
    for (mark, text) in marks {
        let mut from = 0;
        while let Some(at) = find(&filled[from..], mark.as_bytes()) {
            let at = from + at;
            filled[at..at + mark.len()].copy_from_slice(text.as_bytes());
            from = at + mark.len();
        }
    }
    filled
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, mark)
}

pub(crate) async fn render(State(pages): State<Arc<Pages>>, request: Request) -> Response {
    let address = request.uri().path_and_query().map(|address| address.as_str().to_owned()).unwrap_or_default();
    if address.len() > MAX_ADDRESS {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    let theme = request
        .headers()
        .get(header::COOKIE)
        .and_then(|value| value.to_str().ok())
        .map(Theme::from_cookies)
        .unwrap_or_default();
    // Results come from outside the log, so a page that shows one is not shared.
    if address.contains("result=") {
        return pages.answer(&pages.render(&address, theme).await);
    }
    let cell = pages.cell((address.clone(), theme));
    let page = cell.get_or_init(async || pages.render(&address, theme).await).await;
    pages.answer(page)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn every_mark_is_filled_and_nothing_else_changes() {
        let filled = fill(b"a NN b TT c NN", [("NN", "12"), ("TT", "34")]);
        assert_eq!(filled, b"a 12 b 34 c 12");
    }
}
