//! Processor, memory and disks of machines whose processes the kernel here does not tell of, as those
//! of a host elsewhere: only QEMU knows. It is asked beside the sweeps, so that one that hangs
//! delays none of them: libvirt passes over a machine that another question waits for. So details
//! of those that are watched come with the same question: two of ours would pass over each other.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use model::stats::{Counters, Meter};
use tokio::{sync::Semaphore, task::JoinSet};
use uuid::Uuid;

use super::{
    KEPT, Known, PART,
    readings::{self, Detail, FromQemu},
};
use crate::{
    error::Error,
    link::{Lane, Session},
};

/// Questions that may be under way at a time: so many machines may hang until nothing is
/// told of the disks of the others.
const QUESTIONS: usize = 2;

/// What was told of one machine.
#[derive(Clone, Debug)]
pub(super) struct Told {
    at: Instant,
    /// Processors that were busy.
    pub(super) cpus: Option<f64>,
    /// Bytes read and written a second.
    pub(super) disk: (Option<u64>, Option<u64>),
    pub(super) resident_mb: Option<u64>,
    pub(super) given_mb: Option<u64>,
    /// Of one that is watched.
    pub(super) known: Option<Known>,
}

/// An answer: the number of its question, when that was asked, how long it took, and what
/// was told.
type Answer = (u64, Instant, Duration, Result<HashMap<Uuid, FromQemu>, Error>);

/// What is known, and the questions under way.
pub(super) struct Far {
    told: HashMap<Uuid, Told>,
    meters: HashMap<Uuid, Meter>,
    asking: JoinSet<Answer>,
    places: Arc<Semaphore>,
    /// How many questions there were, and the last one that was answered.
    asked: u64,
    answered: u64,
    /// Not before then, so that QEMU is busy with this a part of its time only.
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

    /// Asks once more, with details of those that are watched, unless as many questions as may
    /// be wait for an answer. A place is taken until libvirt returns, also when nobody waits for
    /// that any more.
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

    /// Takes the answers that have come. One that waited while a later question was answered
    /// is older than what is known.
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
                let known = is_watched.then_some(Known { at: began, disks: rates.disks, guest_used_mb });
                self.told.insert(id, Told { at: began, cpus, disk, resident_mb, given_mb, known });
            }
        }
    }

    /// Forgets machines that do not run any more.
    pub(super) fn keep(&mut self, runs: impl Fn(&Uuid) -> bool) {
        self.told.retain(|id, _| runs(id));
        self.meters.retain(|id, _| runs(id));
    }

    /// What was told lately of a machine.
    pub(super) fn of(&self, id: &Uuid) -> Option<&Told> {
        self.told.get(id).filter(|told| told.at.elapsed() < KEPT)
    }

    /// Whether nothing has come of a machine for a while that told of itself before.
    pub(super) fn is_silent(&self, id: &Uuid) -> bool {
        self.told.get(id).is_some_and(|told| told.at.elapsed() >= KEPT)
    }
}
