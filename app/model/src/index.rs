//! An index of one host's machines, sorted by name and with the text that searches read, kept
//! contiguous in memory: with very many machines, visiting each `Domain` would dominate every query.
//!
//! Used by the server only. Filters and sort orders are defined by `selection`, and both return the
//! same results.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    Domain, DomainRef, DomainState, HostId, HostInventory, natural,
    selection::{Counts, Fold, Selection, Used},
    window::{Figures, HostFigures, worst},
};

/// The index of a host.
pub struct HostIndex {
    host: HostId,
    /// By name.
    entries: Vec<Entry>,
    figures: Figures,
    tags: BTreeMap<String, usize>,
    /// The machines with the worst problems.
    worst: Vec<DomainRef>,
}

struct Entry {
    /// All that a search looks at, without case, the name first; no word contains what is between
    /// them.
    texts: Box<str>,
    /// Where the name ends.
    name: usize,
    id: Uuid,
    domain: Arc<Domain>,
}

/// Some machines, with their ids.
type Machines = Vec<(DomainRef, Arc<Domain>)>;

impl HostIndex {
    /// Reads a host.
    pub fn of(host: &HostInventory, fold: Fold) -> Self {
        let id = &host.host.id;
        let mut entries: Vec<Entry> = host.domains.values().map(|domain| Entry::of(id, domain, fold)).collect();
        entries.sort_by(|a, b| natural(a.name(), b.name()).then_with(|| a.id.cmp(&b.id)));
        let ids: Vec<DomainRef> = host.domains.keys().map(|vm| DomainRef { host: id.clone(), id: *vm }).collect();
        let machines = || ids.iter().zip(host.domains.values()).map(|(id, domain)| (id, domain.clone()));
        let mut tags = BTreeMap::new();
        host.domains.values().flat_map(|domain| &domain.tags).for_each(|tag| {
            *tags.entry(tag.clone()).or_default() += 1;
        });
        let (figures, worst) = (Figures::of(&mut machines()), worst(&mut machines()));
        Self { host: id.clone(), entries, figures, tags, worst }
    }
}

impl Entry {
    fn of(host: &HostId, domain: &Arc<Domain>, fold: Fold) -> Self {
        let guest = domain.guest.iter().flat_map(|guest| [guest.hostname.as_str(), &guest.os_version]);
        let lists = domain.tags.iter().chain(&domain.addresses).map(String::as_str);
        let mut texts = String::with_capacity(96);
        add(&mut texts, &domain.name, fold);
        let name = texts.len();
        for text in [domain.title.as_str(), host.as_str()].into_iter().chain(lists).chain(guest) {
            texts.push('\n');
            add(&mut texts, text, fold);
        }
        Self { texts: texts.into(), name, id: domain.id, domain: domain.clone() }
    }

    /// Its name without case.
    fn name(&self) -> &str {
        &self.texts[..self.name]
    }

    fn matches(&self, words: &[String]) -> bool {
        words.iter().all(|word| self.texts.contains(word.as_str()) || self.id.to_string().starts_with(word.as_str()))
    }
}

/// Adds a text without case.
fn add(texts: &mut String, text: &str, fold: Fold) {
    if text.is_ascii() {
        texts.extend(text.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
    } else {
        texts.push_str(&fold(text));
    }
}

/// Figures over all machines of these hosts.
pub fn figures(hosts: &[Arc<HostIndex>]) -> Figures {
    let each: Vec<HostFigures> = hosts.iter().flat_map(|host| host.figures.hosts.iter().cloned()).collect();
    Figures { hosts: each, troubled: hosts.iter().map(|host| host.figures.troubled).sum() }
}

/// The machines with the worst problems, the worst first.
pub fn worst_of(hosts: &[Arc<HostIndex>], find: impl Fn(&DomainRef) -> Option<Arc<Domain>>) -> Vec<DomainRef> {
    let mut found = hosts.iter().flat_map(|host| &host.worst).filter_map(|id| Some((id, find(id)?)));
    worst(&mut found)
}

/// How many machines there are in all.
pub fn counts(hosts: &[Arc<HostIndex>]) -> Counts {
    let mut tags: BTreeMap<&str, usize> = BTreeMap::new();
    for (tag, count) in hosts.iter().flat_map(|host| &host.tags) {
        *tags.entry(tag).or_default() += count;
    }
    let figures = figures(hosts);
    let tags = tags.into_iter().map(|(tag, count)| (tag.to_owned(), count)).collect();
    Counts { all: figures.all(), states: figures.states(), tags }
}

/// How many machines a selection leaves, and the first `end` of them in order.
pub fn first(
    hosts: &[Arc<HostIndex>],
    selection: &Selection,
    (used, fold): (&Used, Fold),
    end: impl FnOnce(&Counts) -> usize,
) -> (Counts, Machines) {
    let words: Vec<String> = selection.search.split_whitespace().map(fold).collect();
    let named = |host: &&Arc<HostIndex>| selection.host.as_deref().is_none_or(|name| host.host.as_str() == name);
    let hosts: Vec<Arc<HostIndex>> = hosts.iter().filter(named).cloned().collect();
    // Most machines are told apart by their texts, without a look at the machine itself.
    let tag = selection.tag.as_ref().map(|tag| (tag, fold(tag)));
    let has_tag = |entry: &Entry| {
        tag.as_ref().is_none_or(|(tag, folded)| entry.texts.contains(folded) && entry.domain.tags.contains(tag))
    };
    let matches = |entry: &&Entry| if words.is_empty() { has_tag(entry) } else { entry.matches(&words) };
    let found: Option<Vec<Vec<&Entry>>> = (!words.is_empty() || tag.is_some())
        .then(|| hosts.iter().map(|host| host.entries.iter().filter(matches).collect()).collect());
    let rest = Selection { search: String::new(), host: None, ..selection.clone() };
    let counts = match &found {
        None => counts(&hosts),
        Some(found) => {
            let ids = ids(&hosts, found);
            let mut machines = ids.iter().zip(found.iter().flatten()).map(|(id, entry)| (id, entry.domain.clone()));
            let mut matching = rest.counts(&mut machines, fold);
            if words.is_empty() {
                matching.tags = counts(&hosts).tags;
            }
            matching
        }
    };
    let end = end(&counts);
    let in_state = |entry: &Entry| selection.state.is_none_or(|state: DomainState| entry.domain.state == state);
    if selection.order.as_pair() != ("name", false) {
        let all: Vec<Vec<&Entry>> = match found {
            None => hosts.iter().map(|host| host.entries.iter().collect()).collect(),
            Some(found) => found,
        };
        let ids = ids(&hosts, &all);
        let mut machines = ids.iter().zip(all.iter().flatten()).map(|(id, entry)| (id, entry.domain.clone()));
        return (counts, rest.window(&mut machines, used, fold, (None, end)).0);
    }
    let wanted = |entry: &&Entry| in_state(entry) && has_tag(entry);
    let each: Vec<Box<dyn Iterator<Item = &Entry>>> = match &found {
        None => hosts.iter().map(|host| Box::new(host.entries.iter().filter(wanted)) as Box<_>).collect(),
        Some(found) => found.iter().map(|found| Box::new(found.iter().copied().filter(wanted)) as Box<_>).collect(),
    };
    (counts, merged(&hosts, each, end))
}

fn ids(hosts: &[Arc<HostIndex>], entries: &[Vec<&Entry>]) -> Vec<DomainRef> {
    let of = |(host, entries): (&Arc<HostIndex>, &Vec<&Entry>)| -> Vec<DomainRef> {
        entries.iter().map(|entry| DomainRef { host: host.host.clone(), id: entry.id }).collect()
    };
    hosts.iter().zip(entries).flat_map(of).collect()
}

/// The next machine of a host.
struct Head<'a> {
    entry: &'a Entry,
    host: &'a HostId,
    at: usize,
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by = natural(self.entry.name(), other.entry.name());
        by.then_with(|| self.host.cmp(other.host)).then_with(|| self.entry.id.cmp(&other.entry.id))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

/// The first machines of several hosts, each of which brings its own in order.
fn merged<'a>(
    hosts: &'a [Arc<HostIndex>],
    mut each: Vec<Box<dyn Iterator<Item = &'a Entry> + 'a>>,
    end: usize,
) -> Machines {
    let mut next = |at: usize| {
        let entry = each.get_mut(at)?.next()?;
        Some(Reverse(Head { entry, host: &hosts[at].host, at }))
    };
    let mut heads: BinaryHeap<Reverse<Head<'a>>> = (0..hosts.len()).filter_map(&mut next).collect();
    let mut first = Vec::new();
    while first.len() < end {
        let Some(Reverse(Head { entry, host, at })) = heads.pop() else { break };
        first.push((DomainRef { host: host.clone(), id: entry.id }, entry.domain.clone()));
        heads.extend(next(at));
    }
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Inventory,
        selection::{Order, fold},
    };

    proptest! {
        #[test]
        fn an_index_answers_like_a_look_at_every_machine(
            machines in proptest::collection::vec(("(web|DB|Ü)-[0-9]{1,2}", 0_usize..7, "[ab]{0,2}", 0_usize..3), 0..40),
            (search, state, host, tag) in ("(|web|b|ü|db 1)", proptest::option::of(0_usize..7), any::<bool>(), any::<bool>()),
            sort in prop_oneof![Just("name"), Just("-name"), Just("-vcpus"), Just("state")],
            end in 0_usize..9,
        ) {
            let mut inventory = Inventory::default();
            for (n, (name, state, tag, host)) in machines.into_iter().enumerate() {
                let id: HostId = format!("h{host}").parse().expect("a name");
                let unread = || Arc::new(HostInventory::unread(id.clone(), String::new(), false, 0));
                let host = Arc::make_mut(inventory.hosts.entry(id.clone()).or_insert_with(unread));
                let tags = tag.chars().map(String::from).collect();
                let id = Uuid::from_u128(n as u128);
                let state = DomainState::ALL[state];
                host.domains.insert(id, Arc::new(Domain { id, name, state, tags, vcpus: n as u32 % 3, ..Domain::default() }));
            }
            let selection = Selection {
                search,
                state: state.map(|state| DomainState::ALL[state]),
                host: host.then(|| "h1".to_owned()),
                tag: tag.then(|| "a".to_owned()),
                order: Order::parse(Some(sort), "name"),
            };
            let index: Vec<_> = inventory.hosts.values().map(|host| Arc::new(HostIndex::of(host, fold))).collect();
            let ids: Vec<DomainRef> = inventory.ids().collect();
            let all = || ids.iter().zip(inventory.domains()).map(|(id, (_, domain))| (id, domain.clone()));
            let used = Used::new();
            let (counts, window) = first(&index, &selection, (&used, fold), |_| end);
            prop_assert_eq!(&counts, &selection.counts(&mut all(), fold));
            prop_assert_eq!(window, selection.window(&mut all(), &used, fold, (None, end)).0);
            prop_assert_eq!(figures(&index), Figures::of(&mut all()));
            prop_assert_eq!(worst_of(&index, |id| inventory.domain(id).cloned()), worst(&mut all()));
            prop_assert_eq!(super::counts(&index), Selection::all().counts(&mut all(), fold));
        }
    }
}
