//! The volumes of pools as they were read last, until something about them changes.
//!
//! It notices no change by itself; `keeper` says what came, went or may be another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{Volume, natural};
use tokio::time::Instant;
use uuid::Uuid;

use super::RECONCILE;
use crate::{
    error::Error,
    link::{Lane, Session},
    storage,
};

/// What is known of all pools of one host.
#[derive(Default)]
pub(crate) struct Volumes(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// When each pool was read, and what it had.
    read: HashMap<Uuid, (Instant, Arc<Vec<Volume>>)>,
    /// What each pool had when it was read last, however long ago.
    last: HashMap<Uuid, Arc<Vec<Volume>>>,
    /// Grows whenever something is forgotten: what was read before that may be old.
    forgotten: u64,
}

impl Volumes {
    /// The volumes of a pool.
    ///
    /// # Errors
    /// What libvirt refused.
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

    /// What a pool had when it was read last; none when it never was.
    pub(crate) fn last_known(&self, id: Uuid) -> Option<Arc<Vec<Volume>>> {
        self.lock().last.get(&id).cloned()
    }

    /// Keeps what a pool had when somebody else read it.
    pub(crate) fn keep_last(&self, id: Uuid, volumes: Arc<Vec<Volume>>) {
        self.lock().last.insert(id, volumes);
    }

    /// A pool does not exist any more.
    pub(super) fn remove(&self, id: Uuid) {
        let mut known = self.lock();
        known.forget(id);
        known.last.remove(&id);
    }

    /// Nothing is known of a pool any more.
    pub(super) fn forget(&self, id: Uuid) {
        self.lock().forget(id);
    }

    /// Some volumes of a pool came or went, and the others stayed as they were: thousands of them
    /// are not read again for one.
    pub(super) async fn mend(&self, session: &Arc<Session>, id: Uuid, came: &[String], went: &[String]) {
        let (known, forgotten) = {
            let mut known = self.lock();
            let had = known.forget(id);
            (had.filter(|(at, _)| at.elapsed() < RECONCILE), known.forgotten)
        };
        let Some((at, volumes)) = known else { return };
        let names = came.to_vec();
        let read = session.call(Lane::Around, move |connect| storage::named_volumes(connect, id, &names)).await;
        // What could not be read now is read with all the others by who asks next.
        let Ok(fresh) = read else { return };
        let stays = |volume: &&Volume| !came.contains(&volume.name) && !went.contains(&volume.name);
        let mut volumes: Vec<Volume> = volumes.iter().filter(stays).cloned().collect();
        volumes.extend(fresh);
        volumes.sort_by(|a, b| natural(&a.name, &b.name));
        self.lock().remember(id, (at, Arc::new(volumes)), forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, id: Uuid) -> Option<(Instant, Arc<Vec<Volume>>)> {
        self.forgotten += 1;
        self.read.remove(&id)
    }

    /// Keeps a reading, unless something was forgotten since it began.
    fn remember(&mut self, id: Uuid, read: (Instant, Arc<Vec<Volume>>), forgotten: u64) {
        self.last.insert(id, read.1.clone());
        if self.forgotten == forgotten {
            self.read.insert(id, read);
        }
    }
}
