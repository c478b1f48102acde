//! The usage history of machines: readings of the last hour in memory, and minutes until they are
//! on disk.
//!
//! ```text
//!  sweep ─▶ ring of the last hour
//!        └▶ bucket of this minute ─▶ journal::usage: 1 min × 24 h, 10 min × 14 d, 1 h × 1 y
//! ```
//!
//! A crash loses the current minute. Times are wall-clock times for display: a clock that jumps
//! shifts readings and breaks nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use parking_lot::Mutex;

use model::{
    DomainRef, HostId, HostStats, VmStats,
    stats::{Bucket, SERIES, Sweep, Trend, UsagePoint},
};

/// Width of the smallest buckets on disk, in milliseconds.
pub(crate) const MINUTE: u64 = 60_000;
/// Retention of readings in memory, in milliseconds.
pub(crate) const HOUR: u64 = 3_600_000;
/// Maximum readings in memory, shared by all machines.
const MAX_READINGS: usize = 400_000;
/// Maximum minutes waiting for a disk that cannot be written.
const MAX_WAITING: usize = 10;

/// One machine's minute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Minute {
    /// The machine.
    pub(crate) id: DomainRef,
    /// The start of the minute, in Unix milliseconds.
    pub(crate) at: u64,
    /// Its usage.
    pub(crate) bucket: Bucket,
}

#[derive(Debug, Default)]
struct Machine {
    /// Time and values; missing values are NaN, which halves the memory.
    readings: VecDeque<(u64, [f32; SERIES])>,
    /// Minutes that are not on disk yet, by start.
    minutes: BTreeMap<u64, Bucket>,
}

/// The usage history in memory.
#[derive(Debug, Default)]
pub(crate) struct History {
    machines: Mutex<HashMap<DomainRef, Machine>>,
    /// The last sweep of each host.
    latest: Mutex<BTreeMap<HostId, Sweep>>,
}

impl History {
    /// The results of the last sweep of each host.
    pub(crate) fn latest(&self) -> (Vec<VmStats>, Vec<HostStats>) {
        let latest = self.latest.lock();
        let machines = latest.values().flat_map(|sweep| sweep.machines.iter().cloned()).collect();
        (machines, latest.values().filter_map(|sweep| sweep.host.clone()).collect())
    }

    /// Passes the last figures of each machine to a function.
    pub(crate) fn look(&self, mut see: impl FnMut(&HostId, &VmStats)) {
        for (host, sweep) in &*self.latest.lock() {
            sweep.machines.iter().for_each(|stats| see(host, stats));
        }
    }

    /// The last figures of some machines, and of all hosts.
    pub(crate) fn latest_of(&self, ids: &[&DomainRef]) -> (Vec<VmStats>, Vec<HostStats>) {
        let latest = self.latest.lock();
        let of = |id: &&DomainRef| latest.get(&id.host)?.machines.iter().find(|stats| stats.vm_id == id.id).cloned();
        (ids.iter().filter_map(of).collect(), latest.values().filter_map(|sweep| sweep.host.clone()).collect())
    }

    /// Adds a sweep.
    pub(crate) fn measured(&self, host: &HostId, sweep: Sweep) {
        self.keep(host, &sweep.machines);
        self.latest.lock().insert(host.clone(), sweep);
    }

    fn keep(&self, host: &HostId, all: &[VmStats]) {
        let mut machines = self.machines.lock();
        let most = MAX_READINGS / machines.len().max(1);
        for stats in all {
            let (at, amounts) = (stats.timestamp, stats.amounts());
            let machine = machines.entry(DomainRef { host: host.clone(), id: stats.vm_id }).or_default();
            machine.readings.push_back((at, amounts.map(|amount| amount.unwrap_or(f32::NAN))));
            while machine.readings.len() > most
                || machine.readings.front().is_some_and(|(oldest, _)| oldest.saturating_add(HOUR) < at)
            {
                machine.readings.pop_front();
            }
            machine.minutes.entry(at - at % MINUTE).or_default().add(&amounts);
            while machine.minutes.len() > MAX_WAITING {
                machine.minutes.pop_first();
            }
        }
    }

    /// Takes completed minutes, or all of them, and drops machines without data.
    pub(crate) fn take_minutes(&self, now: u64, all: bool) -> Vec<Minute> {
        let mut machines = self.machines.lock();
        let mut taken = Vec::new();
        for (id, machine) in machines.iter_mut() {
            let ended = |at: u64| all || at + MINUTE <= now || at > now + MINUTE;
            let times: Vec<u64> = machine.minutes.keys().copied().filter(|at| ended(*at)).collect();
            for at in times {
                let bucket = machine.minutes.remove(&at).unwrap_or_default();
                taken.push(Minute { id: id.clone(), at, bucket });
            }
        }
        machines.retain(|_, machine| {
            !machine.minutes.is_empty() || machine.readings.back().is_some_and(|(at, _)| at + HOUR > now)
        });
        taken
    }

    /// Puts back minutes that could not be written.
    pub(crate) fn put_back(&self, minutes: Vec<Minute>) {
        let mut machines = self.machines.lock();
        for Minute { id, at, bucket } in minutes {
            let waiting = &mut machines.entry(id).or_default().minutes;
            waiting.entry(at).or_default().merge(&bucket);
            while waiting.len() > MAX_WAITING {
                waiting.pop_first();
            }
        }
    }

    /// The readings of a machine between two times, the oldest first.
    pub(crate) fn readings(&self, id: &DomainRef, from: u64, to: u64) -> Vec<UsagePoint> {
        let machines = self.machines.lock();
        let Some(machine) = machines.get(id) else { return Vec::new() };
        let within = machine.readings.iter().filter(|(at, _)| (from..=to).contains(at));
        let mut points: Vec<UsagePoint> = within
            .map(|(at, amounts)| {
                let mut bucket = Bucket::default();
                bucket.add(&amounts.map(Some));
                UsagePoint::of(*at, &bucket)
            })
            .collect();
        points.sort_by_key(|point| point.timestamp);
        points
    }

    /// Every machine since a time, with every third reading.
    pub(crate) fn trends(&self, from: u64) -> Vec<Trend> {
        let machines = self.machines.lock();
        let trends = machines.iter().map(|(id, machine)| {
            let mut trend = Trend { host_id: Some(id.host.clone()), vm_id: id.id, ..Trend::default() };
            let newest = machine.readings.iter().rev().take_while(|(at, _)| *at >= from);
            for (at, [cpu, memory, ..]) in newest.step_by(3).collect::<Vec<_>>().into_iter().rev() {
                trend.timestamps.push(*at);
                trend.cpu_usage_percent.push(cpu.is_finite().then_some(*cpu));
                trend.memory_used_mb.push(memory.is_finite().then_some(*memory as u64));
            }
            trend
        });
        trends.filter(|trend| !trend.timestamps.is_empty()).collect()
    }

    /// The minutes of a machine that are not on disk yet, the oldest first.
    pub(crate) fn minutes(&self, id: &DomainRef) -> Vec<(u64, Bucket)> {
        let machines = self.machines.lock();
        machines
            .get(id)
            .map(|machine| machine.minutes.iter().map(|(at, bucket)| (*at, bucket.clone())).collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn stats(at: u64, cpu: f64) -> VmStats {
        VmStats { vm_id: Uuid::from_u128(1), cpu_usage_percent: Some(cpu), timestamp: at, ..VmStats::default() }
    }

    fn machine() -> DomainRef {
        DomainRef { host: "atlas".parse().expect("a name"), id: Uuid::from_u128(1) }
    }

    #[test]
    fn a_minute_is_summed_up_once_it_is_over_and_the_last_hour_stays() {
        let history = History::default();
        let host = machine().host;
        for n in 0..4_000 {
            history.keep(&host, &[stats(n * 2_000, (n % 30) as f64)]);
        }
        let now = 4_000 * 2_000;
        let trends = history.trends(now - 20_000);
        assert_eq!(
            trends[0].timestamps,
            [4_000 * 2_000 - 20_000, 4_000 * 2_000 - 14_000, 4_000 * 2_000 - 8_000, 4_000 * 2_000 - 2_000]
        );
        assert_eq!(trends[0].points().last().expect("four").cpu_usage_percent, Some((3_999 % 30) as f64));
        assert_eq!(history.readings(&machine(), 0, u64::MAX).len(), 1_801);
        let minutes = history.take_minutes(now, false);
        assert_eq!(minutes.len(), 9, "what was not written in time is bounded, and the present one is not over");
        let cpu = &minutes[0].bucket.series[0];
        assert_eq!((cpu.count, cpu.min, cpu.avg(), cpu.max), (30, 0.0, 14.5, 29.0));
        history.put_back(minutes);
        assert_eq!(history.take_minutes(now, true).len(), 10);
        assert!(history.take_minutes(now + 2 * HOUR, false).is_empty());
        assert!(history.readings(&machine(), 0, u64::MAX).is_empty(), "what is gone ages out");
    }

    #[test]
    fn a_clock_that_jumps_puts_readings_elsewhere_and_breaks_nothing() {
        let history = History::default();
        for at in [10 * HOUR, 10 * HOUR + 2_000, 34 * HOUR, 9 * HOUR, 10 * HOUR + 4_000] {
            history.keep(&machine().host, &[stats(at, 5.0)]);
        }
        let times: Vec<u64> = history.readings(&machine(), 0, u64::MAX).iter().map(|point| point.timestamp).collect();
        assert!(times.is_sorted(), "{times:?}");
        let minutes = history.take_minutes(10 * HOUR + 4_000, true);
        assert_eq!(minutes.iter().map(|minute| minute.bucket.series[0].count).sum::<u32>(), 5, "none is lost");
    }
}
