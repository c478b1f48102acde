//! `virStoragePoolUndefine`, optionally with its volumes.

use model::{Fault, command::DeletePool};
use virt::{storage_pool::StoragePool, sys};

use super::OnPool;
use crate::{
    error::Error,
    run::Run,
    storage::{Look, images},
};

impl Run<OnPool<'_>> for DeletePool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        delete(&on.pool()?, self.content, on.look)
    }
}

/// Undefines a pool, optionally with its volumes.
fn delete(pool: &StoragePool, content: bool, look: &mut Look) -> Result<(), Error> {
    let active = pool.is_active()?;
    if content {
        delete_volumes(pool, active, look)?;
    }
    // A transient pool disappears when it is stopped.
    let persistent = pool.is_persistent()?;
    if active {
        pool.destroy()?;
    }
    if content && persistent {
        pool.delete(sys::VIR_STORAGE_POOL_DELETE_NORMAL)?;
    }
    if persistent {
        pool.undefine()?;
    }
    Ok(())
}

/// Deletes all volumes of a pool, or none if one cannot be deleted.
fn delete_volumes(pool: &StoragePool, active: bool, look: &mut Look) -> Result<(), Error> {
    let name = pool.name()?;
    let denied = |why: &str, next: &str| Err(Error::Said(Fault::denied(format!("{name} {why}")).with_next(next)));
    if !active {
        return denied("is not active, so its volumes are unknown", "Start it first");
    }
    let volumes = pool.list_all_volumes(0)?;
    if volumes.iter().any(|volume| volume.info().is_ok_and(|info| info.kind == sys::VIR_STORAGE_VOL_DIR)) {
        return denied("contains subdirectories, which are not deleted", "Delete them on the host first");
    }
    look.is_whole(&volumes)?;
    if let Some(entry) = look.beyond(&volumes)? {
        let why = format!("contains {entry}, which libvirt does not list and would not delete");
        return denied(&why, "Delete or move it on the host, then repeat this");
    }
    volumes.iter().try_for_each(|volume| images::delete(volume, look))
}
