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
//!              │     ── guest ─▶ merge what the guest said
//!              ▼ link lost
//!           Opening          (the inventory stays, marked as not connected)
//! ```
//!
//! It is the only writer of its host's inventory and reads machines one after
//! the other, so an older reading cannot overwrite a newer one. It carries no
//! commands out. Pools and networks are `keeper`'s.

mod questions;
mod readings;
pub(crate) mod snapshots;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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
    questions::{Answer, Questions, Step},
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
    keeper::Volumes,
    link::{Lane, Opener, Session, without_secrets},
    raw::RawImages,
    uses::read::Sources,
};

/// Everything is read again this often, for what libvirt has no event for.
const RECONCILE: Duration = Duration::from_secs(30);
/// How long a start waits for what the journal remembers.
const REMEMBER_WITHIN: Duration = Duration::from_secs(2);
/// Changes that are remembered for the next listing; it reads all when there were more.
const MOST_CHANGED: usize = 10_000;
/// Machines read in one go.
const BATCH: usize = 64;

/// What the watcher shares with those who send commands.
pub(crate) struct Shared {
    /// The open session; none while the link is down.
    session: watch::Sender<Option<Arc<Session>>>,
    /// What volumes there are, for those who look at them.
    pub(crate) volumes: Volumes,
    /// Where the pools that are started keep their files.
    pub(crate) pool_folders: watch::Sender<PoolFolders>,
    /// How much room the pools have that are started, by name.
    pub(crate) rooms: watch::Sender<Vec<Room>>,
    /// What storage each machine named last.
    pub(crate) sources: Sources,
    /// Which images are raw, whatever is in them.
    pub(crate) raw: RawImages,
    /// What is being changed, copied or built upon.
    pub(crate) claims: Claims,
    /// How often devices of the host came, went or changed.
    pub(crate) devices: AtomicU64,
    /// What has become another since the last listing of everything; none while nobody lists.
    changed: Mutex<Option<HashSet<Uuid>>>,
    /// Which command is expected to change a machine, and until when.
    causes: Mutex<HashMap<Uuid, (RequestId, Instant)>>,
    /// The running machines, for those who measure them.
    running: Mutex<HashMap<Uuid, Arc<Domain>>>,
    /// Turns true when the first listing, of pools and networks last, has finished or failed.
    pub(crate) settled: watch::Sender<bool>,
    /// Turns true when pools and networks have been read for the first time.
    pub(crate) listed: watch::Sender<bool>,
    /// Cuts the pause before the next attempt to connect short.
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

    /// The open session, if the link is up.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    /// The sessions as they come and go.
    pub(crate) fn sessions(&self) -> watch::Receiver<Option<Arc<Session>>> {
        self.session.subscribe()
    }

    fn set_session(&self, session: Option<Arc<Session>>) {
        self.session.send_replace(session);
    }

    /// The machines that run now.
    pub(crate) fn running(&self) -> HashMap<Uuid, Arc<Domain>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_running(&self, id: Uuid, domain: Option<&Arc<Domain>>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match domain.filter(|domain| domain.state == DomainState::Running) {
            Some(domain) => running.insert(id, domain.clone()),
            None => running.remove(&id),
        };
    }

    /// Notes that a machine, a pool or a network has become another.
    pub(crate) fn note_changed(&self, id: Uuid) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.as_ref().is_some_and(|changed| changed.len() >= MOST_CHANGED) {
            *changed = None;
        }
        if let Some(changed) = &mut *changed {
            changed.insert(id);
        }
    }

    /// What has become another since this was asked last; none when that is not known.
    pub(crate) fn take_changed(&self) -> Option<HashSet<Uuid>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).replace(HashSet::new())
    }

    /// From now on changes of this machine are the effect of that request.
    pub(crate) fn expect(&self, id: Uuid, request: RequestId, within: Duration) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        causes.retain(|_, (_, until)| *until > Instant::now());
        causes.insert(id, (request, Instant::now() + within));
    }

    /// The request whose effect a change of this object is now.
    pub(crate) fn cause(&self, id: Uuid) -> Option<RequestId> {
        let causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        causes.get(&id).filter(|(_, until)| *until > Instant::now()).map(|(request, _)| *request)
    }

    /// Changes of this machine are no longer the effect of that request.
    pub(crate) fn forget(&self, id: Uuid, request: RequestId) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// Which snapshots machines have.
    snapshots: Snapshots,
    /// Which reading of everything failed last, until one works.
    failing: Option<&'static str>,
}

/// Versions of objects; one counter for all hosts of the process.
static VERSION: AtomicU64 = AtomicU64::new(0);

/// The counter begins with the time in microseconds, so that versions grow from
/// one process to the next, and whoever expects an old one is not mistaken.
pub(crate) fn next_version() -> u64 {
    if VERSION.load(Ordering::Relaxed) == 0 {
        VERSION.compare_exchange(0, now() * 1_000, Ordering::Relaxed, Ordering::Relaxed).ok();
    }
    VERSION.fetch_add(1, Ordering::Relaxed)
}

/// The wall clock in Unix milliseconds; a label, never an order.
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

    /// Watches for ever.
    pub(crate) async fn run(mut self) {
        let mut opener = Opener::default();
        let mut attempt = 0_u32;
        loop {
            match opener.open(&self.config.uri).await {
                Ok(session) => {
                    let why = self.watch(&session).await;
                    // Whatever was not read by now failed.
                    self.shared.settled.send_replace(true);
                    tracing::warn!(host = %self.config.id, why, "link lost");
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

    /// Watches an open session until it breaks, and says why it did.
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

    /// Reads what hints name, publishes the differences, and tells who waits.
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
                    // The reconciling reading comes to these machines again.
                    self.trouble("read machines", &error);
                }
            }
        }
        for waiting in pending.waiting {
            // Whoever does not wait any more needs no answer.
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

    /// Tells which snapshots came and which are gone: libvirt has no event for them.
    async fn compare_snapshots(&mut self, session: &Arc<Session>) {
        let next = match session.call(Lane::Read, domain::snapshots).await {
            Ok(next) => next,
            // Some drivers have none. What hinders others hinders the listing of machines, too.
            Err(_) => return,
        };
        let (shared, host) = (self.shared.clone(), &self.config.id);
        let events = self.snapshots.take(next, host, &self.inventory.domains, |id| shared.cause(id));
        self.publish(events);
    }

    /// Since when machines that are new to us have been as they are: what the journal knows from
    /// before this process, and when the process of a running one began, where that can be seen.
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

    /// Makes a reading the truth and publishes what differs.
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

    /// Puts `next` in the place of `had`, with version and time, and publishes it.
    fn replace(&mut self, id: Uuid, had: Option<Arc<Domain>>, next: Option<Domain>, resync: bool) {
        let now = now();
        let next = next.map(|mut next| {
            let same_state = had.as_ref().filter(|had| had.state == next.state);
            next.since = match (&had, same_state) {
                (_, Some(had)) => had.since,
                (Some(_), None) => Some(now),
                (None, _) if self.is_watching() => Some(now),
                // What was there before we looked may have been in its state for an unknown time.
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

    /// Asks a guest of which it is time, or merges what one said.
    fn take_step(&mut self, session: &Arc<Session>, step: Step) {
        match step {
            Step::Due(id) => match self.inventory.domains.get(&id) {
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
            Step::Read(id, read) => {
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

    /// Tells that a reading in the background did not work, once until one works again.
    fn trouble(&mut self, context: &'static str, error: &crate::error::Error) {
        tracing::warn!(host = %self.config.id, context, ?error, "a reading failed");
        if self.failing.replace(context) == Some(context) {
            return;
        }
        let why = error.of_link(&self.config.uri);
        let message = format!("What {} shows may be out of date: {why}", self.config.id);
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

    /// Publishes that the link is down. Each failed attempt is told, because the
    /// time of the next one is part of what people see.
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

/// Why a session ended, in words.
struct Broken(String);

/// The pause before the next attempt: 100 ms, half as much again each time, 3 s
/// at most, so that a restarted daemon is found within its own start time.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100).mul_f64(1.5_f64.powi(attempt.min(10) as i32)).min(Duration::from_secs(3))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
