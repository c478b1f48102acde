//! Commands for storage pools and their volumes. Each command is a separate file below.

mod build_pool;
mod clone_volume;
mod create_volume;
mod define_pool;
mod delete_pool;
mod delete_volume;
mod fetch_volume;
mod refresh_pool;
mod resize_volume;
mod set_pool_autostart;
mod start_pool;
mod stop_pool;
mod upload_volume;
mod wipe_volume;

use super::verb::{About, Field, Hindrance, Input, Lane, Object, Plain, Verb, commands, connected, unless, verb};
use crate::{
    Fault, Host, HostInventory, Permission, Pool,
    storage::{VolumeUse, names},
};

commands! {
    /// A command for a storage pool; volumes are named within it.
    PoolCommand on Pool {
        start_pool::StartPool,
        stop_pool::StopPool,
        refresh_pool::RefreshPool,
        build_pool::BuildPool,
        set_pool_autostart::SetPoolAutostart,
        define_pool::DefinePool,
        delete_pool::DeletePool,
        create_volume::CreateVolume,
        upload_volume::UploadVolume,
        fetch_volume::FetchVolume,
        delete_volume::DeleteVolume,
        resize_volume::ResizeVolume,
        clone_volume::CloneVolume,
        wipe_volume::WipeVolume,
    }
}

impl Object for Pool {
    type Around = HostInventory;

    fn name(&self) -> &str {
        &self.name
    }

    fn host(around: &HostInventory) -> &Host {
        &around.host
    }
}

impl PoolCommand {
    /// Whether this is possible with these users of the volume or pool.
    ///
    /// # Errors
    /// `Denied`, with the users.
    pub fn check_use(&self, pool: &Pool, users: &[VolumeUse]) -> Result<(), Fault> {
        let Some(Hindrance { users, so, next }) = self.hindrance(users).filter(|one| !one.users.is_empty()) else {
            return Ok(());
        };
        let what = self.volume().unwrap_or(&pool.name);
        match users.iter().find(|user| user.unresponsive) {
            Some(silent) => {
                let reason = format!("{} is not responding, and was using {what} when last read", silent.name);
                Err(Fault::denied(reason).with_next(format!("Force {} off, or wait until it responds", silent.name)))
            }
            None => {
                let fault = Fault::denied(format!("{what} is in use by {}, {so}", names(&users))).with_next(next);
                Err(fault.with_code("in-use", [("name", what), ("users", &names(&users))]))
            }
        }
    }
}

/// The machines among the users.
fn of_machines(users: &[VolumeUse]) -> impl Iterator<Item = &VolumeUse> {
    users.iter().filter(|user| user.vm_id.is_some())
}

/// The users that are not machines: volumes and the host.
fn of_volumes(users: &[VolumeUse]) -> impl Iterator<Item = &VolumeUse> {
    users.iter().filter(|user| user.vm_id.is_none())
}

/// Any use blocks commands that destroy content; machines are named first.
fn any_use(users: &[VolumeUse], so: &'static str) -> Hindrance {
    let machines: Vec<VolumeUse> = of_machines(users).cloned().collect();
    if machines.is_empty() {
        let (users, next) = (of_volumes(users).cloned().collect(), "Delete them first");
        return Hindrance { users, so: "so it cannot be changed", next };
    }
    Hindrance { users: machines, so, next: "Detach the disk from the machine first" }
}

/// A volume name with its pool.
fn to_volume(pool: Option<&Pool>, name: &str) -> Option<String> {
    pool.map(|pool| format!("{}/{name}", pool.name))
}

/// Whether the volumes of a pool are available.
///
/// # Errors
/// `Denied`.
fn active(pool: &Pool) -> Result<(), Fault> {
    let why = "is not active, so its volumes are unavailable; start it first";
    unless(pool, (!pool.state.is_active()).then_some(why))
}

/// Whether the volumes of a pool have content.
///
/// # Errors
/// `Denied`.
fn not_on_test_driver(pool: &Pool, host: &HostInventory) -> Result<(), Fault> {
    let test_driver = host.host.info.as_ref().is_some_and(|info| info.is_test_driver());
    unless(pool, test_driver.then_some("is on libvirt's test driver, which does not support this for volumes"))
}

/// The error for a name that is already in use.
pub(super) fn taken_name(name: &str, what: &str, host: &HostInventory) -> Fault {
    let reason = format!("{} already has a {what} named {name}", host.host.id);
    Fault::new(crate::FaultKind::Conflict, reason).with_next("Choose another name")
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
