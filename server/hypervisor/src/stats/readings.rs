//! Reads counters. Every function here blocks; `link` decides where it runs.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    sync::Arc,
};

use parking_lot::Mutex;

use model::{Domain, stats::Counters};
use uuid::Uuid;
use virt::connect::Connect;
use virt_sys as sys;

use super::{process::Processes, sum};
use crate::{
    error::Error,
    ffi::{self, Value, Values},
};

/// Bytes in each direction per device.
type Moved = BTreeMap<String, (u64, u64)>;

/// Maximum test driver machines measured; each needs separate calls.
const BY_HAND: usize = 64;

/// All running machines, without waiting for busy ones.
const RUNNING: u32 = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_RUNNING | sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;

/// Statistics groups that query QEMU.
const DETAILS: u32 = sys::VIR_DOMAIN_STATS_BALLOON | sys::VIR_DOMAIN_STATS_BLOCK;

/// Counters and memory of one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) counters: Counters,
    /// Its RSS.
    pub(super) resident_mb: Option<u64>,
    /// Its allocated memory.
    pub(super) given_mb: Option<u64>,
    /// Whether it comes from /proc instead of libvirt; the counters differ.
    pub(super) by_kernel: bool,
}

/// QEMU data of a watched machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Detail {
    /// Bytes read and written per disk.
    pub(super) disks: BTreeMap<String, (u64, u64)>,
    /// Used memory reported by the guest's balloon driver.
    pub(super) guest_used_mb: Option<u64>,
}

/// QEMU data of a machine without a local process.
#[derive(Clone, Debug)]
pub(super) struct FromQemu {
    /// CPU time in nanoseconds.
    pub(super) cpu_ns: Option<u64>,
    /// Bytes read and written, all disks.
    pub(super) disk: (Option<u64>, Option<u64>),
    pub(super) resident_mb: Option<u64>,
    pub(super) given_mb: Option<u64>,
    /// Details of a watched machine.
    pub(super) detail: Option<Detail>,
}

/// Counters of a host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostReading {
    /// CPU time: total and idle.
    pub(super) cpu: Option<(u64, u64)>,
    /// Memory: used and total, in MiB.
    pub(super) memory: Option<(u64, u64)>,
    /// Load average over 1 minute.
    pub(super) load: Option<f64>,
}

/// The readings of a sweep.
pub(super) struct All {
    pub(super) machines: HashMap<Uuid, Reading>,
    pub(super) host: HostReading,
}

/// Reads all running machines and the host. `processes` is none for a remote host.
///
/// # Errors
/// libvirt's error. A reading with gaps would look like reset counters.
pub(super) fn all(
    connect: &Connect,
    running: &HashMap<Uuid, Arc<Domain>>,
    processes: Option<&Mutex<Processes>>,
    test_driver: bool,
) -> Result<All, Error> {
    let host = host(connect, processes.is_some());
    if test_driver {
        return Ok(All { machines: by_hand(connect, running), host });
    }
    let mut processes = processes.map(|processes| processes.lock());
    Ok(All { machines: in_bulk(connect, running, processes.as_deref_mut())?, host })
}

/// QEMU machines: one call for all of them.
fn in_bulk(
    connect: &Connect,
    running: &HashMap<Uuid, Arc<Domain>>,
    mut processes: Option<&mut Processes>,
) -> Result<HashMap<Uuid, Reading>, Error> {
    if running.is_empty() {
        return Ok(HashMap::new());
    }
    if let Some(processes) = &mut processes {
        processes.follow(running);
    }
    let used: HashMap<Uuid, _> = running.keys().filter_map(|id| Some((*id, processes.as_mut()?.used(*id)?))).collect();
    // Nothing that queries QEMU.
    let mut told = ffi::all_stats(connect, sys::VIR_DOMAIN_STATS_INTERFACE, RUNNING)?;
    let read = running.keys().map(|id| {
        let values = told.remove(id).unwrap_or_default();
        let (interfaces, network) = of_group(&values, "net");
        let mut reading = Reading::of(interfaces, network);
        if let Some(used) = used.get(id) {
            reading.counters.cpu_ns = Some(used.cpu_ns);
            reading.counters.disk = used.disk.map_or((None, None), |(read, written)| (Some(read), Some(written)));
            reading.resident_mb = Some(used.resident_mb);
            reading.by_kernel = true;
        }
        (*id, reading)
    });
    Ok(read.collect())
}

/// QEMU data of all machines, with details of watched ones: one call, which hangs if one of them
/// hangs, and skips machines that another query waits for.
///
/// # Errors
/// libvirt's error.
pub(super) fn of_qemu(connect: &Connect, watched: &HashSet<Uuid>) -> Result<HashMap<Uuid, FromQemu>, Error> {
    // CPU is included, because libvirt queries QEMU for its polling time.
    let told = ffi::all_stats(connect, sys::VIR_DOMAIN_STATS_CPU_TOTAL | DETAILS, RUNNING)?;
    let told = told.into_iter().filter(|(_, values)| has_answered(values)).map(|(id, values)| {
        let mib = |name| number(&values, name).map(|kib| kib / 1_024);
        let told = FromQemu {
            cpu_ns: number(&values, "cpu.time"),
            disk: of_group(&values, "block").1,
            resident_mb: mib("balloon.rss"),
            given_mb: mib("balloon.current"),
            detail: watched.contains(&id).then(|| Detail::of(&values)),
        };
        (id, told)
    });
    Ok(told.collect())
}

/// Whether a machine was queried. For a skipped one, because another query waits for it, libvirt
/// does not even report the RSS.
fn has_answered(values: &Values) -> bool {
    values.contains_key("balloon.rss")
}

/// Test driver machines: their values are functions of time.
fn by_hand(connect: &Connect, running: &HashMap<Uuid, Arc<Domain>>) -> HashMap<Uuid, Reading> {
    let read = running.values().take(BY_HAND).filter_map(|domain| {
        let handle = connect.lookup_domain_by_uuid(domain.id).ok()?;
        let flow = |inward: i64, outward: i64| Some((u64::try_from(inward).ok()?, u64::try_from(outward).ok()?));
        let interfaces = domain.interfaces.iter().filter_map(|interface| {
            let stats = handle.interface_stats(&interface.mac).ok()?;
            Some((interface.mac.clone(), flow(stats.rx_bytes, stats.tx_bytes)?))
        });
        let disks = crate::domain::disk_targets(&handle).ok()?.into_iter().filter_map(|target| {
            let stats = handle.block_stats(&target).ok()?;
            Some((target, flow(stats.rd_bytes, stats.wr_bytes)?))
        });
        let disks: BTreeMap<_, _> = disks.collect();
        let info = handle.info().ok()?;
        let interfaces: BTreeMap<_, _> = interfaces.collect();
        let network = sum(&interfaces);
        let mut reading = Reading::of(interfaces, network);
        (reading.counters.cpu_ns, reading.counters.disk) = (Some(info.cpu_time), sum(&disks));
        reading.given_mb = Some(info.memory / 1_024);
        Some((domain.id, reading))
    });
    read.collect()
}

/// QEMU data of a machine; hangs if it hangs. None for a skipped one, because another query waits
/// for it.
pub(super) fn detail(connect: &Connect, id: Uuid) -> Result<Option<Detail>, Error> {
    let handle = connect.lookup_domain_by_uuid(id)?;
    let values = ffi::stats_of(&handle, DETAILS, sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)?;
    Ok(has_answered(&values).then(|| Detail::of(&values)))
}

impl Detail {
    fn of(values: &Values) -> Self {
        // Memory that programs could still allocate is not in use, including caches.
        let free = number(values, "balloon.usable").or(number(values, "balloon.unused"));
        let guest_used_mb =
            number(values, "balloon.available").zip(free).map(|(all, free)| all.saturating_sub(free) / 1_024);
        Self { disks: flows(values, "block"), guest_used_mb }
    }
}

fn number(values: &Values, name: &str) -> Option<u64> {
    match values.get(name)? {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Text(_) | Value::Float(_) => None,
    }
}

/// Counters with their sum, which is none unless every device was read.
fn of_group(values: &Values, group: &str) -> (Moved, (Option<u64>, Option<u64>)) {
    let each = flows(values, group);
    let whole = number(values, &format!("{group}.count")).is_some_and(|count| count == each.len() as u64);
    let all = if whole { sum(&each) } else { (None, None) };
    (each, all)
}

/// The counters of each disk (`block`) or interface (`net`).
fn flows(values: &Values, group: &str) -> BTreeMap<String, (u64, u64)> {
    let (inward, outward) = if group == "net" { ("rx", "tx") } else { ("rd", "wr") };
    let count = number(values, &format!("{group}.count")).unwrap_or_default().min(1_024);
    let each = (0..count).filter_map(|n| {
        let Some(Value::Text(name)) = values.get(&format!("{group}.{n}.name")) else { return None };
        let bytes = |way: &str| number(values, &format!("{group}.{n}.{way}.bytes"));
        Some((name.clone(), (bytes(inward)?, bytes(outward)?)))
    });
    each.collect()
}

fn host(connect: &Connect, local: bool) -> HostReading {
    let cpu = ffi::node_cpu(connect).ok().and_then(|kinds| {
        let idle = kinds.get("idle")? + kinds.get("iowait").copied().unwrap_or_default();
        Some((["user", "kernel", "idle", "iowait"].iter().filter_map(|kind| kinds.get(*kind)).sum(), idle))
    });
    let memory = ffi::node_memory(connect).ok().and_then(|kinds| {
        let part = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
        let total = *kinds.get("total")?;
        Some((total.saturating_sub(part("free") + part("buffers") + part("cached")) / 1_024, total / 1_024))
    });
    let load = local.then(|| fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()).flatten();
    HostReading { cpu, memory, load }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_through_each_device_is_read_and_nonsense_is_left_out() {
        let text = |text: &str| Value::Text(text.into());
        let values: Values = [
            ("net.count", Value::Int(3)),
            ("net.0.name", text("vnet0")),
            ("net.0.rx.bytes", Value::Int(5)),
            ("net.0.tx.bytes", Value::Int(6)),
            ("net.1.name", Value::Int(1)),
            ("net.2.name", text("vnet2")),
            ("net.2.rx.bytes", Value::Int(-5)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        assert_eq!(flows(&values, "net"), [("vnet0".to_owned(), (5, 6))].into());
        assert_eq!(of_group(&values, "net").1, (None, None), "a sum without one of them would be wrong");
        assert_eq!(flows(&values, "block"), BTreeMap::new());
        assert_eq!(of_group(&values, "block").1, (None, None));
    }
}
