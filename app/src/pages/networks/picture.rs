//! A diagram of a network: host, uplink and machines. On the server only. It repeats the text of
//! the page, so it is an image with one name.

use leptos::prelude::*;
use model::{Domain, DomainRef, Host, Network};

use crate::routes;

/// Machines in the diagram; the rest is a count.
const DRAWN: usize = 8;
/// Width of a box, and of the gap between two, in SVG units.
const BOX: usize = 118;
const GAP: usize = 14;

/// Renders the diagram.
pub(super) fn draw(host: &Host, network: &Network, machines: &[&Domain]) -> AnyView {
    let shown: Vec<&&Domain> = machines.iter().take(DRAWN).collect();
    let more = machines.len() - shown.len();
    let columns = (shown.len() + usize::from(more > 0)).max(3);
    let width = columns * (BOX + GAP) + GAP;
    let outside = match network.mode() {
        "Isolated" => None,
        mode if network.device.is_empty() => Some(mode.to_owned()),
        mode => Some(format!("{mode}, {}", network.device)),
    };
    let words = format!(
        "{} on {}: {}, {}",
        network.name,
        host.id,
        outside.clone().unwrap_or_else(|| "isolated".into()),
        crate::format::count(machines.len(), "machine")
    );
    let boxes = shown.iter().enumerate().map(|(column, domain)| {
        let x = GAP + column * (BOX + GAP);
        let href = routes::vm(&DomainRef { host: host.id.clone(), id: domain.id });
        let class = if domain.state.is_active() { "node on" } else { "node" };
        let address = domain.addresses.first().cloned().unwrap_or_else(|| domain.state.label().to_ascii_lowercase());
        view! {
            <line x1=(x + BOX / 2).to_string() x2=(x + BOX / 2).to_string() y1="92" y2="118"/>
            <a href=href aria-label=domain.name.clone()>
                <rect class=class x=x.to_string() y="118" width=BOX.to_string() height="42" rx="6"/>
                <text x=(x + 10).to_string() y="136">{short(&domain.name)}</text>
                <text class="faint" x=(x + 10).to_string() y="152">{short(&address)}</text>
            </a>
        }
        .into_any()
    });
    let rest = (more > 0).then(|| {
        let x = GAP + shown.len() * (BOX + GAP);
        view! { <text class="faint" x=(x + 10).to_string() y="143">{format!("and {more} more")}</text> }.into_any()
    });
    let middle = width / 2;
    let way = outside.map(|outside| {
        view! {
            <line x1=middle.to_string() x2=middle.to_string() y1="34" y2="58"/>
            <text class="faint" x=(middle + 8).to_string() y="50">{outside}</text>
        }
        .into_any()
    });
    let subnets: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
    let bridge = [network.bridge.clone(), subnets.join(", ")];
    let bridge = bridge.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" · ");
    view! {
        <figure class="card net" class:off=!network.active>
            <svg viewBox=format!("0 0 {width} 172") role="group" aria-label=words>
                <rect class="node" x=(middle - BOX / 2).to_string() y="6" width=BOX.to_string() height="28" rx="6"/>
                <text x=middle.to_string() y="24" text-anchor="middle">{host.id.to_string()}</text>
                {way}
                <rect class="wire" x=GAP.to_string() y="58" width=(width - 2 * GAP).to_string() height="34" rx="8"/>
                <text x=middle.to_string() y="79" text-anchor="middle">{bridge}</text>
                {boxes.collect_view()}
                {rest}
            </svg>
        </figure>
    }
    .into_any()
}

/// Shortens a text to fit into a box.
fn short(text: &str) -> String {
    match text.chars().count() {
        0..=15 => text.to_owned(),
        _ => text.chars().take(14).chain(['…']).collect(),
    }
}
