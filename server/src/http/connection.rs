//! Connections below HTTP: TCP_NODELAY, and timeouts for clients that do not read or do not send.

use std::{
    future::{Future, Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// How long a client may read nothing.
const STALL: Duration = Duration::from_secs(5);

/// Accepts connections whose writes must make progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patient;

impl<S> Accept<TcpStream, S> for Patient {
    type Stream = Stalling;
    type Service = S;
    type Future = Ready<io::Result<(Stalling, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(Stalling::new(stream).map(|stream| (stream, service)))
    }
}

/// A stream that fails when a write has waited for `STALL`.
#[derive(Debug)]
pub(crate) struct Stalling {
    stream: TcpStream,
    stall: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Stalling {
    /// The stream of a connection; small parts are sent immediately.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, stall: Box::pin(sleep(STALL)), waiting: false })
    }

    /// Whether earlier data is still waiting to be written.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Passes a result on; while it is pending, the timeout runs.
    fn timed<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = false;
            return result;
        }
        if !self.waiting {
            self.waiting = true;
            self.stall.as_mut().reset(Instant::now() + STALL);
        }
        match self.stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.timed(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Time limit for the start of a connection.
const OPENING: Duration = Duration::from_secs(10);
/// Bytes that identify the HTTP version (RFC 9113, 3.4); no request is shorter.
const PREFACE: usize = 24;

/// Accepts connections that send their start in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prompt<A>(pub(crate) A);

impl<A, I, S> Accept<I, S> for Prompt<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = Reading<A::Stream, Opening>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepting = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let opening = Opening { waiting: Some(Box::pin(sleep(OPENING))), said: 0 };
            Ok((Reading::new(stream, opening), service))
        })
    }
}

/// Decides whether reads of a connection continue.
pub(super) trait Reads {
    /// Reads from the stream, or ends the connection with an error.
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A stream with controlled reads; writes pass through.
#[derive(Debug)]
pub(crate) struct Reading<S, R> {
    stream: S,
    reads: R,
}

impl<S, R> Reading<S, R> {
    pub(super) fn new(stream: S, reads: R) -> Self {
        Self { stream, reads }
    }
}

impl<S: AsyncRead + Unpin, R: Reads + Unpin> AsyncRead for Reading<S, R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, reads } = &mut *self;
        reads.poll_read(stream, cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, R: Unpin> AsyncWrite for Reading<S, R> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Ends a connection that does not send its start.
#[derive(Debug)]
pub(crate) struct Opening {
    /// None once enough was received.
    waiting: Option<Pin<Box<Sleep>>>,
    said: usize,
}

impl Reads for Opening {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(stream).poll_read(cx, buf);
        let Some(waiting) = &mut self.waiting else { return result };
        if result.is_pending() {
            return match waiting.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing")))
                }
                Poll::Pending => Poll::Pending,
            };
        }
        self.said += buf.filled().len() - before;
        if self.said >= PREFACE {
            self.waiting = None;
        }
        result
    }
}
