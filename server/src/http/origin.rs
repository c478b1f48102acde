//! Through which door a request came, for the record.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use model::{Origin, Source};

use super::door::Admitted;

/// What is known of all requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    /// Whether a proxy in front says who the peer is.
    pub(crate) behind_proxy: bool,
}

/// Middleware: puts an `Origin` beside every request.
pub(crate) async fn note(State(doors): State<Doors>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let address = if doors.behind_proxy { forwarded(request.headers()).or(peer) } else { peer };
    // Browsers send this header and scripts do not; it decides nothing but a word in the record.
    let browser = request.headers().contains_key("sec-fetch-site");
    let source = if browser { Source::Page } else { Source::Api };
    let address = address.map(|address| address.to_canonical().to_string());
    let who = request.extensions().get::<Admitted>().and_then(|admitted| admitted.viewer().name.clone());
    request.extensions_mut().insert(Origin { who, source, address, ..Origin::default() });
    next.run(request).await
}

/// The address that the nearest proxy saw: the last one of the list.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}
