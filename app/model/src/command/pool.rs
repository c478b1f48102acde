//! What can be asked of a storage pool and of the volumes in it.

use serde::{Deserialize, Serialize};

use super::Address;
use crate::{
    DomainState, Fault, HostInventory,
    storage::{
        Pool, PoolSpec, PoolState, User, VolumeSpec, check_capacity, check_volume_name, names, users, users_of_pool,
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
            Self::DeletePool { .. } | Self::DeleteVolume { .. } => "is deleted",
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
            Self::StopPool {} => {
                let running: Vec<_> = users_of_pool(host, pool).into_iter().filter(|user| user.active).collect();
                match running.is_empty() {
                    true => Ok(()),
                    false => denied(format!("is in use: {} run from it", names(&running))),
                }
            }
            Self::BuildPool {} if active => denied("is started; stop it before it is built".into()),
            Self::SetPoolAutostart { .. } if !pool.persistent => {
                denied("is transient, so it cannot start with its host".into())
            }
            Self::DeletePool { .. } => {
                let users = users_of_pool(host, pool);
                match users.is_empty() {
                    true => Ok(()),
                    false => denied(format!("is in use: {} have disks in it", names(&users))),
                }
            }
            Self::StartPool {} | Self::RefreshPool {} | Self::BuildPool {} | Self::SetPoolAutostart { .. } => Ok(()),
            _ if !active => denied("is not started, so its volumes cannot be reached; start it first".into()),
            Self::ResizeVolume { .. }
            | Self::WipeVolume { .. }
            | Self::UploadVolume { .. }
            | Self::FetchVolume { .. }
                if test_driver =>
            {
                denied("is on libvirt's test driver, which cannot do this to volumes".into())
            }
            _ => self.check_volume(pool, host),
        }
    }

    /// What is asked of a volume.
    fn check_volume(&self, pool: &Pool, host: &HostInventory) -> Result<(), Fault> {
        let unused = |name: &str, what: &str| {
            let users = users(host, pool, name);
            match users.is_empty() {
                true => Ok(()),
                false => Err(Fault::denied(format!("{name} is in use by {}, so it cannot be {what}", names(&users)))
                    .with_next("Take the disk away from the machine first")),
            }
        };
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
            Self::DeleteVolume { name } => check_volume_name(name).and_then(|()| unused(name, "deleted")),
            Self::WipeVolume { name } => check_volume_name(name).and_then(|()| unused(name, "wiped")),
            Self::ResizeVolume { name, capacity_bytes } => {
                check_volume_name(name)?;
                check_capacity(*capacity_bytes)?;
                // A machine that runs resizes its disk itself; one that stands still does not.
                let runs = |user: &User| {
                    let domain = user.vm_id.and_then(|id| host.domains.get(&id));
                    domain.is_some_and(|domain| domain.state == DomainState::Running)
                };
                let halted: Vec<_> =
                    users(host, pool, name).into_iter().filter(|user| user.active && !runs(user)).collect();
                match halted.is_empty() {
                    true => Ok(()),
                    false => Err(Fault::denied(format!("{name} is in use by {}, which stands still", names(&halted)))
                        .with_next("Resume the machine, or shut it down")),
                }
            }
            Self::CloneVolume { name, to } => {
                check_volume_name(name)?;
                check_volume_name(to)?;
                if name == to {
                    return Err(Fault::invalid("to", "the copy needs another name"));
                }
                let running: Vec<_> = users(host, pool, name).into_iter().filter(|user| user.active).collect();
                match running.is_empty() {
                    true => Ok(()),
                    false => Err(Fault::denied(format!(
                        "{name} is in use by {}, so a copy would not be whole",
                        names(&running)
                    ))
                    .with_next("Shut the machine down first")),
                }
            }
            _ => Ok(()),
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
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::{Command, Domain, FaultKind, domain::Disk};

    const ID: Uuid = Uuid::from_u128(1);

    /// A host with a pool in a state, and a machine with a disk in it.
    fn host(state: PoolState, machine: DomainState) -> HostInventory {
        let mut host = HostInventory::unread("atlas".parse().expect("a name"), "qemu:///system".into(), false, 0);
        host.host.connection.connected = true;
        let pool = Pool {
            id: ID,
            name: "images".into(),
            kind: "dir".into(),
            path: "/srv/images".into(),
            persistent: true,
            state,
            available_bytes: 1_000,
            ..Pool::default()
        };
        host.pools.insert(ID, Arc::new(pool));
        let disk = |source: &str| Disk { source: source.into(), ..Disk::default() };
        let disks = vec![disk("/srv/images/web.qcow2"), disk("images/data")];
        let domain =
            Domain { id: Uuid::from_u128(2), name: "web-01".into(), state: machine, disks, ..Domain::default() };
        host.domains.insert(domain.id, Arc::new(domain));
        host
    }

    fn check(command: PoolCommand, host: &HostInventory) -> Result<(), FaultKind> {
        Command::from(command).check(host, ID, None).map_err(|fault| fault.kind)
    }

    #[test]
    fn each_state_of_a_pool_allows_what_makes_sense() {
        let (started, stopped) =
            (host(PoolState::Running, DomainState::Stopped), host(PoolState::Inactive, DomainState::Stopped));
        let denied = Err(FaultKind::Denied);
        for (command, when_started, when_stopped) in [
            (PoolCommand::StartPool {}, denied, Ok(())),
            (PoolCommand::StopPool {}, Ok(()), denied),
            (PoolCommand::RefreshPool {}, Ok(()), denied),
            (PoolCommand::BuildPool {}, denied, Ok(())),
            (PoolCommand::SetPoolAutostart { enabled: true }, Ok(()), Ok(())),
            (PoolCommand::DeletePool { content: false }, denied, denied),
            (PoolCommand::DeleteVolume { name: "unused".into() }, Ok(()), denied),
            (PoolCommand::ResizeVolume { name: "web.qcow2".into(), capacity_bytes: 5 }, Ok(()), denied),
        ] {
            assert_eq!(check(command.clone(), &started), when_started, "{command:?}");
            assert_eq!(check(command.clone(), &stopped), when_stopped, "{command:?}");
        }
    }

    #[test]
    fn what_machines_use_is_not_taken_away_and_they_are_named() {
        let running = host(PoolState::Running, DomainState::Running);
        for command in [
            PoolCommand::StopPool {},
            PoolCommand::DeletePool { content: true },
            PoolCommand::DeleteVolume { name: "web.qcow2".into() },
            PoolCommand::WipeVolume { name: "data".into() },
            PoolCommand::CloneVolume { name: "web.qcow2".into(), to: "copy".into() },
        ] {
            let fault = Command::from(command).check(&running, ID, None).expect_err("in use");
            assert!(fault.kind == FaultKind::Denied && fault.reason.contains("web-01"), "{fault:?}");
        }
        let off = host(PoolState::Running, DomainState::Stopped);
        assert_eq!(check(PoolCommand::StopPool {}, &off), Ok(()));
        assert_eq!(check(PoolCommand::CloneVolume { name: "web.qcow2".into(), to: "copy".into() }, &off), Ok(()));
        assert_eq!(check(PoolCommand::DeleteVolume { name: "../x".into() }, &off), Err(FaultKind::Invalid));
        let resize = || PoolCommand::ResizeVolume { name: "web.qcow2".into(), capacity_bytes: 5 };
        assert_eq!(check(resize(), &running), Ok(()), "it does that itself");
        assert_eq!(check(resize(), &host(PoolState::Running, DomainState::Paused)), Err(FaultKind::Denied));
    }

    #[test]
    fn a_new_pool_has_a_name_and_a_uuid_of_its_own() {
        let host = host(PoolState::Running, DomainState::Stopped);
        let define = |name: &str, id| {
            let pool = PoolSpec { name: name.into(), kind: "dir".into(), path: "/srv/x".into(), ..PoolSpec::default() };
            let command = Command::from(PoolCommand::DefinePool { pool, build: true, autostart: true });
            command.check(&host, id, None).map_err(|fault| fault.kind)
        };
        assert_eq!(define("backup", Uuid::from_u128(9)), Ok(()));
        let mut poor = host.clone();
        poor.host.info = Some(crate::HostInfo { pool_types: vec!["logical".into()], ..crate::HostInfo::default() });
        let pool = PoolSpec { name: "b".into(), kind: "dir".into(), path: "/srv/x".into(), ..PoolSpec::default() };
        let command = Command::from(PoolCommand::DefinePool { pool, build: true, autostart: true });
        let fault = command.check(&poor, Uuid::from_u128(9), None).expect_err("no driver");
        assert!(fault.kind == FaultKind::Denied && fault.reason.contains("type dir"), "{fault:?}");
        assert_eq!(define("images", Uuid::from_u128(9)), Err(FaultKind::Conflict));
        assert_eq!(define("backup", ID), Err(FaultKind::Conflict));
        let gone = Command::from(PoolCommand::StartPool {}).check(&host, Uuid::from_u128(9), None);
        assert_eq!(gone.expect_err("gone").kind, FaultKind::NotFound);
    }

    #[test]
    fn a_file_is_fetched_from_an_address_that_can_be_one_and_tells_no_password() {
        let host = host(PoolState::Running, DomainState::Stopped);
        let fetch = |url: &str, sha256: &str| {
            check(
                PoolCommand::FetchVolume { name: "a.iso".into(), url: Address(url.into()), sha256: sha256.into() },
                &host,
            )
        };
        let digits = "0123456789abcdefABCDEF".repeat(3);
        for url in ["https://example.org/a.iso", "http://10.0.0.1:8080/a?b=c#d", "https://[2001:db8::1]/a"] {
            assert_eq!(fetch(url, ""), Ok(()), "{url}");
            assert_eq!(fetch(url, &digits[..64]), Ok(()), "{url}");
        }
        let long = format!("https://example.org/{}", "a".repeat(MAX_URL));
        for url in [
            "",
            "ftp://example.org/a",
            "https://",
            "https:///a",
            "file:///etc/passwd",
            "https://a b/c",
            "https://a/\n",
            "https://a/b?***",
            &long,
        ] {
            assert_eq!(fetch(url, ""), Err(FaultKind::Invalid), "{url}");
        }
        assert_eq!(fetch("https://jane:secret@example.org/a", ""), Err(FaultKind::Invalid));
        assert_eq!(fetch("https://example.org/a@b", ""), Ok(()), "only who logs in is a secret");
        for sha256 in ["abc", &digits[..63], &"g".repeat(64)] {
            assert_eq!(fetch("https://example.org/a", sha256), Err(FaultKind::Invalid), "{sha256}");
        }
        assert_eq!(PoolCommand::name_at("https://example.org/x/debian.iso?a=/b#c"), "debian.iso");
        assert_eq!(PoolCommand::name_at("https://example.org"), "");
    }

    #[test]
    fn a_kind_is_read_back_as_itself() {
        for kind in PoolCommand::KINDS {
            let json = format!(
                "{{\"kind\":\"{kind}\",\"enabled\":true,\"content\":true,\"name\":\"a\",\"to\":\"b\",\"capacityBytes\":1,\"url\":\"u\",\"sha256\":\"\",\
                 \"pool\":{{}},\"build\":true,\"autostart\":true,\"volume\":{{}}}}"
            );
            let mut value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            // What does not belong to it is taken away, one after the other.
            let command = loop {
                match serde_json::from_value::<PoolCommand>(value.clone()) {
                    Ok(command) => break command,
                    Err(error) => {
                        let text = error.to_string();
                        let field = text.split('`').nth(1).expect("it names the field").to_owned();
                        value.as_object_mut().expect("an object").remove(&field).expect("it was there");
                    }
                }
            };
            assert_eq!(command.kind(), kind);
        }
    }
}
