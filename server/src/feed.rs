//! The event log: numbers events, keeps recent ones, and gives each reader what follows its
//! position.
//!
//! ```text
//! publish ─▶ seq += 1 ─▶ encode once ─▶ ring ─▶ wake readers
//!                    └─▶ apply to the inventory
//! ```
//!
//! A reader is a position in the shared ring, not a queue, so its cost is independent of its lag.
//! Except for the frame format of server-sent events it is independent of HTTP; frames are encoded
//! here, once for all readers.

mod filter;
mod log;
mod reader;
mod shown;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use axum::body::Bytes;
use model::{
    Cursor, DomainRef, Event, Fault, HostId, HostInventory, Inventory, Task, Viewer, event::Change,
    inventory::Snapshot, stats::LATEST,
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use self::{
    filter::Sieve,
    log::{Frames, Log, Ring},
};
pub use self::{reader::Reader, shown::Shown};

/// Limits of the log in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Maximum events.
    pub(crate) events: usize,
    /// Bytes kept even if they are old.
    pub(crate) bytes: usize,
    /// Minimum age of kept events, as far as `events` and `most_bytes` allow.
    pub(crate) age: Duration,
    /// Maximum bytes, regardless of age.
    pub(crate) most_bytes: usize,
    /// Maximum bytes a reader may lag behind before it starts over.
    pub(crate) behind: usize,
}

/// The limits of a server.
const BOUNDS: Bounds =
    Bounds { events: 65_536, bytes: 16 << 20, age: Duration::from_secs(75), most_bytes: 64 << 20, behind: 1 << 20 };
/// Interval of bookmarks; clients reconnect after 40 s of silence.
const BOOKMARK_EVERY: Duration = Duration::from_secs(10);
/// Maximum readers.
const MAX_READERS: usize = 16_384;
/// A reader is closed after this time, or up to a quarter later, and resumes: so no stream exceeds
/// the limits of proxies, and after a restart of a proxy streams are balanced again.
const ROTATE_AFTER: Duration = Duration::from_secs(3_600);

/// One encoded event.
struct Frame {
    kind: &'static str,
    host: Option<HostId>,
    subject: Option<Uuid>,
    /// Whether it is about a machine itself, not about a task on one.
    is_machine: bool,
    /// The previous tags of its machine, if they differed or it did not exist.
    before: Option<Box<Before>>,
    at: Instant,
    /// The wall clock in Unix milliseconds; for display.
    wall: u64,
    bytes: Bytes,
}

/// The previous state of a machine.
#[derive(Clone, Debug, PartialEq)]
enum Before {
    /// It did not exist.
    Absent,
    /// It had these tags.
    Tagged(Vec<String>),
}

/// An event of the log for the journal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Past {
    /// Its position.
    pub(crate) cursor: Cursor,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Its host.
    pub(crate) host: Option<HostId>,
    /// Its machine.
    pub(crate) subject: Option<Uuid>,
    /// Publication time in Unix milliseconds.
    pub(crate) at: u64,
    /// Its payload as JSON.
    pub(crate) data: String,
}

struct State {
    inventory: Arc<Inventory>,
    /// Commands in progress and recently ended ones.
    tasks: Vec<Arc<Task>>,
    /// Why nothing can be recorded now.
    trouble: Option<Fault>,
    log: Box<dyn Log>,
    /// Readers before this position start over: the set of hosts was changed, which no event says.
    since: u64,
    /// The inventory frame of this position, encoded on demand.
    snapshot: Option<(u64, Bytes)>,
}

/// Values outside of the log, of which only the latest counts: for each kind and host a number and
/// the frame.
type Latest = BTreeMap<(&'static str, HostId), (u64, Bytes)>;

/// Wakes readers.
#[derive(Clone, Copy, Default, PartialEq)]
struct Signal {
    seq: u64,
    beat: u64,
    /// The number of the last value outside of the log.
    told: u64,
    draining: bool,
}

struct Shared {
    epoch: u64,
    bounds: Bounds,
    state: Mutex<State>,
    latest: Mutex<Latest>,
    signal: watch::Sender<Signal>,
    readers: AtomicUsize,
    /// Watched machines, and the number of their readers.
    watched: Mutex<BTreeMap<DomainRef, usize>>,
    /// Number of readers per kind; readers of all kinds count for "".
    wanted: Mutex<BTreeMap<String, usize>>,
}

/// The log and its readers. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

/// The events a reader wants; empty sets mean all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Kinds of events.
    pub topics: BTreeSet<String>,
    /// Hosts.
    pub hosts: BTreeSet<HostId>,
    /// Machines with detailed statistics; this does not filter events.
    pub watch: BTreeSet<DomainRef>,
    /// Kinds hidden from the reader.
    pub hidden: BTreeSet<&'static str>,
    /// The viewer, if its scope is limited.
    pub viewer: Option<Viewer>,
    /// The machines of the reader's pages; none for all.
    pub shown: Option<Shown>,
}

impl Filter {
    /// The salt of this reader's positions.
    fn salt(&self) -> u64 {
        self.viewer.as_ref().map_or(0, |viewer| viewer.scope.salt())
    }

    /// Whether the inventory is unfiltered.
    fn sees_all(&self) -> bool {
        self.hosts.is_empty() && self.viewer.is_none() && self.shown.is_none()
    }

    /// Whether a frame is about something else than a machine, or about one of the reader's pages.
    fn shows(&self, is_machine: bool, host: Option<&HostId>, subject: Option<Uuid>) -> bool {
        match (&self.shown, host, subject) {
            (Some(shown), Some(host), Some(id)) if is_machine => shown.has(&DomainRef { host: host.clone(), id }),
            _ => true,
        }
    }

    fn wants(&self, kind: &str, host: Option<&HostId>) -> bool {
        !self.hidden.contains(kind)
            && (self.topics.is_empty() || self.topics.contains(kind))
            && (self.hosts.is_empty() || host.is_none_or(|host| self.hosts.contains(host)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Only a panic in serialisation can happen while locked, and then the log is still
        // consistent, so a lock that does not poison is right.
        self.state.lock()
    }

    /// Adds or removes a reader from the counts of its kinds.
    fn count(&self, filter: &Filter, change: impl Fn(&mut usize)) {
        let mut wanted = self.wanted.lock();
        let all = filter.topics.is_empty().then(String::new);
        filter.topics.iter().cloned().chain(all).for_each(|kind| change(wanted.entry(kind).or_default()));
        wanted.retain(|_, count| *count > 0);
        drop(wanted);
        let mut watched = self.watched.lock();
        filter.watch.iter().for_each(|id| change(watched.entry(id.clone()).or_default()));
        watched.retain(|_, count| *count > 0);
    }

    fn cursor(&self, seq: u64) -> Cursor {
        Cursor { epoch: self.epoch, seq }
    }
}

impl Feed {
    /// An empty log over unread hosts.
    pub fn new(hosts: impl IntoIterator<Item = HostInventory>) -> Self {
        Self::within(BOUNDS, hosts)
    }

    /// Creates a log with other limits.
    pub(crate) fn within(bounds: Bounds, hosts: impl IntoIterator<Item = HostInventory>) -> Self {
        let hosts: BTreeMap<_, _> = hosts.into_iter().map(|host| (host.host.id.clone(), Arc::new(host))).collect();
        let state = State {
            inventory: Arc::new(Inventory { hosts }),
            tasks: Vec::new(),
            trouble: None,
            log: Box::new(Ring::new(bounds)),
            since: 0,
            snapshot: None,
        };
        let shared = Shared {
            epoch: random_u64(),
            bounds,
            state: Mutex::new(state),
            latest: Mutex::default(),
            signal: watch::Sender::new(Signal::default()),
            readers: AtomicUsize::new(0),
            watched: Mutex::default(),
            wanted: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Numbers and publishes events. Never blocks on a reader.
    pub fn publish(&self, events: Vec<Event>) {
        let mut state = self.shared.lock();
        let (at, wall) = (Instant::now(), crate::tasks::now());
        for event in events {
            let change = event.change();
            let (kind, host, subject) = (event.kind(), event.host().cloned(), event.subject());
            let is_machine = matches!(change, Change::Set(..) | Change::Removed(..));
            let mut before = state.before(&change);
            state.take(change);
            state.log.append(&mut |seq| Frame {
                kind,
                host: host.clone(),
                subject,
                is_machine,
                before: before.take(),
                at,
                wall,
                bytes: encode(self.shared.cursor(seq), kind, &event.data()),
            });
        }
        let seq = state.log.last();
        drop(state);
        self.shared.signal.send_modify(|signal| signal.seq = seq);
    }

    /// Adds a host, replaces or removes it, and publishes what is said of that. Readers start over
    /// with the inventory.
    pub(crate) fn set_host(&self, id: &HostId, host: Option<HostInventory>, said: Event) {
        {
            let mut state = self.shared.lock();
            let hosts = &mut Arc::make_mut(&mut state.inventory).hosts;
            match host {
                Some(host) => drop(hosts.insert(id.clone(), Arc::new(host))),
                None => drop(hosts.remove(id)),
            }
            state.since = state.log.last() + 1;
        }
        LATEST.iter().for_each(|kind| self.untell(kind, id));
        self.publish(vec![said]);
    }

    /// Publishes a value outside of the log, which replaces the previous one of this kind and host.
    /// Slow readers get only the latest.
    pub fn tell(&self, kind: &'static str, host: &HostId, data: &str) {
        let frame = Bytes::from(format!("event: {kind}\ndata: {data}\n\n"));
        let mut latest = self.shared.latest.lock();
        // Numbered under the lock, so that no reader sees a number before its frame.
        self.shared.signal.send_modify(|signal| {
            signal.told += 1;
            latest.insert((kind, host.clone()), (signal.told, frame));
        });
    }

    /// Removes the value of this kind and host.
    pub fn untell(&self, kind: &'static str, host: &HostId) {
        self.shared.latest.lock().remove(&(kind, host.clone()));
    }

    /// The watched machines of a host.
    pub(crate) fn watched(&self, host: &HostId) -> Vec<Uuid> {
        let watched = self.shared.watched.lock();
        watched.keys().filter(|id| id.host == *host).map(|id| id.id).collect()
    }

    /// All hosts with their position.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.lock();
        state.snapshot(self.shared.cursor(state.log.last()))
    }

    /// Waits until `look` returns a value.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&Inventory) -> Option<T>) -> T {
        let mut signal = self.shared.signal.subscribe();
        loop {
            signal.borrow_and_update();
            let hosts = self.shared.lock().inventory.clone();
            if let Some(found) = look(&hosts) {
                return found;
            }
            // The sender lives in `shared`, so the wait cannot fail.
            signal.changed().await.ok();
        }
    }

    /// Waits for events after a position.
    pub(crate) async fn beyond(&self, seq: u64) {
        let mut signal = self.shared.signal.subscribe();
        // The sender lives in `shared`, so the wait cannot fail.
        signal.wait_for(|signal| signal.seq > seq).await.ok();
    }

    /// Up to `limit` events after a position; none if some of them were dropped.
    pub(crate) fn past(&self, seq: u64, limit: usize) -> Option<Vec<Past>> {
        let state = self.shared.lock();
        let frames = state.log.follow(seq)?.take(limit);
        let past = frames.zip(seq + 1..).map(|(frame, seq)| Past {
            cursor: self.shared.cursor(seq),
            kind: frame.kind,
            host: frame.host.clone(),
            subject: frame.subject,
            at: frame.wall,
            data: payload(&frame.bytes).to_owned(),
        });
        Some(past.collect())
    }

    /// The current position.
    pub fn cursor(&self) -> Cursor {
        self.shared.cursor(self.shared.lock().log.last())
    }

    /// A reader from a position; without a usable one it starts with the inventory. None if there
    /// are too many readers.
    pub fn subscribe(&self, cursor: Option<Cursor>, filter: Filter) -> Option<Reader> {
        if self.shared.readers.fetch_add(1, Ordering::Relaxed) >= MAX_READERS {
            self.shared.readers.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let signal = self.shared.signal.subscribe();
        let mut state = self.shared.lock();
        let epoch = self.shared.epoch ^ filter.salt();
        let usable = cursor.filter(|cursor| {
            cursor.epoch == epoch && state.serves(cursor.seq) && state.behind(cursor.seq) <= self.shared.bounds.behind
        });
        let position = usable.map_or(state.log.last(), |cursor| cursor.seq);
        let viewer = filter.viewer.clone();
        let sieve = viewer.map(|viewer| Box::new(Sieve::new(viewer, &state.inventory, state.after(position).rev())));
        let anew = usable.is_none();
        let whole = (anew && filter.sees_all()).then(|| state.inventory_frame(epoch));
        let snapshot = (anew && whole.is_none()).then(|| state.snapshot(self.shared.cursor(state.log.last())));
        drop(state);
        // Data for one reader is prepared outside of the lock.
        let first = whole.or_else(|| snapshot.map(|snapshot| narrowed_frame(snapshot, &filter)));
        self.shared.count(&filter, |count| *count += 1);
        let ends = Instant::now() + part_of(ROTATE_AFTER / 4) + ROTATE_AFTER;
        let shared = self.shared.clone();
        Some(Reader::new(shared, signal, position, (filter, sieve), first, ends))
    }

    /// Whether any reader wants this kind of event.
    pub(crate) fn wants(&self, kind: &str) -> bool {
        let wanted = self.shared.wanted.lock();
        wanted.contains_key("") || wanted.contains_key(kind)
    }

    /// The number of readers.
    pub fn readers(&self) -> usize {
        self.shared.readers.load(Ordering::Relaxed)
    }

    /// Ends all readers; each is told to reconnect after a random delay.
    pub fn drain(&self) {
        self.shared.signal.send_modify(|signal| signal.draining = true);
    }

    /// Sends bookmarks; one ticker for all readers.
    pub async fn beat(self) {
        let mut ticks = tokio::time::interval(BOOKMARK_EVERY);
        loop {
            ticks.tick().await;
            self.shared.signal.send_modify(|signal| signal.beat += 1);
        }
    }
}

impl State {
    /// The previous state of a machine, to decide later who saw it.
    fn before(&self, change: &Change) -> Option<Box<Before>> {
        let (host, id, tags) = match change {
            Change::Set(host, domain) => (host, domain.id, Some(&domain.tags)),
            Change::Removed(host, id, _) => (host, *id, None),
            _ => return None,
        };
        match self.inventory.hosts.get(host)?.domains.get(&id) {
            None => Some(Box::new(Before::Absent)),
            Some(had) if Some(&had.tags) == tags => None,
            Some(had) => Some(Box::new(Before::Tagged(had.tags.clone()))),
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Task(task) => model::task::remember(&mut self.tasks, &task),
            Change::Error(error) if error.is_about_the_journal() => self.trouble = error.trouble(),
            Change::Error(_) | Change::Appended | Change::Stale | Change::Nothing => {}
            change => Arc::make_mut(&mut self.inventory).take(&change),
        }
    }

    fn snapshot(&self, cursor: Cursor) -> Snapshot {
        let (hosts, tasks, trouble) = (self.inventory.clone(), self.tasks.clone(), self.trouble.clone());
        Snapshot { cursor, hosts, tasks, trouble }
    }

    /// Whether a reader can continue from a position.
    fn serves(&self, seq: u64) -> bool {
        seq >= self.since && self.log.follow(seq).is_some()
    }

    /// The frames after a position that it `serves`.
    fn after(&self, seq: u64) -> Frames<'_> {
        self.log.follow(seq).unwrap_or_else(|| Box::new(std::iter::empty()))
    }

    /// The bytes between a position and the end.
    fn behind(&self, seq: u64) -> usize {
        self.after(seq).map(|frame| frame.bytes.len()).sum()
    }

    /// The frame that replaces a reader's state.
    fn inventory_frame(&mut self, epoch: u64) -> Bytes {
        if let Some((seq, bytes)) = &self.snapshot
            && *seq == self.log.last()
        {
            return bytes.clone();
        }
        let bytes = inventory_frame(&self.snapshot(Cursor { epoch, seq: self.log.last() }));
        self.snapshot = Some((self.log.last(), bytes.clone()));
        bytes
    }
}

fn inventory_frame(snapshot: &Snapshot) -> Bytes {
    let data = serde_json::to_string(snapshot).expect("inventories have string keys only");
    encode(snapshot.cursor, "inventory", &data)
}

/// The inventory frame for a limited scope or some hosts.
fn narrowed_frame(mut snapshot: Snapshot, filter: &Filter) -> Bytes {
    if !filter.hosts.is_empty() {
        Arc::make_mut(&mut snapshot.hosts).hosts.retain(|id, _| filter.hosts.contains(id));
        snapshot.tasks.retain(|task| filter.hosts.contains(&task.host_id));
    }
    if let Some(viewer) = &filter.viewer {
        viewer.narrow(&mut snapshot);
    }
    if let Some(shown) = &filter.shown {
        snapshot = shown.of(snapshot);
    }
    inventory_frame(&snapshot)
}

/// Encodes a frame of server-sent events (HTML standard, "Server-sent events"). JSON data contains
/// no line breaks.
fn encode(cursor: Cursor, kind: &str, data: &str) -> Bytes {
    let mut frame = String::with_capacity(data.len() + kind.len() + 64);
    // Writing to a string cannot fail.
    write!(frame, "id: {cursor}\nevent: {kind}\ndata: {data}\n\n").ok();
    frame.into()
}

/// The data of an encoded frame.
fn payload(frame: &Bytes) -> &str {
    let text = std::str::from_utf8(frame).expect("frames are made of text");
    text.split_once("\ndata: ").map_or("", |(_, data)| data.trim_end_matches('\n'))
}

/// A random part of a duration, to spread actions.
fn part_of(whole: Duration) -> Duration {
    whole.mul_f64((random_u64() % 1_000) as f64 / 1_000.0)
}

/// A random number from the operating system; without one there is no safe epoch.
fn random_u64() -> u64 {
    getrandom::u64().expect("the operating system gives random numbers")
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
