//! Limits of resources held by idle clients: connections, unauthenticated requests, and unread
//! HTTP/2 responses.
//!
//! Over HTTP/1.1 a client that does not read blocks the connection's writes, which `connection`
//! detects. Over HTTP/2 it closes the window of a stream, and nothing is written: so each body with
//! pending data is checked for progress.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Request, Response, StatusCode, Version},
};
use axum_server::accept::Accept;
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};
use tower::Service;

use super::connection::{Reading, Reads};

/// Maximum connections: the open file limit minus a reserve.
const MAX_CONNECTIONS: usize = 18_000;
/// Maximum connections per address without authentication.
const MAX_STRANGERS: usize = 256;
/// Maximum connections per address with authentication.
const MAX_KNOWN: usize = 4_096;
/// Maximum concurrent requests per connection without authentication.
const MAX_REQUESTS_OF_STRANGERS: usize = 16;
/// How long a body with pending data may not be polled.
const UNTAKEN: Duration = Duration::from_secs(5);
/// Size of a part of a body over HTTP/2. Small, because a part counts as read once the next one is
/// polled: with 4 KiB a reader of 1 kB/s makes progress.
const PIECE: usize = 4 * 1024;

/// Open connections.
#[derive(Clone)]
pub(crate) struct Connections {
    /// Addresses of proxies, which count only in total.
    through: Arc<Vec<IpAddr>>,
    /// Whether the server is open, so that all clients are authenticated.
    open: bool,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    /// Unauthenticated and authenticated connections by address, for IPv6 by network.
    of: HashMap<IpAddr, [usize; 2]>,
}

impl Connections {
    /// For a server behind `through` proxies, and `open` to everyone or not.
    pub(crate) fn new(through: Vec<IpAddr>, open: bool) -> Self {
        Self { through: Arc::new(through), open, counts: Arc::default() }
    }

    /// Adds a connection; none if there are too many.
    fn enter(&self, peer: Option<IpAddr>) -> Option<Connection> {
        let address = peer.map(|peer| network_of(peer.to_canonical())).filter(|_| !self.open);
        let address = address.filter(|address| !self.through.contains(address));
        let mut counts = self.counts.lock();
        if counts.all >= MAX_CONNECTIONS {
            return None;
        }
        if let Some(address) = address {
            let [strangers, _] = counts.of.entry(address).or_default();
            if *strangers >= MAX_STRANGERS {
                return None;
            }
            *strangers += 1;
        }
        counts.all += 1;
        let known = AtomicBool::new(address.is_none());
        let inner = Inner {
            counts: self.counts.clone(),
            address,
            known,
            requests: AtomicUsize::new(0),
            untaken: Mutex::default(),
        };
        Some(Connection(Arc::new(inner)))
    }
}

/// An address, for IPv6 its network: a client usually has all of it.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) if !address.is_loopback() => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
        other => other,
    }
}

/// One connection, shared by everything on it.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Inner>);

struct Inner {
    counts: Arc<Mutex<Counts>>,
    /// None if it is not counted by address.
    address: Option<IpAddr>,
    known: AtomicBool,
    /// Requests without a finished response.
    requests: AtomicUsize,
    /// Bodies with pending data, and since when they were not polled.
    untaken: Mutex<HashMap<usize, Instant>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(of) = counts.of.get_mut(&address) {
            of[usize::from(self.known.load(Ordering::Relaxed))] -= 1;
            if *of == [0, 0] {
                counts.of.remove(&address);
            }
        }
    }
}

impl Connection {
    /// Marks it as authenticated; false if there are too many of that address.
    pub(crate) fn is_known(&self) -> bool {
        let Some(address) = self.0.address else { return true };
        if self.0.known.load(Ordering::Relaxed) {
            return true;
        }
        let mut counts = self.0.counts.lock();
        let of = counts.of.entry(address).or_default();
        if of[1] >= MAX_KNOWN {
            return false;
        }
        // Under the lock, so that two concurrent requests count it once.
        if !self.0.known.swap(true, Ordering::Relaxed) {
            of[0] = of[0].saturating_sub(1);
            of[1] += 1;
        }
        true
    }

    /// Whether another unauthenticated request is allowed.
    fn may_ask(&self) -> bool {
        self.0.known.load(Ordering::Relaxed) || self.0.requests.load(Ordering::Relaxed) < MAX_REQUESTS_OF_STRANGERS
    }

    /// Since when the longest waiting body was not polled.
    fn untaken(&self) -> Option<Instant> {
        self.0.untaken.lock().values().min().copied()
    }
}

/// Accepts connections within the limits.
#[derive(Clone)]
pub(crate) struct Counted<A>(pub(crate) A, pub(crate) Connections);

impl<A, S> Accept<TcpStream, S> for Counted<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
{
    type Stream = Reading<A::Stream, Held>;
    type Service = Asking<A::Service>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Some(connection) = self.1.enter(stream.peer_addr().ok().map(|peer| peer.ip())) else {
            return Box::pin(async { Err(io::Error::other("too many connections")) });
        };
        let accepting = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let held = Held { connection: connection.clone(), timer: None };
            Ok((Reading::new(stream, held), Asking { service, connection }))
        })
    }
}

/// Ends a connection if a body on it is not read.
pub(crate) struct Held {
    connection: Connection,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reads for Held {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(stream).poll_read(cx, buf);
        // A connection always reads, so it is woken here when a body waits too long.
        let Some(since) = self.connection.untaken() else { return result };
        let until = since + UNTAKEN;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(UNTAKEN)));
        timer.as_mut().reset(until);
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read the response")))
            }
            Poll::Pending => result,
        }
    }
}

/// The service of one connection, which adds it to its requests.
#[derive(Clone)]
pub(crate) struct Asking<S> {
    service: S,
    connection: Connection,
}

impl<S, R> Service<Request<R>> for Asking<S>
where
    S: Service<Request<R>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        if request.version() != Version::HTTP_2 {
            request.extensions_mut().insert(self.connection.clone());
            return Box::pin(self.service.call(request));
        }
        if !self.connection.may_ask() {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            return Box::pin(async { Ok(refused) });
        }
        let asked = Asked::new(&self.connection);
        request.extensions_mut().insert(self.connection.clone());
        let answering = self.service.call(request);
        Box::pin(async move { Ok(answering.await?.map(|body| Body::new(Taken::new(body, asked)))) })
    }
}

/// A request of a connection, until its response has ended.
struct Asked {
    connection: Connection,
    number: usize,
}

/// Numbers of requests; one counter for all connections.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

impl Asked {
    fn new(connection: &Connection) -> Self {
        connection.0.requests.fetch_add(1, Ordering::Relaxed);
        Self { connection: connection.clone(), number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    /// Sets whether the body has pending data.
    fn has_more(&self, more: bool) {
        let mut untaken = self.connection.0.untaken.lock();
        if more {
            untaken.insert(self.number, Instant::now());
        } else {
            untaken.remove(&self.number);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.has_more(false);
        self.connection.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body in small parts that records when the next one is polled.
struct Taken {
    body: Body,
    rest: Bytes,
    asked: Asked,
    /// Whether the end was given, which is asked for once all before it was taken: what is given may
    /// wait below us for a client that takes nothing.
    ended: bool,
}

impl Taken {
    fn new(body: Body, asked: Asked) -> Self {
        let ended = body.is_end_stream();
        if !ended {
            asked.has_more(true);
        }
        Self { body, rest: Bytes::new(), asked, ended }
    }
}

impl hyper::body::Body for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.asked.has_more(false);
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => {
                    self.ended |= matches!(other, Poll::Ready(_));
                    // Nothing yet is still something to come.
                    self.asked.has_more(!self.ended);
                    return other;
                }
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.asked.has_more(true);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_one_address_are_few_and_hinder_neither_others_nor_who_is_known() {
        let all = Connections::new(vec!["192.0.2.9".parse().expect("an address")], false);
        let at = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        let mut held: Vec<Connection> = (0..MAX_STRANGERS).filter_map(|_| all.enter(at("192.0.2.1"))).collect();
        assert_eq!(held.len(), MAX_STRANGERS);
        assert!(all.enter(at("192.0.2.1")).is_none() && all.enter(at("::ffff:192.0.2.1")).is_none());
        assert!(all.enter(at("192.0.2.2")).is_some());
        assert!(held[0].is_known() && held[0].is_known());
        assert!(all.enter(at("192.0.2.1")).is_some(), "one of them is no stranger any more");
        held.clear();
        assert_eq!(all.counts.lock().all, 0);
        assert!(all.counts.lock().of.is_empty(), "nothing is left of them");
        let through: Vec<_> = (0..2 * MAX_STRANGERS).filter_map(|_| all.enter(at("192.0.2.9"))).collect();
        assert_eq!(through.len(), 2 * MAX_STRANGERS, "a proxy brings many");
        let six: Vec<_> = (0..2 * MAX_STRANGERS).filter_map(|n| all.enter(at(&format!("2001:db8::{n:x}")))).collect();
        assert_eq!(six.len(), MAX_STRANGERS, "one network");
    }
}
