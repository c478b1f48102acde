//! The view in the list's address, and the addresses of related views.

use std::{
    ops::{Deref, Range},
    sync::Arc,
};

use leptos::prelude::*;
use leptos_router::params::ParamsMap;
use model::{
    Domain, DomainRef, DomainState,
    selection::{Counts, Order, Selection, Used},
};

use crate::{format, routes, ui::table::Column};

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

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// Which machines, and their order.
    pub(super) selection: Selection,
    /// How many pages of `PAGE` machines come before what is drawn.
    pub(super) page: usize,
}

impl Deref for View {
    type Target = Selection;

    fn deref(&self) -> &Selection {
        &self.selection
    }
}

/// Machines per page. More of them would slow down clicks in slow browsers.
pub(crate) const PAGE: usize = 30;

impl View {
    /// Parses a query; unknown values are ignored.
    pub(crate) fn read(query: &ParamsMap) -> Self {
        let given = |name| query.get(name).filter(|value| !value.is_empty());
        let selection = Selection {
            search: given("q").unwrap_or_default(),
            state: given("state").and_then(|state| DomainState::from_key(&state)),
            host: given("host"),
            tag: given("tag"),
            order: Order::parse(given("sort").as_deref(), "name"),
        };
        Self {
            selection,
            page: given("page").and_then(|page| page.parse::<usize>().ok()).map_or(0, |page| page.saturating_sub(1)),
        }
    }

    /// The machines to show, in order.
    pub(super) fn choose(
        &self,
        machines: &mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>,
        used: &Used,
    ) -> Vec<DomainRef> {
        self.selection.choose(machines, used, format::folded)
    }

    /// Machines per state and tag, within the rest of the filter.
    pub(crate) fn counts(&self, machines: &mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>) -> Counts {
        self.selection.counts(machines, format::folded)
    }

    /// The range of matching machines to render, with `grown` further pages. A page beyond the end
    /// is the last one.
    pub(crate) fn drawn(&self, chosen: usize, grown: usize) -> Range<usize> {
        let page = self.page.min(chosen.saturating_sub(1) / PAGE);
        page * PAGE..chosen.min((page + 1 + grown) * PAGE)
    }

    pub(super) fn on_page(&self, page: usize) -> String {
        let first = self.address();
        if page == 0 { first } else { routes::with(&first, &[("page", &(page + 1).to_string())]) }
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
        routes::with(&routes::at(routes::VMS), &pairs)
    }

    /// The address of a view that differs in one part of the selection.
    fn neighbour(&self, change: impl FnOnce(&mut Selection)) -> String {
        let mut view = self.clone();
        change(&mut view.selection);
        view.address()
    }

    pub(super) fn in_state(&self, state: Option<DomainState>) -> String {
        self.neighbour(|selection| selection.state = state)
    }

    pub(super) fn on_host(&self, host: Option<String>) -> String {
        self.neighbour(|selection| selection.host = host)
    }

    pub(super) fn tagged(&self, tag: Option<String>) -> String {
        self.neighbour(|selection| selection.tag = tag)
    }

    pub(super) fn searching(&self, search: String) -> String {
        self.neighbour(|selection| selection.search = search)
    }

    pub(super) fn ordered(&self, order: String) -> String {
        self.neighbour(|selection| selection.order = Order::parse(Some(&order), "name"))
    }

    /// The parts of the view that a search form has to keep.
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
    fn a_query_filters_and_sorts_machines() {
        assert_eq!(chosen(&[]), ["db", "Web-1", "web-2"]);
        assert_eq!(chosen(&[("sort", "-vcpus")]), ["db", "Web-1", "web-2"]);
        assert_eq!(chosen(&[("sort", "vcpus")]), ["web-2", "Web-1", "db"]);
        assert_eq!(chosen(&[("sort", "-cpu")]), ["Web-1", "web-2", "db"], "machines without data come last");
        assert_eq!(chosen(&[("q", "WEB prod")]), ["Web-1", "web-2"]);
        assert_eq!(chosen(&[("state", "running"), ("host", "atlas")]), ["web-2"]);
        assert_eq!(chosen(&[("tag", "old")]), ["Web-1"]);
        assert!(chosen(&[("q", "nothing")]).is_empty());
        assert_eq!(chosen(&[("state", "nonsense")]).len(), 3);
    }

    #[test]
    fn a_page_has_its_range_and_further_pages() {
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
    fn related_addresses_keep_the_rest_of_the_filter() {
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
