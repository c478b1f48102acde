//! How much room pools of files have. Libvirt tells what it was at the last refresh, and counts
//! what a file system keeps for root; where the folder is on this machine, the file system is
//! asked itself, so that the number is the one of `df`.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use model::Pool;
use rustix::fs::{StatVfs, statvfs};
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

use crate::link::blocking;

/// How long a file system may take to answer. One that is away, as NFS may be, never does.
const WITHIN: Duration = Duration::from_millis(250);

/// Asks file systems, each one question at a time.
#[derive(Default)]
pub(super) struct Rooms {
    /// Questions that have not been answered in time.
    hanging: HashMap<Uuid, JoinHandle<Option<StatVfs>>>,
}

impl Rooms {
    /// Gives a pool the room that its file system has now (statvfs(3)), if it says so.
    pub(super) async fn measure(&mut self, pool: &mut Pool) {
        let has_folder = pool.state.is_active() && pool.keeps_files() && pool.has_paths() && !pool.path.is_empty();
        if !has_folder || self.hanging.get(&pool.id).is_some_and(|asked| !asked.is_finished()) {
            return;
        }
        self.hanging.remove(&pool.id);
        let folder = PathBuf::from(&pool.path);
        let mut asked = blocking(move || statvfs(folder).ok());
        match timeout(WITHIN, &mut asked).await {
            Ok(told) => told.ok().flatten().into_iter().for_each(|told| take(pool, &told)),
            Err(_) => drop(self.hanging.insert(pool.id, asked)),
        }
    }
}

/// Takes what a file system says: what is available is what anybody but root can still write. One
/// of another size is not the one that libvirt sees there, which may have mounts of its own.
fn take(pool: &mut Pool, told: &StatVfs) {
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    if bytes(told.f_blocks) != pool.capacity_bytes {
        return;
    }
    pool.available_bytes = bytes(told.f_bavail);
    pool.allocation_bytes = bytes(told.f_blocks.saturating_sub(told.f_bfree));
}
