//! Usage of a machine, as charts with a shared cursor.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use model::{
    Fault, VmStats,
    stats::{MemorySource, Usage, UsagePoint},
};

use super::Subject;
use crate::{
    format, routes,
    store::{stats::Recent, use_store},
    ui::{
        chart::{Pointer, Scale, Series, Style, chart},
        live::{live, live_text},
        moment::Cut,
    },
};

/// Time span of the live charts, in milliseconds.
const LIVE: u64 = 120_000;

const CPU: Style =
    Style { title: "CPU", class: "cpu", scale: Scale::Decimal(10.0), words: format::percent, times: Cut::Clock };
const MEMORY: Style =
    Style { title: "Memory", class: "memory", scale: Scale::Binary(256.0), words: memory, times: Cut::Clock };
const DISK: Style =
    Style { title: "Disk", class: "disk", scale: Scale::Decimal(1_000.0), words: rate, times: Cut::Clock };
const NETWORK: Style =
    Style { title: "Network", class: "network", scale: Scale::Decimal(1_000.0), words: rate, times: Cut::Clock };

fn memory(mib: f64) -> String {
    format::memory(mib as u64)
}

fn rate(bytes: f64) -> String {
    format::rate(bytes as u64)
}

type Value = fn(&VmStats) -> Option<f64>;
type Alike = fn(&VmStats, &VmStats) -> bool;
type Kept = fn(&UsagePoint) -> Option<f32>;

/// Usage in the past, put into the page by the server.
type Past = Option<Result<Usage, Fault>>;

/// Reads the usage in the time range of the query.
#[cfg(feature = "ssr")]
pub(super) async fn load(
    id: &model::DomainRef,
    query: &str,
    backend: &dyn crate::backend::Backend,
) -> crate::backend::Loaded {
    crate::backend::Loaded::of::<Past>(backend.usage(id, query).await.transpose())
}

/// The time ranges, and the charts of the selected one.
pub(super) fn charts() -> AnyView {
    let Subject { id, .. } = expect_context();
    provide_context(Pointer(RwSignal::new(None)));
    let past: Past = SharedValue::new(|| {
        #[cfg(feature = "ssr")]
        return crate::backend::loaded::<Past>().as_deref().cloned().flatten();
        #[cfg(not(feature = "ssr"))]
        None
    })
    .into_inner();
    let chosen = use_query_map().with_untracked(|query| query.get("range"));
    let chip = |name: &str, label: &str, on: bool| {
        let href = routes::vm_range(&id, name);
        view! { <a class="chip" href=href rel="external" aria-current=on.then_some("true")>{label.to_owned()}</a> }
            .into_any()
    };
    let live = chip("", "Live", past.is_none());
    let ranges =
        routes::RANGES.map(|(name, label, _)| chip(name, label, chosen.as_deref() == Some(name) && past.is_some()));
    let shown = match past {
        None => live_charts(),
        Some(Ok(usage)) => past_charts(&usage),
        Some(Err(fault)) => view! { <p class="banner warn">{fault.sentence()}</p> }.into_any(),
    };
    view! { <nav class="ranges" aria-label="Time range">{live}{ranges.into_iter().collect_view()}</nav> {shown} }
        .into_any()
}

/// Usage in the past: averages and maxima.
fn past_charts(usage: &Usage) -> AnyView {
    let Subject { domain, .. } = expect_context();
    let (vcpus, total) = domain.with_untracked(|domain| (domain.vcpus, domain.memory_mb));
    if usage.points.is_empty() {
        return view! { <p class="banner">"No data in this time range: the machine or Belvedere was not running."</p> }
            .into_any();
    }
    let times = match usage.to - usage.from {
        0..7_200_000 => Cut::Clock,
        7_200_000..172_800_000 => Cut::Hour,
        _ => Cut::Day,
    };
    let series = |values: &[(&'static str, Kept)]| {
        let lines = values
            .iter()
            .map(|(label, value)| (*label, usage.points.iter().map(|point| value(point).map(f64::from)).collect()));
        Series {
            times: usage.points.iter().map(|point| point.timestamp).collect(),
            lines: lines.collect(),
            span: (usage.from, usage.to),
        }
    };
    let plot = |style: Style, note: String, series: Series| {
        let head = view! { <span class="muted">{note}</span> }.into_any();
        chart(Style { times, ..style }, head, Signal::stored(series))
    };
    view! {
        <div class="grid g2 charts">
            {plot(CPU, format!("of {}", format::count(vcpus as usize, "vCPU")), series(&[("average", |point| point.cpu_usage_percent.map(|spread| spread.avg)), ("maximum", |point| point.cpu_usage_percent.map(|spread| spread.max))]))}
            {plot(MEMORY, format!("of {}", format::memory(total)), series(&[("average", |point| point.memory_used_mb.map(|spread| spread.avg)), ("maximum", |point| point.memory_used_mb.map(|spread| spread.max))]))}
            {plot(DISK, "average".to_owned(), series(&[("read", |point| point.disk_read_bytes_sec.map(|spread| spread.avg)), ("write", |point| point.disk_write_bytes_sec.map(|spread| spread.avg))]))}
            {plot(NETWORK, "average".to_owned(), series(&[("in", |point| point.network_rx_bytes_sec.map(|spread| spread.avg)), ("out", |point| point.network_tx_bytes_sec.map(|spread| spread.avg))]))}
        </div>
    }
    .into_any()
}

/// Live usage.
fn live_charts() -> AnyView {
    let Subject { domain, stats, .. } = expect_context();
    let (vcpus, total) = domain.with_untracked(|domain| (domain.vcpus, domain.memory_mb));
    let now = use_store().minute.get_untracked();
    // Memory reported by the guest and memory measured on the host are separate lines.
    let (any, by_the_same): (Alike, Alike) = (|_, _| true, |a, b| a.memory_source == b.memory_source);
    let series = |lines: [Option<(&'static str, Value)>; 2], alike: Alike| {
        let stats = stats.clone();
        Signal::derive(move || stats.with(|recent| live_series(recent, &lines, alike, now)))
    };
    let head = |words: fn(&VmStats) -> String| {
        let stats = stats.clone();
        live_text(move || stats.with(|recent| recent.latest().map(words).unwrap_or_default()))
    };
    let more = |text: String| view! { <span class="muted">{text}</span> }.into_any();
    let cpu = view! { <b>{head(|stats| stats.cpu_usage_percent.map(format::percent).unwrap_or_default())}</b> {more(format!(" of {}", format::count(vcpus as usize, "vCPU")))} }.into_any();
    let used = view! { <b>{head(|stats| stats.memory_used_mb.map(format::memory).unwrap_or_default())}</b> <span class="muted">{head(who_tells)}{format!(", {} allocated", format::memory(total))}</span> }.into_any();
    let disk =
        view! { {head(|stats| both(("read", stats.disk_read_bytes_sec), ("write", stats.disk_write_bytes_sec)))} }
            .into_any();
    let network =
        view! { {head(|stats| both(("in", stats.network_rx_bytes_sec), ("out", stats.network_tx_bytes_sec)))} }
            .into_any();
    view! {
        <div class="grid g2 charts">
            {chart(CPU, cpu, series([Some(("used", |stats| stats.cpu_usage_percent)), None], any))}
            {chart(MEMORY, used, series([Some(("used", |stats| stats.memory_used_mb.map(|used| used as f64))), None], by_the_same))}
            {chart(DISK, disk, series([Some(("read", |stats| stats.disk_read_bytes_sec.map(|rate| rate as f64))), Some(("write", |stats| stats.disk_write_bytes_sec.map(|rate| rate as f64)))], any))}
            {chart(NETWORK, network, series([Some(("in", |stats| stats.network_rx_bytes_sec.map(|rate| rate as f64))), Some(("out", |stats| stats.network_tx_bytes_sec.map(|rate| rate as f64)))], any))}
        </div>
        {live(move || stats.with(|recent| recent.latest().map(details).unwrap_or_else(|| ().into_any())))}
    }
    .into_any()
}

/// `alike` returns whether a reading belongs to the same line as the latest one.
fn live_series(recent: &Recent, lines: &[Option<(&'static str, Value)>], alike: Alike, now: u64) -> Series {
    let to = recent.latest().map_or(now, |latest| latest.timestamp);
    let same = |stats: &&VmStats| recent.latest().is_some_and(|latest| alike(latest, stats));
    let value = |value: &Value, stats: &VmStats| Some(stats).filter(same).and_then(value);
    Series {
        times: recent.iter().map(|stats| stats.timestamp).collect(),
        lines: lines
            .iter()
            .flatten()
            .map(|(label, each)| (*label, recent.iter().map(|stats| value(each, stats)).collect()))
            .collect(),
        span: (to.saturating_sub(LIVE), to),
    }
}

fn both((one, a): (&str, Option<u64>), (other, b): (&str, Option<u64>)) -> String {
    match (a, b) {
        (Some(a), Some(b)) => format!("{one} {} · {other} {}", format::rate(a), format::rate(b)),
        _ => "Unavailable".to_owned(),
    }
}

/// The source of the memory figure, which determines its meaning.
fn who_tells(stats: &VmStats) -> String {
    let who = match stats.memory_source {
        MemorySource::Guest => " used in the guest",
        MemorySource::Resident => " host RSS",
        MemorySource::Given => " allocated",
    };
    if stats.not_answering { format!("{who}, QEMU is not responding") } else { who.to_owned() }
}

/// Throughput per disk and interface; available for watched machines only.
fn details(stats: &VmStats) -> AnyView {
    let rows =
        stats.disks.iter().map(|flow| ("Disk", flow)).chain(stats.interfaces.iter().map(|flow| ("Interface", flow)));
    let rows: Vec<_> = rows
        .map(|(kind, flow)| {
            let (inward, outward) = (format::rate(flow.in_bytes_sec), format::rate(flow.out_bytes_sec));
            view! { <tr><th scope="row" class="mono">{flow.name.clone()}</th><td>{kind}</td><td class="num">{inward}</td><td class="num">{outward}</td></tr> }.into_any()
        })
        .collect();
    if rows.is_empty() {
        return ().into_any();
    }
    view! {
        <section class="card spaced"><header><h2>"Device throughput"</h2></header><div class="scroll"><table aria-label="Device throughput">
            <thead><tr><th scope="col">"Device"</th><th scope="col">"Type"</th><th scope="col" class="num">"Read / received"</th><th scope="col" class="num">"Written / sent"</th></tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table></div></section>
    }
    .into_any()
}
