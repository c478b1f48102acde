//! Owns the storage pools and networks of one host: hints in, re-reading, difference, events out,
//! like `watcher` for machines. It is a separate task because storage may wait for a file server,
//! and machines must not.
//!
//! Volumes have no libvirt events and are not kept: only their names, to detect additions and
//! removals, and recently requested lists.

mod rooms;
mod volumes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::{
    Event, Fault, FaultKind, HostId, Network, Pool,
    event::{Action, HostDevicesChanged, VolumeChanged},
    host::is_local,
    inventory::{Stamp, diff_network, diff_pool},
    stats::Room,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use uuid::Uuid;

use self::rooms::Rooms;
pub(crate) use self::volumes::Volumes;
use crate::{
    HostConfig, Sink,
    error::Error,
    events::PendingAround,
    folders::PoolFolders,
    link::{Lane, Session},
    network,
    places::Key,
    storage,
    watcher::{Shared, next_version, now},
};

/// Interval of full readings, for changes without a libvirt event.
const RECONCILE: Duration = Duration::from_secs(30);
/// Maximum wait for the first listing at start.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// More added or removed volumes than this are reported as one change.
const MAX_TOLD: usize = 20;

/// The owner of one host's pools and networks.
pub(crate) struct PoolsAndNetworks {
    host: HostId,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    pools: BTreeMap<Uuid, Arc<Pool>>,
    networks: BTreeMap<Uuid, Arc<Network>>,
    /// Volume names of each active pool.
    names: HashMap<Uuid, BTreeSet<String>>,
    /// The last space usage reported by libvirt for each pool.
    told_room: HashMap<Uuid, (u64, u64, u64)>,
    /// Space usage of pools; none if their directories are on a remote host.
    rooms: Option<Rooms>,
    /// Features that this host's driver does not support.
    unsupported: BTreeSet<&'static str>,
}

impl PoolsAndNetworks {
    pub(crate) fn new(config: &HostConfig, shared: Arc<Shared>, sink: Arc<dyn Sink>) -> Self {
        Self {
            host: config.id.clone(),
            shared,
            sink,
            pools: BTreeMap::new(),
            networks: BTreeMap::new(),
            names: HashMap::new(),
            told_room: HashMap::new(),
            rooms: is_local(&config.uri).then(Rooms::default),
            unsupported: BTreeSet::new(),
        }
    }

    /// Runs until the process ends.
    pub(crate) async fn run(mut self) {
        let mut sessions = self.shared.sessions();
        let mut before = false;
        loop {
            let session = sessions.borrow_and_update().clone();
            if let Some(session) = session {
                if timeout(FIRST_WITHIN, self.read_all(&session, before)).await.is_err() {
                    tracing::warn!(host = %self.host, "reading pools and networks is slow");
                }
                before = true;
                self.shared.settled.send_replace(true);
                self.keep(&session, &mut sessions).await;
            } else if sessions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Follows a session until it is replaced.
    async fn keep(&mut self, session: &Arc<Session>, sessions: &mut watch::Receiver<Option<Arc<Session>>>) {
        let mut reconcile = interval_at(Instant::now() + RECONCILE, RECONCILE);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = sessions.changed() => return,
                pending = session.hints.around.take() => self.follow(session, pending).await,
                _ = reconcile.tick() => self.read_all(session, false).await,
            }
        }
    }

    /// Reads hinted objects, publishes the differences, and notifies waiting receivers.
    async fn follow(&mut self, session: &Arc<Session>, pending: PendingAround) {
        if pending.all_networks {
            self.read_networks(session, false).await;
        }
        if pending.all_pools {
            self.read_pools(session, false).await;
        }
        for id in pending.networks {
            match session.call(Lane::Read, move |connect| network::network(connect, id)).await {
                Ok(network) => self.adopt_network(id, network, false),
                Err(error) => drop(self.trouble(session, "read a network", &error)),
            }
        }
        for (id, others) in pending.pools {
            let read = session.call(Lane::Around, move |connect| storage::pool(connect, id)).await;
            match read {
                Ok(mut pool) => {
                    let refreshed = self.measure(pool.as_mut()).await;
                    let told = self.adopt_pool(id, pool, false);
                    self.look_at_volumes(session, id, (told, refreshed), others).await;
                }
                Err(error) => drop(self.trouble(session, "read a storage pool", &error)),
            }
        }
        if pending.devices {
            // The next reader reads them again.
            self.shared.devices.fetch_add(1, Ordering::Relaxed);
            let (host_id, timestamp) = (self.host.clone(), now());
            self.publish([Event::HostDevicesChanged(HostDevicesChanged { host_id, timestamp })]);
        }
        for waiting in pending.waiting {
            // A receiver that no longer waits is ignored.
            waiting.send(()).ok();
        }
    }

    /// Reads every network and every pool and publishes the differences. Networks come first,
    /// because pools may wait for a file server.
    async fn read_all(&mut self, session: &Arc<Session>, resync: bool) {
        let networks = self.read_networks(session, resync).await;
        let pools = self.read_pools(session, resync).await;
        if networks && pools {
            self.shared.listed.send_replace(true);
        }
    }

    /// Whether all networks are known.
    async fn read_networks(&mut self, session: &Arc<Session>, resync: bool) -> bool {
        let networks = match session.call(Lane::Read, network::networks).await {
            Ok(networks) => networks,
            Err(error) => return self.trouble(session, "list networks", &error),
        };
        let mut gone: BTreeSet<Uuid> = self.networks.keys().copied().collect();
        for network in networks {
            gone.remove(&network.id);
            self.adopt_network(network.id, Some(network), resync);
        }
        gone.into_iter().for_each(|id| self.adopt_network(id, None, resync));
        true
    }

    /// Whether all pools are known.
    async fn read_pools(&mut self, session: &Arc<Session>, resync: bool) -> bool {
        let pools = match session.call(Lane::Around, storage::pools).await {
            Ok(pools) => pools,
            Err(error) => return self.trouble(session, "list storage pools", &error),
        };
        let mut gone: BTreeSet<Uuid> = self.pools.keys().copied().collect();
        for mut pool in pools {
            let id = pool.id;
            gone.remove(&id);
            let refreshed = self.measure(Some(&mut pool)).await;
            let told = self.adopt_pool(id, Some(pool), resync);
            self.look_at_volumes(session, id, (told, refreshed), false).await;
        }
        for id in gone {
            let told = self.adopt_pool(id, None, resync);
            self.look_at_volumes(session, id, (told, false), false).await;
        }
        true
    }

    fn stamp(&self, id: Uuid, resync: bool) -> Stamp {
        Stamp { timestamp: now(), version: next_version(), cause: self.shared.cause(id), resync }
    }

    /// Stores a reading and returns the differences to publish.
    fn adopt_pool(&mut self, id: Uuid, read: Option<Pool>, resync: bool) -> Option<Event> {
        let had = self.pools.get(&id);
        let next = read.map(|read| newest(had, read, |pool| &mut pool.version));
        let event = diff_pool(&self.host, had, next.as_ref(), self.stamp(id, resync));
        if event.is_some() {
            self.shared.note_changed(id);
        }
        match next {
            Some(next) => drop(self.pools.insert(id, next)),
            None => {
                self.pools.remove(&id);
                self.names.remove(&id);
                self.told_room.remove(&id);
                self.shared.volumes.remove(id);
            }
        }
        self.tell_folders();
        self.tell_rooms();
        event
    }

    /// Updates the space usage of a pool; returns whether libvirt's own values changed, as after
    /// volumes were added, removed or resized.
    async fn measure(&mut self, pool: Option<&mut Pool>) -> bool {
        let Some(pool) = pool else { return false };
        let told = (pool.capacity_bytes, pool.allocation_bytes, pool.available_bytes);
        let refreshed = self.told_room.insert(pool.id, told) != Some(told);
        if let Some(rooms) = &mut self.rooms {
            rooms.measure(pool, self.pools.get(&pool.id).map(|had| &**had)).await;
        }
        refreshed
    }

    /// Publishes space usage if it changed.
    fn tell_rooms(&self) {
        let known = self.pools.values().filter(|pool| pool.state.is_active() && pool.capacity_bytes > 0);
        let room = |pool: &Arc<Pool>| Room {
            pool: pool.name.clone(),
            total_mb: pool.capacity_bytes >> 20,
            free_mb: pool.available_bytes >> 20,
        };
        let mut rooms: Vec<Room> = known.map(room).collect();
        rooms.sort_by(|a, b| a.pool.cmp(&b.pool));
        self.shared.rooms.send_if_modified(|had| {
            let news = *had != rooms;
            *had = rooms;
            news
        });
    }

    /// Publishes the directories of active pools if they changed.
    fn tell_folders(&self) {
        let folders = self.pools.iter().filter(|(_, pool)| pool.state.is_active() && pool.keeps_files());
        let folders = folders.filter(|(_, pool)| pool.has_paths() && !pool.path.is_empty());
        let folders: PoolFolders = folders.map(|(id, pool)| (*id, pool.path.clone().into())).collect();
        self.shared.pool_folders.send_if_modified(|had| {
            let news = *had != folders;
            *had = folders;
            news
        });
    }

    fn adopt_network(&mut self, id: Uuid, read: Option<Network>, resync: bool) {
        let had = self.networks.get(&id);
        let next = read.map(|read| newest(had, read, |network| &mut network.version));
        let event = diff_network(&self.host, had, next.as_ref(), self.stamp(id, resync));
        if event.is_some() {
            self.shared.note_changed(id);
        }
        match next {
            Some(next) => drop(self.networks.insert(id, next)),
            None => drop(self.networks.remove(&id)),
        }
        self.publish(event);
    }

    /// Reads the volume names of a pool, and publishes additions and removals after the event of
    /// the pool itself, so that clients that read on either event get current data. `changed` means
    /// that existing volumes may differ.
    async fn look_at_volumes(
        &mut self,
        session: &Arc<Session>,
        id: Uuid,
        (of_pool, refreshed): (Option<Event>, bool),
        changed: bool,
    ) {
        let otherwise =
            |event: &Event| !matches!(event, Event::StoragePoolChanged(event) if event.action == Action::Refreshed);
        let differs = refreshed || of_pool.as_ref().is_some_and(otherwise);
        let volumes = self.compare_volumes(session, id, differs, changed).await;
        if !volumes.is_empty() {
            self.shared.note_changed(id);
        }
        self.publish(of_pool.into_iter().chain(volumes));
    }

    /// Added and removed volumes of a pool as events; data of the other volumes is kept.
    async fn compare_volumes(&mut self, session: &Arc<Session>, id: Uuid, differs: bool, changed: bool) -> Vec<Event> {
        let pool = self.pools.get(&id).filter(|pool| pool.state.is_active()).cloned();
        let Some(pool) = pool else {
            self.names.remove(&id);
            self.shared.volumes.forget(id);
            return Vec::new();
        };
        let read = session.call(Lane::Around, move |connect| storage::volume_names(connect, id)).await;
        let Ok(names) = read else {
            self.shared.volumes.forget(id);
            return Vec::new();
        };
        let names: BTreeSet<String> = names.into_iter().collect();
        // The first reading is not an event.
        let Some(had) = self.names.insert(id, names.clone()) else {
            self.shared.volumes.forget(id);
            return Vec::new();
        };
        let came: Vec<String> = names.difference(&had).cloned().collect();
        let went: Vec<String> = had.difference(&names).cloned().collect();
        for name in &went {
            // The next volume with that name may be different.
            let path = pool.path_of(name).map(|path| Key::Path(path.into()));
            self.shared.raw.note(path.iter().chain([&Key::Volume(pool.name.clone(), name.clone())]), false);
        }
        let moved = came.len() + went.len();
        // Space usage changes with added or removed volumes; otherwise a volume was resized.
        if changed || differs && moved == 0 || moved > MAX_TOLD {
            self.shared.volumes.forget(id);
        } else if moved > 0 {
            self.shared.volumes.mend(session, id, &came, &went).await;
        }
        let came = came.into_iter().map(|name| (Some(name), Action::Created));
        let went = went.into_iter().map(|name| (Some(name), Action::Deleted));
        let mut told: Vec<_> = came.chain(went).collect();
        if moved > MAX_TOLD || moved == 0 && changed {
            told = vec![(None, Action::Refreshed)];
        }
        let cause = self.shared.cause(id);
        let events = told.into_iter().map(|(volume, action)| {
            Event::VolumeChanged(VolumeChanged {
                host_id: self.host.clone(),
                pool_id: id,
                pool_name: pool.name.clone(),
                volume,
                action,
                timestamp: now(),
                cause,
            })
        });
        events.collect()
    }

    fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let events: Vec<Event> = events.into_iter().collect();
        if !events.is_empty() {
            self.sink.publish(events);
        }
    }

    /// Reports a failed reading, and returns whether the driver does not support it. The next
    /// reading comes automatically.
    fn trouble(&mut self, session: &Session, context: &'static str, error: &Error) -> bool {
        if error.is_unsupported() {
            // A driver without storage or networks is not an error, and is logged once.
            if self.unsupported.insert(context) {
                tracing::info!(host = %self.host, context, "not supported by this host's driver");
            }
            return true;
        }
        tracing::warn!(host = %self.host, context, ?error, "reading failed");
        if error.is_link() {
            // The hypervisor daemon connects to the storage or network daemon once per client; only
            // a new connection of ours creates a new one.
            session.hints.lost("the connection to libvirt's storage or network daemon was lost");
        }
        false
    }
}

/// The known object if the reading is equal, otherwise the reading with a new version.
fn newest<T: Clone + PartialEq>(had: Option<&Arc<T>>, mut read: T, version: fn(&mut T) -> &mut u64) -> Arc<T> {
    if let Some(had) = had {
        // The version is ignored in the comparison.
        *version(&mut read) = *version(&mut T::clone(had));
        if **had == read {
            return had.clone();
        }
    }
    *version(&mut read) = next_version();
    Arc::new(read)
}

/// The error of a failed reading of a pool or network.
pub(crate) fn refused(error: &Error, name: &str, host: &HostId) -> Fault {
    match error {
        Error::TimedOut { seconds } => {
            Fault::new(FaultKind::TimedOut, format!("{name} on {host} did not answer for {seconds} s"))
                .with_next("Its storage may hang; check the storage server")
        }
        error => error.of_command(name, host.as_str()),
    }
}
