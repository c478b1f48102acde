//! CPU, memory and disks of machines without local processes, as on a remote host: only QEMU has
//! them. It is queried in parallel to the sweeps, so that a hung one does not delay them: libvirt
//! skips a machine that another query waits for. Details of watched machines are part of the same
//! query, because two of our queries would skip each other's machines.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use model::stats::{Counters, Meter};
use tokio::{sync::Semaphore, task::JoinSet};
use uuid::Uuid;

use super::{
    KEPT, LastDetails, PART,
    readings::{self, Detail, FromQemu},
};
use crate::{
    error::Error,
    link::{Lane, Session},
};

/// Maximum pending queries: with as many hung machines no disk statistics are reported.
const QUESTIONS: usize = 2;

/// The last response for one machine.
#[derive(Clone, Debug)]
pub(super) struct Told {
    at: Instant,
    /// Busy CPUs.
    pub(super) cpus: Option<f64>,
    /// Bytes per second read and written.
    pub(super) disk: (Option<u64>, Option<u64>),
    pub(super) resident_mb: Option<u64>,
    pub(super) given_mb: Option<u64>,
    /// Details of a watched machine.
    pub(super) known: Option<LastDetails>,
}

/// A response: number of its query, time of the query, duration, and data.
type Answer = (u64, Instant, Duration, Result<HashMap<Uuid, FromQemu>, Error>);

/// Known data and pending queries.
pub(super) struct Far {
    told: HashMap<Uuid, Told>,
    meters: HashMap<Uuid, Meter>,
    asking: JoinSet<Answer>,
    places: Arc<Semaphore>,
    /// Number of queries, and the last one answered.
    asked: u64,
    answered: u64,
    /// Earliest time of the next query, to limit the load on QEMU.
    next: Instant,
    origin: Instant,
}

impl Far {
    pub(super) fn new() -> Self {
        let origin = Instant::now();
        Self {
            told: HashMap::new(),
            meters: HashMap::new(),
            asking: JoinSet::new(),
            places: Arc::new(Semaphore::new(QUESTIONS)),
            asked: 0,
            answered: 0,
            next: origin,
            origin,
        }
    }

    /// Starts another query with details of watched machines, unless too many are pending. A slot
    /// is occupied until libvirt returns, even if no one waits for it.
    pub(super) fn ask(&mut self, session: &Arc<Session>, watched: HashSet<Uuid>) {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        if Instant::now() < self.next {
            return;
        }
        self.asked += 1;
        let (number, session) = (self.asked, session.clone());
        self.asking.spawn(async move {
            let began = Instant::now();
            let told = session.call(Lane::Stats, move |connect| {
                let _place = place;
                readings::of_qemu(connect, &watched)
            });
            let told = told.await;
            (number, began, began.elapsed(), told)
        });
    }

    /// Collects responses. A response to an earlier query than the last answered one is outdated.
    pub(super) fn take(&mut self) {
        while let Some(answer) = self.asking.try_join_next() {
            let Ok((number, began, took, Ok(machines))) = answer else { continue };
            if number < self.answered {
                continue;
            }
            self.answered = number;
            self.next = began + took * PART;
            let at = began.duration_since(self.origin).as_nanos() as u64;
            for (id, FromQemu { cpu_ns, disk, resident_mb, given_mb, detail }) in machines {
                let is_watched = detail.is_some();
                let Detail { disks, guest_used_mb } = detail.unwrap_or_default();
                let counters = Counters { cpu_ns, disk, disks, ..Counters::default() };
                let rates = self.meters.entry(id).or_default().read(at, counters).unwrap_or_default();
                let (cpus, disk) = (rates.cpus, rates.disk);
                let known = is_watched.then_some(LastDetails { at: began, disks: rates.disks, guest_used_mb });
                self.told.insert(id, Told { at: began, cpus, disk, resident_mb, given_mb, known });
            }
        }
    }

    /// Drops machines that no longer run.
    pub(super) fn keep(&mut self, runs: impl Fn(&Uuid) -> bool) {
        self.told.retain(|id, _| runs(id));
        self.meters.retain(|id, _| runs(id));
    }

    /// The recent data of a machine.
    pub(super) fn of(&self, id: &Uuid) -> Option<&Told> {
        self.told.get(id).filter(|told| told.at.elapsed() < KEPT)
    }

    /// Whether a machine that reported data before has not done so for a while.
    pub(super) fn is_silent(&self, id: &Uuid) -> bool {
        self.told.get(id).is_some_and(|told| told.at.elapsed() >= KEPT)
    }
}
