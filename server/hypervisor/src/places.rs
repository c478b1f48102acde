//! Identity of storage independent of its spelling: the same file through a link, doubled slashes,
//! another device name, or volume names.
//!
//! If libvirt is local, paths are resolved in the file systems that its daemon sees, and files are
//! identified by device and inode. Otherwise only the spelling is normalised.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    fs::{self, Metadata},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use crate::xml::sources::Place;

/// An identifier of storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A file or directory: device and inode.
    Inode(u64, u64),
    /// A file by its number and when it was created, in nanoseconds: numbers are given again.
    Born(u64, u128),
    /// A device, by number.
    Device(u64),
    /// A normalised path.
    Path(PathBuf),
    /// A volume, by pool and name.
    Volume(String, String),
    /// A pool, which contains its volumes.
    Pool(String),
    /// An image, by protocol and name.
    Network(String, String),
    /// A SCSI device, by address.
    Scsi(String),
    /// The file name of a path that cannot be resolved here.
    Name(OsString),
}

/// All identifiers of a storage object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The object itself.
    pub(crate) own: Vec<Key>,
    /// What contains it: parent directories of a file, devices below a device.
    pub(crate) below: Vec<Key>,
}

impl Identity {
    /// Whether two objects are equal or one contains the other.
    pub(crate) fn touches(&self, other: &Self) -> bool {
        let any = |keys: &[Key], of: &[Key]| keys.iter().any(|key| of.contains(key));
        any(&self.own, &other.own) || any(&self.own, &other.below) || any(&self.below, &other.own)
    }

    /// Whether it is inside of a directory, at any depth.
    pub(crate) fn is_in(&self, folder: &Self) -> bool {
        self.below.iter().any(|key| folder.own.contains(key))
    }
}

/// Maximum symbolic links followed, as in Linux.
const MAX_LINKS: usize = 40;
/// Maximum depth of stacked devices.
const MAX_DEPTH: usize = 16;
/// Response time limit of a file server; afterwards its paths are compared by spelling.
const SERVER_WITHIN: Duration = Duration::from_secs(2);

/// Resolves storage objects of one host during one check.
pub(crate) struct Places {
    /// The root of the file systems that libvirt's daemon sees; none for a remote host.
    root: Option<PathBuf>,
    /// The mounts.
    mounts: Vec<Mount>,
    /// Mounts of file servers, and whether each responds.
    servers: Vec<(PathBuf, bool)>,
    /// Resolved directories, by spelling.
    resolved: HashMap<PathBuf, PathBuf>,
    /// Identifiers of resolved directories and their parents.
    folders: HashMap<PathBuf, Arc<Vec<Key>>>,
}

impl Places {
    /// For a host whose daemon sees the file systems below `root`. Checks whether its file servers
    /// respond.
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        let mounts = root.as_ref().map(|root| mounts(root)).unwrap_or_default();
        let servers = root.as_ref().map(|root| servers(root, &mounts)).unwrap_or_default();
        Self { root, mounts, servers, resolved: HashMap::new(), folders: HashMap::new() }
    }

    /// Like `new`, with another mount table.
    #[cfg(test)]
    pub(crate) fn with_mounts(table: &str) -> Self {
        let mounts = table.lines().filter_map(|line| mount(line.as_bytes())).collect();
        Self { mounts, ..Self::new(Some("/".into())) }
    }

    /// Mount points of disks and file servers, except system and user directories.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        let real = self.mounts.iter().filter(|mount| mount.of_disk || mount.of_server);
        let folders = real.map(|mount| mount.at.clone());
        let keeps_others = |at: &Path| OTHERS.iter().any(|folder| at.starts_with(folder));
        folders.filter(|at| !model::storage::is_of_the_system(at) && !keeps_others(at)).collect()
    }

    /// The block devices used by the host and their use: mounted, or swap.
    pub(crate) fn used_by_host(&self) -> Vec<(PathBuf, String)> {
        let Some(root) = &self.root else { return Vec::new() };
        let mounted = self.mounts.iter().filter_map(|mount| {
            let device = mount.device.clone()?;
            Some((device, format!("mounted at {}", mount.at.display())))
        });
        let swaps = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
        let swapped = swaps.lines().skip(1).filter_map(|line| {
            let device = line.split_whitespace().next().filter(|path| path.starts_with("/dev/"))?;
            Some((PathBuf::from(unescaped(device.as_bytes())), "used as swap".to_owned()))
        });
        mounted.chain(swapped).collect()
    }

    /// Whether files can be inspected here.
    pub(crate) fn are_local(&self) -> bool {
        self.root.is_some()
    }

    /// The identity of a storage object. Volume names do not imply a location.
    pub(crate) fn identify(&mut self, place: &Place) -> Identity {
        match place {
            Place::Path(path) => self.identify_path(path),
            Place::Volume { pool, volume } => {
                Identity { own: vec![Key::Volume(pool.clone(), volume.clone())], below: Vec::new() }
            }
            Place::Network { protocol, name } => {
                let name = name.trim_start_matches('/');
                let key = match protocol.as_str() {
                    "iscsi" => iscsi_unit(name),
                    _ => Key::Network(protocol.clone(), name.to_owned()),
                };
                Identity { own: vec![key], below: Vec::new() }
            }
            Place::Scsi(address) => Identity { own: vec![Key::Scsi(address.clone())], below: Vec::new() },
        }
    }

    fn identify_path(&mut self, path: &Path) -> Identity {
        let plain = in_order(path);
        let mut identity = Identity {
            own: vec![Key::Path(plain.clone())],
            below: plain.ancestors().skip(1).map(|above| Key::Path(above.to_owned())).collect(),
        };
        identity.own.extend(iscsi_by_path(&plain));
        let Some(resolved) = self.resolve(path) else { return identity };
        if resolved != plain {
            identity.own.push(Key::Path(resolved.clone()));
        }
        if let Some(folder) = resolved.parent() {
            identity.below.extend(self.keys_of(folder).iter().cloned());
        }
        match self.look(&resolved) {
            Some(found) if found.file_type().is_block_device() => {
                identity.own.push(Key::Device(found.rdev()));
                identity.own.extend(scsi_keys(found.rdev()));
                below_device(found.rdev(), MAX_DEPTH, &mut identity.below);
            }
            Some(found) => {
                identity.own.push(Key::Inode(found.dev(), found.ino()));
                identity.own.extend(born_of(&found));
            }
            None => {}
        }
        identity
    }

    /// The identifiers of a directory and its parents.
    fn keys_of(&mut self, folder: &Path) -> Arc<Vec<Key>> {
        if let Some(keys) = self.folders.get(folder) {
            return keys.clone();
        }
        let mut keys: Vec<Key> = match folder.parent() {
            Some(above) => self.keys_of(above).to_vec(),
            None => Vec::new(),
        };
        keys.push(Key::Path(folder.to_owned()));
        if let Some(found) = self.look(folder) {
            keys.push(Key::Inode(found.dev(), found.ino()));
        }
        let keys = Arc::new(keys);
        self.folders.insert(folder.to_owned(), keys.clone());
        keys
    }

    /// The resolved path as seen by the daemon; missing parts are kept as written. None if it
    /// cannot be resolved.
    pub(crate) fn resolve(&mut self, path: &Path) -> Option<PathBuf> {
        self.root.as_ref()?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Some(self.follow("/".into(), path));
        };
        let at = match self.resolved.get(folder) {
            Some(at) => at.clone(),
            None => {
                let at = self.follow("/".into(), folder);
                self.resolved.insert(folder.to_owned(), at.clone());
                at
            }
        };
        Some(self.follow(at, Path::new(name)))
    }

    /// Resolves a path from a resolved directory.
    fn follow(&self, mut at: PathBuf, path: &Path) -> PathBuf {
        let mut ahead: Vec<OsString> = path.components().rev().filter_map(step).collect();
        let mut links = 0;
        while let Some(next) = ahead.pop() {
            if next == ".." {
                at.pop();
                continue;
            }
            let reached = at.join(&next);
            let link = self.real(&reached).and_then(|real| fs::read_link(real).ok());
            match link {
                Some(to) if links < MAX_LINKS => {
                    links += 1;
                    if to.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    ahead.extend(to.components().rev().filter_map(step));
                }
                _ => at = reached,
            }
        }
        at
    }

    /// The metadata of a resolved path.
    fn look(&self, resolved: &Path) -> Option<Metadata> {
        fs::symlink_metadata(self.real(resolved)?).ok()
    }

    /// A path of the daemon in our file systems; none for a remote daemon.
    pub(crate) fn real(&self, path: &Path) -> Option<PathBuf> {
        let root = self.root.as_ref()?;
        if self.servers.iter().any(|(mount, answers)| !answers && path.starts_with(mount)) {
            return None;
        }
        Some(root.join(path.strip_prefix("/").ok()?))
    }
}

/// What tells a file from another one that is given its number later; none where its file system does
/// not keep when it was created, or there is no file.
pub(crate) fn born(path: &Path) -> Option<Key> {
    born_of(&fs::symlink_metadata(path).ok()?)
}

fn born_of(found: &Metadata) -> Option<Key> {
    let at = found.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Key::Born(found.ino(), at.as_nanos()))
}

/// A path component as a step.
fn step(component: Component<'_>) -> Option<OsString> {
    match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }
}

/// A path without doubled slashes and dot segments, by spelling only.
pub(crate) fn in_order(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for name in path.components().filter_map(step) {
        if name == ".." {
            plain.pop();
        } else {
            plain.push(name);
        }
    }
    plain
}

/// The devices and files below a device (`/sys/dev/block`): the disk of a partition, the physical
/// volumes of a logical volume, the file of a loop device.
fn below_device(device: u64, depth: usize, below: &mut Vec<Key>) {
    if depth == 0 {
        return;
    }
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let about = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if let Ok(file) = fs::read_to_string(about.join("loop/backing_file"))
        && let Ok(found) = fs::metadata(file.trim_end_matches('\n'))
    {
        below.push(Key::Inode(found.dev(), found.ino()));
    }
    let number = |path: &Path| {
        let text = fs::read_to_string(path.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    let mut stands_on: Vec<u64> = fs::read_dir(about.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|one| number(&one.path()))
        .collect();
    if about.join("partition").exists()
        && let Some(disk) = fs::canonicalize(&about).ok().as_deref().and_then(Path::parent)
    {
        stands_on.extend(number(disk));
    }
    for one in stands_on {
        below.push(Key::Device(one));
        below.extend(scsi_keys(one));
        below_device(one, depth - 1, below);
    }
}

/// A unit of an iSCSI target; libvirt uses the first one if none is set.
fn iscsi_unit(name: &str) -> Key {
    let name = if name.contains('/') { name.to_owned() } else { format!("{name}/0") };
    Key::Network("iscsi".into(), name)
}

/// The iSCSI unit of a udev link (`/dev/disk/by-path/…-iscsi-TARGET-lun-UNIT`).
fn iscsi_by_path(path: &Path) -> Option<Key> {
    let name = path.strip_prefix("/dev/disk/by-path").ok()?.to_str()?;
    let (_, rest) = name.split_once("-iscsi-")?;
    let (target, unit) = rest.rsplit_once("-lun-")?;
    unit.bytes().all(|byte| byte.is_ascii_digit()).then(|| iscsi_unit(&format!("{target}/{unit}")))
}

/// The SCSI address of a disk and its iSCSI unit, from sysfs.
fn scsi_keys(device: u64) -> Vec<Key> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let at = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"));
    at.map(|at| scsi_keys_at(&at, Path::new("/sys/class/iscsi_session"))).unwrap_or_default()
}

/// The SCSI address and iSCSI unit for a sysfs path
/// (`…/host7/session3/target7:0:0/7:0:0:1/block/sdb`). A partition is not the whole unit.
fn scsi_keys_at(at: &Path, sessions: &Path) -> Vec<Key> {
    let steps: Vec<&str> = at.iter().filter_map(|step| step.to_str()).collect();
    let [.., address, "block", _] = steps.as_slice() else { return Vec::new() };
    let numbers: Vec<&str> = address.split(':').collect();
    if numbers.len() != 4 || numbers.iter().any(|number| number.parse::<u64>().is_err()) {
        return Vec::new();
    }
    let session = steps.iter().find(|step| step.starts_with("session"));
    let target = session.and_then(|session| fs::read_to_string(sessions.join(session).join("targetname")).ok());
    let unit = target.map(|target| iscsi_unit(&format!("{}/{}", target.trim(), numbers[3])));
    unit.into_iter().chain([Key::Scsi((*address).to_owned())]).collect()
}

/// Directories that may be separate mounts and contain more than images.
const OTHERS: [&str; 5] = ["/home", "/opt", "/root", "/tmp", "/var"];

/// Remote file systems, which may never respond.
const REMOTE: [&str; 10] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "afs", "lustre", "ocfs2"];

/// A mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    /// Whether its source is a disk.
    of_disk: bool,
    /// Its device, whichever part is mounted.
    device: Option<PathBuf>,
    /// Whether its source is a file server.
    of_server: bool,
}

/// The mounts of the daemon, which may be in a separate namespace.
fn mounts(root: &Path) -> Vec<Mount> {
    let table = match root.strip_prefix("/proc").ok().and_then(|rest| rest.components().next()) {
        Some(process) => Path::new("/proc").join(process).join("mountinfo"),
        None => PathBuf::from("/proc/self/mountinfo"),
    };
    let text = fs::read(table).unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// Mount points of file servers, and whether each responds in time.
fn servers(root: &Path, mounts: &[Mount]) -> Vec<(PathBuf, bool)> {
    let servers = mounts.iter().filter(|mount| mount.of_server).map(|mount| mount.at.clone());
    servers.map(|at| (at.clone(), answers(root.join(at.strip_prefix("/").unwrap_or(&at))))).collect()
}

/// Parses a line of `/proc/self/mountinfo` (proc(5)) for a mounted directory. Bind mounts of files
/// and subdirectories are not separate locations.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let (whole, at) = (words.nth(3)? == b"/", words.next()?);
    let mut rest = words.skip_while(|word| *word != b"-").skip(1);
    let (kind, source) = (std::str::from_utf8(rest.next()?).ok()?, rest.next()?);
    Some(Mount {
        at: PathBuf::from(unescaped(at)),
        of_disk: whole && source.starts_with(b"/dev/"),
        device: source.starts_with(b"/dev/").then(|| PathBuf::from(unescaped(source))),
        of_server: REMOTE.contains(&kind) || kind.starts_with("fuse."),
    })
}

/// Decodes a path of `/proc/self/mountinfo`, where blanks are `\040`.
fn unescaped(text: &[u8]) -> OsString {
    let (mut plain, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 4).filter(|_| text[at] == b'\\');
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(byte.unwrap_or(text[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    std::ffi::OsStr::from_bytes(&plain).to_owned()
}

/// Mounts with a pending query.
static ASKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Whether a file system responds in time. It is not queried again before it responded, so at most
/// one thread waits for it.
fn answers(mount: PathBuf) -> bool {
    let asked = || ASKED.lock();
    if !asked().insert(mount.clone()) {
        return false;
    }
    let (tell, told) = mpsc::channel();
    let ask = {
        let mount = mount.clone();
        move || {
            let answer = fs::metadata(&mount).is_ok();
            asked().remove(&mount);
            // The caller may be gone.
            tell.send(answer).ok();
        }
    };
    if thread::Builder::new().spawn(ask).is_err() {
        asked().remove(&mount);
        return false;
    }
    told.recv_timeout(SERVER_WITHIN).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn identify(places: &mut Places, path: impl AsRef<Path>) -> Identity {
        places.identify(&Place::Path(path.as_ref().to_owned()))
    }

    #[test]
    fn a_file_is_the_same_through_every_way_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        fs::create_dir(folder.join("images")).expect("made");
        fs::write(folder.join("images/a"), "x").expect("written");
        fs::write(folder.join("images/b"), "x").expect("written");
        symlink(folder.join("images"), folder.join("link")).expect("made");
        symlink("images", folder.join("relative")).expect("made");
        symlink("link/a", folder.join("twice")).expect("made");
        symlink("loop", folder.join("loop")).expect("made");
        fs::hard_link(folder.join("images/a"), folder.join("hard")).expect("made");
        let mut places = Places::new(Some("/".into()));
        let volume = identify(&mut places, folder.join("images/a"));
        let text = folder.display();
        for path in [
            format!("{text}/link/a"),
            format!("{text}/relative/a"),
            format!("{text}/twice"),
            format!("{text}/hard"),
            format!("{text}//images/./a"),
            format!("{text}/images/../images/a"),
            format!("{text}/link/../images/a"),
            format!("{text}/images"),
            format!("{text}/link/"),
            "/".to_owned(),
        ] {
            assert!(identify(&mut places, &path).touches(&volume), "{path}");
        }
        for path in [format!("{text}/images/b"), format!("{text}/images/a "), format!("{text}/loop")] {
            assert!(!identify(&mut places, &path).touches(&volume), "{path}");
        }
        // A file that does not exist is still inside its directory.
        let images = identify(&mut places, folder.join("images"));
        assert!(identify(&mut places, folder.join("link/gone")).is_in(&images));
        assert!(!identify(&mut places, folder.join("gone")).is_in(&images));
    }

    #[test]
    fn of_another_machine_the_spelling_is_put_in_order() {
        let mut places = Places::new(None);
        let volume = identify(&mut places, "/srv/images/a");
        for path in ["/srv//images/a", "/srv/./images/x/../a", "/srv/images"] {
            assert!(identify(&mut places, path).touches(&volume), "{path}");
        }
        assert!(!identify(&mut places, "/srv/images/ab").touches(&volume));
    }

    #[test]
    fn a_name_of_an_image_elsewhere_is_no_volume() {
        let mut places = Places::new(None);
        let image = places.identify(&Place::Network { protocol: "rbd".into(), name: "images/a".into() });
        let volume = places.identify(&Place::Volume { pool: "images".into(), volume: "a".into() });
        assert!(!image.touches(&volume));
        assert!(image.touches(&places.identify(&Place::Network { protocol: "rbd".into(), name: "/images/a".into() })));
    }

    #[test]
    fn a_scsi_disk_is_the_same_by_its_address_its_target_and_its_name() {
        let mut places = Places::new(None);
        let mut network = |name: &str| places.identify(&Place::Network { protocol: "iscsi".into(), name: name.into() });
        let (unit, first) = (network("iqn.2004-04.com.example:lab/1"), network("iqn.2004-04.com.example:lab"));
        let by_path =
            |unit: &str| format!("/dev/disk/by-path/ip-10.0.0.9:3260-iscsi-iqn.2004-04.com.example:lab-lun-{unit}");
        let volume = identify(&mut places, by_path("1"));
        assert!(volume.touches(&unit) && !volume.touches(&first));
        assert!(identify(&mut places, by_path("0")).touches(&first), "no unit means the first");
        assert!(!identify(&mut places, by_path("1-part1")).touches(&unit), "a partition is not the whole");
        let sessions = tempfile::tempdir().expect("a folder");
        fs::create_dir(sessions.path().join("session3")).expect("made");
        fs::write(sessions.path().join("session3/targetname"), "iqn.2004-04.com.example:lab\n").expect("written");
        let at = |tail: &str| PathBuf::from(format!("/sys/devices/platform/host7/session3/target7:0:0/7:0:0:1/{tail}"));
        let keys = scsi_keys_at(&at("block/sdb"), sessions.path());
        assert_eq!(keys, [unit.own[0].clone(), places.identify(&Place::Scsi("7:0:0:1".into())).own[0].clone()]);
        assert!(scsi_keys_at(&at("block/sdb/sdb1"), sessions.path()).is_empty());
        assert!(scsi_keys_at(Path::new("/sys/devices/virtual/block/dm-0"), sessions.path()).is_empty());
    }

    #[test]
    fn mounts_of_file_servers_are_found() {
        let line = b"36 35 0:40 /vm /mnt/with\\040blank rw,noatime shared:1 - nfs4 nas:/vm rw";
        let at = "/mnt/with blank".into();
        assert_eq!(mount(line), Some(Mount { at, of_disk: false, device: None, of_server: true }));
        let disk = mount(b"24 1 254:0 / /data rw - ext4 /dev/vda rw").expect("a mount");
        assert!(disk.of_disk && !disk.of_server);
        let bound = mount(b"24 1 254:0 /x/hosts /etc/hosts rw - ext4 /dev/vda rw").expect("a mount");
        assert!(!bound.of_disk, "a part of another one");
        assert_eq!(mount(b""), None);
        assert_eq!(bound.device, Some("/dev/vda".into()), "the device is used whatever part is mounted");
    }
}
