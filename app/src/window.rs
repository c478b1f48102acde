//! Decides which machines a page shows when there are too many to send all of them. On the server
//! only.
//!
//! Pages and streams both use it, with the page's address, so that they agree. It reads prepared
//! indexes and statistics, and computes neither.

use std::sync::Arc;

use leptos_router::params::ParamsMap;
use model::{
    Domain, DomainRef, DomainState, Inventory,
    index::{self, HostIndex},
    selection::{Counts, Selection, Used, rank},
    window::{Member, Window},
};

use crate::{
    format,
    pages::domains::{PAGE, TAGS, View},
    routes::{self, Page},
};

/// Machines that the overview names as the busiest.
pub const BUSIEST: usize = 6;

/// What a window is made of.
pub struct WindowSources<'a> {
    /// The visible machines.
    pub hosts: &'a Inventory,
    /// Their index.
    pub index: &'a [Arc<HostIndex>],
    /// What machines use of what a list is ordered by.
    pub used: &'a dyn Fn(&Selection) -> Used,
    /// The machines with the highest CPU usage.
    pub busiest: &'a dyn Fn() -> Vec<DomainRef>,
}

/// The window of the page at an address.
pub fn window(address: &str, known: &WindowSources<'_>) -> Window {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let named = |ids: Vec<DomainRef>| {
        ids.into_iter().filter_map(|id| Some((known.hosts.domain(&id)?.clone(), id))).map(|(domain, id)| (id, domain))
    };
    let (mut counts, mut still) = (None, false);
    let machines: Vec<_> = match Page::parse(address) {
        Some(Page::Vms) => {
            let (matching, machines) = list(query, known);
            counts = Some(matching);
            still = machines.len() == PAGE && !follows_usage(address);
            machines
        }
        Some(Page::Vm(id, _)) => named(vec![id]).collect(),
        Some(Page::Confirm) => {
            let on = routes::value_of(query, "on").unwrap_or_default();
            named(on.split(',').filter_map(|id| id.parse().ok()).collect()).collect()
        }
        Some(Page::Overview) => {
            let mut ids = index::worst_of(known.index, |id| known.hosts.domain(id).cloned());
            let busiest: Vec<DomainRef> = (known.busiest)().into_iter().filter(|id| !ids.contains(id)).collect();
            ids.extend(busiest);
            named(ids).collect()
        }
        _ => Vec::new(),
    };
    let member = |(id, domain): (DomainRef, Arc<Domain>)| Member { id, version: domain.version };
    let machines = machines.into_iter().map(member).collect();
    // Only lists show these, and of all tags the most frequent.
    let mut counts: Counts = counts.unwrap_or_default();
    counts.tags.truncate(TAGS);
    Window { view: address.to_owned(), machines, still, counts, figures: index::figures(known.index) }
}

/// Whether what a page shows depends on the usage of machines, which no event says.
pub fn follows_usage(address: &str) -> bool {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    match Page::parse(address) {
        Some(Page::Vms) => view(query).measured().is_some(),
        page => page == Some(Page::Overview),
    }
}

fn view(query: &str) -> View {
    View::read(&form_urlencoded::parse(query.as_bytes()).into_owned().collect::<ParamsMap>())
}

/// How many machines match, and those of a page of the list.
fn list(query: &str, known: &WindowSources<'_>) -> (Counts, Vec<(DomainRef, Arc<Domain>)>) {
    let view = view(query);
    let drawn =
        |counts: &Counts| view.drawn(view.state.map_or(counts.all, |state: DomainState| counts.states[rank(state)]), 0);
    let used = (known.used)(&view);
    let (counts, mut first) = index::first(known.index, &view, (&used, format::folded), |counts| drawn(counts).end);
    first.drain(..drawn(&counts).start.min(first.len()));
    (counts, first)
}
