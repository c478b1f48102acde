//! Which machines a list shows, and in which order: one decision for the page, the API and every
//! other search. Addresses spell it (`?q=&state=&host=&tag=&sort=`).
//!
//! It selects and sorts; it draws nothing.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Domain, DomainRef, DomainState, VmStats, by_address, natural};

/// The order of a list as an address spells it: a column, with `-` in front for the largest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column.
    pub key: String,
    /// Whether the largest come first.
    pub descending: bool,
}

impl Order {
    /// Reads it; without one the named column counts.
    pub fn parse(text: Option<&str>, default: &str) -> Self {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(default);
        Self { key: text.trim_start_matches('-').to_owned(), descending: text.starts_with('-') }
    }

    /// The column, and whether the largest come first.
    pub fn as_pair(&self) -> (&str, bool) {
        (&self.key, self.descending)
    }
}

/// The columns that machines can be ordered by.
pub const COLUMNS: [&str; 11] =
    ["name", "state", "host", "since", "cpu", "memory", "disk", "network", "address", "vcpus", "autostart"];

/// Words that are searched for; further ones are ignored.
const MAX_WORDS: usize = 16;

/// Turns a text into one without case. Browsers ask JavaScript, which spares the module the tables.
pub type Fold = fn(&str) -> String;

/// What machines use of what a list is ordered by.
pub type Used = HashMap<DomainRef, f64>;

/// Which machines are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Words that all must occur in a machine's name, title, host, tags, addresses or guest, or
    /// begin its UUID.
    pub search: String,
    /// The only state.
    pub state: Option<DomainState>,
    /// The only host.
    pub host: Option<String>,
    /// The only tag.
    pub tag: Option<String>,
    /// The order.
    pub order: Order,
}

/// How many machines there are of each kind, within the rest of the selection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counts {
    /// Of any state.
    pub all: usize,
    /// By the rank of the state.
    pub states: [usize; DomainState::ALL.len()],
    /// By name of the tag.
    pub tags: Vec<(String, usize)>,
}

/// Counts in the API's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CountsByName {
    /// Machines that match, whatever their state.
    pub all: usize,
    /// Machines that match, by state; states without any are left out.
    pub states: std::collections::BTreeMap<&'static str, usize>,
    /// Machines that match but for their tags, by tag.
    pub tags: std::collections::BTreeMap<String, usize>,
}

impl From<Counts> for CountsByName {
    fn from(counts: Counts) -> Self {
        let states = DomainState::ALL.into_iter().map(DomainState::key).zip(counts.states);
        Self {
            all: counts.all,
            states: states.filter(|(_, count)| *count > 0).collect(),
            tags: counts.tags.into_iter().collect(),
        }
    }
}

/// The place of a state in the order of states.
pub fn rank(state: DomainState) -> usize {
    DomainState::ALL.iter().position(|known| *known == state).unwrap_or_default()
}

/// A machine that may be shown.
struct Candidate<'a> {
    id: &'a DomainRef,
    domain: Arc<Domain>,
    /// Its name without case, if that is another one.
    folded: Option<String>,
}

impl<'a> Candidate<'a> {
    fn new(id: &'a DomainRef, domain: Arc<Domain>, fold: Fold) -> Self {
        let plain = domain.name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        let folded = (!plain).then(|| fold(&domain.name));
        Self { id, domain, folded }
    }

    /// Its name without case.
    fn name(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.domain.name)
    }
}

/// Whether a text contains a word, whatever its case; the word is without case.
fn holds(text: &str, word: &str, fold: Fold) -> bool {
    if !text.is_ascii() {
        return fold(text).contains(word);
    }
    // Most texts are plain, and looking at them needs no other text.
    let (text, word) = (text.as_bytes(), word.as_bytes());
    word.is_empty() || text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// All machines.
type Machines<'a, 'm> = dyn Iterator<Item = (&'a DomainRef, Arc<Domain>)> + 'm;

impl Selection {
    /// All machines, by name.
    pub fn all() -> Self {
        let (search, state, host, tag) = (String::new(), None, None, None);
        Self { search, state, host, tag, order: Order::parse(None, "name") }
    }

    /// The figure that the list is ordered by; none when that is no measured figure.
    pub fn measured(&self) -> Option<fn(&VmStats) -> Option<f64>> {
        match self.order.key.as_str() {
            "cpu" => Some(|stats| stats.cpu_usage_percent),
            "memory" => Some(|stats| stats.guest_used_mb().map(|used| used as f64)),
            "disk" => Some(|stats| sum(stats.disk_read_bytes_sec, stats.disk_write_bytes_sec)),
            "network" => Some(|stats| sum(stats.network_rx_bytes_sec, stats.network_tx_bytes_sec)),
            _ => None,
        }
    }

    /// The machines to show, in order.
    pub fn choose(&self, machines: &mut Machines<'_, '_>, used: &Used, fold: Fold) -> Vec<DomainRef> {
        let mut chosen: Vec<Candidate<'_>> = self.candidates(machines, fold).collect();
        chosen.sort_by(|a, b| self.compare(a, b, used));
        chosen.into_iter().map(|machine| machine.id.clone()).collect()
    }

    /// The first machines after one of them, in order, and whether there are more. It looks at each
    /// machine once and sorts few of them, so that a window of many is cheap.
    pub fn window(
        &self,
        machines: &mut Machines<'_, '_>,
        used: &Used,
        fold: Fold,
        (after, limit): (Option<(&DomainRef, Arc<Domain>)>, usize),
    ) -> (Vec<(DomainRef, Arc<Domain>)>, bool) {
        let after = after.map(|(id, domain)| Candidate::new(id, domain, fold));
        let (mut first, mut full): (Vec<Candidate<'_>>, bool) = (Vec::new(), false);
        for machine in self.candidates(machines, fold) {
            let passed = after.as_ref().is_some_and(|after| self.compare(&machine, after, used).is_le());
            // Once sorted, what comes behind the last one is of no interest.
            let late = full && self.compare(&machine, &first[limit], used).is_ge();
            if passed || late {
                continue;
            }
            first.push(machine);
            if first.len() > limit * 2 {
                first.sort_by(|a, b| self.compare(a, b, used));
                first.truncate(limit + 1);
                full = true;
            }
        }
        first.sort_by(|a, b| self.compare(a, b, used));
        let more = first.len() > limit;
        first.truncate(limit);
        (first.into_iter().map(|machine| (machine.id.clone(), machine.domain)).collect(), more)
    }

    /// The machines that match, in no order.
    fn candidates<'a>(&self, machines: &mut Machines<'a, '_>, fold: Fold) -> impl Iterator<Item = Candidate<'a>> {
        let words = self.words(fold);
        let matching =
            machines.filter(move |(id, domain)| self.matches(id, domain, &words, fold) && self.has_state(domain));
        matching.map(move |(id, domain)| Candidate::new(id, domain, fold))
    }

    /// The machines that the search and the host leave, and the rest of the selection: so a search
    /// looks at each text once, whatever is made of the machines that it finds.
    pub fn found<'a>(&self, machines: &mut Machines<'a, '_>, fold: Fold) -> (Vec<(&'a DomainRef, Arc<Domain>)>, Self) {
        let words = self.words(fold);
        let search = Self { state: None, tag: None, ..self.clone() };
        let found = machines.filter(|(id, domain)| search.matches(id, domain, &words, fold)).collect();
        (found, Self { search: String::new(), host: None, ..self.clone() })
    }

    /// How many machines of each state and tag the rest of the selection leaves.
    pub fn counts(&self, machines: &mut Machines<'_, '_>, fold: Fold) -> Counts {
        let words = self.words(fold);
        let untagged = Self { tag: None, ..self.clone() };
        let mut counts = Counts::default();
        for (id, domain) in machines {
            if !untagged.matches(id, &domain, &words, fold) {
                continue;
            }
            if !domain.tags.is_empty() {
                for tag in &domain.tags {
                    match counts.tags.binary_search_by(|(known, _)| known.cmp(tag)) {
                        Ok(at) => counts.tags[at].1 += 1,
                        Err(at) => counts.tags.insert(at, (tag.clone(), 1)),
                    }
                }
            }
            if self.has_tag(&domain) {
                counts.all += 1;
                counts.states[rank(domain.state)] += 1;
            }
        }
        counts
    }

    /// The words to search for. So many that they are longer than any text cost everybody time.
    fn words(&self, fold: Fold) -> Vec<String> {
        self.search.split_whitespace().take(MAX_WORDS).map(fold).collect()
    }

    fn has_state(&self, domain: &Domain) -> bool {
        self.state.is_none_or(|state| domain.state == state)
    }

    fn has_tag(&self, domain: &Domain) -> bool {
        self.tag.as_ref().is_none_or(|tag| domain.tags.contains(tag))
    }

    /// Everything but the state.
    fn matches(&self, id: &DomainRef, domain: &Domain, words: &[String], fold: Fold) -> bool {
        self.host.as_deref().is_none_or(|host| id.host.as_str() == host)
            && self.has_tag(domain)
            && words.iter().all(|word| {
                let holds = |text: &str| holds(text, word, fold);
                holds(&domain.name)
                    || holds(&domain.title)
                    || holds(id.host.as_str())
                    || domain.tags.iter().any(|tag| holds(tag))
                    || domain.addresses.iter().any(|address| holds(address))
                    || domain.guest.as_ref().is_some_and(|guest| holds(&guest.hostname) || holds(&guest.os_version))
                    || id.id.to_string().starts_with(word.as_str())
            })
    }

    fn compare(&self, a: &Candidate<'_>, b: &Candidate<'_>, used: &Used) -> Ordering {
        let by = match self.measured() {
            Some(_) => self.amount(a, used).total_cmp(&self.amount(b, used)),
            None => self.compare_column(a, b),
        };
        let by = if self.order.descending { by.reverse() } else { by };
        by.then_with(|| natural(a.name(), b.name())).then_with(|| a.id.cmp(b.id))
    }

    /// The figure that a machine shows in the column that the list is ordered by.
    fn amount(&self, machine: &Candidate<'_>, used: &Used) -> f64 {
        let otherwise = if self.order.key == "memory" { machine.domain.memory_mb as f64 } else { -1.0 };
        used.get(machine.id).copied().unwrap_or(otherwise)
    }

    fn compare_column(&self, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        let (left, right) = (&a.domain, &b.domain);
        match self.order.key.as_str() {
            "state" => rank(left.state).cmp(&rank(right.state)),
            "host" => a.id.host.cmp(&b.id.host),
            // The longest time first is the smallest moment.
            "since" => right.since.cmp(&left.since),
            "vcpus" => left.vcpus.cmp(&right.vcpus),
            "address" => match (left.addresses.first(), right.addresses.first()) {
                (Some(a), Some(b)) => by_address(a, b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
            "autostart" => right.autostart.cmp(&left.autostart),
            _ => natural(a.name(), b.name()),
        }
    }
}

/// Both directions together.
fn sum(inward: Option<u64>, outward: Option<u64>) -> Option<f64> {
    Some(inward? as f64 + outward? as f64)
}

/// Without case, for the tests of this crate.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "browsers do not run tests")]
pub(crate) fn fold(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selection(sort: &str, search: &str) -> Selection {
        Selection { search: search.into(), state: None, host: None, tag: None, order: Order::parse(Some(sort), "name") }
    }

    #[test]
    fn an_order_is_a_column_and_a_direction() {
        assert_eq!(Order::parse(Some("-state"), "name"), Order { key: "state".into(), descending: true });
        assert_eq!(Order::parse(None, "name"), Order { key: "name".into(), descending: false });
    }

    proptest! {
        #[test]
        fn windows_one_after_the_other_are_the_whole_list_in_its_order(
            names in proptest::collection::vec("(web|DB|ü)-[0-9]{1,2}", 0..60),
            limit in 1_usize..9,
            sort in prop_oneof![Just("name"), Just("-vcpus"), Just("-cpu"), Just("since")],
        ) {
            let machines: Vec<(DomainRef, Arc<Domain>)> = names.iter().enumerate().map(|(n, name)| {
                let id = DomainRef { host: "atlas".parse().expect("a name"), id: uuid::Uuid::from_u128(n as u128) };
                let (vcpus, since) = (n as u32 % 3, Some(n as u64 % 4));
                (id, Arc::new(Domain { name: name.clone(), vcpus, since, ..Domain::default() }))
            }).collect();
            let used: Used = machines.iter().step_by(3).zip([5.0, 1.0, 5.0]).map(|((id, _), used)| (id.clone(), used)).collect();
            let (selection, fold) = (selection(sort, ""), (|text: &str| text.to_ascii_lowercase()) as Fold);
            let all = || machines.iter().map(|(id, domain)| (id, domain.clone()));
            let whole = selection.choose(&mut all(), &used, fold);
            let mut windows: Vec<(DomainRef, Arc<Domain>)> = Vec::new();
            loop {
                let after = windows.last().cloned();
                let after = after.as_ref().map(|(id, domain)| (id, domain.clone()));
                let (window, more) = selection.window(&mut all(), &used, fold, (after, limit));
                windows.extend(window);
                if !more {
                    break;
                }
            }
            let windows: Vec<DomainRef> = windows.into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(windows, whole);
        }
    }

    proptest! {
        #[test]
        fn a_text_holds_a_word_whatever_its_case(text in "[a-cA-CéÉ ]{0,8}", word in "[a-cA-CéÉ]{0,3}") {
            let word = fold(&word);
            prop_assert_eq!(holds(&text, &word, fold), fold(&text).contains(&word));
        }
    }

    #[test]
    fn a_window_of_many_machines_is_full_and_says_that_there_are_more() {
        let machines: Vec<(DomainRef, Arc<Domain>)> = (0..10_000_u128)
            .map(|n| {
                let host = format!("kvm-{}", n % 300).parse().expect("a name");
                let tags = vec![format!("team-{}", n % 40)];
                let name = format!("web-{}", n * 7_919 % 10_000);
                (DomainRef { host, id: uuid::Uuid::from_u128(n) }, Arc::new(Domain { name, tags, ..Domain::default() }))
            })
            .collect();
        for (sort, search, found) in
            [("name", "", 10_000), ("-vcpus", "", 10_000), ("host", "team-7", 250), ("name", "web-99", 111)]
        {
            let selection = selection(sort, search);
            let all = || machines.iter().map(|(id, domain)| (id, domain.clone()));
            assert_eq!(selection.counts(&mut all(), fold).all, found, "{search}");
            let (window, more) = selection.window(&mut all(), &Used::new(), fold, (None, 100));
            assert!(window.len() == 100 && more, "{search}");
        }
    }
}
