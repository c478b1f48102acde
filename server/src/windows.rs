//! Computes the windows of pages on request and caches them briefly, because many readers request
//! the same ones.
//!
//! Which machines a page shows is decided by `app::window`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use app::window::{BUSIEST, WindowSources};
use model::{
    DomainRef, HostId, HostInventory, Inventory, Scope,
    index::HostIndex,
    inventory::Snapshot,
    selection::{Selection, Used},
    window::{WHOLE, Window},
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::usage_history::History;

/// The pace at which readers are told of changed windows.
pub(crate) const PACE: Duration = Duration::from_secs(2);
/// Windows that are kept.
const MOST: usize = 256;
/// Indexes that are kept: of each host for a few scopes.
const MOST_INDEXES: usize = 4_096;

/// A window: the words of the viewer's scope, and the address.
type Key = (String, String);

/// The index of a host in a scope, and of which state of the host.
type Indexed = (Arc<HostInventory>, Arc<HostIndex>);

/// When a window was made, and of which position of the log.
type Made = (Instant, u64, Arc<Window>);

/// Limits the number of concurrent computations.
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    /// Runs a computation on a blocking thread: with 100,000 machines it takes up to 50 ms. None if
    /// it panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = self.0.clone().acquire_owned().await;
        #[expect(clippy::disallowed_methods, reason = "as many as there are turns")]
        let working = tokio::task::spawn_blocking(move || {
            // Work that nobody waits for any more keeps its turn.
            let _turn = turn;
            work()
        });
        working.await.ok()
    }
}

/// What was asked for recently.
pub(crate) struct Windows {
    /// For streams: one at a time, so that they use at most one processor.
    pub(crate) of_streams: Turns,
    /// For requests, which do not wait for streams.
    pub(crate) of_requests: Turns,
    windows: Mutex<HashMap<Key, Made>>,
    indexes: Mutex<HashMap<(String, HostId), Indexed>>,
}

impl Default for Windows {
    fn default() -> Self {
        let turns = |count| Turns(Arc::new(Semaphore::new(count)));
        Self { of_streams: turns(1), of_requests: turns(4), windows: Mutex::default(), indexes: Mutex::default() }
    }
}

/// The machines that a viewer sees.
pub(crate) struct Seen<'a> {
    /// All hosts as they are.
    pub(crate) whole: &'a Inventory,
    /// What the scope leaves of them.
    pub(crate) snapshot: &'a Snapshot,
    /// The scope.
    pub(crate) scope: &'a Scope,
}

impl Windows {
    /// The window of the page at an address, and the position it is of; none when a browser mirrors
    /// all machines. One that is not older than `age` will do.
    pub(crate) fn of(
        &self,
        address: &str,
        seen: &Seen<'_>,
        history: &History,
        age: Duration,
    ) -> Option<(u64, Arc<Window>)> {
        let hosts = &seen.snapshot.hosts;
        if hosts.hosts.values().map(|host| host.domains.len()).sum::<usize>() <= WHOLE {
            return None;
        }
        let (key, seq) = ((seen.scope.words(), address.to_owned()), seen.snapshot.cursor.seq);
        if let Some((at, of, window)) = self.windows.lock().get(&key)
            && (*of == seq && at.elapsed() <= PACE || at.elapsed() < age)
        {
            return Some((*of, window.clone()));
        }
        let known = WindowSources {
            hosts,
            index: &self.index(seen),
            used: &|selection| used(history, selection),
            busiest: &|| busiest(history, hosts),
        };
        let window = Arc::new(app::window::window(address, &known));
        let mut windows = self.windows.lock();
        if windows.len() >= MOST {
            windows.retain(|_, (at, ..)| at.elapsed() <= PACE);
        }
        if windows.len() < MOST {
            windows.insert(key, (Instant::now(), seq, window.clone()));
        }
        Some((seq, window))
    }

    /// The index of each host, from the cache if the host has not changed.
    fn index(&self, seen: &Seen<'_>) -> Vec<Arc<HostIndex>> {
        let words = seen.scope.words();
        let of = |(id, host): (&HostId, &Arc<HostInventory>)| {
            let (key, whole) = ((words.clone(), id.clone()), seen.whole.hosts.get(id).unwrap_or(host));
            let known = self.indexes.lock().get(&key).cloned();
            if let Some((_, index)) = known.filter(|(of, _)| Arc::ptr_eq(of, whole)) {
                return index;
            }
            let index = Arc::new(HostIndex::of(host, app::format::folded));
            let mut indexes = self.indexes.lock();
            if indexes.len() >= MOST_INDEXES {
                indexes.clear();
            }
            indexes.insert(key, (whole.clone(), index.clone()));
            index
        };
        seen.snapshot.hosts.hosts.iter().map(of).collect()
    }
}

/// The usage by which a list is sorted; empty if it is sorted by something else.
pub(crate) fn used(history: &History, selection: &Selection) -> Used {
    let Some(value) = selection.measured() else { return Used::new() };
    let mut used = Used::new();
    history.look(|host, stats| {
        used.extend(value(stats).map(|value| (DomainRef { host: host.clone(), id: stats.vm_id }, value)));
    });
    used
}

/// The machines with the highest CPU usage.
fn busiest(history: &History, hosts: &Inventory) -> Vec<DomainRef> {
    let mut all: Vec<(f64, DomainRef)> = Vec::new();
    history.look(|host, stats| {
        let Some(percent) = stats.cpu_usage_percent else { return };
        let id = DomainRef { host: host.clone(), id: stats.vm_id };
        all.extend(hosts.domain(&id).map(|domain| (percent * f64::from(domain.vcpus.max(1)), id)));
        if all.len() > 64 * BUSIEST {
            trim(&mut all);
        }
    });
    trim(&mut all);
    all.into_iter().map(|(_, id)| id).collect()
}

fn trim(all: &mut Vec<(f64, DomainRef)>) {
    all.sort_by(|(a, a_id), (b, b_id)| b.total_cmp(a).then_with(|| a_id.cmp(b_id)));
    all.truncate(BUSIEST);
}
