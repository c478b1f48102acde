//! Collects statistics of running machines and their host, in two tiers.
//!
//! ```text
//!  every 2 s  all running machines: interfaces from libvirt's daemon in one call that
//!             does not query QEMU; CPU, memory and disks from /proc on a local host, from
//!             QEMU on a remote one, in parallel to the sweeps
//!  every 4 s  watched machines: each disk, and the guest's memory, from QEMU (on a remote
//!             host with every sweep)
//! ```
//!
//! A sweep uses at most a tenth of the time; slower sweeps are less frequent. A machine whose
//! process hangs is marked and does not delay others. The use of the results is decided elsewhere.

mod far;
mod process;
mod readings;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{
    Domain, HostId, HostStats, VmStats,
    host::is_local,
    stats::{Counters, Flow, MemorySource, Meter, Sweep},
};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use self::{
    far::Far,
    process::Processes,
    readings::{Detail, HostReading, Reading},
};
use crate::{
    HostConfig, Sink, domain,
    error::Error,
    link::{Lane, Session},
    watcher::{Shared, now},
};

/// Interval of sweeps over all running machines.
const EVERY: Duration = Duration::from_secs(2);
/// Every n-th sweep queries details.
const DETAILS_IN: u64 = 2;
/// The maximum fraction of the time used by sweeps, as a divisor.
const PART: u32 = 10;
/// Older details are not reported.
const KEPT: Duration = Duration::from_secs(10);
/// Maximum pause between two sweeps.
const LONGEST: Duration = Duration::from_secs(30);
/// Pause while disconnected.
const NO_LINK: Duration = Duration::from_millis(500);
/// Number of sweeps in which each running machine is pinged once.
const ALIVE_IN: usize = 5;
const MAX_ALIVE: usize = 20;

/// The last details of a machine.
#[derive(Clone, Debug)]
struct LastDetails {
    at: Instant,
    disks: Vec<Flow>,
    guest_used_mb: Option<u64>,
}

/// Measures one host.
pub(crate) struct Sampler {
    host: HostId,
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    /// The origin of monotonic times.
    origin: Instant,
    meters: HashMap<Uuid, Meter>,
    /// Machines measured through /proc; a change resets their counters.
    by_kernel: HashSet<Uuid>,
    /// The last details of watched machines; none for one that did not respond.
    details: HashMap<Uuid, Option<LastDetails>>,
    /// Pending detail queries.
    asking: JoinSet<(Uuid, Instant, Result<Option<Detail>, Error>)>,
    /// Disk counters of the last detail query.
    disks: HashMap<Uuid, Meter>,
    /// QEMU data of machines without local processes.
    far: Far,
    /// CPU time of the host at the last sweep: total, and idle.
    idle: Option<(u64, u64)>,
    /// The processes of a local host.
    processes: Option<Arc<Mutex<Processes>>>,
    /// Pending pings.
    pinging: JoinSet<()>,
    sweeps: u64,
    /// The machine pinged last.
    alive: Uuid,
}

impl Sampler {
    pub(crate) fn new(config: &HostConfig, shared: Arc<Shared>, sink: Arc<dyn Sink>) -> Self {
        Self {
            host: config.id.clone(),
            shared,
            sink,
            origin: Instant::now(),
            meters: HashMap::new(),
            by_kernel: HashSet::new(),
            details: HashMap::new(),
            asking: JoinSet::new(),
            disks: HashMap::new(),
            far: Far::new(),
            idle: None,
            processes: is_local(&config.uri).then(Arc::default),
            pinging: JoinSet::new(),
            sweeps: 0,
            alive: Uuid::nil(),
        }
    }

    /// Runs until the process ends.
    pub(crate) async fn run(mut self) {
        let mut last: Option<Arc<Session>> = None;
        loop {
            let session = self.shared.session();
            let same = session.as_ref().zip(last.as_ref()).is_some_and(|(now, last)| Arc::ptr_eq(now, last));
            if !same {
                // Counters from before a gap are not comparable.
                self.meters.clear();
                self.far = Far::new();
                self.idle = None;
                self.sweeps = 0;
                if last.is_some() {
                    self.sink.measured(&self.host, Sweep { host: None, machines: Vec::new() });
                }
            }
            last.clone_from(&session);
            let Some(session) = session else {
                sleep(NO_LINK).await;
                continue;
            };
            let began = Instant::now();
            let pause = match self.sweep(&session).await {
                Ok(sweep) => {
                    self.sink.measured(&self.host, sweep);
                    began.elapsed() * (PART - 1)
                }
                Err(error) => {
                    tracing::debug!(host = %self.host, ?error, "cannot read statistics");
                    EVERY
                }
            };
            drop(session);
            sleep(EVERY.saturating_sub(began.elapsed()).max(pause.min(LONGEST))).await;
        }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    async fn sweep(&mut self, session: &Arc<Session>) -> Result<Sweep, Error> {
        let running = self.shared.running();
        self.take_details();
        self.far.take();
        self.sweeps += 1;
        let machines = running.clone();
        let (test_driver, processes) = (session.host.is_test_driver(), self.processes.clone());
        let read = session
            .call(Lane::Stats, move |connect| readings::all(connect, &machines, processes.as_deref(), test_driver))
            .await?;
        self.meters.retain(|id, _| running.contains_key(id));
        self.by_kernel.retain(|id| running.contains_key(id));
        self.details.retain(|id, _| running.contains_key(id));
        self.far.keep(|id| running.contains_key(id));
        if !test_driver {
            let by_kernel = read.machines.values().any(|reading| reading.by_kernel);
            self.look_closer(session, &running, by_kernel);
            self.look_alive(session, &running);
        }
        let at = self.now();
        let machines = read.machines.into_iter().filter_map(|(id, reading)| {
            let domain = running.get(&id)?;
            self.machine(at, domain, reading)
        });
        let machines = machines.collect();
        Ok(Sweep { host: self.host_stats(read.host), machines })
    }

    /// Queries QEMU. If /proc provides the rest, only watched machines, each in parallel to the
    /// others and to sweeps, so that a hung one delays only itself.
    fn look_closer(&mut self, session: &Arc<Session>, running: &HashMap<Uuid, Arc<Domain>>, by_kernel: bool) {
        let watched = self.sink.watched(&self.host);
        self.details.retain(|id, _| by_kernel && watched.contains(id));
        self.disks.retain(|id, _| by_kernel && watched.contains(id));
        if !by_kernel {
            self.far.ask(session, watched.into_iter().collect());
            return;
        }
        if !self.sweeps.is_multiple_of(DETAILS_IN) || !self.asking.is_empty() {
            return;
        }
        for id in watched.into_iter().filter(|id| running.contains_key(id)) {
            let session = session.clone();
            self.asking.spawn(async move {
                let detail = session.ask(id, move |connect| readings::detail(connect, id)).await;
                (id, Instant::now(), detail)
            });
        }
    }

    /// Pings some machines, so that a hung one is found without a request: each every ten seconds,
    /// up to a limit per sweep.
    fn look_alive(&mut self, session: &Arc<Session>, running: &HashMap<Uuid, Arc<Domain>>) {
        while self.pinging.try_join_next().is_some() {}
        // Slow responses must not queue further pings.
        if !self.pinging.is_empty() {
            return;
        }
        let mut ids: Vec<Uuid> = running.keys().copied().collect();
        ids.sort_unstable();
        let from = ids.partition_point(|id| *id <= self.alive);
        let first = from % ids.len().max(1);
        ids.rotate_left(first);
        for id in ids.iter().copied().take(ids.len().div_ceil(ALIVE_IN).min(MAX_ALIVE)) {
            self.alive = id;
            let session = session.clone();
            // A late machine leaves a hint; the response itself is not used.
            self.pinging.spawn(async move {
                session.ask(id, move |connect| domain::ping(connect, id)).await.ok();
            });
        }
    }

    /// Collects responses. Details of a skipped machine are kept for a while.
    fn take_details(&mut self) {
        while let Some(answered) = self.asking.try_join_next() {
            let Ok((id, at, detail)) = answered else { continue };
            let known = match detail {
                Ok(Some(Detail { disks, guest_used_mb })) => {
                    let counters = Counters { disks, ..Counters::default() };
                    let since = at.duration_since(self.origin).as_nanos() as u64;
                    let rates = self.disks.entry(id).or_default().read(since, counters);
                    Some(LastDetails { at, disks: rates.map(|rates| rates.disks).unwrap_or_default(), guest_used_mb })
                }
                Ok(None) => continue,
                Err(_) => None,
            };
            self.details.insert(id, known);
        }
        self.details.retain(|_, known| known.as_ref().is_none_or(|known| known.at.elapsed() < KEPT));
    }

    /// The statistics from a reading and the previous one; none for the first one.
    fn machine(&mut self, at: u64, domain: &Domain, reading: Reading) -> Option<VmStats> {
        let Reading { counters, mut resident_mb, mut given_mb, by_kernel } = reading;
        let far = self.far.of(&domain.id).filter(|_| !by_kernel);
        let silent = !by_kernel && self.far.is_silent(&domain.id);
        if let Some(far) = far {
            (resident_mb, given_mb) = (far.resident_mb, far.given_mb);
        }
        let detail = self.details.get(&domain.id);
        let known = far.and_then(|far| far.known.as_ref()).or(detail.and_then(Option::as_ref));
        let meter = self.meters.entry(domain.id).or_default();
        let known_by_kernel = self.by_kernel.contains(&domain.id);
        if known_by_kernel != by_kernel {
            meter.forget();
            if by_kernel {
                self.by_kernel.insert(domain.id)
            } else {
                self.by_kernel.remove(&domain.id)
            };
        }
        let mut rates = meter.read(at, counters)?;
        if let Some(far) = far {
            (rates.cpus, rates.disk) = (far.cpus, far.disk);
        }
        let guest = known.and_then(|detail| detail.guest_used_mb);
        let (memory_used_mb, memory_source) = match (guest, resident_mb) {
            (Some(used), _) => (Some(used), MemorySource::Guest),
            (None, Some(resident)) => (Some(resident), MemorySource::Resident),
            (None, None) => (given_mb, MemorySource::Given),
        };
        let stats = VmStats {
            host_id: Some(self.host.clone()),
            vm_id: domain.id,
            memory_used_mb,
            memory_total_mb: domain.memory_mb,
            memory_source,
            memory_held_mb: resident_mb.or(given_mb),
            not_answering: domain.unresponsive || silent || detail.is_some_and(Option::is_none),
            timestamp: now(),
            ..VmStats::default()
        };
        let mut stats = stats.with(rates, domain.vcpus);
        match known {
            Some(known) => stats.disks.clone_from(&known.disks),
            None => stats.interfaces.clear(),
        }
        Some(stats)
    }

    fn host_stats(&mut self, reading: HostReading) -> Option<HostStats> {
        let had = self.idle.replace(reading.cpu?);
        let (all, idle) = reading.cpu?;
        let cpu_usage_percent = had.and_then(|(had_all, had_idle)| {
            let (all, idle) = (all.checked_sub(had_all).filter(|all| *all > 0)?, idle.checked_sub(had_idle)?);
            Some((1_000.0 - idle as f64 / all as f64 * 1_000.0).clamp(0.0, 1_000.0).round() / 10.0)
        });
        Some(HostStats {
            host_id: self.host.clone(),
            cpu_usage_percent,
            memory_used_mb: reading.memory.map(|(used, _)| used),
            memory_total_mb: reading.memory.map_or(0, |(_, total)| total),
            load: reading.load,
            storage: self.shared.rooms.borrow().clone(),
            timestamp: now(),
        })
    }
}

/// The sum of both directions.
fn sum(counters: &BTreeMap<String, (u64, u64)>) -> (Option<u64>, Option<u64>) {
    (Some(counters.values().map(|each| each.0).sum()), Some(counters.values().map(|each| each.1).sum()))
}

impl Reading {
    /// A reading with only the interfaces so far.
    fn of(interfaces: BTreeMap<String, (u64, u64)>, network: (Option<u64>, Option<u64>)) -> Self {
        Self { counters: Counters { network, interfaces, ..Counters::default() }, ..Self::default() }
    }
}
