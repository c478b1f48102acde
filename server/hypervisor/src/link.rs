//! The connections to one host: opens them, keeps them alive, and runs blocking calls on a bounded
//! number of threads, each with a deadline.
//!
//! It does not reconnect; the watcher decides when to open the next session.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};

use model::HostInfo;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};
use tracing::{Instrument, Span};
use uuid::Uuid;
use virt::connect::Connect;

use crate::{
    calls::{Calls, Counter},
    console::Lines,
    error::Error,
    events::{self, Depth, SharedHints},
    ffi, host, uses,
};

/// The purpose of a call; each lane has a separate connection, because the daemon serves only five
/// requests of a connection at a time (`max_client_requests`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Quick readings, on the connection that receives events.
    Read,
    /// Readings that query a machine's process, and hang if it hangs.
    Machine,
    /// Commands.
    Command,
    /// Calls that wait for a guest or a disk.
    Slow,
    /// Statistics, one sweep at a time.
    Stats,
    /// Guest queries, which may not respond.
    Guest,
    /// Transfers of volume content.
    Content,
    /// Readings of pools, volumes and leases, which may wait for a file server.
    Around,
    /// Thawing a guest's file systems, which must not wait for other calls.
    Thaw,
    /// Consoles, whose streams stay on its connection once they are open.
    Console,
}

/// Number of lanes.
const LANES: usize = Lane::NAMES.len();

impl Lane {
    /// Their names, in order.
    const NAMES: [&str; 10] =
        ["read", "machine", "command", "slow", "stats", "guest", "content", "around", "thaw", "console"];
    /// Concurrent calls per lane, one below the daemon's limit per connection.
    const PERMITS: usize = 4;

    /// The lane of a command.
    pub(crate) fn of(lane: model::command::Lane) -> Self {
        match lane {
            model::command::Lane::Quick => Self::Command,
            model::command::Lane::Slow => Self::Slow,
            model::command::Lane::Thaw => Self::Thaw,
        }
    }

    /// How long a caller waits; none for no limit.
    fn deadline(self) -> Option<Duration> {
        match self {
            Self::Read | Self::Machine | Self::Stats | Self::Console => Some(Duration::from_secs(10)),
            Self::Around | Self::Guest => Some(Duration::from_secs(30)),
            Self::Command | Self::Thaw => Some(Duration::from_secs(90)),
            Self::Slow | Self::Content => None,
        }
    }

    /// A span for a call that belongs to a request or command. Other calls are only counted in
    /// `CALLS`, to keep traces clean.
    fn span(self) -> Span {
        if Span::current().is_disabled() {
            return Span::none();
        }
        tracing::info_span!(
            "libvirt",
            otel.name = format_args!("libvirt {}", Self::NAMES[self as usize]),
            otel.kind = "client"
        )
    }
}

/// Call counters per lane, for all hosts.
static CALLS: [Counter; LANES] = [const { Counter::new() }; LANES];

/// Durations of libvirt calls since the start, per lane.
pub fn calls() -> Vec<Calls> {
    CALLS.iter().zip(Lane::NAMES).map(|(counter, name)| counter.read(name)).collect()
}

/// Time limit for opening a connection.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);
/// Response time limit of a machine's process; a healthy one needs a millisecond.
const MACHINE_DEADLINE: Duration = Duration::from_secs(2);
/// A response within this time makes a slow machine a normal one again.
const QUICK: Duration = Duration::from_millis(200);
/// Maximum hung machines before no further one is queried: each occupies one of the daemon's 20
/// threads (`max_workers`).
const MAX_LATE: usize = 15;
/// Seconds between keepalive messages, and how many may be missed: a frozen daemon is detected
/// after 3 × (3 + 1) = 12 s.
const KEEPALIVE: (i32, u32) = (3, 3);

/// The connections to one host from opening until they break.
pub(crate) struct Session {
    /// Hints from libvirt events.
    pub(crate) hints: SharedHints,
    /// The host data.
    pub(crate) host: HostInfo,
    /// The root of the file systems that its daemon sees; none for a remote host.
    pub(crate) root: Option<PathBuf>,
    uri: String,
    /// Whether all lanes share one connection.
    single: bool,
    connections: [Mutex<Option<Arc<Connect>>>; LANES],
    permits: [Arc<Semaphore>; LANES],
    /// Machines whose process has not responded in time.
    late: Mutex<HashSet<Uuid>>,
    /// Machines whose process is slow; readings wait longer for these.
    slow: Mutex<HashSet<Uuid>>,
    /// Serial consoles that we opened.
    pub(crate) lines: Lines,
    registration: Mutex<Option<ffi::Registration>>,
}

impl Session {
    /// Opens the first connection, registers for events, and reads the host.
    fn open_blocking(uri: &str) -> Result<Self, Error> {
        events::start_thread();
        let first = Arc::new(open(uri)?);
        let hints = SharedHints::default();
        let registration = ffi::register(first.clone(), &hints);
        let host = host::read(&first);
        let permits = || Arc::new(Semaphore::new(Lane::PERMITS));
        Ok(Self {
            hints,
            host,
            root: uses::read::root(uri),
            uri: uri.to_owned(),
            // Each connection to a test driver file has separate state.
            single: uri.starts_with("test:"),
            connections: std::array::from_fn(|lane| Mutex::new((lane == Lane::Read as usize).then(|| first.clone()))),
            permits: std::array::from_fn(|_| permits()),
            late: Mutex::default(),
            slow: Mutex::default(),
            lines: Lines::default(),
            registration: Mutex::new(Some(registration)),
        })
    }

    /// The connection of a lane, opened at first use.
    fn connection(&self, lane: Lane) -> Result<Arc<Connect>, Error> {
        let lane = if self.single { Lane::Read } else { lane };
        let mut slot = self.connections[lane as usize].lock();
        // The watcher detects a broken first connection and reopens all. Another one may break
        // alone.
        let usable = |connect: &Arc<Connect>| lane == Lane::Read || connect.is_alive().unwrap_or(false);
        if let Some(connect) = slot.as_ref().filter(|connect| usable(connect)) {
            return Ok(connect.clone());
        }
        let connect = Arc::new(open(&self.uri)?);
        *slot = Some(connect.clone());
        Ok(connect)
    }

    /// A separate connection whose failure affects no other. Opening it blocks.
    pub(crate) fn connection_of_its_own(&self) -> Result<Connect, Error> {
        open(&self.uri)
    }

    /// Runs a blocking call. When the deadline passes, the caller gets an error, while the call
    /// keeps its slot in the lane until libvirt returns, so that a hung host never accumulates
    /// threads.
    pub(crate) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        lane: Lane,
        call: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let session = self.clone();
        let permits = self.permits[lane as usize].clone();
        let run = async move {
            let permit = permits.acquire_owned().await.map_err(|_| Error::Disconnected)?;
            let blocking = blocking(move || {
                let began = Instant::now();
                let result = session.connection(lane).and_then(|connect| call(&connect));
                CALLS[lane as usize].note(began.elapsed(), result.is_err());
                drop(permit);
                result
            });
            blocking.await.unwrap_or(Err(Error::Panicked))
        };
        let run = run.instrument(lane.span());
        match lane.deadline() {
            None => run.await,
            Some(deadline) => {
                let late = Error::TimedOut { seconds: deadline.as_secs() };
                timeout(deadline, run).await.unwrap_or(Err(late))
            }
        }
    }

    /// Runs a reading that queries a machine's process. A hung machine costs one thread and nothing
    /// else: it is not queried again before the first query returned, and a hint is left when it is
    /// late and when it has responded.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        id: Uuid,
        question: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_within(id, MACHINE_DEADLINE, question).await
    }

    /// Queries, and returns `Error::Later` after a while without a response; a hint is left when
    /// the machine has responded or is late.
    pub(crate) async fn ask_within<T: Send + 'static>(
        self: &Arc<Self>,
        id: Uuid,
        patience: Duration,
        question: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let hurry = patience < MACHINE_DEADLINE;
        let patience = if hurry && self.slow().contains(&id) { MACHINE_DEADLINE } else { patience };
        let span = Lane::Machine.span();
        let permit = self.place_to_ask(id).instrument(span.clone()).await?;
        let (session, given_up) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let over = given_up.clone();
        let mut answer = blocking(move || {
            let _inside = span.entered();
            let began = Instant::now();
            let result = session.connection(Lane::Machine).and_then(|connect| question(&connect));
            CALLS[Lane::Machine as usize].note(began.elapsed(), result.is_err());
            // Its slot was released when it was given up.
            if over.swap(true, Ordering::AcqRel) {
                permit.forget();
            } else {
                drop(permit);
            }
            result
        });
        let began = Instant::now();
        if let Ok(answer) = timeout(patience, &mut answer).await {
            if hurry && began.elapsed() < QUICK {
                self.slow().remove(&id);
            }
            return answer.unwrap_or(Err(Error::Panicked));
        }
        let later = patience < MACHINE_DEADLINE;
        let session = self.clone();
        let watch = async move {
            if later && timeout(MACHINE_DEADLINE - patience, &mut answer).await.is_ok() {
                // The response is outdated; the hint requests a new one.
                session.slow().insert(id);
                session.hints.domain(id, Depth::Whole);
                return;
            }
            session.give_up(id, &given_up);
            answer.await.ok();
            session.late().remove(&id);
            session.hints.domain(id, Depth::Whole);
        };
        if later {
            tokio::spawn(watch);
            return Err(Error::Later);
        }
        // Whether it is late is known when this returns.
        let mut watch = Box::pin(watch);
        std::future::poll_fn(|cx| {
            let _ = watch.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        tokio::spawn(watch);
        Err(Error::Unresponsive)
    }

    /// Marks a machine as not responding, releases its slot, and opens another connection before
    /// this one is full of hung calls.
    fn give_up(&self, id: Uuid, given_up: &AtomicBool) {
        let late = {
            let mut late = self.late();
            late.insert(id);
            late.len()
        };
        if !given_up.swap(true, Ordering::AcqRel) {
            self.permits[Lane::Machine as usize].add_permits(1);
        }
        if !self.single && late.is_multiple_of(Lane::PERMITS - 1) {
            let mut slot = self.connections[Lane::Machine as usize].lock();
            *slot = None;
        }
        self.hints.domain(id, Depth::Whole);
    }

    /// Whether its daemon is a user daemon (`qemu:///session`).
    pub(crate) fn is_of_user(&self) -> bool {
        let path = self.uri.split_once("://").map_or("", |(_, rest)| rest);
        path.split('?').next().is_some_and(|path| path.ends_with("/session"))
    }

    fn slow(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.slow.lock()
    }

    /// A slot in the machine lane, unless the machine hangs or too many others do.
    async fn place_to_ask(&self, id: Uuid) -> Result<OwnedSemaphorePermit, Error> {
        loop {
            if self.late().contains(&id) || self.late().len() >= MAX_LATE {
                return Err(Error::Unresponsive);
            }
            let place = self.permits[Lane::Machine as usize].clone().acquire_owned();
            if let Ok(place) = timeout(MACHINE_DEADLINE, place).await {
                return place.map_err(|_| Error::Disconnected);
            }
        }
    }

    fn late(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.late.lock()
    }

    /// Deregisters the callbacks, so that libvirt frees the connections after the last call on
    /// them.
    pub(crate) fn close(self: Arc<Self>) {
        self.hints.close();
        blocking(move || {
            let registration = self.registration.lock().take();
            drop(registration);
        });
    }
}

fn open(uri: &str) -> Result<Connect, Error> {
    let connect = Connect::open(Some(uri))?;
    // The test driver has no keepalive.
    connect.set_keep_alive(KEEPALIVE.0, KEEPALIVE.1).ok();
    Ok(connect)
}

/// Runs blocking code on a dedicated thread; callers limit the number.
#[expect(clippy::disallowed_methods, reason = "this is the one place that bounds blocking calls")]
pub(crate) fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(call)
}

/// Opens sessions one after the other. A hung attempt is not abandoned: the next attempt waits for
/// it.
#[derive(Default)]
pub(crate) struct Opener {
    hanging: Option<JoinHandle<Result<Session, Error>>>,
}

impl Opener {
    /// One attempt.
    pub(crate) async fn open(&mut self, uri: &str) -> Result<Arc<Session>, Error> {
        let uri = uri.to_owned();
        let mut attempt = self.hanging.take().unwrap_or_else(|| blocking(move || Session::open_blocking(&uri)));
        match timeout(OPEN_DEADLINE, &mut attempt).await {
            Ok(done) => done.unwrap_or(Err(Error::Panicked)).map(Arc::new),
            Err(_) => {
                self.hanging = Some(attempt);
                Err(Error::TimedOut { seconds: OPEN_DEADLINE.as_secs() })
            }
        }
    }
}

/// A URI without the password of its user part and without query values named like secrets.
pub(crate) fn without_secrets(uri: &str) -> String {
    let (base, query) = uri.split_once('?').map_or((uri, None), |(base, query)| (base, Some(query)));
    let mut clean = match (base.split_once("://"), base.rfind('@')) {
        (Some((scheme, rest)), Some(_)) => match rest.split_once('/').unwrap_or((rest, "")).0.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                let name = user.split(':').next().unwrap_or_default();
                format!("{scheme}://{name}@{}", &rest[user.len() + 1..])
            }
            _ => base.to_owned(),
        },
        _ => base.to_owned(),
    };
    let secret = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        !["pass", "secret", "token", "auth"].iter().any(|word| name.contains(word))
    };
    let kept: Vec<&str> = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).filter(secret).collect();
    if !kept.is_empty() {
        clean.push('?');
        clean.push_str(&kept.join("&"));
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn a_uri_is_shown_without_its_secrets() {
        let cases = [
            ("qemu:///system", "qemu:///system"),
            ("qemu+ssh://root:geheim@kvm-1/system?keyfile=/k", "qemu+ssh://root@kvm-1/system?keyfile=/k"),
            ("qemu+ssh://root@kvm-1/system", "qemu+ssh://root@kvm-1/system"),
            ("qemu+tcp://h/system?password=x&a=b", "qemu+tcp://h/system?a=b"),
            ("qemu+tcp://u:p%40@h:1/system?authfile=x", "qemu+tcp://u@h:1/system"),
            ("test:///a@b/c:d.xml", "test:///a@b/c:d.xml"),
        ];
        for (uri, shown) in cases {
            assert_eq!(without_secrets(uri), shown);
        }
    }
}
