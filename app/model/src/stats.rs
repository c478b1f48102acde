//! Usage of machines and hosts: counters in, rates out, and their wire format.
//!
//! Rates come from monotonic counters and a monotonic clock. A counter that decreased was reset
//! (restart, migration), so that step has no rate instead of a wrong one. The source of the
//! counters is not decided here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::HostId;

/// Counters of one machine at one time. Unavailable values are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// CPU time in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Bytes read and written, all disks.
    pub disk: (Option<u64>, Option<u64>),
    /// Bytes received and sent, all interfaces.
    pub network: (Option<u64>, Option<u64>),
    /// Bytes per disk, by target name.
    pub disks: BTreeMap<String, (u64, u64)>,
    /// Bytes per interface, by tap device.
    pub interfaces: BTreeMap<String, (u64, u64)>,
}

/// The rates between two readings, per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// CPUs in use on average, such as 1.5.
    pub cpus: Option<f64>,
    /// Bytes per second read and written.
    pub disk: (Option<u64>, Option<u64>),
    /// Bytes per second received and sent.
    pub network: (Option<u64>, Option<u64>),
    /// Per disk.
    pub disks: Vec<Flow>,
    /// Per interface.
    pub interfaces: Vec<Flow>,
}

/// The last reading of one machine.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    last: Option<(u64, Counters)>,
}

impl Meter {
    /// The rates since the last reading; none for the first one. `at` is in nanoseconds of a
    /// monotonic clock.
    pub fn read(&mut self, at: u64, counters: Counters) -> Option<Rates> {
        let (before, had) = self.last.replace((at, counters))?;
        let (_, now) = self.last.as_ref()?;
        let seconds = at.checked_sub(before).filter(|span| *span > 0)? as f64 / 1e9;
        let rate = |had: Option<u64>, now: Option<u64>| Some(now?.checked_sub(had?)? as f64 / seconds);
        let bytes = |had: (Option<u64>, Option<u64>), now: (Option<u64>, Option<u64>)| {
            let whole = |rate: Option<f64>| rate.map(|rate| rate.round() as u64);
            (whole(rate(had.0, now.0)), whole(rate(had.1, now.1)))
        };
        let flows = |had: &BTreeMap<String, (u64, u64)>, now: &BTreeMap<String, (u64, u64)>| {
            let each = now.iter().filter_map(|(name, now)| {
                let had = had.get(name)?;
                let (inward, outward) = bytes((Some(had.0), Some(had.1)), (Some(now.0), Some(now.1)));
                Some(Flow { name: name.clone(), in_bytes_sec: inward?, out_bytes_sec: outward? })
            });
            each.collect()
        };
        Some(Rates {
            cpus: rate(had.cpu_ns, now.cpu_ns).map(|nanoseconds| nanoseconds / 1e9),
            disk: bytes(had.disk, now.disk),
            network: bytes(had.network, now.network),
            disks: flows(&had.disks, &now.disks),
            interfaces: flows(&had.interfaces, &now.interfaces),
        })
    }

    /// Resets to the state before the first reading, for example when a machine stops.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// The throughput of a disk or interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Flow {
    /// The target name, such as `vda`, or the tap device.
    pub name: String,
    /// Bytes per second read or received.
    pub in_bytes_sec: u64,
    /// Bytes per second written or sent.
    pub out_bytes_sec: u64,
}

/// The source of the used memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum MemorySource {
    /// Reported by the guest's balloon driver.
    Guest,
    /// The host RSS of the machine's process.
    #[default]
    Resident,
    /// The memory allocated to the machine.
    Given,
}

/// Payload of `vm-stats-updated` for one running machine. Values unavailable on this host are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VmStats {
    /// The host of the machine.
    pub host_id: Option<HostId>,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// Percent of all its vCPUs, 0 to 100.
    pub cpu_usage_percent: Option<f64>,
    /// Used memory in MiB.
    pub memory_used_mb: Option<u64>,
    /// Allocated memory in MiB.
    pub memory_total_mb: u64,
    /// The source of the used memory.
    pub memory_source: MemorySource,
    /// The host RSS in MiB; this value is stored in the history.
    pub memory_held_mb: Option<u64>,
    /// Bytes per second.
    pub disk_read_bytes_sec: Option<u64>,
    /// Bytes per second.
    pub disk_write_bytes_sec: Option<u64>,
    /// Bytes per second.
    pub network_rx_bytes_sec: Option<u64>,
    /// Bytes per second.
    pub network_tx_bytes_sec: Option<u64>,
    /// Whether its process does not respond to libvirt, so that details are missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_answering: bool,
    /// Per disk, for machines whose page is open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Flow>,
    /// Per interface, for machines whose page is open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Flow>,
    /// When it was read, in Unix milliseconds.
    pub timestamp: u64,
}

impl VmStats {
    /// The used memory reported by the guest in MiB; none if not reported. The host RSS is a
    /// different value.
    pub fn guest_used_mb(&self) -> Option<u64> {
        self.memory_used_mb.filter(|_| self.memory_source == MemorySource::Guest)
    }

    /// Sets the rates; CPU usage becomes percent of the vCPUs.
    pub fn with(self, rates: Rates, vcpus: u32) -> Self {
        let percent = |cpus: f64| (cpus / f64::from(vcpus.max(1)) * 1_000.0).clamp(0.0, 1_000.0).round() / 10.0;
        Self {
            cpu_usage_percent: rates.cpus.map(percent),
            disk_read_bytes_sec: rates.disk.0,
            disk_write_bytes_sec: rates.disk.1,
            network_rx_bytes_sec: rates.network.0,
            network_tx_bytes_sec: rates.network.1,
            disks: rates.disks,
            interfaces: rates.interfaces,
            ..self
        }
    }
}

/// Number of series per machine.
pub const SERIES: usize = 6;

/// The usage at one time: CPU percent, memory in MiB, and bytes per second read, written, received
/// and sent.
pub type Amounts = [Option<f32>; SERIES];

impl VmStats {
    /// The values for the history.
    pub fn amounts(&self) -> Amounts {
        let whole = |amount: Option<u64>| amount.map(|amount| amount as f32);
        [
            self.cpu_usage_percent.map(|percent| percent as f32),
            // Not the guest's value, which is known only while a page is open.
            whole(self.memory_held_mb),
            whole(self.disk_read_bytes_sec),
            whole(self.disk_write_bytes_sec),
            whole(self.network_rx_bytes_sec),
            whole(self.network_tx_bytes_sec),
        ]
    }
}

/// A summary of readings of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// The number of readings.
    pub count: u32,
    /// The minimum.
    pub min: f32,
    /// The sum.
    pub sum: f64,
    /// The maximum.
    pub max: f32,
}

impl Summary {
    /// The average; 0 without readings.
    pub fn avg(&self) -> f32 {
        if self.count == 0 { 0.0 } else { (self.sum / f64::from(self.count)) as f32 }
    }

    /// Adds another summary.
    pub fn merge(&mut self, other: &Self) {
        match (self.count, other.count) {
            (_, 0) => {}
            (0, _) => *self = *other,
            (had, more) => {
                *self = Self {
                    count: had.saturating_add(more),
                    min: self.min.min(other.min),
                    sum: self.sum + other.sum,
                    max: self.max.max(other.max),
                }
            }
        }
    }
}

/// A time bucket: one summary per series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bucket {
    /// In the order of `Amounts`.
    pub series: [Summary; SERIES],
}

impl Bucket {
    /// Adds one reading.
    pub fn add(&mut self, amounts: &Amounts) {
        for (summary, amount) in self.series.iter_mut().zip(amounts) {
            if let Some(amount) = amount.filter(|amount| amount.is_finite()) {
                summary.merge(&Summary { count: 1, min: amount, sum: f64::from(amount), max: amount });
            }
        }
    }

    /// Adds another bucket.
    pub fn merge(&mut self, other: &Self) {
        self.series.iter_mut().zip(&other.series).for_each(|(summary, other)| summary.merge(other));
    }
}

/// One series in a time bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Spread {
    /// The minimum.
    pub min: f32,
    /// The average.
    pub avg: f32,
    /// The maximum.
    pub max: f32,
}

/// The usage of a machine in a time bucket; series without readings are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct UsagePoint {
    /// The start, in Unix milliseconds.
    pub timestamp: u64,
    /// Percent of all its vCPUs.
    pub cpu_usage_percent: Option<Spread>,
    /// MiB.
    pub memory_used_mb: Option<Spread>,
    /// Bytes per second.
    pub disk_read_bytes_sec: Option<Spread>,
    /// Bytes per second.
    pub disk_write_bytes_sec: Option<Spread>,
    /// Bytes per second.
    pub network_rx_bytes_sec: Option<Spread>,
    /// Bytes per second.
    pub network_tx_bytes_sec: Option<Spread>,
}

impl UsagePoint {
    /// The point of a bucket.
    pub fn of(timestamp: u64, bucket: &Bucket) -> Self {
        let spread = |n: usize| {
            let summary = bucket.series[n];
            (summary.count > 0).then(|| Spread { min: summary.min, avg: summary.avg(), max: summary.max })
        };
        Self {
            timestamp,
            cpu_usage_percent: spread(0),
            memory_used_mb: spread(1),
            disk_read_bytes_sec: spread(2),
            disk_write_bytes_sec: spread(3),
            network_rx_bytes_sec: spread(4),
            network_tx_bytes_sec: spread(5),
        }
    }
}

impl From<&UsagePoint> for VmStats {
    /// The averages as statistics.
    fn from(point: &UsagePoint) -> Self {
        let whole = |spread: Option<Spread>| spread.map(|spread| spread.avg as u64);
        Self {
            cpu_usage_percent: point.cpu_usage_percent.map(|spread| f64::from(spread.avg)),
            memory_used_mb: whole(point.memory_used_mb),
            memory_held_mb: whole(point.memory_used_mb),
            disk_read_bytes_sec: whole(point.disk_read_bytes_sec),
            disk_write_bytes_sec: whole(point.disk_write_bytes_sec),
            network_rx_bytes_sec: whole(point.network_rx_bytes_sec),
            network_tx_bytes_sec: whole(point.network_tx_bytes_sec),
            timestamp: point.timestamp,
            ..Self::default()
        }
    }
}

/// The usage history of a machine, the oldest point first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Bucket width in milliseconds.
    pub step: u64,
    /// Start of the range, in Unix milliseconds.
    pub from: u64,
    /// End of the range.
    pub to: u64,
    /// The points; times without readings have none.
    pub points: Vec<UsagePoint>,
}

/// The last minutes of one machine in a few points, the oldest first: the initial data of the
/// sparklines in the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// The host of the machine.
    pub host_id: Option<HostId>,
    /// The machine.
    pub vm_id: Uuid,
    /// Measurement times, in Unix milliseconds.
    pub timestamps: Vec<u64>,
    /// Percent of all its vCPUs.
    pub cpu_usage_percent: Vec<Option<f32>>,
    /// The host RSS in MiB.
    pub memory_used_mb: Vec<Option<u64>>,
}

impl Trend {
    /// Each point as statistics.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = VmStats> {
        let values = self.cpu_usage_percent.iter().zip(&self.memory_used_mb);
        self.timestamps.iter().zip(values).map(|(timestamp, (cpu, memory))| VmStats {
            vm_id: self.vm_id,
            cpu_usage_percent: cpu.map(f64::from),
            memory_used_mb: *memory,
            timestamp: *timestamp,
            ..VmStats::default()
        })
    }
}

/// Payload of `host-stats-updated` for one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostStats {
    /// The host.
    pub host_id: HostId,
    /// Percent of all its CPUs, 0 to 100.
    pub cpu_usage_percent: Option<f64>,
    /// Used memory in MiB, without reclaimable caches.
    pub memory_used_mb: Option<u64>,
    /// Total memory in MiB.
    pub memory_total_mb: u64,
    /// Load average over 1 minute; only for a local host.
    pub load: Option<f64>,
    /// Usage of its active storage pools, by name; read once a minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<Room>,
    /// When it was read, in Unix milliseconds.
    pub timestamp: u64,
}

/// The usage of a storage pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// The pool's name.
    pub pool: String,
    /// Capacity in MiB.
    pub total_mb: u64,
    /// Available space in MiB.
    pub free_mb: u64,
}

impl Room {
    /// Used percent, 0 to 100.
    pub fn used_percent(&self) -> f64 {
        let used = self.total_mb.saturating_sub(self.free_mb);
        used as f64 * 100.0 / self.total_mb.max(1) as f64
    }

    /// Whether at least 90 percent are used.
    pub fn is_nearly_full(&self) -> bool {
        self.total_mb > 0 && self.used_percent() >= 90.0
    }
}

/// The result of one sweep over a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The host; none before the second reading.
    pub host: Option<HostStats>,
    /// Its running machines.
    pub machines: Vec<VmStats>,
}

/// Events that are not part of the log: only the latest value counts.
pub const LATEST: [&str; 2] = ["vm-stats-updated", "host-stats-updated"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn counters(cpu_ns: u64, bytes: u64) -> Counters {
        Counters {
            cpu_ns: Some(cpu_ns),
            disk: (Some(bytes), Some(bytes * 2)),
            network: (Some(bytes * 3), None),
            disks: [("vda".to_owned(), (bytes, bytes))].into(),
            ..Counters::default()
        }
    }

    #[test]
    fn the_first_reading_tells_no_rate_and_the_second_one_does() {
        let mut meter = Meter::default();
        assert_eq!(meter.read(5 * SECOND, counters(0, 0)), None);
        let rates = meter.read(7 * SECOND, counters(3 * SECOND, 4_000)).expect("a rate");
        assert_eq!(rates.cpus, Some(1.5));
        assert_eq!((rates.disk, rates.network), ((Some(2_000), Some(4_000)), (Some(6_000), None)));
        assert_eq!(rates.disks, [Flow { name: "vda".into(), in_bytes_sec: 2_000, out_bytes_sec: 2_000 }]);
        let stats = VmStats::default().with(rates, 4);
        assert_eq!(stats.cpu_usage_percent, Some(37.5));
    }

    #[test]
    fn a_counter_that_began_anew_tells_no_rate_and_the_others_do() {
        let mut meter = Meter::default();
        meter.read(0, counters(9 * SECOND, 100));
        let rates = meter.read(SECOND, counters(SECOND, 200)).expect("a reading");
        assert_eq!((rates.cpus, rates.disk.0), (None, Some(100)));
        let rates = meter.read(2 * SECOND, counters(2 * SECOND, 200)).expect("a reading");
        assert_eq!(rates.cpus, Some(1.0));
        meter.forget();
        assert_eq!(meter.read(3 * SECOND, counters(0, 0)), None);
    }

    #[test]
    fn a_clock_that_stands_still_divides_nothing() {
        let mut meter = Meter::default();
        meter.read(SECOND, counters(0, 0));
        assert_eq!(meter.read(SECOND, counters(1, 1)), None);
    }

    proptest! {
        #[test]
        fn rates_are_never_wild(readings in prop::collection::vec((0_u64..10 * SECOND, any::<u64>(), any::<u64>()), 2..20), vcpus in 0_u32..512) {
            let (mut meter, mut at) = (Meter::default(), 0);
            for (step, cpu, bytes) in readings {
                at += step;
                if let Some(rates) = meter.read(at, counters(cpu, bytes / 3)) {
                    prop_assert!(rates.cpus.is_none_or(|cpus| cpus >= 0.0 && cpus.is_finite()));
                    let percent = VmStats::default().with(rates, vcpus).cpu_usage_percent;
                    prop_assert!(percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
                }
            }
        }

        #[test]
        fn summing_up_in_parts_is_summing_up(readings in prop::collection::vec(prop::option::of(0.0_f32..1e9), 1..60), cut in 0_usize..60) {
            let all = |readings: &[Option<f32>]| {
                let mut bucket = Bucket::default();
                readings.iter().for_each(|amount| bucket.add(&[*amount; SERIES]));
                bucket
            };
            let (left, right) = readings.split_at(cut.min(readings.len()));
            let mut parts = all(left);
            parts.merge(&all(right));
            let (parts, whole) = (parts.series[3], all(&readings).series[3]);
            prop_assert_eq!((parts.count, parts.min, parts.max), (whole.count, whole.min, whole.max));
            prop_assert!((parts.sum - whole.sum).abs() <= whole.sum.abs() * 1e-9);
            prop_assert!(whole.count == 0 || (whole.min <= whole.avg() * 1.000_1 && whole.avg() <= whole.max * 1.000_1));
        }

        #[test]
        fn a_steady_flow_is_told_as_it_is(step in 1_u64..5_000, bytes in 0_u64..1_000_000_000) {
            let mut meter = Meter::default();
            let at = |n: u64| n * step * 1_000_000;
            let moved = |n: u64| n * bytes * step / 1_000;
            for n in 0..5 {
                if let Some(rates) = meter.read(at(n), counters(at(n), moved(n))) {
                    prop_assert!((rates.cpus.expect("a rate") - 1.0).abs() < 1e-9);
                    prop_assert!(rates.disk.0.expect("a rate").abs_diff(bytes) <= 1_000 / step + 1);
                }
            }
        }
    }
}
