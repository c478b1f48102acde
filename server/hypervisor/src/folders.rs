//! Watches changes that libvirt has no event for: autostart, stored definitions, removed saved
//! states, network entries, volumes.
//!
//! If libvirt is local, the kernel reports changes in libvirt's own directories and those of its
//! pools (inotify(7)), which costs nothing while idle. Otherwise a few listings of all objects are
//! compared while a page is open. It leaves hints and reads no objects itself.

mod listings;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::{
    io::unix::AsyncFd,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use self::listings::Listings;
use crate::{
    Sink,
    events::Hints,
    ffi,
    link::{Session, blocking},
    places::Places,
    watcher::Shared,
};

/// Changes are reported after this quiet period, because libvirt writes a file before it updates
/// its own state.
const QUIET: Duration = Duration::from_millis(200);
/// Changes are reported after this time at the latest.
const AT_MOST: Duration = Duration::from_secs(1);
/// Interval of attempts to watch a directory that could not be watched.
const RETRY: Duration = Duration::from_secs(30);
/// Interval of listing comparisons where files cannot be watched.
const COMPARE: Duration = Duration::from_secs(2);
/// The event kind whose subscribers have a list of machines open.
const KIND: &str = "vm-updated";

/// Directories of pools, as named by the daemon.
pub(crate) type PoolFolders = BTreeMap<Uuid, PathBuf>;

/// Watches one host.
pub(crate) struct Folders {
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
}

/// The content of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Definitions of machines, autostart links, or saved states.
    Machines,
    Networks,
    Pools,
    /// The volumes of a pool.
    Volumes(Uuid),
}

/// Changes not reported yet.
#[derive(Default)]
struct Changed {
    machines: HashSet<String>,
    networks: bool,
    pools: bool,
    volumes: HashSet<Uuid>,
    /// Directories were created or events were lost, so everything is watched and read again.
    folders: bool,
}

impl Folders {
    pub(crate) fn new(shared: Arc<Shared>, sink: Arc<dyn Sink>) -> Self {
        Self { shared, sink }
    }

    /// Runs until the process ends.
    pub(crate) async fn run(self) {
        let mut sessions = self.shared.sessions();
        loop {
            let session = sessions.borrow_and_update().clone();
            let Some(session) = session else {
                if sessions.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // The test driver is in this process and reports every change.
            if session.host.is_test_driver() {
                sessions.changed().await.ok();
                continue;
            }
            tokio::select! {
                _ = sessions.changed() => {}
                () = self.keep(&session) => {}
            }
        }
    }

    /// Watches one session until it is replaced.
    async fn keep(&self, session: &Arc<Session>) {
        let mut pools = self.shared.pool_folders.subscribe();
        let mut listings = Listings::default();
        let mut before: Option<Watched> = None;
        loop {
            let of_pools = pools.borrow_and_update().clone();
            let from = session.clone();
            let watched = blocking(move || Watched::new(&from, &of_pools)).await.ok().flatten();
            // Changes until the new watch started.
            if let Some(before) = before.take() {
                let mut changed = Changed::default();
                before.drain(&mut changed);
                before.hint(changed, &session.hints);
            }
            match watched {
                Some(watched) => {
                    watched.tell(&session.hints, &mut pools).await;
                    before = Some(watched);
                }
                None => {
                    let again = Instant::now() + RETRY;
                    while Instant::now() < again {
                        if listings.are_new() || self.sink.wants(KIND) {
                            let changed = self.shared.take_changed();
                            listings.compare(session, changed.as_ref()).await;
                        }
                        sleep(COMPARE).await;
                    }
                }
            }
        }
    }
}

/// The directories watched by the kernel.
struct Watched {
    descriptor: AsyncFd<OwnedFd>,
    folders: HashMap<i32, Vec<Holds>>,
    /// Whether a pool directory could not be watched, for example on a slow file server.
    in_part: bool,
}

impl Watched {
    /// For a local daemon with a readable configuration; none otherwise.
    fn new(session: &Session, of_pools: &PoolFolders) -> Option<Self> {
        let mut places = Places::new(Some(session.root.clone()?));
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
        let mut folders: HashMap<i32, Vec<Holds>> = HashMap::new();
        let mut add = |path: &Path, holds: Holds| {
            let real = places.resolve(path).and_then(|path| places.real(&path))?;
            let flags = WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::ONLYDIR;
            let number = inotify::add_watch(&descriptor, real, flags).ok()?;
            folders.entry(number).or_default().push(holds);
            Some(())
        };
        let [config, state, running] = roots(session.is_of_user());
        // Required for changes of machines.
        add(&config.join("qemu"), Holds::Machines)?;
        add(&config, Holds::Pools);
        add(&config.join("qemu/autostart"), Holds::Machines);
        add(&state.join("save"), Holds::Machines);
        for folder in [config.join("qemu/networks"), config.join("qemu/networks/autostart"), running.join("network")] {
            add(&folder, Holds::Networks);
        }
        add(&config.join("storage"), Holds::Pools);
        add(&config.join("storage/autostart"), Holds::Pools);
        let mut in_part = false;
        for (id, folder) in of_pools {
            in_part |= add(folder, Holds::Volumes(*id)).is_none();
        }
        Some(Self { descriptor: ffi::wait_on(descriptor)?, folders, in_part })
    }

    /// Reports changes until the set of directories changes or failed ones must be retried.
    async fn tell(&self, hints: &Hints, pools: &mut watch::Receiver<PoolFolders>) {
        let retry = Instant::now() + RETRY;
        loop {
            let mut changed = Changed::default();
            tokio::select! {
                _ = pools.changed() => return,
                () = sleep_until(retry), if self.in_part => return,
                () = self.read(&mut changed) => {}
            }
            let until = Instant::now() + AT_MOST;
            while Instant::now() < until {
                let pause = sleep_until(until.min(Instant::now() + QUIET));
                tokio::select! {
                    () = pause => break,
                    () = self.read(&mut changed) => {}
                }
            }
            let folders = changed.folders;
            self.hint(changed, hints);
            if folders {
                return;
            }
        }
    }

    /// Leaves hints for changes; for everything if directories changed or events were lost.
    fn hint(&self, changed: Changed, hints: &Hints) {
        changed.machines.into_iter().for_each(|name| hints.named(name));
        changed.volumes.into_iter().for_each(|id| hints.around.pool(id, true));
        if changed.networks || changed.folders {
            hints.around.all_networks();
        }
        if changed.pools || changed.folders {
            hints.around.all_pools();
        }
        if changed.folders {
            hints.all_machines();
            for holds in self.folders.values().flatten() {
                if let Holds::Volumes(pool) = holds {
                    hints.around.pool(*pool, true);
                }
            }
        }
    }

    /// Waits for events and adds them.
    async fn read(&self, changed: &mut Changed) {
        let Ok(mut ready) = self.descriptor.readable().await else {
            changed.folders = true;
            return;
        };
        self.drain(changed);
        ready.clear_ready();
    }

    /// Adds available events.
    fn drain(&self, changed: &mut Changed) {
        let mut room = [MaybeUninit::uninit(); 8_192];
        let mut reader = inotify::Reader::new(self.descriptor.get_ref(), &mut room);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let holds = self.folders.get(&event.wd()).map(Vec::as_slice).unwrap_or_default();
            changed.add(holds, event.events(), &name);
        }
    }
}

impl Changed {
    /// Adds the event of one file.
    fn add(&mut self, holds: &[Holds], what: ReadFlags, name: &str) {
        if what.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            self.folders = true;
            return;
        }
        for holds in holds {
            match holds {
                Holds::Volumes(pool) => drop(self.volumes.insert(*pool)),
                // A new directory is one of libvirt's that did not exist before.
                _ if what.contains(ReadFlags::ISDIR) => self.folders = true,
                Holds::Machines => {
                    let machine = name.strip_suffix(".xml").or_else(|| name.strip_suffix(".save"));
                    self.machines.extend(machine.map(str::to_owned));
                }
                Holds::Networks => self.networks |= name.ends_with(".xml"),
                Holds::Pools => self.pools |= name.ends_with(".xml"),
            }
        }
    }
}

/// libvirt's directories for configuration, QEMU state and runtime data.
fn roots(of_user: bool) -> [PathBuf; 3] {
    if !of_user {
        return ["/etc/libvirt", "/var/lib/libvirt/qemu", "/run/libvirt"].map(PathBuf::from);
    }
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = folder("HOME").unwrap_or_default();
    let config = folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("libvirt");
    let running = folder("XDG_RUNTIME_DIR").unwrap_or_else(|| home.join(".cache")).join("libvirt");
    [config.clone(), config.join("qemu/lib"), running]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_which_object_changed() {
        let pool = Uuid::from_u128(7);
        let mut changed = Changed::default();
        changed.add(&[Holds::Machines], ReadFlags::MOVED_TO, "web.xml");
        changed.add(&[Holds::Machines], ReadFlags::CREATE, "web.xml.new");
        changed.add(&[Holds::Machines], ReadFlags::DELETE, "mail.save");
        changed.add(&[Holds::Volumes(pool)], ReadFlags::CLOSE_WRITE, "a.qcow2");
        assert_eq!(changed.machines, HashSet::from(["web".into(), "mail".into()]));
        assert_eq!(changed.volumes, HashSet::from([pool]));
        assert!(!changed.networks && !changed.pools && !changed.folders);
        changed.add(&[Holds::Networks], ReadFlags::MOVED_TO, "lab.xml");
        assert!(changed.networks && !changed.pools);
        changed.add(&[Holds::Machines], ReadFlags::CREATE | ReadFlags::ISDIR, "autostart");
        assert!(changed.folders, "it is watched from now on");
    }

    #[test]
    fn pages_are_asked_for_by_a_kind_that_there_is() {
        assert!(model::Event::KINDS.contains(&KIND));
    }

    #[test]
    fn a_queue_that_ran_over_reads_all_again() {
        let mut changed = Changed::default();
        changed.add(&[], ReadFlags::QUEUE_OVERFLOW, "");
        assert!(changed.folders, "which means all");
    }
}
