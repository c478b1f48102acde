//! Usage of a machine in its row: figures and sparklines of the last two minutes. Only these change
//! with each reading; the rest of the row stays.

use leptos::prelude::*;
use model::{Domain, DomainState, VmStats};

use crate::{
    format,
    store::{shown::Shown, stats::Recent},
    ui::{
        chart::spark,
        live::{live, live_text},
    },
};

/// The four cells.
pub(super) fn cells(domain: &Domain, stats: &Shown<Recent>) -> AnyView {
    if domain.state != DomainState::Running {
        return view! {
            <td class="num muted" data-label="CPU"></td>
            <td class="num" data-label="Memory">{assigned(domain.memory_mb)}</td>
            <td class="num muted" data-label="Disk"></td>
            <td class="num muted" data-label="Network"></td>
        }
        .into_any();
    }
    let text = |words: fn(&VmStats) -> String| {
        let stats = stats.clone();
        live_text(move || stats.with(|recent| recent.latest().map(words).unwrap_or_default()))
    };
    let line = |class: &'static str, value: fn(&VmStats) -> Option<f64>, top: f64| {
        let stats = stats.clone();
        let points =
            move || stats.with(|recent| spark(recent.iter().map(|stats| (stats.timestamp, value(stats))), top));
        view! { <svg class=format!("spark {class}") viewBox="0 0 72 20" preserveAspectRatio="none" aria-hidden="true"><polyline points=points/></svg> }.into_any()
    };
    // Host RSS is a different figure; it is shown on the machine's page.
    let (total, told) = (domain.memory_mb, stats.clone());
    let memory = live(move || {
        match told.with(|recent| recent.latest().and_then(VmStats::guest_used_mb)) {
        Some(used) => view! { <span title=format!("Used in the guest, of {}", format::memory(total))>{format::memory(used)} <small>" used"</small></span> }.into_any(),
        None => assigned(total),
    }
    });
    view! {
        <td class="num" data-label="CPU">{line("cpu", |stats| stats.cpu_usage_percent, 100.0)} <span>{text(|stats| stats.cpu_usage_percent.map(format::percent).unwrap_or_default())}</span></td>
        <td class="num" data-label="Memory">{memory}</td>
        <td class="num muted" data-label="Disk">{text(|stats| moved(stats.disk_read_bytes_sec, stats.disk_write_bytes_sec))}</td>
        <td class="num muted" data-label="Network">{text(|stats| moved(stats.network_rx_bytes_sec, stats.network_tx_bytes_sec))}</td>
    }
    .into_any()
}

/// Allocated memory, for a guest that does not report its usage.
fn assigned(mib: u64) -> AnyView {
    view! { <span class="muted">{format::memory(mib)} <small>" allocated"</small></span> }.into_any()
}

/// The sum of both directions.
fn moved(inward: Option<u64>, outward: Option<u64>) -> String {
    inward.zip(outward).map(|(inward, outward)| format::rate(inward.saturating_add(outward))).unwrap_or_default()
}
