//! What a page brings when there are more machines than a browser can mirror: the machines that it
//! shows, and figures over all of them.
//!
//! Up to `WHOLE` machines a browser mirrors everything and counts by itself, with the same
//! functions. It decides nothing about addresses: which machines a page shows is up to the page.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Domain, DomainRef, DomainState, HostId, HostStats, VmStats,
    inventory::Snapshot,
    natural,
    selection::{Counts, rank},
};

/// The largest number of visible machines of which a browser mirrors all.
pub const WHOLE: usize = 2_000;

/// The SSE event name of a changed window. Like the kinds in `LATEST`, it is not in the event log
/// and has no id.
pub const KIND: &str = "window";

/// Problems that the overview lists.
pub const WORST: usize = 8;

/// What a page of the browser starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PageData {
    /// All hosts, without pools and networks, and the machines of the window or all of them.
    pub snapshot: Snapshot,
    /// The window; none when all machines are in the snapshot.
    #[serde(default)]
    pub window: Option<Arc<Window>>,
    /// The last usage of these machines.
    pub stats: Vec<VmStats>,
    /// The last usage of the hosts.
    pub hosts: Vec<HostStats>,
}

/// A page's part of many machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The address of the page, with its query.
    pub view: String,
    /// The machines that the page shows, in order.
    pub machines: Vec<Member>,
    /// Whether rows stay in their places until the reader asks for others: in a list that is full
    /// and whose order does not follow usage.
    pub still: bool,
    /// Matching machines, by state and tag.
    pub counts: Counts,
    /// Figures over all visible machines.
    pub figures: Figures,
}

/// A machine of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The machine.
    pub id: DomainRef,
    /// Its version, so that a browser notices that it missed a change.
    pub version: u64,
}

/// Figures over all visible machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// By host; hosts without machines are left out.
    pub hosts: Vec<HostFigures>,
    /// Machines with a problem.
    pub troubled: usize,
}

/// Figures of one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostFigures {
    /// The host.
    pub host: HostId,
    /// Machines by the rank of their state.
    pub states: Vec<usize>,
    /// Memory allocated to running machines, in MiB.
    pub assigned_mb: u64,
}

impl HostFigures {
    fn none(host: HostId) -> Self {
        Self { host, states: vec![0; DomainState::ALL.len()], assigned_mb: 0 }
    }

    /// All machines of the host.
    pub fn all(&self) -> usize {
        self.states.iter().sum()
    }

    /// Its machines in a state.
    pub fn in_state(&self, state: DomainState) -> usize {
        self.states.get(rank(state)).copied().unwrap_or_default()
    }
}

impl Figures {
    /// Counts machines.
    pub fn of(machines: &mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>) -> Self {
        let (mut hosts, mut at, mut troubled) = (Vec::<HostFigures>::new(), 0, 0);
        for (id, domain) in machines {
            // Neighbours are mostly of one host, and comparing names takes longer than the rest.
            if hosts.get(at).is_none_or(|figures| figures.host != id.host) {
                at = hosts.binary_search_by(|figures| figures.host.cmp(&id.host)).unwrap_or_else(|at| {
                    hosts.insert(at, HostFigures::none(id.host.clone()));
                    at
                });
            }
            let figures = &mut hosts[at];
            figures.states[rank(domain.state)] += 1;
            if domain.state == DomainState::Running {
                figures.assigned_mb += domain.memory_mb;
            }
            troubled += usize::from(domain.problem().is_some());
        }
        Self { hosts, troubled }
    }

    /// All machines.
    pub fn all(&self) -> usize {
        self.hosts.iter().map(HostFigures::all).sum()
    }

    /// All machines by the rank of their state.
    pub fn states(&self) -> [usize; DomainState::ALL.len()] {
        DomainState::ALL.map(|state| self.hosts.iter().map(|host| host.in_state(state)).sum())
    }

    /// The figures of one host; none if it has no machines.
    pub fn host(&self, id: &HostId) -> Option<&HostFigures> {
        self.hosts.iter().find(|host| host.host == *id)
    }
}

/// The machines with the worst problems, the worst first.
pub fn worst(machines: &mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>) -> Vec<DomainRef> {
    let troubled = machines.filter_map(|(id, domain)| Some((domain.problem()?.rank(), id, domain)));
    let mut troubled: Vec<_> = troubled.collect();
    troubled.sort_by(|(rank, id, domain), (other_rank, other_id, other)| {
        rank.cmp(other_rank).then_with(|| natural(&domain.name, &other.name)).then_with(|| id.cmp(other_id))
    });
    troubled.into_iter().take(WORST).map(|(_, id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_count_by_host_and_state_and_name_the_worst_first() {
        let machine = |n: u128, host: &str, name: &str, state, autostart| {
            let id = DomainRef { host: host.parse().expect("a name"), id: uuid::Uuid::from_u128(n) };
            (id, Arc::new(Domain { name: name.into(), state, autostart, memory_mb: 100, ..Domain::default() }))
        };
        let machines = [
            machine(1, "borea", "web-10", DomainState::Crashed, false),
            machine(2, "atlas", "web-9", DomainState::Crashed, false),
            machine(3, "atlas", "db", DomainState::Stopped, true),
            machine(4, "atlas", "ok", DomainState::Running, true),
        ];
        let all = || machines.iter().map(|(id, domain)| (id, domain.clone()));
        let figures = Figures::of(&mut all());
        let atlas = figures.host(&"atlas".parse().expect("a name")).expect("it has machines");
        assert_eq!((figures.all(), figures.troubled, atlas.all(), atlas.assigned_mb), (4, 3, 3, 100));
        assert_eq!((figures.states()[rank(DomainState::Crashed)], atlas.in_state(DomainState::Crashed)), (2, 1));
        assert_eq!(worst(&mut all()), [&machines[1].0, &machines[0].0, &machines[2].0].map(Clone::clone));
        let text = serde_json::to_string(&figures).expect("json");
        let read: Figures = crate::read::read(&text).expect("it is read back");
        assert_eq!(read, figures);
    }
}
