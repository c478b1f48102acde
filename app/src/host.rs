//! Parts about hosts that several pages share.

use leptos::{ev::SubmitEvent, prelude::*};
use leptos_router::hooks::use_location;
use model::{Host, HostId, HostStats};

use crate::{format, routes, store::Store};

/// The button that reconnects to a host now. The result arrives as an event, or with the page that
/// is loaded next.
#[component]
pub(crate) fn Reconnect(
    /// The host that is not connected.
    host: HostId,
) -> impl IntoView {
    let back = use_location().pathname;
    let name = host.to_string();
    view! {
        <form class="inline" method="post" action=routes::at(routes::RECONNECT) on:submit=move |event| submitted(&event, &host)>
            <input type="hidden" name="host" value=name/>
            <input type="hidden" name="back" value=back/>
            <button class="btn small">"Reconnect now"</button>
        </form>
    }
}

fn submitted(event: &SubmitEvent, host: &HostId) {
    event.prevent_default();
    #[cfg(feature = "hydrate")]
    {
        let address = routes::api_reconnect(host);
        leptos::task::spawn_local(async move {
            gloo_net::http::Request::post(&address).send().await.ok();
        });
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = host;
}

/// The load of a host as rows of a fact list; live.
pub(crate) fn load(store: Store, host: &Host) -> AnyView {
    let load = store.loads.with(|loads| loads.iter().find(|load| load.host_id == host.id).cloned());
    let installed = host.info.as_ref().map_or(0, |info| info.memory_mb);
    let bar = |label: &'static str, class: &str, percent: Option<f64>, words: String| {
        let meter = percent.map(|percent| view! { <progress class=class.to_owned() max="100" value=(percent.round() as u64).to_string() aria-label=label></progress> }.into_any());
        view! { <dt>{label}</dt><dd class="bar">{meter}<span class="num">{words}</span></dd> }.into_any()
    };
    let not_told = || "Unavailable".to_owned();
    let cpu = load.as_ref().and_then(|load| load.cpu_usage_percent);
    let memory = load.as_ref().and_then(|load| Some((load.memory_used_mb?, load.memory_total_mb)));
    let part = memory.map(|(used, total)| used as f64 * 100.0 / total.max(1) as f64);
    let one_minute = load.as_ref().and_then(|load| load.load);
    let cpu_words = match (cpu, one_minute) {
        (Some(cpu), Some(load)) => format!("{}, load {}", format::percent(cpu), format::fraction(load, 1)),
        (Some(cpu), None) => format::percent(cpu),
        (None, _) => not_told(),
    };
    let memory_words = match memory {
        Some((used, total)) => format!("{} of {}", format::memory(used), format::memory(total)),
        None if installed > 0 => format!("{}, usage unavailable", format::memory(installed)),
        None => not_told(),
    };
    let room = load.as_ref().and_then(fullest).map(|room| {
        let words =
            format!("{}: {} free of {}", room.pool, format::memory(room.free_mb), format::memory(room.total_mb));
        bar("Storage", if room.is_nearly_full() { "full" } else { "disk" }, Some(room.used_percent()), words)
    });
    view! { {bar("CPU", "cpu", cpu, cpu_words)} {bar("Memory", "memory", part, memory_words)} {room} }.into_any()
}

/// The storage pool with the highest usage.
fn fullest(load: &HostStats) -> Option<&model::stats::Room> {
    load.storage.iter().max_by(|a, b| a.used_percent().total_cmp(&b.used_percent()))
}
