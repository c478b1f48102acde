//! `GET /metrics` in the format of Prometheus. No counters are kept for it; known values are
//! converted on request.
//!
//! Names follow prometheus.io/docs/practices/naming: base units, `_total` for counters, ratios from
//! 0 to 1.

use std::{fmt, sync::Arc};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use model::{Domain, DomainState, Fault, FaultKind, HostStats, VmStats, inventory::Snapshot};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::Failed;
use crate::Backend;

/// The media type (OpenMetrics 1.0).
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

type Labels = Vec<(&'static str, String)>;
/// Values of one metric, with their labels.
type Figures = Vec<(Labels, f64)>;

pub(crate) async fn metrics(State(backend): State<Arc<Backend>>) -> Result<Response, Failed> {
    let mut registry = Registry::with_prefix("belvedere");
    let (known, (machines, loads)) = (backend.feed().snapshot(), backend.stats());
    registry.register_collector(Box::new(Scrape { backend, known, machines, loads }));
    let mut text = String::new();
    text::encode(&mut text, &registry)
        .map_err(|_| Fault::new(FaultKind::Internal, "The metrics could not be written"))?;
    Ok(([(header::CONTENT_TYPE, FORMAT)], text).into_response())
}

/// The data of one scrape.
struct Scrape {
    backend: Arc<Backend>,
    known: Snapshot,
    machines: Vec<VmStats>,
    loads: Vec<HostStats>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.server(&mut encoder)?;
        self.calls(&mut encoder)?;
        self.hosts(&mut encoder)?;
        self.machines(&mut encoder)
    }
}

impl Scrape {
    fn server(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |value: f64| vec![(Labels::new(), value)];
        let version = vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)];
        let feed = self.backend.feed();
        gauge(encoder, "build_info", "Version of the server", None, version)?;
        gauge(encoder, "streams", "Open event streams", None, one(feed.readers() as f64))?;
        let tasks = self.known.tasks.iter().filter(|task| task.outcome.is_none()).count();
        gauge(encoder, "tasks_running", "Commands in progress", None, one(tasks as f64))?;
        let writable = self.backend.journal.trouble().borrow().is_none();
        gauge(
            encoder,
            "journal_writable",
            "Whether commands can be recorded",
            None,
            one(f64::from(u8::from(writable))),
        )?;
        let events = self.known.cursor.seq;
        let mut counter = encoder.encode_descriptor("events", "Events since the start", None, MetricType::Counter)?;
        counter.encode_counter::<NoLabelSet, _, f64>(&events, None)
    }

    /// Durations of libvirt calls by lane.
    fn calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = hypervisor::calls();
        let help = "Duration of libvirt calls";
        let mut lanes =
            encoder.encode_descriptor("libvirt_call_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for lane in &all {
            let labels: Labels = vec![("lane", lane.name.to_owned())];
            lanes.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                lane.seconds,
                lane.count,
                &lane.buckets,
                None,
            )?;
        }
        let mut failed =
            encoder.encode_descriptor("libvirt_call_errors", "Failed libvirt calls", None, MetricType::Counter)?;
        for lane in &all {
            let labels: Labels = vec![("lane", lane.name.to_owned())];
            failed.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&lane.errors, None)?;
        }
        Ok(())
    }

    fn hosts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (hosts, loads) = (&self.known.hosts, &self.loads);
        let up = hosts.hosts.values().map(|host| {
            (vec![("host", host.host.id.to_string())], f64::from(u8::from(host.host.connection.connected)))
        });
        gauge(encoder, "host_up", "Whether the host is connected", None, up.collect())?;
        let mut machines = Figures::new();
        for host in hosts.hosts.values() {
            for state in DomainState::ALL {
                let count = host.domains.values().filter(|domain| domain.state == state).count();
                let labels = vec![("host", host.host.id.to_string()), ("state", state.key().to_owned())];
                machines.push((labels, count as f64));
            }
        }
        gauge(encoder, "host_vms", "Machines by state", None, machines)?;
        let of = |value: fn(&HostStats) -> Option<f64>| -> Figures {
            loads.iter().filter_map(|load| Some((vec![("host", load.host_id.to_string())], value(load)?))).collect()
        };
        let (ratio, bytes) = (Some(Unit::Other("ratio".into())), Some(Unit::Bytes));
        gauge(
            encoder,
            "host_cpu_usage",
            "Fraction of all host CPUs in use",
            ratio,
            of(|load| Some(load.cpu_usage_percent? / 100.0)),
        )?;
        gauge(
            encoder,
            "host_memory_used",
            "Memory in use",
            bytes.clone(),
            of(|load| Some(load.memory_used_mb? as f64 * MIB)),
        )?;
        gauge(
            encoder,
            "host_memory",
            "Total memory",
            bytes,
            of(|load| (load.memory_total_mb > 0).then_some(load.memory_total_mb as f64 * MIB)),
        )?;
        gauge(encoder, "host_load1", "Load average over 1 minute", None, of(|load| load.load))
    }

    fn machines(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (hosts, stats) = (&self.known.hosts, &self.machines);
        let labels = |host: &str, domain: &Domain| -> Labels {
            vec![("host", host.to_owned()), ("name", domain.name.clone()), ("uuid", domain.id.to_string())]
        };
        let each = |value: fn(&Domain) -> f64| -> Figures {
            hosts.domains().map(|(host, domain)| (labels(host.host.id.as_str(), domain), value(domain))).collect()
        };
        let running = |domain: &Domain| f64::from(u8::from(domain.state == DomainState::Running));
        gauge(encoder, "vm_running", "Whether the machine runs", None, each(running))?;
        gauge(encoder, "vm_vcpus", "Virtual processors", None, each(|domain| f64::from(domain.vcpus)))?;
        gauge(
            encoder,
            "vm_memory",
            "Memory of the machine",
            Some(Unit::Bytes),
            each(|domain| domain.memory_mb as f64 * MIB),
        )?;
        let measured: Vec<(Labels, &VmStats)> = stats
            .iter()
            .filter_map(|stats| {
                let host = stats.host_id.as_ref()?;
                let domain = hosts.hosts.get(host)?.domains.get(&stats.vm_id)?;
                (domain.state == DomainState::Running).then(|| (labels(host.as_str(), domain), stats))
            })
            .collect();
        let of = |value: fn(&VmStats) -> Option<f64>| -> Figures {
            measured.iter().filter_map(|(labels, stats)| Some((labels.clone(), value(stats)?))).collect()
        };
        let rate = || Some(Unit::Other("bytes_per_second".into()));
        gauge(
            encoder,
            "vm_cpu_usage",
            "Fraction of its vCPUs in use",
            Some(Unit::Other("ratio".into())),
            of(|stats| Some(stats.cpu_usage_percent? / 100.0)),
        )?;
        gauge(
            encoder,
            "vm_memory_held",
            "Memory in use",
            Some(Unit::Bytes),
            of(|stats| Some(stats.memory_held_mb? as f64 * MIB)),
        )?;
        gauge(encoder, "vm_disk_read", "Read from disks", rate(), of(|stats| Some(stats.disk_read_bytes_sec? as f64)))?;
        gauge(
            encoder,
            "vm_disk_write",
            "Written to disks",
            rate(),
            of(|stats| Some(stats.disk_write_bytes_sec? as f64)),
        )?;
        gauge(encoder, "vm_network_receive", "Received", rate(), of(|stats| Some(stats.network_rx_bytes_sec? as f64)))?;
        gauge(encoder, "vm_network_transmit", "Sent", rate(), of(|stats| Some(stats.network_tx_bytes_sec? as f64)))
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    figures: Figures,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
    for (labels, value) in figures {
        if labels.is_empty() {
            metric.encode_gauge(&value)?;
        } else {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}
