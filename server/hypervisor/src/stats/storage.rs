//! How much room storage pools have.

use std::path::PathBuf;

use model::stats::Room;
use virt::{connect::Connect, sys};

use crate::{error::Error, xml::storage::target_folder};

/// A pool, and where to ask about it.
pub(super) struct Pool {
    /// As libvirt tells; for folders that is what it was when the pool was refreshed last.
    room: Room,
    /// The folder of a pool of files on this machine.
    folder: Option<PathBuf>,
}

/// The active pools; `local` says that their folders are on this machine.
pub(super) fn pools(connect: &Connect, local: bool) -> Result<Vec<Pool>, Error> {
    let mut pools = Vec::new();
    for pool in connect.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)? {
        // One that was stopped meanwhile is left out.
        let (Ok(name), Ok(info)) = (pool.name(), pool.info()) else { continue };
        // The test driver may tell of more room than there is.
        if info.available > info.capacity {
            continue;
        }
        let folder = local.then(|| pool.xml_desc(0).ok()).flatten().and_then(|text| target_folder(&text));
        let room = Room { pool: name, total_mb: info.capacity >> 20, free_mb: info.available >> 20 };
        pools.push(Pool { room, folder });
    }
    pools.sort_by(|a, b| a.room.pool.cmp(&b.room.pool));
    Ok(pools)
}

/// Asks the file systems of those that have one (statvfs(3)). It may hang.
pub(super) fn measure(pools: Vec<Pool>) -> Vec<Room> {
    let measured = pools.into_iter().map(|Pool { room, folder }| {
        let Some(told) = folder.and_then(|folder| rustix::fs::statvfs(folder).ok()) else { return room };
        let mib =
            |blocks: u64| u64::try_from((u128::from(blocks) * u128::from(told.f_frsize)) >> 20).unwrap_or(u64::MAX);
        Room { total_mb: mib(told.f_blocks), free_mb: mib(told.f_bavail), ..room }
    });
    measured.collect()
}
