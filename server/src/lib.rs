//! The process: HTTP, the event feed, and the hosts.
//!
//! `main` and the tests use the same seam: `Server::start(Config)` gives the
//! router, `serve` runs it on a listener until a future says stop. Read the
//! modules in the order below.

pub mod config;

pub mod telemetry;

pub mod feed;

mod failpoint;

mod auth;

mod verbs;

mod history;
mod journal;

mod tasks;

mod backend;

mod past;

pub mod http;

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum_server::Handle;
use tempfile::TempDir;

pub use crate::backend::Backend;
use crate::{
    config::Config,
    feed::Feed,
    http::connection::Patient,
    journal::{Journal, Trouble},
};

/// A server whose hosts are being watched.
pub struct Server {
    backend: Arc<Backend>,
    router: axum::Router,
    /// Keeps what goes with the process: the demonstration's node file and journal.
    _scratch: [Option<TempDir>; 2],
}

/// How long requests in flight may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may take to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Largest read buffer of a connection; hyper's own would grow to 400 KiB.
const READ_BUFFER: usize = 16 * 1024;

impl Server {
    /// Opens the journal and starts watching all hosts of the configuration; none of
    /// them delays this.
    ///
    /// # Errors
    /// When the journal cannot be used, or the demonstration's node file cannot be
    /// written.
    pub async fn start(config: &Config) -> io::Result<Self> {
        let (hosts, demo) = config.hosts().await?;
        let (journal, temporary) = open_journal(config, hosts.iter().all(|host| host.demo))?;
        let feed = Arc::new(Feed::new(hosts.iter().map(hypervisor::HostConfig::unread)));
        let backend = Backend::start(feed, hosts, Arc::new(journal));
        let router = http::router(&backend, config);
        Ok(Self { backend, router, _scratch: [demo, temporary] })
    }

    /// Notes for links to log in where it can be reached, when there is a folder for what
    /// survives.
    pub fn listens_at(&self, config: &Config, address: &str) {
        let demo = self.backend.feed().snapshot().hosts.hosts.values().all(|host| host.host.demo);
        let [_, temporary] = &self._scratch;
        let through_proxy =
            config.allow_host.first().filter(|_| config.behind_proxy).map(|name| format!("https://{name}"));
        let address = through_proxy.as_deref().unwrap_or(address);
        if let Some(folder) = config.data_folder(demo).filter(|_| temporary.is_none()) {
            verbs::note_address(&folder, address)
                .unwrap_or_else(|error| tracing::warn!(%error, "links to log in may name another address"));
        }
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
        let serving = server.serve(self.router.into_make_service_with_connect_info::<SocketAddr>());
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = stop => {}
        }
        tracing::info!("stopping");
        self.backend.feed().drain();
        handle.graceful_shutdown(Some(DRAIN));
        let (served, ()) = tokio::join!(serving, self.backend.stop(DRAIN));
        served
    }
}

/// The journal in the configured folder, and a folder that goes with the process
/// where there is none to keep it in.
fn open_journal(config: &Config, demo: bool) -> io::Result<(Journal, Option<TempDir>)> {
    let temporary = || -> io::Result<(Journal, Option<TempDir>)> {
        let folder = TempDir::with_prefix("belvedere-")?;
        let journal = Journal::open(folder.path()).map_err(told)?;
        Ok((journal, Some(folder)))
    };
    let Some(folder) = config.data_folder(demo) else { return temporary() };
    match Journal::open(&folder) {
        Ok(journal) => Ok((journal, None)),
        // Nobody chose the folder, so a second server does without it.
        Err(Trouble::InUse(folder)) if config.data.is_none() && !journal::is_closed(&folder) => {
            tracing::warn!(
                "{} belongs to another Belvedere that runs, so what happens here is forgotten at the end; \
                 choose a folder with --data",
                folder.display()
            );
            temporary()
        }
        Err(trouble) => Err(told(trouble)),
    }
}

fn told(trouble: Trouble) -> io::Error {
    io::Error::other(match trouble {
        Trouble::InUse(folder) => {
            format!("{} belongs to another Belvedere that runs; choose another folder with --data", folder.display())
        }
        Trouble::Other(why) => why,
    })
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod simulation;
