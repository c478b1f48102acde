//! The origin of a request, for records.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use model::{Origin, Source};

use super::authorize::Admitted;

/// The proxy configuration.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    /// Whether a proxy reports the client address.
    pub(crate) behind_proxy: bool,
    /// Remote proxies that are trusted.
    pub(crate) trusted: Vec<IpAddr>,
}

impl Proxies {
    /// Whether the address header of this peer is trusted.
    fn believes(&self, peer: Option<IpAddr>) -> bool {
        let known = |peer: IpAddr| peer.is_loopback() || self.trusted.contains(&peer);
        self.behind_proxy && peer.is_some_and(|peer| known(peer.to_canonical()))
    }
}

/// Middleware: adds an `Origin` to every request.
pub(crate) async fn note(State(doors): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    // A proxy without the header serves many clients, so its address identifies none.
    let address = if doors.believes(peer) { forwarded(request.headers()) } else { peer };
    let source = source(request.headers());
    let address = address.map(|address| address.to_canonical().to_string());
    let who = request.extensions().get::<Admitted>().and_then(|admitted| admitted.viewer().name.clone());
    request.extensions_mut().insert(Origin { who, source, address, ..Origin::default() });
    next.run(request).await
}

/// Whether a page or a program sent the request; only used in records. Browsers send one of these
/// headers with changes, the first not over plain HTTP; programs send neither.
fn source(headers: &HeaderMap) -> Source {
    let browser = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    if browser { Source::Page } else { Source::Api }
}

/// The address seen by the nearest proxy: the last one of the list.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    last.parse().or_else(|_| last.parse::<SocketAddr>().map(|address| address.ip())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_also_over_plain_http() {
        let with = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))])
        };
        assert_eq!(source(&with("sec-fetch-site", "same-origin")), Source::Page);
        assert_eq!(source(&with("origin", "http://192.0.2.1:7000")), Source::Page);
        assert_eq!(source(&with("user-agent", "curl/8.9")), Source::Api);
    }

    #[test]
    fn only_proxies_that_are_known_are_believed() {
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        let doors = Proxies { behind_proxy: true, trusted: vec!["192.0.2.1".parse().expect("an address")] };
        assert!(doors.believes(address("127.0.0.1")) && doors.believes(address("192.0.2.1")));
        assert!(doors.believes(address("::ffff:192.0.2.1")), "the same over a socket of both kinds");
        assert!(!doors.believes(address("192.0.2.2")) && !doors.believes(None));
        assert!(!Proxies { behind_proxy: false, ..doors }.believes(address("127.0.0.1")));
    }
}
