//! Takes the connection of an endless response over from the HTTP library, which keeps some 18 kB
//! of buffers for the next request of each. What remains is a socket and a body that is written to
//! it; the end of the connection is the end of the response (RFC 9112, 6.3).
//!
//! Only over HTTP/1.1 without TLS, as used by most proxies: over HTTP/2 many streams share one
//! connection and its buffers. The content is decided by the routes.

use std::{
    convert::Infallible,
    fmt::Write as _,
    future::{Future, Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use parking_lot::{Mutex, MutexGuard};

use axum::{
    body::Body,
    http::{Method, Request, Response, Version, response::Parts},
};
use axum_server::accept::Accept;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};
use tower::Service;

use super::connection::Stalling;

/// A response extension for endless responses on their own connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endless;

/// Lives as long as the responses that were taken over, so that a stop can wait for them.
pub(crate) type UnderWay = mpsc::Sender<Infallible>;

/// Accepts connections that can be taken over.
#[derive(Clone, Debug)]
pub(crate) struct Seated(pub(crate) UnderWay);

impl<S> Accept<TcpStream, S> for Seated {
    type Stream = ConnectionSlot;
    type Service = Taking<S>;
    type Future = Ready<io::Result<(ConnectionSlot, Taking<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let under_way = self.0.clone();
        ready(Stalling::new(stream).map(|stream| {
            let seat = ConnectionSlot(Arc::new(Mutex::new(Some(stream))));
            (seat.clone(), Taking { service, seat, under_way })
        }))
    }
}

/// The slot of a connection, which is empty once it was taken over.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSlot(Arc<Mutex<Option<Stalling>>>);

impl ConnectionSlot {
    fn lock(&self) -> MutexGuard<'_, Option<Stalling>> {
        self.0.lock()
    }

    /// The connection, unless an earlier response is still being written to it.
    fn leave(&self) -> Option<Stalling> {
        self.lock().take_if(|stream| !stream.is_waiting())
    }

    /// Runs something with the connection while it is here.
    fn with<T>(&self, what: impl FnOnce(Pin<&mut Stalling>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.lock() {
            Some(stream) => what(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for ConnectionSlot {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for ConnectionSlot {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// The service of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Taking<S> {
    service: S,
    seat: ConnectionSlot,
    under_way: UnderWay,
}

impl<S, B> Service<Request<B>> for Taking<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    /// Returned if the connection was taken over.
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.service.poll_ready(cx).map_err(|never| match never {})
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let fits = request.version() == Version::HTTP_11 && request.method() == Method::GET;
        let (seat, under_way) = (self.seat.clone(), self.under_way.clone());
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await.unwrap_or_else(|never| match never {});
            let endless = fits && answer.extensions().get::<Endless>().is_some();
            let Some(stream) = endless.then(|| seat.leave()).flatten() else { return Ok(answer) };
            tokio::spawn(async move {
                // A client that is gone or does not read gets no more, and cannot be notified.
                write(stream, answer).await.ok();
                drop(under_way);
            });
            Err(io::ErrorKind::NotConnected.into())
        })
    }
}

/// Writes a response as its parts arrive, until it ends or the client is gone.
async fn write(mut stream: Stalling, answer: Response<Body>) -> io::Result<()> {
    let (parts, mut body) = answer.into_parts();
    stream.write_all(&head(parts)).await?;
    // Further data of the client is ignored; its end of data is its end.
    let mut said = [0; 64];
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => if let Ok(data) = frame.into_data() {
                    stream.write_all(&data).await?;
                },
                _ => return stream.shutdown().await,
            },
            read = stream.read(&mut said) => if read? == 0 {
                return Ok(());
            },
        }
    }
}

/// The header of a response (RFC 9112, 2.1).
fn head(parts: Parts) -> Vec<u8> {
    let mut head = String::with_capacity(1024);
    let date = httpdate::fmt_http_date(SystemTime::now());
    write!(head, "HTTP/1.1 {}\r\ndate: {date}\r\nconnection: close\r\n", parts.status).ok();
    let mut head = head.into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_ref());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
