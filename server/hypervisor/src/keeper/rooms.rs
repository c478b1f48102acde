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
    /// Pools of which it was seen that the file system here is the one that libvirt means. Its size
    /// may change afterwards, as that of a dataset does.
    same: HashMap<Uuid, PathBuf>,
}

impl Rooms {
    /// Gives a pool the room that its file system has now (statvfs(3)), if it says so. `had` is
    /// what was known: what others write moves it all the time, and a change that nobody would see
    /// is none.
    pub(super) async fn measure(&mut self, pool: &mut Pool, had: Option<&Pool>) {
        let folder = PathBuf::from(&pool.path);
        let has_folder = pool.state.is_active() && pool.keeps_files() && pool.has_paths() && folder.is_absolute();
        if !has_folder || self.hanging.get(&pool.id).is_some_and(|asked| !asked.is_finished()) {
            self.same.remove(&pool.id);
            return;
        }
        self.hanging.remove(&pool.id);
        let from = folder.clone();
        let mut asked = blocking(move || statvfs(from).ok());
        let told = match timeout(WITHIN, &mut asked).await {
            Ok(told) => told.ok().flatten(),
            Err(_) => {
                self.hanging.insert(pool.id, asked);
                None
            }
        };
        let Some(told) = told else { return };
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        // Libvirt may have mounts of its own; of another size it is not the same file system.
        if self.same.get(&pool.id) != Some(&folder) && bytes(told.f_blocks) != pool.capacity_bytes {
            return;
        }
        self.same.insert(pool.id, folder);
        pool.capacity_bytes = bytes(told.f_blocks);
        pool.available_bytes = bytes(told.f_bavail);
        pool.allocation_bytes = bytes(told.f_blocks.saturating_sub(told.f_bfree));
        if let Some(had) = had.filter(|had| look_the_same(had, pool)) {
            (pool.available_bytes, pool.allocation_bytes) = (had.available_bytes, had.allocation_bytes);
        }
    }
}

/// Whether two readings of a file system are as good as one: they differ by less than a thousandth
/// of its size.
fn look_the_same(a: &Pool, b: &Pool) -> bool {
    a.capacity_bytes == b.capacity_bytes
        && [(a.available_bytes, b.available_bytes), (a.allocation_bytes, b.allocation_bytes)]
            .into_iter()
            .all(|(x, y)| x.abs_diff(y) <= a.capacity_bytes / 1_000)
}

#[cfg(test)]
mod tests {
    use model::storage::PoolState;

    use super::*;

    #[tokio::test]
    async fn what_is_free_is_what_the_file_system_says_and_small_changes_are_none() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let told = statvfs(folder.path()).expect("it answers");
        let path = folder.path().to_string_lossy().into_owned();
        let capacity_bytes = told.f_blocks * told.f_frsize;
        let of_libvirt = || Pool {
            id: Uuid::from_u128(1),
            kind: "dir".into(),
            path: path.clone(),
            state: PoolState::Running,
            capacity_bytes,
            available_bytes: 7,
            ..Pool::default()
        };
        let (mut rooms, mut pool) = (Rooms::default(), of_libvirt());
        rooms.measure(&mut pool, None).await;
        assert!(pool.available_bytes.abs_diff(told.f_bavail * told.f_frsize) < capacity_bytes / 1_000, "{pool:?}");
        let known = Pool { available_bytes: pool.available_bytes + 1, ..pool.clone() };
        let mut again = of_libvirt();
        rooms.measure(&mut again, Some(&known)).await;
        assert_eq!(again.available_bytes, known.available_bytes, "nobody would see it");
        // One that libvirt sees with another size is another one.
        let mut other = Pool { id: Uuid::from_u128(2), capacity_bytes: capacity_bytes + 1, ..of_libvirt() };
        rooms.measure(&mut other, None).await;
        assert_eq!(other.available_bytes, 7);
        // What grows later is still the one it was.
        let mut grown = Pool { capacity_bytes: capacity_bytes + 1, ..of_libvirt() };
        rooms.measure(&mut grown, None).await;
        assert_eq!(grown.capacity_bytes, capacity_bytes);
    }
}
