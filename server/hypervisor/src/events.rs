//! The event thread, and its hints for the watcher.
//!
//! A hint says what to read again, never what happened. Pending hints are a set, so a flood of
//! events of a thousand machines takes a thousand entries. The thread takes a short lock and
//! returns; it never calls libvirt.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

/// What to read again of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Its state only.
    #[default]
    State,
    /// State and definition.
    Whole,
    /// Guest data as well.
    Guest,
}

/// Pending hints.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Machines to read again, by UUID.
    pub(crate) domains: HashMap<Uuid, Depth>,
    /// Machines to read again, by name.
    pub(crate) named: HashSet<String>,
    /// Whether to read all machines again.
    pub(crate) all: bool,
    /// Whether the connection was lost, with libvirt's reason.
    pub(crate) lost: Option<&'static str>,
    /// Receivers to notify once all of the above is published.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    /// Whether hints are no longer processed.
    closed: bool,
}

/// The hints of one session.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    pending: Mutex<Pending>,
    wake: Notify,
    /// Hints about pools, networks and devices.
    pub(crate) around: Around,
}

/// Pending hints about pools, networks and devices.
#[derive(Debug, Default)]
pub(crate) struct PendingAround {
    /// Pools to read again, and whether their volumes may have changed.
    pub(crate) pools: HashMap<Uuid, bool>,
    /// Networks to read again.
    pub(crate) networks: HashSet<Uuid>,
    /// Whether to read all pools again.
    pub(crate) all_pools: bool,
    /// Whether to read all networks again.
    pub(crate) all_networks: bool,
    /// Whether host devices changed.
    pub(crate) devices: bool,
    /// Receivers to notify once all of the above is published.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    closed: bool,
}

/// Hints about pools, networks and devices, processed by `pools_and_networks`.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pending: Mutex<PendingAround>,
    wake: Notify,
}

impl Around {
    fn lock(&self) -> MutexGuard<'_, PendingAround> {
        self.pending.lock()
    }

    /// A pool may have changed.
    pub(crate) fn pool(&self, id: Uuid, volumes: bool) {
        *self.lock().pools.entry(id).or_default() |= volumes;
        self.wake.notify_one();
    }

    /// A network may have changed.
    pub(crate) fn network(&self, id: Uuid) {
        self.lock().networks.insert(id);
        self.wake.notify_one();
    }

    /// Networks may have been added, removed or changed.
    pub(crate) fn all_networks(&self) {
        self.lock().all_networks = true;
        self.wake.notify_one();
    }

    /// Pools may have been added, removed or changed.
    pub(crate) fn all_pools(&self) {
        self.lock().all_pools = true;
        self.wake.notify_one();
    }

    /// Host devices may have been added, removed or changed.
    pub(crate) fn devices(&self) {
        self.lock().devices = true;
        self.wake.notify_one();
    }

    /// Notifies once all hints so far are published.
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

    /// Waits for hints and takes all of them.
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
        self.pending.lock()
    }

    /// A machine may have changed.
    pub(crate) fn domain(&self, id: Uuid, depth: Depth) {
        let mut pending = self.lock();
        let had = pending.domains.entry(id).or_default();
        *had = depth.max(*had);
        drop(pending);
        self.wake.notify_one();
    }

    /// The machine with this name may have changed.
    pub(crate) fn named(&self, name: String) {
        self.lock().named.insert(name);
        self.wake.notify_one();
    }

    /// Any machine may have changed.
    pub(crate) fn all_machines(&self) {
        self.lock().all = true;
        self.wake.notify_one();
    }

    /// The connection was lost.
    pub(crate) fn lost(&self, why: &'static str) {
        self.lock().lost.get_or_insert(why);
        self.wake.notify_one();
    }

    /// Requests a new reading of a machine; notifies once it is published.
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

    /// Stops the processing of hints; waiting receivers are notified immediately.
    pub(crate) fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.waiting.clear();
        drop(pending);
        self.around.close();
    }

    /// Waits for hints and takes all of them.
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

/// Starts libvirt's event loop on its own thread, once per process. It must run before the first
/// connection is opened, otherwise that connection gets no events.
pub(crate) fn start_thread() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        virt::error::clear_error_callback();
        if let Err(error) = virt::event::event_register_default_impl() {
            tracing::error!(%error, "cannot register libvirt's event loop; changes are detected only by periodic reconciliation");
            return;
        }
        let run = || {
            loop {
                if virt::event::event_run_default_impl().is_err() {
                    // A broken loop must not use a whole core.
                    thread::sleep(Duration::from_millis(100));
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("libvirt-events".into()).spawn(run) {
            tracing::error!(%error, "cannot start the thread for libvirt events");
        }
    });
}

/// Shared by the callbacks of a session.
pub(crate) type SharedHints = Arc<Hints>;
