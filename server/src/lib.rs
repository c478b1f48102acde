//! The process: HTTP, the event feed, and the hosts.
//!
//! `main` and the tests use the same seam: `Server::start(Config)` gives the
//! router, `serve` runs it on a listener until a future says stop. Read the
//! modules in the order below.

pub mod config;

pub mod feed;

mod requests;

mod backend;

pub mod http;

use std::{future::Future, io, net::TcpListener, sync::Arc, time::Duration};

use axum_server::Handle;

pub use crate::backend::Backend;
use crate::{config::Config, feed::Feed, http::connection::Patient};

/// A server whose hosts are being watched.
pub struct Server {
    backend: Arc<Backend>,
    router: axum::Router,
    /// Keeps the demonstration's node file while the process lives.
    _scratch: Option<tempfile::TempDir>,
}

/// How long requests in flight may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Largest read buffer of a connection; hyper's own would grow to 400 KiB.
const READ_BUFFER: usize = 16 * 1024;

impl Server {
    /// Starts watching all hosts of the configuration; none of them delays this.
    ///
    /// # Errors
    /// When the demonstration's node file cannot be written.
    pub async fn start(config: &Config) -> io::Result<Self> {
        let (hosts, scratch) = config.hosts().await?;
        let feed = Arc::new(Feed::new(hosts.iter().map(hypervisor::HostConfig::unread)));
        let backend = Arc::new(Backend::start(feed, hosts));
        let router = http::router(&backend, config);
        Ok(Self { backend, router, _scratch: scratch })
    }

    /// What the routes stand on, for tests.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Serves until `stop` is ready, then lets streams and requests end.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(listener)?.acceptor(Patient).handle(handle.clone());
        server
            .http_builder()
            .http1()
            .timer(hyper_util::rt::TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(READ_BUFFER);
        let serving = server.serve(self.router.into_make_service());
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = stop => {}
        }
        tracing::info!("stopping");
        self.backend.feed().drain();
        handle.graceful_shutdown(Some(DRAIN));
        serving.await
    }
}
