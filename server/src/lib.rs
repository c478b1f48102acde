//! The process: HTTP, the event feed, and the hosts.
//!
//! `main` and the tests use the same interface: `Server::start(Config)` creates the router, `serve`
//! runs it on a listener until a future completes. Read the modules in the order below.

pub mod config;

pub mod telemetry;

pub mod feed;

mod failpoint;

mod limits;

mod local;

mod tls;

pub mod auth;

mod verbs;

mod journal;
mod usage_history;

mod tasks;

mod backend;

mod history;

mod visibility;

mod windows;

pub mod http;

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::ConnectInfo, http::Request, middleware::AddExtension};
use axum_server::{Handle, accept::Accept, service::SendService, tls_rustls::RustlsAcceptor};
use hyper::body::Incoming;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};

pub use crate::backend::Backend;
use crate::{
    auth::Asking,
    config::{Config, Tls},
    feed::Feed,
    http::{
        connection::{Patient, Prompt},
        held::{Connections, Counted},
        takeover::Seated,
    },
    journal::{Journal, Trouble},
    local::LocalSocket,
    tls::Certificate,
};

/// A server whose hosts are being watched.
pub struct Server {
    backend: Arc<Backend>,
    router: Router,
    certificate: Option<Certificate>,
    /// The secret of the setup link, which signs in and creates the first account while there is
    /// none.
    set_up: Option<String>,
    /// Open connections.
    connections: Connections,
    /// The local socket.
    local: Option<LocalSocket>,
    /// Temporary directories of the process: the demonstration's node file, and the journal.
    _scratch: [Option<TempDir>; 2],
}

/// The service of one connection.
type Served = AddExtension<Router, ConnectInfo<SocketAddr>>;

/// Time limit of requests in progress after the stop signal.
const DRAIN: Duration = Duration::from_secs(5);
/// Time limit for the header of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum concurrent requests per HTTP/2 connection; the tabs of a browser share one.
const STREAMS_OF_A_CONNECTION: u32 = 128;
/// Maximum read buffer of a connection; hyper's default grows to 400 KiB.
const READ_BUFFER: usize = 16 * 1024;
/// Listen backlog, limited by `net.core.somaxconn`. After a restart all browsers reconnect at the
/// same time, and the kernel resets connections beyond the backlog.
const BACKLOG: u32 = 4096;

/// Opens the listener.
///
/// # Errors
/// If the address is in use or not local.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // Old connections of an earlier server must not block its port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

impl Server {
    /// Opens the journal and starts watching all configured hosts, without waiting for them.
    ///
    /// # Errors
    /// If the journal cannot be used, or the demonstration's node file cannot be written.
    pub async fn start(config: &Config) -> io::Result<Self> {
        app::routes::set_base(&config.base_path);
        let assets = match http::Assets::load(&config.site) {
            // Tests of the server run before the browser assets are built.
            Err(error) if cfg!(debug_assertions) => {
                tracing::warn!(%error, "no browser assets found; pages work without JavaScript only");
                http::Assets::none()
            }
            loaded => loaded?,
        };
        let (hosts, demo) = config.hosts().await?;
        let (journal, temporary) = open_journal(config, hosts.iter().all(|host| host.demo))?;
        let asking = match config.auth {
            // A real host always requires sign-in.
            Asking::Auto if hosts.iter().any(|host| !host.demo) => Asking::Always,
            asking => asking,
        };
        let folder = temporary
            .as_ref()
            .map(|folder| folder.path().to_owned())
            .or_else(|| config.data_folder(hosts.iter().all(|host| host.demo)));
        let certificate = Certificate::open(&config.tls, &folder.clone().unwrap_or_default(), config.names())?;
        let feed = Arc::new(Feed::new(hosts.iter().map(hypervisor::HostConfig::unread)));
        let set_up = first_link(asking, &journal, temporary.is_some()).await?;
        let backend = Backend::start(
            feed,
            hosts,
            (config.host_template(), folder.clone()),
            Arc::new(journal),
            backend::fetcher::Fetcher::new(config.fetch_from.clone()),
        );
        let router = http::router(&backend, config, assets, asking, set_up.as_deref());
        let local = folder.and_then(|folder| {
            let served = LocalSocket::serve(&folder, router.clone());
            served.inspect_err(|error| tracing::warn!(%error, "cannot create the local socket")).ok()
        });
        let mut through = config.trusted_proxies.clone();
        if config.behind_proxy {
            through.extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]);
        }
        let connections = Connections::new(through, asking != Asking::Always);
        Ok(Self { backend, router, certificate, set_up, connections, local, _scratch: [demo, temporary] })
    }

    /// The URL of the server.
    pub fn address(&self, listening: SocketAddr) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{listening}{}", app::routes::base())
    }

    /// Messages for the terminal: the certificate's fingerprint, and the setup link.
    pub fn greeting(&self, config: &Config, listening: SocketAddr) -> Vec<String> {
        let certificate = self.certificate.as_ref().filter(|_| config.tls == Tls::SelfSigned);
        let fingerprint = certificate.map(|certificate| {
            format!("self-signed certificate; its SHA-256 fingerprint is {}", certificate.fingerprint)
        });
        let link = self.set_up.as_ref().map(|secret| {
            let address = self.outer_address(config, listening);
            format!("no account yet; this link signs you in and creates the first one: {address}/setup/{secret}")
        });
        fingerprint.into_iter().chain(link).collect()
    }

    /// The URL for browsers: with the proxy's name, or a name of this machine.
    fn outer_address(&self, config: &Config, listening: SocketAddr) -> String {
        match config.allow_host.first() {
            Some(name) if config.behind_proxy => format!("https://{name}{}", config.base_path),
            _ if listening.ip().is_unspecified() => {
                let name = config.allow_host.first().cloned().unwrap_or_else(|| config::own_name().to_string());
                self.address(listening).replace(&listening.ip().to_string(), &name).replace(['[', ']'], "")
            }
            _ => self.address(listening),
        }
    }

    /// Stores the URL for sign-in links in the data directory, if there is one.
    pub fn listens_at(&self, config: &Config, listening: SocketAddr) {
        let demo = self.backend.feed().snapshot().hosts.hosts.values().all(|host| host.host.demo);
        let [_, temporary] = &self._scratch;
        if let Some(folder) = config.data_folder(demo).filter(|_| temporary.is_none()) {
            verbs::note_address(&folder, &self.outer_address(config, listening))
                .unwrap_or_else(|error| tracing::warn!(%error, "sign-in links may contain a wrong address"));
        }
    }

    /// The backend, for tests.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Serves until `stop` completes, then lets streams and requests end.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        let (under_way, mut ended) = mpsc::channel(1);
        match self.certificate.take() {
            None => {
                let acceptor = Counted(Prompt(Seated(under_way)), self.connections.clone());
                let served = self.serve_by(acceptor, listener, stop).await;
                // No message is sent: the receiver ends when all senders are dropped.
                timeout(DRAIN, ended.recv()).await.ok();
                served
            }
            Some(certificate) => {
                let acceptor =
                    RustlsAcceptor::new(certificate.config.clone()).handshake_timeout(HEAD_DEADLINE).acceptor(Patient);
                let acceptor = Counted(Prompt(acceptor), self.connections.clone());
                tokio::select! {
                    served = self.serve_by(acceptor, listener, stop) => served,
                    () = certificate.follow() => Ok(()),
                }
            }
        }
    }

    async fn serve_by<A>(mut self, acceptor: A, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()>
    where
        A: Accept<TcpStream, Served> + Clone + Send + Sync + 'static,
        A::Service: SendService<Request<Incoming>> + Send,
        A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
        A::Future: Send,
    {
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle.clone());
        server
            .http_builder()
            .http1()
            .timer(hyper_util::rt::TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(READ_BUFFER);
        server
            .http_builder()
            .http2()
            .timer(hyper_util::rt::TokioTimer::new())
            .max_concurrent_streams(STREAMS_OF_A_CONNECTION)
            .max_header_list_size(READ_BUFFER as u32)
            .keep_alive_interval(HEAD_DEADLINE);
        let serving = server.serve(self.router.into_make_service_with_connect_info::<SocketAddr>());
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = stop => {}
        }
        tracing::info!("stopping");
        self.backend.feed().drain();
        handle.graceful_shutdown(Some(DRAIN));
        if let Some(local) = self.local.take() {
            local.stop().await;
        }
        let (served, ()) = tokio::join!(serving, self.backend.stop(DRAIN));
        served
    }
}

/// The secret of the setup link; none if an account exists or sign-in is not required. A temporary
/// journal needs no account, unless the server is reachable by others.
async fn first_link(asking: Asking, journal: &Journal, temporary: bool) -> io::Result<Option<String>> {
    let wanted = match asking {
        Asking::Always => true,
        Asking::Auto => !temporary,
        Asking::Never => false,
    };
    let closed = journal.accounts.read(journal::accounts::any).await;
    let closed = closed.map_err(|fault| io::Error::other(fault.sentence()))?;
    Ok((wanted && !closed).then(auth::secret))
}

/// The journal in the data directory, and a temporary directory if there is none.
fn open_journal(config: &Config, demo: bool) -> io::Result<(Journal, Option<TempDir>)> {
    let temporary = || -> io::Result<(Journal, Option<TempDir>)> {
        let folder = TempDir::with_prefix("belvedere-")?;
        let journal = Journal::open(folder.path()).map_err(told)?;
        Ok((journal, Some(folder)))
    };
    let Some(folder) = config.data_folder(demo) else { return temporary() };
    match Journal::open(&folder) {
        Ok(journal) => Ok((journal, None)),
        // The directory is the default, so a second server uses a temporary one.
        Err(Trouble::InUse(folder)) if config.data.is_none() && !journal::is_closed(&folder) => {
            tracing::warn!(
                "data directory {} is used by another running Belvedere, so nothing is kept after the stop; \
                 choose another one with --data",
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
            format!(
                "data directory {} is used by another running Belvedere; choose another one with --data",
                folder.display()
            )
        }
        Trouble::Other(why) => why,
    })
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod simulation;
