//! What an address of the list asks for, and the addresses of its neighbours.

use std::{cmp::Ordering, collections::HashMap, ops::Range, sync::Arc};

use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use model::{Domain, DomainRef, DomainState, VmStats, by_address, natural};

use super::Counts;
use crate::{
    format, routes,
    ui::table::{Column, Order},
};

/// The columns between the tick box and nothing, in their order.
pub(super) const COLUMNS: [Column; 11] = [
    column("Name", "name", false),
    column("State", "state", false),
    column("Host", "host", false),
    column("Since", "since", true),
    column("CPU", "cpu", true),
    column("Memory", "memory", true),
    column("Disk", "disk", true),
    column("Network", "network", true),
    column("Address", "address", false),
    column("Tags", "", false),
    column("Actions", "", false),
];

const fn column(label: &'static str, key: &'static str, numeric: bool) -> Column {
    Column { label, key, numeric }
}

/// What machines use of what a list is ordered by.
pub(super) type Used = HashMap<DomainRef, f64>;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// Words that all must occur.
    pub(super) search: String,
    /// The only state.
    pub(super) state: Option<DomainState>,
    /// The only host.
    pub(super) host: Option<String>,
    /// The only tag.
    pub(super) tag: Option<String>,
    /// The order.
    pub(super) order: Order,
    /// How many pages of `PAGE` machines come before what is drawn.
    pub(super) page: usize,
}

/// The place of a state in the order of states.
pub(super) fn rank(state: DomainState) -> usize {
    DomainState::ALL.iter().position(|known| *known == state).unwrap_or_default()
}

/// Machines that a page draws; painting more of them at every change would make a slow
/// browser late for clicks.
pub(super) const PAGE: usize = 30;

impl View {
    /// Reads an address; what it does not know it leaves out.
    pub(super) fn read(query: &ParamsMap) -> Self {
        let given = |name| query.get(name).filter(|value| !value.is_empty());
        Self {
            search: given("q").unwrap_or_default(),
            state: given("state").and_then(|state| DomainState::from_key(&state)),
            host: given("host"),
            tag: given("tag"),
            order: Order::parse(given("sort").as_deref(), "name"),
            page: given("page").and_then(|page| page.parse::<usize>().ok()).map_or(0, |page| page.saturating_sub(1)),
        }
    }

    /// The figure that the list is ordered by; none when that is no figure that is measured.
    pub(super) fn measured(&self) -> Option<fn(&VmStats) -> Option<f64>> {
        match self.order.key.as_str() {
            "cpu" => Some(|stats| stats.cpu_usage_percent),
            "memory" => Some(|stats| stats.guest_used_mb().map(|used| used as f64)),
            "disk" => Some(|stats| sum(stats.disk_read_bytes_sec, stats.disk_write_bytes_sec)),
            "network" => Some(|stats| sum(stats.network_rx_bytes_sec, stats.network_tx_bytes_sec)),
            _ => None,
        }
    }

    /// The machines to show, in order.
    pub(super) fn choose(
        &self,
        machines: &mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>,
        used: &Used,
    ) -> Vec<DomainRef> {
        let words = self.words();
        let mut chosen: Vec<(DomainRef, Arc<Domain>, String)> = machines
            .filter(|(id, domain)| self.matches(id, domain, &words) && self.has_state(domain))
            .map(|(id, domain)| {
                let name = format::folded(&domain.name);
                (id.clone(), domain, name)
            })
            .collect();
        chosen.sort_by(|(a_id, a, a_name), (b_id, b, b_name)| {
            let by = match self.measured() {
                Some(_) => self.amount(a_id, a, used).total_cmp(&self.amount(b_id, b, used)),
                None => self.compare((a_id, a, a_name), (b_id, b, b_name)),
            };
            let by = if self.order.descending { by.reverse() } else { by };
            by.then_with(|| natural(a_name, b_name)).then_with(|| a_id.cmp(b_id))
        });
        chosen.into_iter().map(|(id, ..)| id).collect()
    }

    /// What a machine shows of the figure that the list is ordered by.
    fn amount(&self, id: &DomainRef, domain: &Domain, used: &Used) -> f64 {
        let otherwise = if self.order.key == "memory" { domain.memory_mb as f64 } else { -1.0 };
        used.get(id).copied().unwrap_or(otherwise)
    }

    /// How many machines of each state and tag the rest of the filter leaves.
    pub(super) fn counts(&self, machines: &mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>) -> Counts {
        let words = self.words();
        let untagged = Self { tag: None, ..self.clone() };
        let mut counts = Counts::default();
        for (id, domain) in machines {
            if untagged.matches(id, &domain, &words) {
                for tag in &domain.tags {
                    match counts.tags.binary_search_by(|(known, _)| known.cmp(tag)) {
                        Ok(at) => counts.tags[at].1 += 1,
                        Err(at) => counts.tags.insert(at, (tag.clone(), 1)),
                    }
                }
            }
            if self.matches(id, &domain, &words) {
                counts.all += 1;
                counts.states[rank(domain.state)] += 1;
            }
        }
        counts
    }

    fn words(&self) -> Vec<String> {
        self.search.split_whitespace().map(format::folded).collect()
    }

    fn has_state(&self, domain: &Domain) -> bool {
        self.state.is_none_or(|state| domain.state == state)
    }

    /// Everything but the state.
    fn matches(&self, id: &DomainRef, domain: &Domain, words: &[String]) -> bool {
        self.host.as_deref().is_none_or(|host| id.host.as_str() == host)
            && self.tag.as_ref().is_none_or(|tag| domain.tags.contains(tag))
            && words.iter().all(|word| {
                let holds = |text: &str| format::folded(text).contains(word.as_str());
                holds(&domain.name)
                    || holds(&domain.title)
                    || holds(id.host.as_str())
                    || domain.tags.iter().any(|tag| holds(tag))
                    || domain.addresses.iter().any(|address| holds(address))
                    || domain.guest.as_ref().is_some_and(|guest| holds(&guest.hostname) || holds(&guest.os_version))
                    || id.id.to_string().starts_with(word.as_str())
            })
    }

    fn compare(
        &self,
        (a_id, a, a_name): (&DomainRef, &Domain, &String),
        (b_id, b, b_name): (&DomainRef, &Domain, &String),
    ) -> Ordering {
        match self.order.key.as_str() {
            "state" => rank(a.state).cmp(&rank(b.state)),
            "host" => a_id.host.cmp(&b_id.host),
            // The longest time first is the smallest moment.
            "since" => b.since.cmp(&a.since),
            "vcpus" => a.vcpus.cmp(&b.vcpus),
            "address" => match (a.addresses.first(), b.addresses.first()) {
                (Some(a), Some(b)) => by_address(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
            "autostart" => b.autostart.cmp(&a.autostart),
            _ => natural(a_name, b_name),
        }
    }

    /// Which of so many chosen machines are drawn when the page has grown by so
    /// many further ones. A page beyond the end is the last one.
    pub(super) fn drawn(&self, chosen: usize, grown: usize) -> Range<usize> {
        let page = self.page.min(chosen.saturating_sub(1) / PAGE);
        page * PAGE..chosen.min((page + 1 + grown) * PAGE)
    }

    pub(super) fn on_page(&self, page: usize) -> String {
        let first = self.address();
        let joint = if first.contains('?') { '&' } else { '?' };
        if page == 0 { first } else { format!("{first}{joint}page={}", page + 1) }
    }

    /// The address of the first page of this view.
    fn address(&self) -> String {
        let order = if self.order.descending { format!("-{}", self.order.key) } else { self.order.key.clone() };
        let pairs = [
            ("q", self.search.as_str()),
            ("state", self.state.map_or("", DomainState::key)),
            ("host", self.host.as_deref().unwrap_or_default()),
            ("tag", self.tag.as_deref().unwrap_or_default()),
            ("sort", if order == "name" { "" } else { &order }),
        ];
        let given: Vec<String> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", routes::escape(value)))
            .collect();
        let list = routes::at(routes::VMS);
        if given.is_empty() { list } else { format!("{list}?{}", given.join("&")) }
    }

    pub(super) fn in_state(&self, state: Option<DomainState>) -> String {
        Self { state, ..self.clone() }.address()
    }

    pub(super) fn on_host(&self, host: Option<String>) -> String {
        Self { host, ..self.clone() }.address()
    }

    pub(super) fn tagged(&self, tag: Option<String>) -> String {
        Self { tag, ..self.clone() }.address()
    }

    pub(super) fn searching(&self, search: String) -> String {
        Self { search, ..self.clone() }.address()
    }

    pub(super) fn ordered(&self, order: String) -> String {
        Self { order: Order::parse(Some(&order), "name"), ..self.clone() }.address()
    }

    /// What a form that searches must keep of this view.
    pub(super) fn hidden_fields(&self) -> AnyView {
        let order = if self.order.descending { format!("-{}", self.order.key) } else { self.order.key.clone() };
        let fields = [
            ("state", self.state.map(|state| state.key().to_owned())),
            ("host", self.host.clone()),
            ("tag", self.tag.clone()),
            ("sort", (order != "name").then_some(order)),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some(view! { <input type="hidden" name=name value=value?/> }.into_any()))
            .collect_view()
            .into_any()
    }
}

/// Both ways together.
fn sum(inward: Option<u64>, outward: Option<u64>) -> Option<f64> {
    Some(inward? as f64 + outward? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines() -> Vec<(DomainRef, Arc<Domain>)> {
        let machine = |number: u128, host: &str, name: &str, state, tags: &[&str]| {
            let id = DomainRef { host: host.parse().expect("a name"), id: uuid::Uuid::from_u128(number) };
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            (id, Arc::new(Domain { name: name.into(), state, tags, vcpus: number as u32, ..Domain::default() }))
        };
        vec![
            machine(1, "atlas", "web-2", DomainState::Running, &["prod"]),
            machine(2, "atlas", "Web-1", DomainState::Stopped, &["prod", "old"]),
            machine(3, "borea", "db", DomainState::Running, &[]),
        ]
    }

    fn chosen(query: &[(&str, &str)]) -> Vec<String> {
        let params: ParamsMap = query.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let machines = machines();
        let used = machines.iter().take(2).zip([7.0, 30.0]).map(|((id, _), used)| (id.clone(), used)).collect();
        let ids = View::read(&params).choose(&mut machines.iter().map(|(id, domain)| (id, domain.clone())), &used);
        ids.iter().map(|id| machines.iter().find(|(other, _)| other == id).expect("known").1.name.clone()).collect()
    }

    #[test]
    fn an_address_chooses_and_orders_machines() {
        assert_eq!(chosen(&[]), ["db", "Web-1", "web-2"]);
        assert_eq!(chosen(&[("sort", "-vcpus")]), ["db", "Web-1", "web-2"]);
        assert_eq!(chosen(&[("sort", "vcpus")]), ["web-2", "Web-1", "db"]);
        assert_eq!(chosen(&[("sort", "-cpu")]), ["Web-1", "web-2", "db"], "what is not measured comes last");
        assert_eq!(chosen(&[("q", "WEB prod")]), ["Web-1", "web-2"]);
        assert_eq!(chosen(&[("state", "running"), ("host", "atlas")]), ["web-2"]);
        assert_eq!(chosen(&[("tag", "old")]), ["Web-1"]);
        assert!(chosen(&[("q", "nothing")]).is_empty());
        assert_eq!(chosen(&[("state", "nonsense")]).len(), 3);
    }

    #[test]
    fn a_page_draws_its_share_and_what_it_has_grown_by() {
        let drawn = |page: &str, chosen, grown| {
            let params: ParamsMap = [("page".to_owned(), page.to_owned())].into_iter().collect();
            View::read(&params).drawn(chosen, grown)
        };
        assert_eq!(drawn("", 0, 0), 0..0);
        assert_eq!(drawn("", 225, 0), 0..30);
        assert_eq!(drawn("2", 225, 0), 30..60);
        assert_eq!(drawn("7", 225, 1), 180..225);
        assert_eq!(drawn("9", 225, 0), 210..225);
        assert_eq!(drawn("nonsense", 30, 0), 0..30);
    }

    #[test]
    fn neighbouring_addresses_keep_the_rest_of_the_filter() {
        let params: ParamsMap =
            [("q".to_owned(), "a b".to_owned()), ("tag".to_owned(), "x&y".to_owned())].into_iter().collect();
        let view = View::read(&params);
        assert_eq!(view.in_state(Some(DomainState::Paused)), "/vms?q=a%20b&state=paused&tag=x%26y");
        assert_eq!(view.tagged(None), "/vms?q=a%20b");
        assert_eq!(view.ordered("-memory".into()), "/vms?q=a%20b&tag=x%26y&sort=-memory");
        assert_eq!(view.on_page(1), "/vms?q=a%20b&tag=x%26y&page=2");
        assert_eq!(view.on_page(0), view.tagged(view.tag.clone()));
    }
}
