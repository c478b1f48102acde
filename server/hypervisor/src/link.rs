//! The link to one host: opens its connections, keeps them alive, and runs
//! blocking calls on a bounded number of threads, each with a deadline.
//!
//! It does not reconnect; the watcher decides when to open the next session.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

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

/// What a call is for; each has a connection of its own, because the daemon
/// serves only five requests of a connection at a time (`max_client_requests`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Quick readings, on the connection that receives events.
    Read,
    /// Readings that ask a machine's own process and hang when that hangs.
    Machine,
    /// Commands.
    Command,
    /// What waits for a guest or a disk.
    Slow,
    /// Statistics, one sweep at a time.
    Stats,
    /// Questions to guests, which may be silent.
    Guest,
    /// The content of volumes on its way.
    Content,
    /// Readings of pools, volumes and leases, which may wait for a file server.
    Around,
    /// Thawing a guest's file systems, which must not wait for other calls.
    Thaw,
    /// Consoles, whose streams stay on its connection once they are open.
    Console,
}

/// How many lanes there are.
const LANES: usize = Lane::NAMES.len();

impl Lane {
    /// Their names, in their order.
    const NAMES: [&str; 10] =
        ["read", "machine", "command", "slow", "stats", "guest", "content", "around", "thaw", "console"];
    /// Calls at a time, one below what the daemon serves of a connection.
    const PERMITS: usize = 4;

    /// The lane of a command.
    pub(crate) fn of(lane: model::command::Lane) -> Self {
        match lane {
            model::command::Lane::Quick => Self::Command,
            model::command::Lane::Slow => Self::Slow,
            model::command::Lane::Thaw => Self::Thaw,
        }
    }

    /// How long a caller waits; none means as long as it takes.
    fn deadline(self) -> Option<Duration> {
        match self {
            Self::Read | Self::Machine | Self::Stats | Self::Console => Some(Duration::from_secs(10)),
            Self::Around | Self::Guest => Some(Duration::from_secs(30)),
            Self::Command | Self::Thaw => Some(Duration::from_secs(90)),
            Self::Slow | Self::Content => None,
        }
    }

    /// A span for a call that is part of a request or command. What is read without
    /// either is counted in `CALLS` and would only be noise among traces.
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

/// Counts the calls of each lane, for all hosts together.
static CALLS: [Counter; LANES] = [const { Counter::new() }; LANES];

/// How long calls of libvirt took since the start, by what they were for.
pub fn calls() -> Vec<Calls> {
    CALLS.iter().zip(Lane::NAMES).map(|(counter, name)| counter.read(name)).collect()
}

/// How long opening a connection may take.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);
/// How long a machine's process may take to answer; a healthy one needs a
/// millisecond.
const MACHINE_DEADLINE: Duration = Duration::from_secs(2);
/// An answer that comes as soon makes a slow machine a quick one again.
const QUICK: Duration = Duration::from_millis(200);
/// Machines that may hang at a time before no other is asked: each holds one of the daemon's
/// threads, of which there are 20 (`max_workers`).
const MAX_LATE: usize = 15;
/// Seconds between keepalive messages, and how many may stay unanswered:
/// a frozen daemon is noticed after 3 × (3 + 1) = 12 s.
const KEEPALIVE: (i32, u32) = (3, 3);

/// The connections to one host from the moment they are opened until they break.
pub(crate) struct Session {
    /// What libvirt says has changed.
    pub(crate) hints: SharedHints,
    /// What the host says of itself.
    pub(crate) host: HostInfo,
    /// The root of the file systems that its daemon sees; none when that is another machine.
    pub(crate) root: Option<PathBuf>,
    uri: String,
    /// Whether all lanes share one connection.
    single: bool,
    connections: [Mutex<Option<Arc<Connect>>>; LANES],
    permits: [Arc<Semaphore>; LANES],
    /// Machines whose process was asked and has not answered in time.
    late: Mutex<HashSet<Uuid>>,
    /// Machines that answer later than others wait; readings wait longer for these.
    slow: Mutex<HashSet<Uuid>>,
    /// Serial lines that are ours.
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
            // Each connection to a file of the test driver has a world of its own.
            single: uri.starts_with("test:"),
            connections: std::array::from_fn(|lane| Mutex::new((lane == Lane::Read as usize).then(|| first.clone()))),
            permits: std::array::from_fn(|_| permits()),
            late: Mutex::default(),
            slow: Mutex::default(),
            lines: Lines::default(),
            registration: Mutex::new(Some(registration)),
        })
    }

    /// The connection of a lane, opened when it is first used.
    fn connection(&self, lane: Lane) -> Result<Arc<Connect>, Error> {
        let lane = if self.single { Lane::Read } else { lane };
        let mut slot = self.connections[lane as usize].lock().unwrap_or_else(PoisonError::into_inner);
        // The first one that breaks is noticed by the watcher, who opens everything anew. Another
        // one may break alone.
        let usable = |connect: &Arc<Connect>| lane == Lane::Read || connect.is_alive().unwrap_or(false);
        if let Some(connect) = slot.as_ref().filter(|connect| usable(connect)) {
            return Ok(connect.clone());
        }
        let connect = Arc::new(open(&self.uri)?);
        *slot = Some(connect.clone());
        Ok(connect)
    }

    /// A connection for one purpose alone, which harms no other when it breaks. Opening it blocks.
    pub(crate) fn connection_of_its_own(&self) -> Result<Connect, Error> {
        open(&self.uri)
    }

    /// Runs a blocking call. When the deadline passes the caller is told, while
    /// the call keeps its place in the lane until libvirt returns, so that a
    /// hanging host never collects threads without bound.
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

    /// Runs a reading that asks a machine's own process. A machine that hangs
    /// costs one thread and nothing else: it is not asked again before the first question
    /// returned, and is hinted when it is late and when it has answered.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        id: Uuid,
        question: impl FnOnce(&Connect) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_within(id, MACHINE_DEADLINE, question).await
    }

    /// Asks, and goes on without the answer after a while, with `Error::Later`; the machine is
    /// hinted once it has answered, or is late.
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
            // Its place was given to others when it was given up.
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
                // Its answer is old by now; the hint asks for a new one, which is waited for.
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
        // That it is late is known when this returns.
        let mut watch = Box::pin(watch);
        std::future::poll_fn(|cx| {
            let _ = watch.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
        tokio::spawn(watch);
        Err(Error::Unresponsive)
    }

    /// Notes that a machine does not answer, gives its place to others, and lets them have another
    /// connection before this one is full of what hangs.
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
            let mut slot = self.connections[Lane::Machine as usize].lock().unwrap_or_else(PoisonError::into_inner);
            *slot = None;
        }
        self.hints.domain(id, Depth::Whole);
    }

    /// Whether its daemon is one of a user's own (`qemu:///session`).
    pub(crate) fn is_of_user(&self) -> bool {
        let path = self.uri.split_once("://").map_or("", |(_, rest)| rest);
        path.split('?').next().is_some_and(|path| path.ends_with("/session"))
    }

    fn slow(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in the machines' lane, unless the machine hangs, or so many others that the daemon
    /// has few threads left.
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
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the callbacks back, which lets libvirt free the connections once the
    /// last call on them has returned.
    pub(crate) fn close(self: Arc<Self>) {
        self.hints.close();
        blocking(move || {
            let registration = self.registration.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(registration);
        });
    }
}

fn open(uri: &str) -> Result<Connect, Error> {
    let connect = Connect::open(Some(uri))?;
    // The test driver has no keepalive, and needs none.
    connect.set_keep_alive(KEEPALIVE.0, KEEPALIVE.1).ok();
    Ok(connect)
}

/// Runs what blocks on a thread for that; whoever calls it bounds how many there are.
#[expect(clippy::disallowed_methods, reason = "this is the one place that bounds blocking calls")]
pub(crate) fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(call)
}

/// Opens sessions one after the other. An attempt that hangs is not abandoned
/// for a second one: the next attempt waits for it again.
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

/// A URI without what must not be seen: the password of its user part, and
/// query values whose name speaks of a secret.
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
