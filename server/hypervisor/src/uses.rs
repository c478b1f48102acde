//! The users of storage, decided only here.
//!
//! Machines use what their live and stored definitions, snapshots and saved states refer to, with
//! all backing images. Volumes use their backing images. Sources are compared by identity
//! (`places`), not by spelling. Unknown uses count as uses, and the error names their cause.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use model::{Fault, Pool, PoolCommand, Volume, storage::VolumeUse};
use uuid::Uuid;

use crate::{
    places::{Identity, Key, Places},
    raw::RawImages,
    xml::sources::{Place, Source},
};

mod follow;
pub(crate) mod read;

/// A machine with its storage.
pub(crate) struct Machine {
    /// Its UUID.
    pub(crate) id: Uuid,
    /// Its name.
    pub(crate) name: String,
    /// Whether it runs or is paused.
    pub(crate) active: bool,
    /// Its storage; none if never read.
    pub(crate) sources: Option<Vec<Source>>,
    /// Whether it does not respond, so that its storage is as last read.
    pub(crate) silent: bool,
}

/// A pool with its volumes.
pub(crate) struct Shelf {
    /// The pool.
    pub(crate) pool: Pool,
    /// Its volumes; none if never read.
    pub(crate) volumes: Option<Vec<Volume>>,
}

/// One use of storage.
#[derive(Default)]
struct Use {
    user: VolumeUse,
    /// The path of the volume that uses it; none for a machine.
    by: Option<String>,
    /// The target of the machine's disk whose own image it is.
    target: Option<String>,
    /// Whether it is used as raw.
    raw: bool,
    /// The pool that it is the source of, which does not hinder what is done with its own volumes.
    pool: Option<String>,
    identity: Identity,
}

/// Why a use is unknown.
struct Unknown {
    fault: Fault,
    /// Whether it concerns a machine; otherwise an image.
    of_machine: bool,
    /// The path of the volume that it concerns, which may itself be deleted.
    by: Option<String>,
}

/// All uses on one host at one time.
pub(crate) struct Uses {
    places: Places,
    uses: Vec<Use>,
    /// Uses by identity, and by what contains them.
    own: HashMap<Key, Vec<usize>>,
    below: HashMap<Key, Vec<usize>>,
    /// Volumes by pool and name, with their paths.
    volumes: HashMap<(String, String), (Identity, String)>,
    /// Identifiers of the volumes of active pools, with their names.
    listed: HashMap<Key, (String, String)>,
    /// Images outside all pools that were followed, with their machine or volume.
    followed: HashSet<(Option<Uuid>, Option<String>, PathBuf)>,
    /// Whether images of listed volumes are followed, too, before something is done.
    thorough: bool,
    /// Why some uses are unknown.
    unknown: Vec<Unknown>,
}

impl Uses {
    /// Combines the storage of machines and volumes, for a decision.
    pub(crate) fn of(places: Places, shelves: &[Shelf], machines: &[Machine]) -> Self {
        Self::combined(places, shelves, machines, true)
    }

    /// Combines the storage of machines and volumes for display: images of listed volumes are as
    /// libvirt's last listing reports them.
    pub(crate) fn shown(places: Places, shelves: &[Shelf], machines: &[Machine]) -> Self {
        Self::combined(places, shelves, machines, false)
    }

    fn combined(places: Places, shelves: &[Shelf], machines: &[Machine], thorough: bool) -> Self {
        let mut all = Self {
            thorough,
            places,
            uses: Vec::new(),
            own: HashMap::new(),
            below: HashMap::new(),
            volumes: HashMap::new(),
            listed: HashMap::new(),
            followed: HashSet::new(),
            unknown: Vec::new(),
        };
        shelves.iter().for_each(|shelf| all.list(shelf));
        let folders: Vec<Identity> =
            shelves.iter().filter(|shelf| shelf.pool.has_paths()).map(|shelf| all.of_folder(&shelf.pool)).collect();
        shelves.iter().for_each(|shelf| all.add_volumes(shelf));
        machines.iter().for_each(|machine| all.add_machine(machine, shelves));
        shelves.iter().for_each(|shelf| all.add_source(&shelf.pool));
        all.add_host();
        all.name_what_cannot_be_followed(&folders);
        all.index();
        all
    }

    /// Adds the volumes of a pool by name.
    fn list(&mut self, shelf: &Shelf) {
        for volume in shelf.volumes.iter().flatten() {
            let identity = self.of_place(&shelf.pool, volume);
            let names = (shelf.pool.name.clone(), volume.name.clone());
            if shelf.pool.state.is_active() {
                self.listed.extend(identity.own.iter().map(|key| (key.clone(), names.clone())));
            }
            self.volumes.insert(names, (identity, volume.path.clone()));
        }
    }

    /// Adds the uses by the host: mounted devices that may be volumes.
    fn add_host(&mut self) {
        for (device, what) in self.places.used_by_host() {
            let identity = self.identify(&Place::Path(device));
            let user = VolumeUse { name: format!("the host ({what})"), active: true, ..VolumeUse::default() };
            self.uses.push(Use { user, identity, ..Use::default() });
        }
    }

    /// Adds the devices and directories that a pool has its storage from, whether it is active or not.
    fn add_source(&mut self, pool: &Pool) {
        for path in pool.source.split(", ").filter(|path| path.starts_with('/')) {
            let identity = self.identify(&Place::Path(path.into()));
            let user =
                VolumeUse { name: format!("the storage pool {}", pool.name), active: true, ..VolumeUse::default() };
            self.uses.push(Use { user, pool: Some(pool.name.clone()), identity, ..Use::default() });
        }
    }

    fn add_machine(&mut self, machine: &Machine, shelves: &[Shelf]) {
        let Some(sources) = &machine.sources else {
            let reason = format!("{} is not responding, and its disks were never read", machine.name);
            let next = format!("Force {} off, or wait until it responds", machine.name);
            self.unknown.push(Unknown { fault: Fault::denied(reason).with_next(next), of_machine: true, by: None });
            return;
        };
        let user = VolumeUse {
            vm_id: Some(machine.id),
            name: machine.name.clone(),
            active: machine.active,
            unresponsive: machine.silent,
        };
        for source in sources {
            let place = match &source.place {
                Place::Volume { pool, volume } => {
                    in_pool(shelves, pool, volume).unwrap_or_else(|| source.place.clone())
                }
                other => other.clone(),
            };
            let identity = self.identify(&place);
            let own = |identity| {
                let (target, raw) = (source.target.clone(), source.is_raw_disk());
                Use { user: user.clone(), target, raw, identity, ..Use::default() }
            };
            if let (false, Place::Path(path)) = (source.complete, &place) {
                self.follow_disk(&user, &identity, path);
            }
            self.uses.push(own(identity));
            if place != source.place {
                let named = self.places.identify(&source.place);
                self.uses.push(own(named));
            }
        }
    }

    /// Where paths cannot be resolved, one outside all pools may be a link to any file with its
    /// name.
    fn name_what_cannot_be_followed(&mut self, folders: &[Identity]) {
        if self.places.are_local() {
            return;
        }
        for one in &mut self.uses {
            if !folders.iter().any(|folder| one.identity.is_in(folder)) {
                let names = one.identity.own.iter().filter_map(name_of);
                one.identity.own.extend(names.collect::<Vec<_>>());
            }
        }
    }

    /// The volume of an active pool with an identity, and its path.
    fn listed_at(&self, identity: &Identity) -> Option<&(Identity, String)> {
        identity.own.iter().find_map(|key| self.listed.get(key)).and_then(|names| self.volumes.get(names))
    }

    /// Whether a path is that of a volume of an active pool, or is left out for another reason.
    pub(crate) fn is_listed_or(&mut self, path: &Path, other: impl Fn(&Identity) -> bool) -> bool {
        let identity = self.places.identify(&Place::Path(path.to_owned()));
        self.listed_at(&identity).is_some() || other(&identity)
    }

    /// The volume of an active pool at a path, however spelled: its identity, and its path as in
    /// libvirt.
    pub(crate) fn volume_at(&mut self, path: &str) -> Option<(Identity, String)> {
        let identity = self.places.identify(&Place::Path(path.into()));
        self.listed_at(&identity).cloned()
    }

    /// Indexes uses by identity, after all were added.
    pub(crate) fn index(&mut self) {
        self.own.clear();
        self.below.clear();
        for (at, one) in self.uses.iter().enumerate() {
            one.identity.own.iter().for_each(|key| self.own.entry(key.clone()).or_default().push(at));
            one.identity.below.iter().for_each(|key| self.below.entry(key.clone()).or_default().push(at));
        }
    }

    /// The identity of a location; for a volume name also its path.
    fn identify(&mut self, place: &Place) -> Identity {
        let mut identity = self.places.identify(place);
        if let Place::Volume { pool, volume } = place
            && let Some((known, _)) = self.volumes.get(&(pool.clone(), volume.clone()))
        {
            identity.own.extend(known.own.iter().cloned());
            identity.below.extend(known.below.iter().cloned());
        }
        identity
    }

    /// The identity of a volume: its names and its location.
    pub(crate) fn of_place(&mut self, pool: &Pool, volume: &Volume) -> Identity {
        let names = Place::Volume { pool: pool.name.clone(), volume: volume.name.clone() };
        let mut identity = self.places.identify(&names);
        let lies = match (volume.path.as_str(), pool.kind.as_str()) {
            (path, _) if path.starts_with('/') => Place::Path(path.into()),
            (path, "gluster") => {
                let name = path
                    .strip_prefix("gluster://")
                    .and_then(|rest| rest.split_once('/'))
                    .map_or(path, |(_, name)| name);
                Place::Network { protocol: "gluster".into(), name: name.to_owned() }
            }
            ("", _) => return Identity { below: vec![Key::Pool(pool.name.clone())], ..identity },
            (path, kind) => {
                Place::Network { protocol: kind.trim_end_matches("-direct").to_owned(), name: path.to_owned() }
            }
        };
        let lies = self.places.identify(&lies);
        identity.own.extend(lies.own);
        identity.below.extend(lies.below);
        identity.below.push(Key::Pool(pool.name.clone()));
        identity
    }

    /// The identity of a command's object: a volume, or the pool with its content.
    pub(crate) fn of_command(&mut self, command: &PoolCommand, pool: &Pool, volumes: &[Volume]) -> Identity {
        match command.volume() {
            Some(name) => {
                let unread = Volume { name: name.to_owned(), ..Volume::default() };
                let volume = volumes.iter().find(|volume| volume.name == name).unwrap_or(&unread);
                let mut identity = self.of_place(pool, volume);
                // A copy is not deleted before it is complete.
                if let Some(to) = command.new_volume() {
                    let path = pool.path_of(to).unwrap_or_default();
                    let copy = Volume { name: to.to_owned(), path, ..Volume::default() };
                    identity.own.extend(self.of_place(pool, &copy).own);
                }
                identity
            }
            None => {
                let mut folder = self.of_folder(pool);
                folder.own.push(Key::Pool(pool.name.clone()));
                folder
            }
        }
    }

    /// The identity of a pool's directory.
    fn of_folder(&mut self, pool: &Pool) -> Identity {
        match pool.path.is_empty() {
            true => Identity::default(),
            false => self.places.identify(&Place::Path(pool.path.clone().into())),
        }
    }

    fn touching(&self, identity: &Identity) -> BTreeSet<usize> {
        let names = identity.own.iter().filter(|_| !self.places.are_local()).filter_map(name_of);
        let named: Vec<usize> = names.filter_map(|name| self.own.get(&name)).flatten().copied().collect();
        let own = identity.own.iter().flat_map(|key| [self.own.get(key), self.below.get(key)]);
        let below = identity.below.iter().map(|key| self.own.get(key));
        let all = own.chain(below).flatten().flatten().copied().chain(named);
        // What a pool takes its storage from does not stand in the way of its own volumes.
        let itself =
            |pool: &String| identity.own.iter().chain(&identity.below).any(|key| *key == Key::Pool(pool.clone()));
        all.filter(|at| !self.uses[*at].pool.as_ref().is_some_and(itself)).collect()
    }

    /// The users of a volume, without duplicates.
    pub(crate) fn of_volume(&mut self, pool: &Pool, volume: &Volume) -> Vec<VolumeUse> {
        let identity = self.of_place(pool, volume);
        self.users_of(&identity, volume)
    }

    /// The users of an identity, without the volume that it is.
    fn users_of(&self, identity: &Identity, volume: &Volume) -> Vec<VolumeUse> {
        let uses = self.touching(identity).into_iter().map(|at| &self.uses[at]);
        once(uses.filter(|one| one.by.as_ref().is_none_or(|by| *by != volume.path)).map(|one| &one.user))
    }

    /// The machines whose definitions name a volume that does not exist yet.
    pub(crate) fn waiting_for(&mut self, pool: &Pool, name: &str) -> Vec<VolumeUse> {
        let path = pool.path_of(name).unwrap_or_default();
        let identity = self.of_place(pool, &Volume { name: name.to_owned(), path, ..Volume::default() });
        let uses = identity.own.iter().filter_map(|key| self.own.get(key)).flatten().map(|at| &self.uses[*at].user);
        once(uses.filter(|user| user.vm_id.is_some()))
    }

    /// A volume with its users and its format: a raw image stays raw, whatever its content.
    pub(crate) fn tell(&mut self, raw: &RawImages, pool: &Pool, volume: &Volume) -> Volume {
        let identity = self.of_place(pool, volume);
        let told = Volume { used_by: self.users_of(&identity, volume), ..volume.clone() };
        let mistaken = !matches!(volume.format.as_str(), "" | "raw" | "iso") && raw.is_raw(identity.own.iter());
        if mistaken { Volume { format: "raw".into(), backing: String::new(), ..told } } else { told }
    }

    /// The users of a command's object.
    pub(crate) fn of_target(&mut self, command: &PoolCommand, pool: &Pool, volumes: &[Volume]) -> Vec<VolumeUse> {
        match command.volume() {
            None => self.of_pool(pool, volumes),
            Some(name) => {
                let volume = volumes.iter().find(|volume| volume.name == name);
                volume.map(|volume| self.of_volume(pool, volume)).unwrap_or_default()
            }
        }
    }

    /// The users of anything in a pool, without duplicates; volumes of the pool itself do not
    /// count.
    pub(crate) fn of_pool(&mut self, pool: &Pool, volumes: &[Volume]) -> Vec<VolumeUse> {
        let folder = self.of_folder(pool);
        let named = |key: &Key| matches!(key, Key::Volume(name, _) | Key::Pool(name) if *name == pool.name);
        let inside = |one: &Use| one.identity.is_in(&folder) || one.identity.own.iter().any(named);
        let mut found: BTreeSet<usize> =
            self.uses.iter().enumerate().filter(|(_, one)| inside(one)).map(|(at, _)| at).collect();
        for volume in volumes {
            let identity = self.of_place(pool, volume);
            found.extend(self.touching(&identity));
        }
        let paths: HashSet<&String> = volumes.iter().map(|volume| &volume.path).collect();
        let others = found.into_iter().map(|at| &self.uses[at]);
        let others = others.filter(|one| one.pool.as_ref() != Some(&pool.name));
        once(others.filter(|one| one.by.as_ref().is_none_or(|by| !paths.contains(by))).map(|one| &one.user))
    }

    /// The target of a running machine's disk whose own image a volume is.
    pub(crate) fn disk_of(&mut self, pool: &Pool, volume: &Volume) -> Option<(Uuid, String)> {
        let identity = self.of_place(pool, volume);
        // A folder that it lies in, or a device that stands on it, is another object.
        let uses = identity.own.iter().filter_map(|key| self.own.get(key)).flatten().map(|at| &self.uses[*at]);
        let mut running = uses.filter(|one| one.user.active && !one.user.unresponsive);
        running.find_map(|one| Some((one.user.vm_id?, one.target.clone()?)))
    }

    /// Whether all relevant uses are known: all for a destructive command, otherwise those of
    /// machines, which may be writing.
    ///
    /// # Errors
    /// `Denied`, with the unknown use.
    pub(crate) fn are_known(&self, all: bool, about: Option<&str>) -> Result<(), Fault> {
        // What a volume is based on, or might be, does not stand in its own way.
        let counts =
            |unknown: &&Unknown| (all || unknown.of_machine) && (about.is_none() || unknown.by.as_deref() != about);
        let unknown = self.unknown.iter().find(counts);
        unknown.map_or(Ok(()), |unknown| Err(unknown.fault.clone()))
    }

    /// A machine that uses a volume other than as a disk, for example as a backing image or kernel.
    pub(crate) fn used_otherwise(&mut self, pool: &Pool, volume: &Volume) -> Option<&VolumeUse> {
        let identity = self.of_place(pool, volume);
        let own = identity.own.iter().filter_map(|key| self.own.get(key)).flatten();
        let uses: Vec<&Use> = own.map(|at| &self.uses[*at]).filter(|one| one.user.vm_id.is_some()).collect();
        let as_disk = |user: &VolumeUse| uses.iter().any(|one| one.target.is_some() && one.user.vm_id == user.vm_id);
        uses.iter().map(|one| &one.user).find(|user| !as_disk(user))
    }

    /// The identities of disks used as raw.
    pub(crate) fn of_raw_disks(&self) -> impl Iterator<Item = &Identity> {
        self.uses.iter().filter(|one| one.raw).map(|one| &one.identity)
    }

    /// The resolver of this host.
    pub(crate) fn places(&mut self) -> &mut Places {
        &mut self.places
    }
}

/// The file name of a path, for comparison if nothing else is possible.
fn name_of(key: &Key) -> Option<Key> {
    match key {
        Key::Path(path) => path.file_name().map(|name| Key::Name(name.to_owned())),
        _ => None,
    }
}

/// The location of a volume, by pool and name.
fn in_pool(shelves: &[Shelf], pool: &str, volume: &str) -> Option<Place> {
    let shelf = shelves.iter().find(|shelf| shelf.pool.name == pool)?;
    let listed = shelf.volumes.iter().flatten().find(|known| known.name == volume);
    let path = listed.map(|known| known.path.clone()).or_else(|| shelf.pool.path_of(volume))?;
    path.starts_with('/').then(|| Place::Path(path.into()))
}

/// Users without duplicates; machines first, by name.
fn once<'a>(users: impl Iterator<Item = &'a VolumeUse>) -> Vec<VolumeUse> {
    let mut users: Vec<VolumeUse> = users.cloned().collect();
    users.sort_by(|a, b| (a.vm_id.is_none(), &a.name, a.vm_id).cmp(&(b.vm_id.is_none(), &b.name, b.vm_id)));
    users.dedup_by(|a, b| (a.vm_id, &a.name) == (b.vm_id, &b.name));
    users
}

#[cfg(test)]
#[path = "uses_tests.rs"]
mod tests;
