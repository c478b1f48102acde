//! Owns the inventory of one host: hints in, re-reading, difference, events out.
//!
//! ```text
//!            open fails, retry with backoff
//!              ┌────────┐
//!              ▼        │
//!  start ─▶ Opening ────┘
//!              │ open
//!              ▼
//!           Watching ── hint ──▶ read what it names ──▶ publish the difference
//!              │     ── 30 s ──▶ read everything    ──▶ publish the difference
//!              │     ── guest ─▶ merge guest data
//!              ▼ connection lost
//!           Opening          (the inventory is kept, marked as disconnected)
//! ```
//!
//! It is the only writer of its host's inventory and reads machines one after the other, so an
//! older reading cannot overwrite a newer one. It runs no commands. Pools and networks are handled
//! in `pools_and_networks`.

mod questions;
mod readings;
pub(crate) mod snapshots;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use model::{
    Domain, DomainState, Event, HostInventory, Link, RequestId,
    domain::Agent,
    event,
    inventory::{Stamp, connection_event, diff_domain},
    stats::Room,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use uuid::Uuid;

use self::{
    questions::{Answer, QuestionStep, Questions},
    readings::Reading,
    snapshots::Snapshots,
};
use crate::{
    HostConfig, Sink,
    claims::Claims,
    domain,
    events::{Depth, Pending},
    folders::PoolFolders,
    guest,
    link::{Lane, Opener, Session, without_secrets},
    pools_and_networks::Volumes,
    raw::RawImages,
    uses::read::Sources,
};

/// Interval of full readings, for changes without a libvirt event.
const RECONCILE: Duration = Duration::from_secs(30);
/// Maximum wait for the journal's data at start.
const REMEMBER_WITHIN: Duration = Duration::from_secs(2);
/// Maximum changes remembered for the next listing; it reads all if there were more.
const MOST_CHANGED: usize = 10_000;
/// Machines read per batch.
const BATCH: usize = 64;

/// Data shared between the watcher and commands.
pub(crate) struct Shared {
    /// The open session; none while disconnected.
    session: watch::Sender<Option<Arc<Session>>>,
    /// Known volumes.
    pub(crate) volumes: Volumes,
    /// Directories of active pools.
    pub(crate) pool_folders: watch::Sender<PoolFolders>,
    /// Space usage of active pools, by name.
    pub(crate) rooms: watch::Sender<Vec<Room>>,
    /// The last known storage of each machine.
    pub(crate) sources: Sources,
    /// Images known to be raw.
    pub(crate) raw: RawImages,
    /// Storage in use by commands.
    pub(crate) claims: Claims,
    /// Counter of host device changes.
    pub(crate) devices: AtomicU64,
    /// Objects changed since the last listing; none if nothing lists.
    changed: Mutex<Option<HashSet<Uuid>>>,
    /// The command expected to change a machine, and until when.
    causes: Mutex<HashMap<Uuid, (RequestId, Instant)>>,
    /// The running machines, for statistics.
    running: Mutex<HashMap<Uuid, Arc<Domain>>>,
    /// True once the first listing, ending with pools and networks, has finished or failed.
    pub(crate) settled: watch::Sender<bool>,
    /// True once pools and networks have been read.
    pub(crate) listed: watch::Sender<bool>,
    /// Ends the pause before the next connection attempt.
    pub(crate) retry: tokio::sync::Notify,
}

impl Shared {
    pub(crate) fn new(raw: RawImages) -> Self {
        Self {
            session: watch::Sender::new(None),
            volumes: Volumes::default(),
            pool_folders: watch::Sender::default(),
            rooms: watch::Sender::default(),
            sources: Sources::default(),
            raw,
            claims: Claims::default(),
            devices: AtomicU64::default(),
            changed: Mutex::default(),
            causes: Mutex::default(),
            running: Mutex::default(),
            settled: watch::Sender::new(false),
            listed: watch::Sender::new(false),
            retry: tokio::sync::Notify::new(),
        }
    }

    /// The open session, if connected.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    /// The current session, as a watch.
    pub(crate) fn sessions(&self) -> watch::Receiver<Option<Arc<Session>>> {
        self.session.subscribe()
    }

    fn set_session(&self, session: Option<Arc<Session>>) {
        self.session.send_replace(session);
    }

    /// The running machines.
    pub(crate) fn running(&self) -> HashMap<Uuid, Arc<Domain>> {
        self.running.lock().clone()
    }

    fn note_running(&self, id: Uuid, domain: Option<&Arc<Domain>>) {
        let mut running = self.running.lock();
        match domain.filter(|domain| domain.state == DomainState::Running) {
            Some(domain) => running.insert(id, domain.clone()),
            None => running.remove(&id),
        };
    }

    /// Records a change of a machine, pool or network.
    pub(crate) fn note_changed(&self, id: Uuid) {
        let mut changed = self.changed.lock();
        if changed.as_ref().is_some_and(|changed| changed.len() >= MOST_CHANGED) {
            *changed = None;
        }
        if let Some(changed) = &mut *changed {
            changed.insert(id);
        }
    }

    /// The objects changed since the last call; none if unknown.
    pub(crate) fn take_changed(&self) -> Option<HashSet<Uuid>> {
        self.changed.lock().replace(HashSet::new())
    }

    /// Attributes changes of this machine to that request.
    pub(crate) fn expect(&self, id: Uuid, request: RequestId, within: Duration) {
        let mut causes = self.causes.lock();
        causes.retain(|_, (_, until)| *until > Instant::now());
        causes.insert(id, (request, Instant::now() + within));
    }

    /// The request that a change of this object is attributed to.
    pub(crate) fn cause(&self, id: Uuid) -> Option<RequestId> {
        let causes = self.causes.lock();
        causes.get(&id).filter(|(_, until)| *until > Instant::now()).map(|(request, _)| *request)
    }

    /// Ends the attribution to that request.
    pub(crate) fn forget(&self, id: Uuid, request: RequestId) {
        let mut causes = self.causes.lock();
        if causes.get(&id).is_some_and(|(expected, _)| *expected == request) {
            causes.remove(&id);
        }
    }
}

/// The watcher of one host.
pub(crate) struct Watcher {
    config: HostConfig,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    inventory: HostInventory,
    questions: Questions,
    /// State change times of machines that existed before this process.
    remembered: HashMap<Uuid, u64>,
    /// The snapshots of machines.
    snapshots: Snapshots,
    /// The full reading that failed last; none once one succeeds.
    failing: Option<&'static str>,
}

/// Object versions; one counter for all hosts of the process.
static VERSION: AtomicU64 = AtomicU64::new(0);

/// The counter starts at the time in microseconds, so that versions increase across processes, and
/// an expected old version never matches by accident.
pub(crate) fn next_version() -> u64 {
    if VERSION.load(Ordering::Relaxed) == 0 {
        VERSION.compare_exchange(0, now() * 1_000, Ordering::Relaxed, Ordering::Relaxed).ok();
    }
    VERSION.fetch_add(1, Ordering::Relaxed)
}

/// The wall clock in Unix milliseconds; for display, not for ordering.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or_default()
}

impl Watcher {
    pub(crate) fn new(config: HostConfig, shared: Arc<Shared>, sink: Arc<dyn Sink>) -> Self {
        let inventory = config.unread();
        let questions = Questions::new(config.id.clone(), sink.clone());
        let (remembered, snapshots) = (HashMap::new(), Snapshots::default());
        Self { config, shared, sink, inventory, questions, remembered, snapshots, failing: None }
    }

    /// Runs until the process ends.
    pub(crate) async fn run(mut self) {
        let mut opener = Opener::default();
        let mut attempt = 0_u32;
        loop {
            match opener.open(&self.config.uri).await {
                Ok(session) => {
                    let why = self.watch(&session).await;
                    // Readings not finished by now have failed.
                    self.shared.settled.send_replace(true);
                    tracing::warn!(host = %self.config.id, why, "connection lost");
                    self.shared.set_session(None);
                    self.questions.clear();
                    session.close();
                    attempt = 0;
                    self.disconnected(format!("{}.", capitalised(&why)), backoff(0));
                }
                Err(error) => {
                    tracing::debug!(host = %self.config.id, ?error, "cannot connect");
                    self.disconnected(error.of_link(&self.config.uri), backoff(attempt));
                    self.shared.settled.send_replace(true);
                }
            }
            tokio::select! {
                () = sleep(backoff(attempt)) => attempt += 1,
                () = self.shared.retry.notified() => attempt = 0,
            }
        }
    }

    /// Watches an open session until it breaks, and returns the cause.
    async fn watch(&mut self, session: &Arc<Session>) -> String {
        let resync = self.inventory.host.info.is_some();
        if let Err(Broken(why)) = self.read_all(session, resync).await {
            return why;
        }
        self.connected(session);
        self.shared.set_session(Some(session.clone()));
        let mut reconcile = interval_at(Instant::now() + RECONCILE, RECONCILE);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                pending = session.hints.take() => self.follow(session, pending).await,
                step = self.questions.next() => {
                    self.take_step(session, step);
                    Ok(())
                }
                _ = reconcile.tick() => self.read_all(session, false).await,
            };
            match result {
                Ok(()) => {}
                Err(Broken(why)) => return why,
            }
        }
    }

    /// Reads hinted machines, publishes the differences, and notifies waiting receivers.
    async fn follow(&mut self, session: &Arc<Session>, pending: Pending) -> Result<(), Broken> {
        if let Some(why) = pending.lost {
            return Err(Broken(why.into()));
        }
        if pending.all {
            self.read_all(session, false).await?;
        }
        let mut wanted = pending.domains;
        if !pending.named.is_empty() {
            let known = self.inventory.domains.iter().filter(|(_, known)| pending.named.contains(&known.name));
            for (id, _) in known {
                let depth = wanted.entry(*id).or_default();
                *depth = Depth::Whole.max(*depth);
            }
        }
        let wanted: Vec<(Uuid, Depth)> = wanted.into_iter().collect();
        for batch in wanted.chunks(BATCH) {
            match readings::some(session, batch, &self.inventory.domains).await {
                Ok(read) => {
                    for (id, read) in read {
                        self.adopt(session, id, read, false);
                    }
                    for (id, _) in batch.iter().filter(|(_, depth)| *depth == Depth::Guest) {
                        self.questions.ask(*id, true);
                    }
                }
                Err(error) if error.is_link() => return Err(Broken(error.of_link(&self.config.uri))),
                Err(error) => {
                    // The periodic reading covers these machines.
                    self.trouble("read machines", &error);
                }
            }
        }
        for waiting in pending.waiting {
            // A receiver that no longer waits is ignored.
            waiting.send(()).ok();
        }
        Ok(())
    }

    /// Reads every machine and publishes the differences.
    async fn read_all(&mut self, session: &Arc<Session>, resync: bool) -> Result<(), Broken> {
        let all = match readings::all(session, &self.inventory.domains).await {
            Ok(all) => all,
            Err(error) if error.is_link() || !self.is_watching() => {
                return Err(Broken(error.of_link(&self.config.uri)));
            }
            Err(error) => {
                self.trouble("list machines", &error);
                return Ok(());
            }
        };
        self.failing = None;
        self.remember(session, &all).await;
        let gone: Vec<Uuid> = self.inventory.domains.keys().filter(|id| !all.contains_key(id)).copied().collect();
        for id in gone {
            self.adopt(session, id, None, resync);
        }
        for (id, read) in all {
            let fresh = !self.inventory.domains.contains_key(&id) || resync;
            let active = read.0.state.is_active();
            self.adopt(session, id, Some(read), resync);
            if active && fresh {
                self.questions.ask(id, false);
            }
        }
        self.compare_snapshots(session).await;
        Ok(())
    }

    /// Publishes created and deleted snapshots: libvirt has no event for them.
    async fn compare_snapshots(&mut self, session: &Arc<Session>) {
        let next = match session.call(Lane::Read, domain::snapshots).await {
            Ok(next) => next,
            // Some drivers have none. Other errors also affect the listing of machines.
            Err(_) => return,
        };
        let (shared, host) = (self.shared.clone(), &self.config.id);
        let events = self.snapshots.take(next, host, &self.inventory.domains, |id| shared.cause(id));
        self.publish(events);
    }

    /// Start times of the state of new machines: from the journal of an earlier process, and the
    /// start time of a local QEMU process.
    async fn remember(&mut self, session: &Arc<Session>, all: &HashMap<Uuid, Reading>) {
        self.remembered.clear();
        let new = all.iter().filter(|(id, _)| !self.is_watching() && !self.inventory.domains.contains_key(id));
        let new: Vec<(Uuid, DomainState, String)> =
            new.map(|(id, (domain, _))| (*id, domain.state, domain.name.clone())).collect();
        if new.is_empty() {
            return;
        }
        let asked = self.sink.last_states(self.config.id.clone(), new.iter().map(|(id, ..)| *id).collect());
        let known = timeout(REMEMBER_WITHIN, asked).await.unwrap_or_default();
        let begun = readings::begun(session, &new).await;
        for (id, state, _) in new {
            let noted = known.get(&id).filter(|(noted, _)| *noted == state).map(|(_, at)| *at);
            // A start that was not recorded makes the recorded time obsolete.
            let since = match (state, begun.get(&id).copied()) {
                (DomainState::Running, Some(begun)) => Some(noted.filter(|at| *at >= begun).unwrap_or(begun)),
                _ => noted,
            };
            self.remembered.extend(since.map(|since| (id, since)));
        }
    }

    fn is_watching(&self) -> bool {
        self.shared.session().is_some()
    }

    /// Stores a reading and publishes the difference.
    fn adopt(&mut self, session: &Session, id: Uuid, read: Option<Reading>, resync: bool) {
        let had = self.inventory.domains.get(&id).cloned();
        let read = read.map(|(mut read, named)| {
            if let Some(named) = named {
                self.shared.raw.learn(session, &named.sources);
                self.shared.sources.note(id, named);
            }
            if let Some(had) = &had {
                guest::keep(&mut read, had);
            }
            read
        });
        self.replace(id, had, read, resync);
    }

    /// Replaces `had` by `next`, with version and time, and publishes it.
    fn replace(&mut self, id: Uuid, had: Option<Arc<Domain>>, next: Option<Domain>, resync: bool) {
        let now = now();
        let next = next.map(|mut next| {
            let same_state = had.as_ref().filter(|had| had.state == next.state);
            next.since = match (&had, same_state) {
                (_, Some(had)) => had.since,
                (Some(_), None) => Some(now),
                (None, _) if self.is_watching() => Some(now),
                // A state from before our first reading may have lasted for an unknown time.
                (None, _) => self.remembered.get(&id).copied(),
            };
            next.version = had.as_ref().map(|had| had.version).unwrap_or_default();
            match &had {
                Some(had) if **had == next => had.clone(),
                _ => Arc::new(Domain { version: next_version(), ..next }),
            }
        });
        let version = if next.is_none() { next_version() } else { 0 };
        let stamp = Stamp { timestamp: now, version, cause: self.shared.cause(id), resync };
        let events = diff_domain(&self.config.id, had.as_ref(), next.as_ref(), stamp);
        self.shared.note_running(id, next.as_ref());
        if !events.is_empty() {
            self.shared.note_changed(id);
        }
        match next {
            Some(next) => {
                self.inventory.domains.insert(id, next);
            }
            None => {
                self.inventory.domains.remove(&id);
                self.shared.sources.forget(id);
                self.questions.forget(id);
            }
        }
        self.publish(events);
    }

    fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.sink.publish(events);
        }
    }

    /// Queries a guest that is due, or merges its response.
    fn take_step(&mut self, session: &Arc<Session>, step: QuestionStep) {
        match step {
            QuestionStep::Due(id) => match self.inventory.domains.get(&id) {
                Some(known) if guest::is_worth_asking(known) => {
                    let (session, known) = (session.clone(), known.clone());
                    let how = guest::How {
                        test_driver: session.host.is_test_driver(),
                        agent_version: self.config.agent_version,
                    };
                    self.questions.begin(id, async move {
                        session.call(Lane::Guest, move |connect| guest::read(connect, &known, how)).await
                    });
                }
                _ => self.questions.forget(id),
            },
            QuestionStep::Read(id, read) => {
                let Some(known) = self.inventory.domains.get(&id).filter(|known| known.state.is_active()).cloned()
                else {
                    return self.questions.forget(id);
                };
                let agent = known.agent == Agent::Connected;
                let Ok(reading) = read else {
                    return self.questions.answered(id, Answer { complete: false, agent, silent: true });
                };
                let merged = reading.merge_into(&known);
                self.replace(id, Some(known.clone()), Some(merged), false);
                let (complete, silent) = (reading.is_complete(&known), reading.silent);
                self.questions.answered(id, Answer { complete, agent, silent });
            }
        }
    }

    /// Reports a failed background reading, once until one succeeds.
    fn trouble(&mut self, context: &'static str, error: &crate::error::Error) {
        tracing::warn!(host = %self.config.id, context, ?error, "reading failed");
        if self.failing.replace(context) == Some(context) {
            return;
        }
        let why = error.of_link(&self.config.uri);
        let message = format!("The data of {} may be out of date: {why}", self.config.id);
        let error = event::Error::of_background(Some(self.config.id.clone()), context, message, now());
        self.publish(vec![Event::Error(error)]);
    }

    fn connected(&mut self, session: &Session) {
        let connection =
            Link { connected: true, uri: without_secrets(&self.config.uri), since: now(), ..Link::default() };
        self.inventory.host.connection = connection;
        self.inventory.host.info = Some(session.host.clone());
        tracing::info!(host = %self.config.id, machines = self.inventory.domains.len(), "connected");
        self.publish(vec![connection_event(&self.inventory.host, now())]);
    }

    /// Publishes that the host is disconnected. Each failed attempt is published, because the time
    /// of the next one is displayed.
    fn disconnected(&mut self, error: String, pause: Duration) {
        let was = &self.inventory.host.connection;
        let since = if was.connected { now() } else { was.since };
        self.inventory.host.connection = Link {
            connected: false,
            uri: without_secrets(&self.config.uri),
            error: Some(error),
            since,
            retry_at: Some(now() + pause.as_millis() as u64),
        };
        self.publish(vec![connection_event(&self.inventory.host, now())]);
    }
}

/// Why a session ended.
struct Broken(String);

/// The pause before the next attempt: 100 ms, increasing by half each time up to 3 s, so that a
/// restarted daemon is found quickly.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100).mul_f64(1.5_f64.powi(attempt.min(10) as i32)).min(Duration::from_secs(3))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
