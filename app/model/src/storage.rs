//! Storage pools, their volumes as reported by libvirt, and the users of a volume.
//!
//! Volumes are many and change without libvirt events, so they are not part of the inventory: they
//! are read on demand, and `volume-changed` says when to read again.

use std::{net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Fault, choice::choice, text::is_plain};

/// The state of a pool (`virStoragePoolState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum PoolState {
    /// Not active.
    #[default]
    Inactive,
    /// Being built.
    Building,
    /// Active.
    Running,
    /// Active with reduced redundancy.
    Degraded,
    /// Active, but its storage is not accessible.
    Inaccessible,
}

impl PoolState {
    /// The label on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Inactive => "Stopped",
            Self::Building => "Building",
            Self::Running => "Running",
            Self::Degraded => "Degraded",
            Self::Inaccessible => "Inaccessible",
        }
    }

    /// Whether it is active.
    pub fn is_active(self) -> bool {
        self != Self::Inactive
    }
}

/// A storage pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Pool {
    /// libvirt's UUID.
    pub id: Uuid,
    /// Its name, unique on its host.
    pub name: String,
    /// Its type: `dir`, `fs`, `netfs`, `logical`, `disk`, `iscsi`, `rbd`, `zfs`, …
    pub kind: String,
    /// Its state.
    pub state: PoolState,
    /// Whether its definition is persistent.
    pub persistent: bool,
    /// Whether autostart is on.
    pub autostart: bool,
    /// Capacity in bytes; 0 while inactive.
    pub capacity_bytes: u64,
    /// Allocation in bytes.
    pub allocation_bytes: u64,
    /// Available space in bytes.
    pub available_bytes: u64,
    /// Its target path on the host.
    pub path: String,
    /// A description of its source: a device, `server:/export`, a volume group.
    pub source: String,
    /// Increases with every change.
    pub version: u64,
}

impl Pool {
    /// Whether its volumes have paths on the host.
    pub fn has_paths(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "fs" | "netfs" | "logical" | "disk" | "zfs" | "vstorage")
    }

    /// Whether its volumes are files, which have a format.
    pub fn keeps_files(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "fs" | "netfs" | "vstorage" | "gluster")
    }

    /// The path of a volume; none if volumes have no paths.
    pub fn path_of(&self, volume: &str) -> Option<String> {
        let below = Path::new(&self.path).join(volume);
        (self.has_paths() && !self.path.is_empty()).then(|| below.to_string_lossy().into_owned())
    }

    /// Used percent.
    pub fn percent(&self) -> Option<u8> {
        let taken = u128::from(self.capacity_bytes.saturating_sub(self.available_bytes)) * 100;
        (self.capacity_bytes > 0).then(|| (taken / u128::from(self.capacity_bytes)).min(100) as u8)
    }
}

/// A volume of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Its name, unique in its pool.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// `file`, `block`, `dir`, `network`, …
    pub kind: String,
    /// `qcow2`, `raw`, `iso`, …
    pub format: String,
    /// Its capacity in bytes.
    pub capacity_bytes: u64,
    /// Its allocation in bytes.
    pub allocation_bytes: u64,
    /// The path of its backing image, or empty.
    pub backing: String,
    /// The machines and volumes that use it.
    pub used_by: Vec<VolumeUse>,
}

/// A user of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeUse {
    /// The machine; none for a volume that is based on it.
    pub vm_id: Option<Uuid>,
    /// The name of the machine or the volume.
    pub name: String,
    /// Whether the machine is running.
    pub active: bool,
    /// Whether the machine does not respond, so that this use is as last read.
    #[serde(skip_serializing_if = "is_false")]
    pub unresponsive: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Up to three names of users in a sentence.
pub fn names(users: &[VolumeUse]) -> String {
    let shown: Vec<&str> = users.iter().take(3).map(|user| user.name.as_str()).collect();
    match users.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

choice! {
    /// A type of pool that can be created.
    PoolKind {
        /// A directory.
        Dir = "dir": "Directory",
        /// A file system on a block device.
        Fs = "fs": "File system on a device",
        /// An NFS export.
        Netfs = "netfs": "NFS",
        /// A volume group.
        Logical = "logical": "LVM volume group",
        /// A disk with a partition table.
        Disk = "disk": "Disk with partitions",
        /// An iSCSI target.
        Iscsi = "iscsi": "iSCSI target",
    }
}

impl PoolKind {
    /// The fields that it requires: path, host, folder, device, group.
    pub const fn needs(self) -> [bool; 5] {
        match self {
            Self::Dir => [true, false, false, false, false],
            Self::Fs => [true, false, false, true, false],
            Self::Netfs => [true, true, true, false, false],
            Self::Logical => [false, false, false, false, true],
            Self::Disk => [false, false, false, true, false],
            Self::Iscsi => [false, true, false, true, false],
        }
    }
}

/// The specification of a new pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its type.
    pub kind: PoolKind,
    /// Its target path.
    #[serde(default)]
    pub path: String,
    /// The server of a `netfs` or `iscsi` pool.
    #[serde(default)]
    pub host: String,
    /// The export path of a `netfs` pool.
    #[serde(default)]
    pub folder: String,
    /// The block device of an `fs`, `disk` or `logical` pool, or the target of an `iscsi` pool.
    #[serde(default)]
    pub device: String,
    /// The volume group of a `logical` pool.
    #[serde(default)]
    pub group: String,
}

impl PoolSpec {
    /// Whether it is valid.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self) -> Result<(), Fault> {
        check_object_name(&self.name)?;
        let needs = self.kind.needs();
        let [path, host, folder, device, group] = needs;
        let given = [&self.path, &self.host, &self.folder, &self.device, &self.group];
        let names = ["path", "host", "folder", "device", "group"];
        if let Some((_, name)) =
            needs.iter().zip(given).zip(names).find(|((needed, given), _)| !**needed && !given.is_empty())
        {
            return Err(Fault::invalid(name, "does not apply to this pool type"));
        }
        let absolute = |field: &str, text: &str| match plain_path(text) {
            true => Ok(()),
            false => Err(Fault::invalid(field, "must be an absolute path without .., such as /var/lib/images")),
        };
        if path {
            absolute("path", &self.path)?;
            if is_of_the_system(Path::new(&self.path)) {
                return Err(Fault::invalid("path", "this is a system directory; choose a dedicated directory"));
            }
        }
        if host && !is_server(&self.host) {
            return Err(Fault::invalid("host", "must be a host name or an IP address"));
        }
        if folder {
            absolute("folder", &self.folder)?;
        }
        match self.kind {
            PoolKind::Iscsi if !self.device.starts_with("iqn.") || !is_word(&self.device) => {
                return Err(Fault::invalid(
                    "device",
                    "must be an iSCSI target name, such as iqn.2026-01.org.example:disks",
                ));
            }
            PoolKind::Iscsi => {}
            _ if device && (!plain_path(&self.device) || !self.device.starts_with("/dev/")) => {
                return Err(Fault::invalid("device", "must be a block device, such as /dev/sdb1"));
            }
            _ => {}
        }
        if group && (self.group.is_empty() || !is_word(&self.group) || self.group.starts_with('-')) {
            return Err(Fault::invalid("group", "must be the name of a volume group"));
        }
        Ok(())
    }
}

/// System directories, which cannot contain pools.
const SYSTEM: [&str; 12] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run"];

/// Whether a path is a system directory or inside of one.
pub fn is_of_the_system(path: &Path) -> bool {
    path == Path::new("/") || SYSTEM.iter().any(|folder| path.starts_with(folder))
}

/// Maximum size of a volume: 1 EiB.
const MAX_VOLUME: u64 = 1 << 60;

/// The specification of a new volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// Its capacity in bytes.
    pub capacity_bytes: u64,
    /// `qcow2` or `raw`.
    pub format: String,
    /// Whether it is preallocated.
    pub preallocate: bool,
    /// The path of its backing volume, or empty; only for `qcow2`.
    pub backing: String,
    /// The format of the backing volume.
    pub backing_format: String,
}

impl VolumeSpec {
    /// Formats of file volumes.
    pub const FORMATS: [&str; 2] = ["qcow2", "raw"];

    /// Whether it is valid for a pool.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self, pool: &Pool) -> Result<(), Fault> {
        check_volume_name(&self.name)?;
        check_capacity(self.capacity_bytes)?;
        if !Self::FORMATS.contains(&self.format.as_str()) {
            return Err(Fault::invalid("format", "must be qcow2 or raw"));
        }
        if !pool.keeps_files() && self.format != "raw" {
            return Err(Fault::invalid("format", "this pool type supports only raw volumes"));
        }
        if !self.backing.is_empty() {
            if self.format != "qcow2" {
                return Err(Fault::invalid("backing", "only a qcow2 volume can have a backing volume"));
            }
            let name = Path::new(&self.backing).file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !plain_path(&self.backing) || pool.path_of(name).as_deref() != Some(self.backing.as_str()) {
                return Err(Fault::invalid("backing", "must be the path of a volume in this pool"));
            }
            if !Self::FORMATS.contains(&self.backing_format.as_str()) {
                return Err(Fault::invalid("backingFormat", "must be qcow2 or raw; it is not detected"));
            }
            if self.preallocate {
                return Err(Fault::invalid("preallocate", "a volume with a backing volume cannot be preallocated"));
            }
        }
        let needed =
            if self.preallocate || self.format == "raw" && !pool.has_paths() { self.capacity_bytes } else { 0 };
        if needed > pool.available_bytes {
            return Err(Fault::invalid(
                "capacityBytes",
                &format!("{} does not have enough available space", pool.name),
            ));
        }
        Ok(())
    }
}

/// Whether a capacity is valid.
///
/// # Errors
/// `Invalid`.
pub fn check_capacity(bytes: u64) -> Result<(), Fault> {
    match bytes {
        0 => Err(Fault::invalid("capacityBytes", "must be greater than 0")),
        MAX_VOLUME.. => Err(Fault::invalid("capacityBytes", "exceeds the maximum")),
        _ => Ok(()),
    }
}

/// Whether a text is a valid name for a pool or network.
///
/// # Errors
/// `Invalid`.
pub fn check_object_name(name: &str) -> Result<(), Fault> {
    let fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 50 || !name.chars().all(fine) || name.starts_with(['-', '.']) {
        return Err(Fault::invalid(
            "name",
            "must be at most 50 letters, digits, dots, dashes and underscores, starting with a letter, a digit or an underscore",
        ));
    }
    Ok(())
}

/// Whether a text is a valid name for a new volume.
///
/// # Errors
/// `Invalid`.
pub fn check_volume_name(name: &str) -> Result<(), Fault> {
    let bad = |c: char| c == '/' || !is_plain(c);
    if name.trim().is_empty() || name.len() > 200 || name.chars().any(bad) || name.starts_with(['-', '.']) {
        return Err(Fault::invalid(
            "name",
            "must be 1 to 200 bytes without / and control characters, and not start with a dot or dash",
        ));
    }
    Ok(())
}

/// Whether a text can be the name of an existing volume, which may be any file name.
///
/// # Errors
/// `Invalid`.
pub fn check_known_volume(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) {
        return Err(Fault::invalid("name", "not a valid volume name"));
    }
    if is_escaped(name) {
        let fault = Fault::denied(format!("The name of {name} is not valid UTF-8, which libvirt does not support"));
        return Err(fault.with_next("Rename the file on its host, then refresh the pool"));
    }
    Ok(())
}

/// The prefix of the two hexadecimal digits of a byte that is not UTF-8.
const ESCAPE: &str = "\\x";

/// A name with its non-UTF-8 bytes as `\xe9`, so that different names stay different.
pub fn escaped(name: &[u8]) -> String {
    name.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text += &format!("{ESCAPE}{byte:02x}"));
        text
    })
}

/// Whether a name has escaped bytes. libvirt's protocol supports only UTF-8, so such a volume
/// cannot be queried.
fn is_escaped(name: &str) -> bool {
    name.split(ESCAPE).skip(1).any(|rest| {
        // All non-UTF-8 bytes are outside of ASCII.
        rest.get(..2).is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok_and(|byte| byte >= 0x80))
    })
}

/// Whether a text is an absolute path without special segments.
fn plain_path(text: &str) -> bool {
    let fine = |part: &str| !part.is_empty() && part != ".." && part != "." && part.chars().all(is_plain);
    let parts = text.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    text.len() <= 1_000 && text.trim() == text && parts.is_some_and(|parts| parts.split('/').all(fine))
}

fn is_word(text: &str) -> bool {
    text.len() <= 200 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:+".contains(c))
}

/// Whether a text is a host name or IP address.
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
        let wish = |kind: PoolKind| PoolSpec { name: "backup".into(), kind, ..PoolSpec::default() };
        let field = |spec: PoolSpec| {
            spec.check().map_err(|fault| fault.reason.split(':').next().unwrap_or_default().to_owned())
        };
        assert_eq!(field(PoolSpec { path: "/srv/vm".into(), ..wish(PoolKind::Dir) }), Ok(()));
        for path in ["", "srv", "/srv/../etc", "/", "/etc", "//etc", "/etc ", "/etc/cron.d", "/srv//x", "/srv\n/x"] {
            assert_eq!(field(PoolSpec { path: path.into(), ..wish(PoolKind::Dir) }), Err("path".into()), "{path:?}");
        }
        for folder in SYSTEM {
            let path = format!("{folder}/images");
            assert_eq!(field(PoolSpec { path, ..wish(PoolKind::Dir) }), Err("path".into()), "below {folder}");
        }
        let nfs =
            PoolSpec { path: "/mnt/a".into(), host: "nas.lan".into(), folder: "/vm".into(), ..wish(PoolKind::Netfs) };
        assert_eq!(field(nfs.clone()), Ok(()));
        assert_eq!(field(PoolSpec { host: "-oProxyCommand=x".into(), ..nfs.clone() }), Err("host".into()));
        assert_eq!(field(PoolSpec { folder: String::new(), ..nfs }), Err("folder".into()));
        assert_eq!(field(PoolSpec { group: "vg0".into(), ..wish(PoolKind::Logical) }), Ok(()));
        assert_eq!(field(PoolSpec { group: "-f".into(), ..wish(PoolKind::Logical) }), Err("group".into()));
        assert_eq!(field(PoolSpec { device: "/etc/passwd".into(), ..wish(PoolKind::Disk) }), Err("device".into()));
        let read = |text: &str| serde_json::from_str::<PoolSpec>(text).map_err(|error| error.to_string());
        assert!(read(r#"{"kind":"floppy"}"#).is_err_and(|why| why.contains("expected one of `dir`, `fs`")));
        assert!(read(r#"{"name":"a"}"#).is_err_and(|why| why.contains("missing field `kind`")));
        assert_eq!(
            field(PoolSpec { name: "<b>".into(), path: "/srv/vm".into(), ..wish(PoolKind::Dir) }),
            Err("name".into())
        );
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
