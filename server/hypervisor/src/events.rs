//! The event thread, and the hints it leaves for the watcher.
//!
//! A hint says what to read again, never what happened. Pending hints are a set,
//! so a flood of events of a thousand machines takes the room of a thousand
//! entries. The thread takes a short lock and returns; it never calls libvirt.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

/// How much of a machine is to be read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Its state only.
    #[default]
    State,
    /// State and definition.
    Whole,
    /// Also what the guest says of itself.
    Guest,
}

/// What has piled up since the watcher last looked.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Machines to read again.
    pub(crate) domains: HashMap<Uuid, Depth>,
    /// Machines to read again of which only the names are known.
    pub(crate) named: HashSet<String>,
    /// Whether all machines are to be read again.
    pub(crate) all: bool,
    /// Whether the link is gone, with libvirt's reason.
    pub(crate) lost: Option<&'static str>,
    /// Who waits until all of the above is read and published.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    /// Whether nobody takes hints any more.
    closed: bool,
}

/// The hints of one session.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    pending: Mutex<Pending>,
    wake: Notify,
    /// Hints about what is around the machines.
    pub(crate) around: Around,
}

/// What has piled up about pools, networks and devices.
#[derive(Debug, Default)]
pub(crate) struct PendingAround {
    /// Pools to read again, and whether their volumes are others.
    pub(crate) pools: HashMap<Uuid, bool>,
    /// Networks to read again.
    pub(crate) networks: HashSet<Uuid>,
    /// Whether all pools are to be read again.
    pub(crate) all_pools: bool,
    /// Whether all networks are to be read again.
    pub(crate) all_networks: bool,
    /// Whether devices of the host came, went or changed.
    pub(crate) devices: bool,
    /// Who waits until all of the above is read and published.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    closed: bool,
}

/// The hints about pools, networks and devices; `keeper` takes them.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pending: Mutex<PendingAround>,
    wake: Notify,
}

impl Around {
    fn lock(&self) -> MutexGuard<'_, PendingAround> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about this pool may have changed.
    pub(crate) fn pool(&self, id: Uuid, volumes: bool) {
        *self.lock().pools.entry(id).or_default() |= volumes;
        self.wake.notify_one();
    }

    /// Something about this network may have changed.
    pub(crate) fn network(&self, id: Uuid) {
        self.lock().networks.insert(id);
        self.wake.notify_one();
    }

    /// Some network may have come, gone or changed.
    pub(crate) fn all_networks(&self) {
        self.lock().all_networks = true;
        self.wake.notify_one();
    }

    /// Some pool may have come, gone or changed.
    pub(crate) fn all_pools(&self) {
        self.lock().all_pools = true;
        self.wake.notify_one();
    }

    /// Some device of the host may have come, gone or changed.
    pub(crate) fn devices(&self) {
        self.lock().devices = true;
        self.wake.notify_one();
    }

    /// The answer comes when all that was hinted so far is published.
    pub(crate) fn published(&self) -> oneshot::Receiver<()> {
        let (done, published) = oneshot::channel();
        let mut pending = self.lock();
        if !pending.closed {
            pending.waiting.push(done);
        }
        drop(pending);
        self.wake.notify_one();
        published
    }

    fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.waiting.clear();
    }

    fn take_now(&self) -> Option<PendingAround> {
        let mut pending = self.lock();
        let whole = pending.all_pools || pending.all_networks || pending.devices;
        let nothing = pending.pools.is_empty() && pending.networks.is_empty() && !whole;
        if nothing && pending.waiting.is_empty() {
            return None;
        }
        let closed = pending.closed;
        Some(mem::replace(&mut *pending, PendingAround { closed, ..PendingAround::default() }))
    }

    /// Waits until there is something to do, and takes all of it.
    pub(crate) async fn take(&self) -> PendingAround {
        loop {
            if let Some(pending) = self.take_now() {
                return pending;
            }
            self.wake.notified().await;
        }
    }
}

impl Hints {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about this machine may have changed.
    pub(crate) fn domain(&self, id: Uuid, depth: Depth) {
        let mut pending = self.lock();
        let had = pending.domains.entry(id).or_default();
        *had = depth.max(*had);
        drop(pending);
        self.wake.notify_one();
    }

    /// Something about the machine of this name may have changed.
    pub(crate) fn named(&self, name: String) {
        self.lock().named.insert(name);
        self.wake.notify_one();
    }

    /// Something about any machine may have changed.
    pub(crate) fn all_machines(&self) {
        self.lock().all = true;
        self.wake.notify_one();
    }

    /// The link is gone.
    pub(crate) fn lost(&self, why: &'static str) {
        self.lock().lost.get_or_insert(why);
        self.wake.notify_one();
    }

    /// Asks to read a machine again; the answer comes when that is published.
    pub(crate) fn nudge(&self, id: Uuid) -> oneshot::Receiver<()> {
        let (done, published) = oneshot::channel();
        let mut pending = self.lock();
        if !pending.closed {
            pending.waiting.push(done);
        }
        drop(pending);
        self.domain(id, Depth::Whole);
        published
    }

    /// Nobody takes hints any more; whoever waits learns it at once.
    pub(crate) fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.waiting.clear();
        drop(pending);
        self.around.close();
    }

    /// Waits until there is something to do, and takes all of it.
    pub(crate) async fn take(&self) -> Pending {
        loop {
            let pending = mem::take(&mut *self.lock());
            let machines = !pending.domains.is_empty() || !pending.named.is_empty() || pending.all;
            if machines || pending.lost.is_some() || !pending.waiting.is_empty() {
                return pending;
            }
            self.wake.notified().await;
        }
    }
}

/// Starts libvirt's event loop on its own thread, once per process. It must
/// stand before the first connection is opened, or that one gets no events.
pub(crate) fn start_thread() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        virt::error::clear_error_callback();
        if let Err(error) = virt::event::event_register_default_impl() {
            tracing::error!(%error, "libvirt's event loop cannot be registered; changes are seen by reconciling only");
            return;
        }
        let run = || {
            loop {
                if virt::event::event_run_default_impl().is_err() {
                    // A broken loop must not take a whole core.
                    thread::sleep(Duration::from_millis(100));
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("libvirt-events".into()).spawn(run) {
            tracing::error!(%error, "the thread for libvirt's events cannot be started");
        }
    });
}

/// Shared by the callbacks of a session.
pub(crate) type SharedHints = Arc<Hints>;
