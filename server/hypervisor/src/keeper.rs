//! Owns the storage pools and networks of one host: hints in, re-reading, difference,
//! events out, beside `watcher`, which does the same for machines. It is a task of its own
//! because storage may wait for a file server, and machines must not.
//!
//! Volumes have no events of libvirt and are not kept: it remembers their names, so that it
//! can say that some came or went, and what somebody asked for lately.

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

/// Everything is read again this often, for what libvirt has no event for.
const RECONCILE: Duration = Duration::from_secs(30);
/// How long a start waits for the first listing.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// More volumes than this that come or go at once are told as one change.
const MAX_TOLD: usize = 20;

/// The keeper of one host.
pub(crate) struct Keeper {
    host: HostId,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    pools: BTreeMap<Uuid, Arc<Pool>>,
    networks: BTreeMap<Uuid, Arc<Network>>,
    /// The names of the volumes of each pool that is started.
    names: HashMap<Uuid, BTreeSet<String>>,
    /// The room that libvirt told of each pool last.
    told_room: HashMap<Uuid, (u64, u64, u64)>,
    /// How much room the pools have; none where their folders are on another machine.
    rooms: Option<Rooms>,
    /// What this host's driver does not know at all.
    unsupported: BTreeSet<&'static str>,
}

impl Keeper {
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

    /// Keeps for ever.
    pub(crate) async fn run(mut self) {
        let mut sessions = self.shared.sessions();
        let mut before = false;
        loop {
            let session = sessions.borrow_and_update().clone();
            if let Some(session) = session {
                if timeout(FIRST_WITHIN, self.read_all(&session, before)).await.is_err() {
                    tracing::warn!(host = %self.host, "pools and networks are read slowly");
                }
                before = true;
                self.shared.settled.send_replace(true);
                self.keep(&session, &mut sessions).await;
            } else if sessions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Keeps up with a session until it is replaced.
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

    /// Reads what hints name, publishes the differences, and tells who waits.
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
            // Whoever reads them from now on reads them anew.
            self.shared.devices.fetch_add(1, Ordering::Relaxed);
            let (host_id, timestamp) = (self.host.clone(), now());
            self.publish([Event::HostDevicesChanged(HostDevicesChanged { host_id, timestamp })]);
        }
        for waiting in pending.waiting {
            // Whoever does not wait any more needs no answer.
            waiting.send(()).ok();
        }
    }

    /// Reads every network and every pool and publishes the differences. Networks come first, as
    /// pools may wait for a file server.
    async fn read_all(&mut self, session: &Arc<Session>, resync: bool) {
        let networks = self.read_networks(session, resync).await;
        let pools = self.read_pools(session, resync).await;
        if networks && pools {
            self.shared.listed.send_replace(true);
        }
    }

    /// Whether all networks are known now.
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

    /// Whether all pools are known now.
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

    /// Makes a reading the truth and gives what differs, to be published.
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

    /// Gives a pool the room that it has now; says whether libvirt itself tells of another one than
    /// before, as it does when volumes came, went or grew.
    async fn measure(&mut self, pool: Option<&mut Pool>) -> bool {
        let Some(pool) = pool else { return false };
        let told = (pool.capacity_bytes, pool.allocation_bytes, pool.available_bytes);
        let refreshed = self.told_room.insert(pool.id, told) != Some(told);
        if let Some(rooms) = &mut self.rooms {
            rooms.measure(pool, self.pools.get(&pool.id).map(|had| &**had)).await;
        }
        refreshed
    }

    /// Tells how much room there is, when that is news.
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

    /// Tells where the pools that are started keep their files, when that is news.
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

    /// Looks which volumes a pool has now, and publishes which came and went, after what is told
    /// of the pool itself. Whoever hears of either and looks finds what is there now. `changed`
    /// says that a volume that stays may be another.
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

    /// Which volumes of a pool came and went, as events; what is known of the others stays.
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
        // What was there before somebody looked is no news.
        let Some(had) = self.names.insert(id, names.clone()) else {
            self.shared.volumes.forget(id);
            return Vec::new();
        };
        let came: Vec<String> = names.difference(&had).cloned().collect();
        let went: Vec<String> = had.difference(&names).cloned().collect();
        for name in &went {
            // The next one of that name may be anything.
            let path = pool.path_of(name).map(|path| Key::Path(path.into()));
            self.shared.raw.note(path.iter().chain([&Key::Volume(pool.name.clone(), name.clone())]), false);
        }
        let moved = came.len() + went.len();
        // A pool has other room when volumes came or went; else some volume has another size.
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

    /// Notes that a reading did not work, and says whether there is nothing to read at all. The
    /// next one comes by itself.
    fn trouble(&mut self, session: &Session, context: &'static str, error: &Error) -> bool {
        if error.is_unsupported() {
            // A driver without storage or networks is no trouble, and said once.
            if self.unsupported.insert(context) {
                tracing::info!(host = %self.host, context, "this host's driver cannot do that");
            }
            return true;
        }
        tracing::warn!(host = %self.host, context, ?error, "a reading failed");
        if error.is_link() {
            // The machines' daemon opens its link to the one of storage or networks once per
            // client; only a new link of ours makes a new one.
            session.hints.lost("the link to libvirt's storage or network daemon broke");
        }
        false
    }
}

/// What was known of an object when a reading says the same, else the reading with a version of
/// its own.
fn newest<T: Clone + PartialEq>(had: Option<&Arc<T>>, mut read: T, version: fn(&mut T) -> &mut u64) -> Arc<T> {
    if let Some(had) = had {
        // Whatever the version, only what is read counts.
        *version(&mut read) = *version(&mut T::clone(had));
        if **had == read {
            return had.clone();
        }
    }
    *version(&mut read) = next_version();
    Arc::new(read)
}

/// Why a reading of a pool or a network did not work, in words.
pub(crate) fn refused(error: &Error, name: &str, host: &HostId) -> Fault {
    match error {
        Error::TimedOut { seconds } => {
            Fault::new(FaultKind::TimedOut, format!("{name} on {host} did not answer for {seconds} s"))
                .with_next("Its storage may hang; look at the server that it comes from")
        }
        error => error.of_command(name, host.as_str()),
    }
}
