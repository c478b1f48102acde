//! The volumes of pools as last read, until they change.
//!
//! It detects no changes itself; `pools_and_networks` reports additions, removals and changes.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use model::{Volume, natural};
use tokio::time::Instant;
use uuid::Uuid;

use super::RECONCILE;
use crate::{
    error::Error,
    link::{Lane, Session},
    storage,
};

/// The known volumes of all pools of one host.
#[derive(Default)]
pub(crate) struct Volumes(Mutex<ReadVolumes>);

#[derive(Default)]
struct ReadVolumes {
    /// The time and result of each pool's reading.
    read: HashMap<Uuid, (Instant, Arc<Vec<Volume>>)>,
    /// The result of each pool's last reading, however old.
    last: HashMap<Uuid, Arc<Vec<Volume>>>,
    /// Increases whenever data is dropped: an earlier reading may be outdated.
    forgotten: u64,
}

impl Volumes {
    /// The volumes of a pool.
    ///
    /// # Errors
    /// libvirt's error.
    pub(crate) async fn read(&self, session: &Arc<Session>, id: Uuid) -> Result<Arc<Vec<Volume>>, Error> {
        let (known, forgotten) = {
            let known = self.lock();
            (known.read.get(&id).cloned(), known.forgotten)
        };
        if let Some((_, volumes)) = known.filter(|(at, _)| at.elapsed() < RECONCILE) {
            return Ok(volumes);
        }
        let began = Instant::now();
        let volumes = Arc::new(session.call(Lane::Around, move |connect| storage::volumes(connect, id)).await?);
        self.lock().remember(id, (began, volumes.clone()), forgotten);
        Ok(volumes)
    }

    /// The result of a pool's last reading; none if it was never read.
    pub(crate) fn last_known(&self, id: Uuid) -> Option<Arc<Vec<Volume>>> {
        self.lock().last.get(&id).cloned()
    }

    /// Stores the volumes of a pool read elsewhere.
    pub(crate) fn keep_last(&self, id: Uuid, volumes: Arc<Vec<Volume>>) {
        self.lock().last.insert(id, volumes);
    }

    /// A pool was removed.
    pub(super) fn remove(&self, id: Uuid) {
        let mut known = self.lock();
        known.forget(id);
        known.last.remove(&id);
    }

    /// Drops the volumes of a pool.
    pub(super) fn forget(&self, id: Uuid) {
        self.lock().forget(id);
    }

    /// Some volumes of a pool were added or removed and the others are unchanged: thousands of
    /// volumes are not read again for one.
    pub(super) async fn mend(&self, session: &Arc<Session>, id: Uuid, came: &[String], went: &[String]) {
        let (known, forgotten) = {
            let mut known = self.lock();
            let had = known.forget(id);
            (had.filter(|(at, _)| at.elapsed() < RECONCILE), known.forgotten)
        };
        let Some((at, volumes)) = known else { return };
        let names = came.to_vec();
        let read = session.call(Lane::Around, move |connect| storage::named_volumes(connect, id, &names)).await;
        // Volumes that failed to read are read by the next request.
        let Ok(fresh) = read else { return };
        let stays = |volume: &&Volume| !came.contains(&volume.name) && !went.contains(&volume.name);
        let mut volumes: Vec<Volume> = volumes.iter().filter(stays).cloned().collect();
        volumes.extend(fresh);
        volumes.sort_by(|a, b| natural(&a.name, &b.name));
        self.lock().remember(id, (at, Arc::new(volumes)), forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, ReadVolumes> {
        self.0.lock()
    }
}

impl ReadVolumes {
    fn forget(&mut self, id: Uuid) -> Option<(Instant, Arc<Vec<Volume>>)> {
        self.forgotten += 1;
        self.read.remove(&id)
    }

    /// Stores a reading, unless data was dropped since it started.
    fn remember(&mut self, id: Uuid, read: (Instant, Arc<Vec<Volume>>), forgotten: u64) {
        self.last.insert(id, read.1.clone());
        if self.forgotten == forgotten {
            self.read.insert(id, read);
        }
    }
}
