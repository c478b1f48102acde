//! Available space of file pools. libvirt reports the value of the last refresh, including space
//! reserved for root; for a local directory the file system itself is queried, so the value equals
//! `df`.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use model::Pool;
use rustix::fs::{StatVfs, statvfs};
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

use crate::link::blocking;

/// Maximum response time of a file system. An unreachable one, such as NFS, never responds.
const WITHIN: Duration = Duration::from_millis(250);

/// Queries file systems, one query per pool at a time.
#[derive(Default)]
pub(super) struct Rooms {
    /// Queries without a response in time.
    hanging: HashMap<Uuid, JoinHandle<Option<StatVfs>>>,
    /// Pools whose local file system was verified to be the one libvirt uses. Its size may change
    /// later, as with a dataset.
    same: HashMap<Uuid, PathBuf>,
}

impl Rooms {
    /// Sets the current space usage of a pool from its file system (statvfs(3)), if available.
    /// `had` is the known state; insignificant changes are ignored.
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
        // libvirt may use other mounts; a different size means a different file system.
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

/// Whether two readings differ by less than a thousandth of the size.
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
        // A different size in libvirt means another file system.
        let mut other = Pool { id: Uuid::from_u128(2), capacity_bytes: capacity_bytes + 1, ..of_libvirt() };
        rooms.measure(&mut other, None).await;
        assert_eq!(other.available_bytes, 7);
        // A file system that grows later is still the same.
        let mut grown = Pool { capacity_bytes: capacity_bytes + 1, ..of_libvirt() };
        rooms.measure(&mut grown, None).await;
        assert_eq!(grown.capacity_bytes, capacity_bytes);
    }
}
