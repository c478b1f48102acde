//! What can be asked of a storage pool and of the volumes in it.

use serde::{Deserialize, Serialize};

use super::Address;
use crate::{
    Fault, HostInventory,
    storage::{
        Pool, PoolSpec, PoolState, User, VolumeSpec, check_capacity, check_known_volume, check_volume_name, names,
    },
};

/// What can be asked of a storage pool; volumes are named within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum PoolCommand {
    /// Make its volumes available (`virStoragePoolCreate`).
    StartPool {},
    /// Make them unavailable; nothing is lost (`virStoragePoolDestroy`).
    StopPool {},
    /// Look at what is in it (`virStoragePoolRefresh`).
    RefreshPool {},
    /// Prepare its storage: make the folder, the file system, the volume group
    /// (`virStoragePoolBuild`).
    BuildPool {},
    /// Start with the host, or not (`virStoragePoolSetAutostart`).
    SetPoolAutostart {
        /// Whether to.
        enabled: bool,
    },
    /// Make a new one with the target's UUID (`virStoragePoolDefineXML`), and start it.
    DefinePool {
        /// What it is.
        pool: PoolSpec,
        /// Whether its storage is prepared first.
        build: bool,
        /// Whether it starts with its host.
        autostart: bool,
    },
    /// Forget its definition (`virStoragePoolUndefine`).
    DeletePool {
        /// Whether what it holds is deleted first (`virStoragePoolDelete`).
        content: bool,
    },
    /// Make a volume (`virStorageVolCreateXML`).
    CreateVolume {
        /// What it is.
        volume: VolumeSpec,
    },
    /// Make a volume of that size and wait for its content, which is sent piece by piece
    /// (`virStorageVolUpload`); the volume goes again when that does not come.
    UploadVolume {
        /// Its name.
        name: String,
        /// The size of its content, in bytes.
        capacity_bytes: u64,
    },
    /// Make a volume of what lies at an address (`virStorageVolUpload`); the server fetches it.
    FetchVolume {
        /// Its name.
        name: String,
        /// Where it is, `http` or `https`. It is recorded without its query, and names no password.
        url: Address,
        /// The SHA-256 that it must have, in hexadecimal digits, or empty.
        #[serde(default)]
        sha256: String,
    },
    /// Delete a volume that nobody uses (`virStorageVolDelete`).
    DeleteVolume {
        /// Its name.
        name: String,
    },
    /// Give a volume another size (`virStorageVolResize`, or `virDomainBlockResize` when a
    /// running machine has it).
    ResizeVolume {
        /// Its name.
        name: String,
        /// The new size, in bytes.
        capacity_bytes: u64,
    },
    /// Copy a volume within its pool (`virStorageVolCreateXMLFrom`).
    CloneVolume {
        /// Its name.
        name: String,
        /// The name of the copy.
        to: String,
    },
    /// Overwrite all that is in a volume (`virStorageVolWipe`).
    WipeVolume {
        /// Its name.
        name: String,
    },
}

impl PoolCommand {
    /// The names of all kinds.
    pub const KINDS: [&str; 14] = [
        "startPool",
        "stopPool",
        "refreshPool",
        "buildPool",
        "setPoolAutostart",
        "definePool",
        "deletePool",
        "createVolume",
        "uploadVolume",
        "fetchVolume",
        "deleteVolume",
        "resizeVolume",
        "cloneVolume",
        "wipeVolume",
    ];

    /// The name in JSON and forms.
    pub fn kind(&self) -> &'static str {
        let [
            start,
            stop,
            refresh,
            build,
            autostart,
            define,
            delete,
            create,
            upload,
            fetch,
            delete_volume,
            resize,
            clone,
            wipe,
        ] = Self::KINDS;
        match self {
            Self::StartPool {} => start,
            Self::StopPool {} => stop,
            Self::RefreshPool {} => refresh,
            Self::BuildPool {} => build,
            Self::SetPoolAutostart { .. } => autostart,
            Self::DefinePool { .. } => define,
            Self::DeletePool { .. } => delete,
            Self::CreateVolume { .. } => create,
            Self::UploadVolume { .. } => upload,
            Self::FetchVolume { .. } => fetch,
            Self::DeleteVolume { .. } => delete_volume,
            Self::ResizeVolume { .. } => resize,
            Self::CloneVolume { .. } => clone,
            Self::WipeVolume { .. } => wipe,
        }
    }

    /// What it did, for "images …".
    pub fn done(&self) -> &'static str {
        match self {
            Self::StartPool {} => "is started",
            Self::StopPool {} => "is stopped",
            Self::RefreshPool {} => "was looked at again",
            Self::BuildPool {} => "is built",
            Self::SetPoolAutostart { enabled: true } => "starts with its host",
            Self::SetPoolAutostart { enabled: false } => "does not start with its host",
            Self::DefinePool { .. } | Self::CreateVolume { .. } => "is created",
            Self::DeletePool { content: true } => "is deleted with its volumes",
            Self::DeletePool { content: false } | Self::DeleteVolume { .. } => "is deleted",
            Self::UploadVolume { .. } => "is uploaded",
            Self::FetchVolume { .. } => "is fetched",
            Self::ResizeVolume { .. } => "has another size",
            Self::CloneVolume { .. } => "is cloned",
            Self::WipeVolume { .. } => "is wiped",
        }
    }

    /// What is lost by it; none when nothing is.
    pub fn loses(&self) -> Option<&'static str> {
        match self {
            Self::StopPool {} => {
                Some("Machines cannot start from its volumes until it is started again. Nothing in it is lost.")
            }
            Self::BuildPool {} => Some("What is on its device may be overwritten."),
            Self::DeletePool { content: false } => {
                Some("Belvedere and libvirt forget the pool. What it holds stays where it is.")
            }
            Self::DeletePool { content: true } => Some(
                "The pool is forgotten, and the storage below it is deleted for good: the folder, the volume group or the partition table.",
            ),
            Self::DeleteVolume { .. } => Some("All that is in the volume is lost for good."),
            Self::WipeVolume { .. } => {
                Some("All that is in the volume is overwritten and lost for good. The volume itself stays.")
            }
            _ => None,
        }
    }

    /// The name of what it is about; none when there is no such pool.
    pub(super) fn target_name(&self, pool: Option<&Pool>) -> Option<String> {
        match self {
            Self::DefinePool { pool, .. } => Some(pool.name.clone()),
            Self::CreateVolume { volume } => pool.map(|pool| format!("{}/{}", pool.name, volume.name)),
            Self::DeleteVolume { name }
            | Self::UploadVolume { name, .. }
            | Self::FetchVolume { name, .. }
            | Self::ResizeVolume { name, .. }
            | Self::CloneVolume { name, .. }
            | Self::WipeVolume { name } => pool.map(|pool| format!("{}/{name}", pool.name)),
            _ => pool.map(|pool| pool.name.clone()),
        }
    }

    /// The name that a file at an address has there; empty when that cannot be told.
    pub fn name_at(url: &str) -> &str {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        path.split_once("://").and_then(|(_, rest)| rest.rsplit_once('/')).map_or("", |(_, name)| name)
    }

    /// Whether it takes so long that it has a lane of its own.
    pub fn is_slow(&self) -> bool {
        !matches!(self, Self::SetPoolAutostart { .. })
    }

    /// Whether at most volumes come or go, and those that stay are as they were.
    pub fn lets_others_be(&self) -> bool {
        matches!(self, Self::CreateVolume { .. } | Self::CloneVolume { .. } | Self::DeleteVolume { .. })
    }

    /// Whether this is possible now.
    ///
    /// # Errors
    /// `missing` when the pool is not there, `Denied` with the reason, `Invalid` with the field.
    pub fn check(&self, pool: Option<&Pool>, host: &HostInventory, missing: impl Fn() -> Fault) -> Result<(), Fault> {
        if let Self::DefinePool { pool: spec, .. } = self {
            connected(host, &spec.name)?;
            spec.check()?;
            if host.host.info.as_ref().is_some_and(|info| !info.has_pools_of(&spec.kind)) {
                let reason = format!("{} has no driver for storage pools of type {}", host.host.id, spec.kind);
                let next = "Install libvirt's storage driver for it there, or choose another type";
                return Err(Fault::denied(reason).with_next(next));
            }
            let taken = host.pools.values().any(|known| known.name == spec.name) || pool.is_some();
            return if taken { Err(taken_name(&spec.name, "storage pool", host)) } else { Ok(()) };
        }
        let pool = pool.ok_or_else(missing)?;
        connected(host, &pool.name)?;
        let denied = |why: String| Err(Fault::denied(format!("{} {why}", pool.name)));
        let active = pool.state.is_active();
        let test_driver = host.host.info.as_ref().is_some_and(|info| info.is_test_driver());
        match self {
            Self::StartPool {} if active => denied("is started already".into()),
            Self::StopPool {} | Self::RefreshPool {} if !active => denied("is not started".into()),
            Self::StopPool {} => Ok(()),
            Self::BuildPool {} if active => denied("is started; stop it before it is built".into()),
            Self::SetPoolAutostart { .. } if !pool.persistent => {
                denied("is transient, so it cannot start with its host".into())
            }
            Self::DeletePool { content: true } if !active => {
                denied("is not started, so its volumes are not known; start it first".into())
            }
            Self::DeletePool { .. }
            | Self::StartPool {}
            | Self::RefreshPool {}
            | Self::BuildPool {}
            | Self::SetPoolAutostart { .. } => Ok(()),
            _ if !active => denied("is not started, so its volumes cannot be reached; start it first".into()),
            Self::ResizeVolume { .. }
            | Self::WipeVolume { .. }
            | Self::UploadVolume { .. }
            | Self::FetchVolume { .. }
                if test_driver =>
            {
                denied("is on libvirt's test driver, which cannot do this to volumes".into())
            }
            _ => self.check_volume(pool),
        }
    }

    /// What is asked of a volume.
    fn check_volume(&self, pool: &Pool) -> Result<(), Fault> {
        match self {
            Self::CreateVolume { volume } => volume.check(pool),
            Self::UploadVolume { name, capacity_bytes } => {
                check_volume_name(name)?;
                check_capacity(*capacity_bytes)?;
                if *capacity_bytes > pool.available_bytes {
                    return Err(Fault::denied(format!("{} has not so much room left", pool.name))
                        .with_next("Delete what is not needed any more, or choose another pool"));
                }
                Ok(())
            }
            Self::FetchVolume { name, url, sha256 } => {
                check_volume_name(name)?;
                check_url(url)?;
                check_sha256(sha256)
            }
            Self::DeleteVolume { name } | Self::WipeVolume { name } => check_known_volume(name),
            Self::ResizeVolume { name, capacity_bytes } => {
                check_known_volume(name)?;
                check_capacity(*capacity_bytes)
            }
            Self::CloneVolume { name, to } => {
                check_known_volume(name)?;
                check_volume_name(to)?;
                if name == to { Err(Fault::invalid("to", "the copy needs another name")) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// The volume that is there already and would be changed, copied or built upon; none of a
    /// command about the pool itself.
    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::DeleteVolume { name }
            | Self::ResizeVolume { name, .. }
            | Self::CloneVolume { name, .. }
            | Self::WipeVolume { name } => Some(name),
            Self::CreateVolume { volume } if !volume.backing.is_empty() => volume.backing.rsplit('/').next(),
            _ => None,
        }
    }

    /// Whether it depends on who uses the pool or the volume.
    pub fn depends_on_use(&self) -> bool {
        self.volume().is_some() || matches!(self, Self::StopPool {} | Self::DeletePool { .. })
    }

    /// Whether something is lost by it when a use is not known.
    pub fn loses_content(&self) -> bool {
        matches!(self, Self::DeletePool { content: true } | Self::DeleteVolume { .. } | Self::WipeVolume { .. })
    }

    /// Whether this is possible while those use the volume or the pool.
    ///
    /// # Errors
    /// `Denied`, with who does.
    pub fn check_use(&self, pool: &Pool, users: &[User]) -> Result<(), Fault> {
        let (machines, volumes): (Vec<_>, Vec<_>) = users.iter().cloned().partition(|user| user.vm_id.is_some());
        let active: Vec<_> = machines.iter().filter(|user| user.active).cloned().collect();
        let (hinder, why, next): (_, _, &str) = match self {
            Self::StopPool {} => (active, "so it cannot be stopped", "Shut them down first"),
            Self::DeletePool { content: false } => (machines, "so it cannot be deleted", "Take the disks away first"),
            Self::DeletePool { content: true } => {
                let all = machines.into_iter().chain(volumes).collect();
                (all, "so what it holds cannot be deleted", "Take the disks away, or delete those volumes, first")
            }
            Self::DeleteVolume { .. } | Self::WipeVolume { .. } if machines.is_empty() => {
                (volumes, "so it cannot be taken away", "Delete those first")
            }
            Self::DeleteVolume { .. } => {
                (machines, "so it cannot be deleted", "Take the disk away from the machine first")
            }
            Self::WipeVolume { .. } => (machines, "so it cannot be wiped", "Take the disk away from the machine first"),
            Self::ResizeVolume { .. } => {
                let silent = machines.into_iter().filter(|user| user.unresponsive);
                let all = volumes.into_iter().chain(silent).collect();
                (all, "so it cannot get another size", "Resize what is based on it instead")
            }
            // A block device that the host has mounted is in use, too, although no machine uses it.
            Self::CloneVolume { .. } => (
                users.iter().filter(|user| user.active).cloned().collect(),
                "so a copy would not be whole",
                "Shut the machine down first",
            ),
            Self::CreateVolume { .. } => (active, "so nothing can be based on it", "Shut the machine down first"),
            _ => return Ok(()),
        };
        match hinder.iter().find(|user| user.unresponsive) {
            _ if hinder.is_empty() => Ok(()),
            Some(silent) => {
                let what = self.volume().unwrap_or(&pool.name);
                let reason = format!("{} does not answer, and used {what} when it last did", silent.name);
                Err(Fault::denied(reason).with_next(format!("Force {} off, or wait until it answers", silent.name)))
            }
            None => {
                let what = self.volume().unwrap_or(&pool.name);
                Err(Fault::denied(format!("{what} is in use by {}, {why}", names(&hinder))).with_next(next))
            }
        }
    }

    /// Whether a pool shows that this was done.
    pub fn evidence(&self, pool: Option<&Pool>) -> Option<bool> {
        match (self, pool) {
            (Self::DeletePool { .. }, pool) => Some(pool.is_none()),
            (Self::DefinePool { .. }, pool) => Some(pool.is_some()),
            (Self::StartPool {}, Some(pool)) => Some(pool.state.is_active()),
            (Self::StopPool {}, Some(pool)) => Some(pool.state == PoolState::Inactive),
            (Self::SetPoolAutostart { enabled }, Some(pool)) => Some(pool.autostart == *enabled),
            _ => None,
        }
    }
}

/// Longest address in bytes.
const MAX_URL: usize = 2_048;

/// Whether something can be fetched from an address, as far as it can be said without asking.
fn check_url(address: &Address) -> Result<(), Fault> {
    let url = &address.0;
    let wrong = |why: &str| Err(Fault::invalid("url", why));
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return wrong("it begins with https:// or http://");
    };
    let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if place.is_empty() || url.len() > MAX_URL || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("it is no address of a file");
    }
    if place.contains('@') {
        return wrong("it names somebody or a password, which would be written down; use an address without");
    }
    if address.is_starred() {
        return wrong("what followed the question mark was not written down; name the whole address");
    }
    Ok(())
}

/// Whether a text can be a SHA-256, or is empty.
fn check_sha256(text: &str) -> Result<(), Fault> {
    if text.is_empty() || (text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit())) {
        return Ok(());
    }
    Err(Fault::invalid("sha256", "it has 64 hexadecimal digits"))
}

/// Nothing is known of what a host does that is away.
pub(super) fn connected(host: &HostInventory, name: &str) -> Result<(), Fault> {
    if host.host.connection.connected {
        return Ok(());
    }
    Err(Fault::denied(format!("{} is not connected, so what {name} does now is not known", host.host.id)))
}

/// The name of a new object belongs to another one.
pub(super) fn taken_name(name: &str, what: &str, host: &HostInventory) -> Fault {
    let reason = format!("{} has a {what} named {name} already", host.host.id);
    Fault::new(crate::FaultKind::Conflict, reason).with_next("Choose another name")
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
