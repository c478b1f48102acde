//! Storage pools and the volumes in them, as libvirt tells of them, and who uses a volume.
//!
//! Volumes are many and change without an event of libvirt, so they are no part of the
//! inventory: they are read when somebody looks, and `volume-changed` says when to look again.

use std::{net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Fault, text::is_plain};

/// What a pool does now (`virStoragePoolState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum PoolState {
    /// It is not started.
    #[default]
    Inactive,
    /// Its storage is being prepared.
    Building,
    /// It can be used.
    Running,
    /// It can be used, with less safety than it should have.
    Degraded,
    /// It is started, and its storage cannot be reached.
    Inaccessible,
}

impl PoolState {
    /// The word on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Inactive => "Stopped",
            Self::Building => "Building",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Inaccessible => "Inaccessible",
        }
    }

    /// Whether it is started.
    pub fn is_active(self) -> bool {
        self != Self::Inactive
    }
}

/// A place that volumes are kept in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Pool {
    /// libvirt's UUID of it.
    pub id: Uuid,
    /// Its name, unique on its host.
    pub name: String,
    /// Its type: `dir`, `fs`, `netfs`, `logical`, `disk`, `iscsi`, `rbd`, `zfs`, …
    pub kind: String,
    /// What it does now.
    pub state: PoolState,
    /// Whether its definition stays when it stops.
    pub persistent: bool,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Room in all, in bytes; 0 while it is stopped.
    pub capacity_bytes: u64,
    /// Room that is taken, in bytes.
    pub allocation_bytes: u64,
    /// Room that is left, in bytes.
    pub available_bytes: u64,
    /// Where its volumes appear on the host.
    pub path: String,
    /// Where the storage comes from, in words: a device, `server:/export`, a volume group.
    pub source: String,
    /// Grows with every change.
    pub version: u64,
}

impl Pool {
    /// Whether its volumes lie below a path of the host.
    pub fn has_paths(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "fs" | "netfs" | "logical" | "disk" | "zfs" | "vstorage")
    }

    /// Whether its volumes are files, which have a format of their own.
    pub fn keeps_files(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "fs" | "netfs" | "vstorage" | "gluster")
    }

    /// Where a volume of that name lies; none where names are no paths.
    pub fn path_of(&self, volume: &str) -> Option<String> {
        let below = Path::new(&self.path).join(volume);
        (self.has_paths() && !self.path.is_empty()).then(|| below.to_string_lossy().into_owned())
    }

    /// How much of it is taken, in percent.
    pub fn percent(&self) -> Option<u8> {
        let taken = u128::from(self.capacity_bytes.saturating_sub(self.available_bytes)) * 100;
        (self.capacity_bytes > 0).then(|| (taken / u128::from(self.capacity_bytes)).min(100) as u8)
    }
}

/// A piece of storage in a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Its name, unique in its pool.
    pub name: String,
    /// Where it lies on the host.
    pub path: String,
    /// `file`, `block`, `dir`, `network`, …
    pub kind: String,
    /// `qcow2`, `raw`, `iso`, …
    pub format: String,
    /// How large it is for whoever uses it, in bytes.
    pub capacity_bytes: u64,
    /// How much of that is taken on the pool, in bytes.
    pub allocation_bytes: u64,
    /// What it is based on: the path of another volume, or empty.
    pub backing: String,
    /// The machines and volumes that need it.
    pub used_by: Vec<User>,
}

/// What uses a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// The machine; none of a volume that is based on it.
    pub vm_id: Option<Uuid>,
    /// The name of the machine or the volume.
    pub name: String,
    /// Whether the machine runs.
    pub active: bool,
    /// Whether the machine does not answer, so that this is what it used when it last did.
    #[serde(skip_serializing_if = "is_false")]
    pub unresponsive: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Names of users in a sentence.
pub fn names(users: &[User]) -> String {
    let shown: Vec<&str> = users.iter().take(3).map(|user| user.name.as_str()).collect();
    match users.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A new pool as somebody wishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PoolSpec {
    /// Its name.
    pub name: String,
    /// Its type; one of `PoolSpec::KINDS`.
    pub kind: String,
    /// Where its volumes shall appear on the host.
    pub path: String,
    /// The server of a `netfs` or `iscsi` pool.
    pub host: String,
    /// The exported folder of a `netfs` pool.
    pub folder: String,
    /// The block device of an `fs`, `disk` or `logical` pool, or the target of an `iscsi` one.
    pub device: String,
    /// The volume group of a `logical` pool.
    pub group: String,
}

impl PoolSpec {
    /// The types that can be described this way, with words for each.
    pub const KINDS: [(&str, &str); 6] = [
        ("dir", "Folder"),
        ("fs", "File system on a device"),
        ("netfs", "Network file system"),
        ("logical", "LVM volume group"),
        ("disk", "Disk with partitions"),
        ("iscsi", "iSCSI target"),
    ];

    /// Which fields a type needs: path, host, folder, device, group.
    pub fn needs(kind: &str) -> [bool; 5] {
        match kind {
            "dir" => [true, false, false, false, false],
            "fs" => [true, false, false, true, false],
            "netfs" => [true, true, true, false, false],
            "logical" => [false, false, false, false, true],
            "disk" => [false, false, false, true, false],
            "iscsi" => [false, true, false, true, false],
            _ => [false; 5],
        }
    }

    /// Whether it could ever be right.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self) -> Result<(), Fault> {
        check_object_name(&self.name)?;
        if !Self::KINDS.iter().any(|(kind, _)| *kind == self.kind) {
            return Err(Fault::invalid("kind", "there is no such type of pool"));
        }
        let needs = Self::needs(&self.kind);
        let [path, host, folder, device, group] = needs;
        let given = [&self.path, &self.host, &self.folder, &self.device, &self.group];
        let names = ["path", "host", "folder", "device", "group"];
        if let Some((_, name)) =
            needs.iter().zip(given).zip(names).find(|((needed, given), _)| !**needed && !given.is_empty())
        {
            return Err(Fault::invalid(name, "a pool of this type has none"));
        }
        let absolute = |field: &str, text: &str| match plain_path(text) {
            true => Ok(()),
            false => Err(Fault::invalid(field, "it is an absolute path, such as /var/lib/images, without .. in it")),
        };
        if path {
            absolute("path", &self.path)?;
            if is_of_the_system(Path::new(&self.path)) {
                return Err(Fault::invalid("path", "this folder belongs to the system; choose one of its own"));
            }
        }
        if host && !is_server(&self.host) {
            return Err(Fault::invalid("host", "it is the name or the address of a server"));
        }
        if folder {
            absolute("folder", &self.folder)?;
        }
        match self.kind.as_str() {
            "iscsi" if !self.device.starts_with("iqn.") || !is_word(&self.device) => {
                return Err(Fault::invalid(
                    "device",
                    "it is the name of a target, such as iqn.2026-01.org.example:disks",
                ));
            }
            "iscsi" => {}
            _ if device && (!plain_path(&self.device) || !self.device.starts_with("/dev/")) => {
                return Err(Fault::invalid("device", "it is a block device, such as /dev/sdb1"));
            }
            _ => {}
        }
        if group && (self.group.is_empty() || !is_word(&self.group) || self.group.starts_with('-')) {
            return Err(Fault::invalid("group", "it is the name of a volume group"));
        }
        Ok(())
    }
}

/// Folders of a host that are no place for images.
const SYSTEM: [&str; 12] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run"];

/// Whether a path is a folder of the system, or lies in one.
pub fn is_of_the_system(path: &Path) -> bool {
    path == Path::new("/") || SYSTEM.iter().any(|folder| path.starts_with(folder))
}

/// Largest volume: 1 EiB; what is beyond is a slip.
const MAX_VOLUME: u64 = 1 << 60;

/// A new volume as somebody wishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// How large it is, in bytes.
    pub capacity_bytes: u64,
    /// `qcow2` or `raw`.
    pub format: String,
    /// Whether all its room is taken at once.
    pub preallocate: bool,
    /// The path of a volume that it is based on, or empty; only `qcow2` can be.
    pub backing: String,
    /// The format of that.
    pub backing_format: String,
}

impl VolumeSpec {
    /// Formats of files.
    pub const FORMATS: [&str; 2] = ["qcow2", "raw"];

    /// Whether it is right for a pool.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self, pool: &Pool) -> Result<(), Fault> {
        check_volume_name(&self.name)?;
        check_capacity(self.capacity_bytes)?;
        if !Self::FORMATS.contains(&self.format.as_str()) {
            return Err(Fault::invalid("format", "it is qcow2 or raw"));
        }
        if !pool.keeps_files() && self.format != "raw" {
            return Err(Fault::invalid("format", "volumes of this pool are raw"));
        }
        if !self.backing.is_empty() {
            if self.format != "qcow2" {
                return Err(Fault::invalid("backing", "only a qcow2 volume can be based on another one"));
            }
            let name = Path::new(&self.backing).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !plain_path(&self.backing) || pool.path_of(name).as_deref() != Some(self.backing.as_str()) {
                return Err(Fault::invalid("backing", "it is the path of a volume of this pool"));
            }
            if !Self::FORMATS.contains(&self.backing_format.as_str()) {
                return Err(Fault::invalid("backingFormat", "it is qcow2 or raw, and never guessed"));
            }
            if self.preallocate {
                return Err(Fault::invalid(
                    "preallocate",
                    "a volume that is based on another one takes its room as it grows",
                ));
            }
        }
        let needed =
            if self.preallocate || self.format == "raw" && !pool.has_paths() { self.capacity_bytes } else { 0 };
        if needed > pool.available_bytes {
            return Err(Fault::invalid("capacityBytes", &format!("{} has not so much room left", pool.name)));
        }
        Ok(())
    }
}

/// Whether a size could be one of a volume.
///
/// # Errors
/// `Invalid`.
pub fn check_capacity(bytes: u64) -> Result<(), Fault> {
    match bytes {
        0 => Err(Fault::invalid("capacityBytes", "a volume has a size")),
        MAX_VOLUME.. => Err(Fault::invalid("capacityBytes", "nothing is so large")),
        _ => Ok(()),
    }
}

/// Whether a text may name a pool or a network.
///
/// # Errors
/// `Invalid`.
pub fn check_object_name(name: &str) -> Result<(), Fault> {
    let fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 50 || !name.chars().all(fine) || name.starts_with(['-', '.']) {
        return Err(Fault::invalid(
            "name",
            "it has up to 50 letters, digits, dots and dashes, and begins with a letter or a digit",
        ));
    }
    Ok(())
}

/// Whether a text may name a volume.
///
/// # Errors
/// `Invalid`.
pub fn check_volume_name(name: &str) -> Result<(), Fault> {
    let bad = |c: char| c == '/' || !is_plain(c);
    if name.trim().is_empty() || name.len() > 200 || name.chars().any(bad) || name.starts_with(['-', '.']) {
        return Err(Fault::invalid(
            "name",
            "a volume has a name of up to 200 bytes, without / and control characters, that begins with neither dot nor dash",
        ));
    }
    Ok(())
}

/// Whether a text may name a volume that is there already, which may be called anything that a
/// file system allows.
///
/// # Errors
/// `Invalid`.
pub fn check_known_volume(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) {
        return Err(Fault::invalid("name", "there can be no volume of that name"));
    }
    if is_escaped(name) {
        let fault = Fault::denied(format!("The name of {name} is not UTF-8, and libvirt cannot take it"));
        return Err(fault.with_next("Rename the file on its host, then refresh the pool"));
    }
    Ok(())
}

/// What stands before the two hexadecimal digits of a byte that is no UTF-8.
const ESCAPE: &str = "\\x";

/// A name with its bytes that are no UTF-8 as `\xe9`, so that two of them differ.
pub fn escaped(name: &[u8]) -> String {
    name.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text += &format!("{ESCAPE}{byte:02x}"));
        text
    })
}

/// Whether a name reads like one that is no UTF-8. libvirt's protocol takes texts only, so nothing
/// can be asked about such a volume.
fn is_escaped(name: &str) -> bool {
    name.split(ESCAPE).skip(1).any(|rest| {
        // All bytes that are no UTF-8 are above those of ASCII.
        rest.get(..2).is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok_and(|byte| byte >= 0x80))
    })
}

/// An absolute path without anything strange in it.
fn plain_path(text: &str) -> bool {
    let fine = |part: &str| !part.is_empty() && part != ".." && part != "." && part.chars().all(is_plain);
    let parts = text.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    text.len() <= 1_000 && text.trim() == text && parts.is_some_and(|parts| parts.split('/').all(fine))
}

fn is_word(text: &str) -> bool {
    text.len() <= 200 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:+".contains(c))
}

/// A name or an address of another machine.
fn is_server(text: &str) -> bool {
    let name = |text: &str| {
        let label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            !label.is_empty() && label.len() <= 63 && label.chars().all(plain) && !label.starts_with('-')
        };
        text.len() <= 253 && text.split('.').all(label)
    };
    text.parse::<IpAddr>().is_ok() || name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        let (name, kind, path) = ("images".into(), "dir".into(), "/var/lib/images".into());
        Pool { name, kind, path, capacity_bytes: 1_000, available_bytes: 250, ..Pool::default() }
    }

    #[test]
    fn a_pool_says_how_full_it_is_and_where_its_volumes_lie() {
        assert_eq!(pool().percent(), Some(75));
        assert_eq!(Pool::default().percent(), None);
        assert_eq!(pool().path_of("a.qcow2").as_deref(), Some("/var/lib/images/a.qcow2"));
        assert_eq!(Pool { kind: "rbd".into(), ..pool() }.path_of("a"), None);
    }

    #[test]
    fn a_new_pool_needs_what_its_type_needs_and_nothing_strange() {
        let wish = |kind: &str| PoolSpec { name: "backup".into(), kind: kind.into(), ..PoolSpec::default() };
        let field = |spec: PoolSpec| {
            spec.check().map_err(|fault| fault.reason.split(':').next().unwrap_or_default().to_owned())
        };
        assert_eq!(field(PoolSpec { path: "/srv/vm".into(), ..wish("dir") }), Ok(()));
        for path in ["", "srv", "/srv/../etc", "/", "/etc", "//etc", "/etc ", "/etc/cron.d", "/srv//x", "/srv\n/x"] {
            assert_eq!(field(PoolSpec { path: path.into(), ..wish("dir") }), Err("path".into()), "{path:?}");
        }
        for folder in SYSTEM {
            let path = format!("{folder}/images");
            assert_eq!(field(PoolSpec { path, ..wish("dir") }), Err("path".into()), "below {folder}");
        }
        let nfs = PoolSpec { path: "/mnt/a".into(), host: "nas.lan".into(), folder: "/vm".into(), ..wish("netfs") };
        assert_eq!(field(nfs.clone()), Ok(()));
        assert_eq!(field(PoolSpec { host: "-oProxyCommand=x".into(), ..nfs.clone() }), Err("host".into()));
        assert_eq!(field(PoolSpec { folder: String::new(), ..nfs }), Err("folder".into()));
        assert_eq!(field(PoolSpec { group: "vg0".into(), ..wish("logical") }), Ok(()));
        assert_eq!(field(PoolSpec { group: "-f".into(), ..wish("logical") }), Err("group".into()));
        assert_eq!(field(PoolSpec { device: "/etc/passwd".into(), ..wish("disk") }), Err("device".into()));
        assert_eq!(field(wish("floppy")), Err("kind".into()));
        assert_eq!(field(PoolSpec { name: "<b>".into(), path: "/srv/vm".into(), ..wish("dir") }), Err("name".into()));
    }

    #[test]
    fn a_new_volume_fits_its_pool() {
        let wish =
            VolumeSpec { name: "a.qcow2".into(), capacity_bytes: 500, format: "qcow2".into(), ..VolumeSpec::default() };
        assert_eq!(wish.check(&pool()), Ok(()), "it grows as it is used");
        assert!(VolumeSpec { preallocate: true, ..wish.clone() }.check(&pool()).is_err(), "more than is left");
        assert!(VolumeSpec { capacity_bytes: 0, ..wish.clone() }.check(&pool()).is_err());
        assert!(VolumeSpec { name: "../x".into(), ..wish.clone() }.check(&pool()).is_err());
        assert!(VolumeSpec { format: "vmdk".into(), ..wish.clone() }.check(&pool()).is_err());
        let based = VolumeSpec { backing: "/var/lib/images/base".into(), backing_format: "raw".into(), ..wish };
        assert_eq!(based.check(&pool()), Ok(()));
        assert!(
            VolumeSpec { backing: "/etc/shadow".into(), ..based.clone() }.check(&pool()).is_err(),
            "no volume of it"
        );
        assert!(VolumeSpec { backing_format: String::new(), ..based.clone() }.check(&pool()).is_err(), "never guessed");
        assert!(VolumeSpec { format: "raw".into(), ..based }.check(&pool()).is_err());
    }
}
