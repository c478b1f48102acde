//! An unordered, keyed collection with one signal per machine, so that a change
//! of one redraws one row.
//!
//! A row's signal outlives its row: whoever still holds it reads the last value.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use leptos::prelude::*;
use model::{Domain, DomainRef, DomainState, HostId, RequestId};

use super::{shown::Shown, stats::Recent};

/// A command under way, shown on its row until its end is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    /// The request.
    pub(crate) request: RequestId,
    /// The command's kind.
    pub(crate) kind: String,
}

/// What a row shows, each part with its own signal.
#[derive(Clone)]
pub(crate) struct Row {
    /// Which machine.
    pub(crate) id: DomainRef,
    /// The machine.
    pub(crate) domain: Shown<Arc<Domain>>,
    /// What it used lately; empty while it does not run.
    pub(crate) stats: Shown<Recent>,
    /// Whether it is ticked.
    pub(crate) selected: ArcRwSignal<bool>,
    /// What is being done with it.
    pub(crate) pending: ArcRwSignal<Option<Pending>>,
}

impl Row {
    fn new(id: DomainRef, domain: Arc<Domain>) -> Self {
        Self {
            id,
            domain: Shown::new(domain),
            stats: Shown::new(Recent::default()),
            selected: ArcRwSignal::new(false),
            pending: ArcRwSignal::new(None),
        }
    }

    /// Makes the machine this; what does not run uses nothing.
    fn put(&self, domain: Arc<Domain>) {
        let stopped = domain.state != DomainState::Running && !self.stats.with_untracked(Recent::is_empty);
        let forget = stopped.then(|| self.stats.change(|recent| *recent = Recent::default())).flatten();
        super::draw([self.domain.change(|had| *had = domain), forget].into_iter().flatten());
    }
}

/// All rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    rows: StoredValue<HashMap<DomainRef, Row>>,
    /// Changes when any machine changes, comes or goes.
    revision: RwSignal<u64>,
    /// Changes when machines come or go.
    members: RwSignal<u64>,
    /// Those that are ticked, so that counting them does not look at every row.
    selected: RwSignal<HashSet<DomainRef>>,
    /// Rows that an earlier server process told of, on hosts that this one has not read yet.
    unconfirmed: StoredValue<HashSet<DomainRef>>,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            rows: StoredValue::new(HashMap::new()),
            revision: RwSignal::new(0),
            members: RwSignal::new(0),
            selected: RwSignal::default(),
            unconfirmed: StoredValue::default(),
        }
    }

    /// One row, reactive to its coming and going.
    pub(crate) fn get(self, id: &DomainRef) -> Option<Row> {
        self.members.track();
        self.get_untracked(id)
    }

    /// One row as it is now.
    pub(crate) fn get_untracked(self, id: &DomainRef) -> Option<Row> {
        self.rows.with_value(|rows| rows.get(id).cloned())
    }

    /// Tells who looks at all machines that any of them is another.
    fn changed(self) {
        let tell = move || self.revision.update(|count| *count += 1);
        #[cfg(feature = "hydrate")]
        super::draw::seldom(tell);
        #[cfg(not(feature = "hydrate"))]
        tell();
    }

    /// Follows any change of any machine.
    pub(crate) fn track(self) {
        self.revision.track();
    }

    /// Gives all machines to a function, reactive to any change of any of them.
    pub(crate) fn with<T>(self, look: impl FnOnce(&mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>) -> T) -> T {
        self.revision.track();
        self.rows.with_value(|rows| look(&mut rows.iter().map(|(id, row)| (id, row.domain.get_untracked()))))
    }

    /// Ticks machines that are there, or not any more.
    pub(crate) fn select(self, ids: &[DomainRef], on: bool) {
        let rows: Vec<Row> = ids.iter().filter_map(|id| self.get_untracked(id)).collect();
        for row in &rows {
            if row.selected.get_untracked() != on {
                row.selected.set(on);
            }
        }
        self.selected.update(|selected| {
            for row in rows {
                if on {
                    selected.insert(row.id)
                } else {
                    selected.remove(&row.id)
                };
            }
        });
    }

    /// Ticks none.
    pub(crate) fn select_none(self) {
        let ids: Vec<DomainRef> = self.selected.with_untracked(|selected| selected.iter().cloned().collect());
        self.select(&ids, false);
    }

    /// What is gone is not ticked, not even when it comes back.
    fn forget_ticks<'a>(self, gone: impl Iterator<Item = &'a DomainRef>) {
        let ticked: Vec<&DomainRef> =
            self.selected.with_untracked(|selected| gone.filter(|id| selected.contains(*id)).collect());
        if !ticked.is_empty() {
            self.selected.update(|selected| selected.retain(|id| !ticked.contains(&id)));
        }
    }

    /// Which of some machines are ticked, reactive to any tick. What is not shown may be ticked
    /// still, and nothing is done with what nobody sees.
    pub(crate) fn ticked(self, among: &[DomainRef]) -> Vec<DomainRef> {
        self.selected.with(|selected| match selected.len() {
            0 => Vec::new(),
            _ => among.iter().filter(|id| selected.contains(*id)).cloned().collect(),
        })
    }

    /// All rows as they are now.
    pub(crate) fn all_untracked(self) -> Vec<Row> {
        self.rows.with_value(|rows| rows.values().cloned().collect())
    }

    /// Puts a machine in, unless a newer version is there.
    pub(super) fn set(self, id: DomainRef, domain: Arc<Domain>) {
        let of_another = self.confirm(&id);
        match self.get_untracked(&id) {
            Some(row) => {
                if !of_another && row.domain.with_untracked(|had| had.version >= domain.version) {
                    return;
                }
                row.put(domain);
            }
            None => {
                let row = Row::new(id.clone(), domain);
                self.rows.update_value(|rows| {
                    rows.insert(id, row);
                });
                self.members.update(|count| *count += 1);
            }
        }
        self.changed();
    }

    /// Takes a machine out, unless a newer version is there.
    pub(super) fn remove(self, id: &DomainRef, version: u64) {
        let of_another = self.confirm(id);
        let Some(row) = self.get_untracked(id) else { return };
        if !of_another && row.domain.with_untracked(|had| had.version > version) {
            return;
        }
        self.drop_rows(std::slice::from_ref(id));
    }

    /// Takes rows out.
    fn drop_rows(self, gone: &[DomainRef]) {
        self.rows.update_value(|rows| rows.retain(|id, _| !gone.contains(id)));
        self.forget_ticks(gone.iter());
        self.members.update(|count| *count += 1);
        self.changed();
    }

    /// The server tells of a machine itself. Whether the row was from another server process,
    /// whose versions do not count.
    fn confirm(self, id: &DomainRef) -> bool {
        self.unconfirmed.try_update_value(|kept| kept.remove(id)).unwrap_or_default()
    }

    /// A host has been read: machines on it that the server did not tell of are gone.
    pub(super) fn host_read(self, host: &HostId) {
        let gone: Vec<DomainRef> = self
            .unconfirmed
            .try_update_value(|kept| kept.extract_if(|id| id.host == *host).collect())
            .unwrap_or_default();
        if !gone.is_empty() {
            self.drop_rows(&gone);
        }
    }

    /// Makes these the only machines. They come from one reading of everything,
    /// so versions of another incarnation of the server do not count. What is known of hosts
    /// that the server has not read yet stays until it has, since nobody can say that it is gone.
    pub(super) fn replace(self, machines: impl Iterator<Item = (DomainRef, Arc<Domain>)>, unread: &[&HostId]) {
        let mut old = self.rows.with_value(Clone::clone);
        let mut fresh: HashMap<DomainRef, Row> = machines
            .map(|(id, domain)| match old.remove(&id) {
                Some(row) => {
                    if row.domain.with_untracked(|had| *had != domain) {
                        row.put(domain);
                    }
                    // How a command ended may have been missed with the gap.
                    row.pending.set(None);
                    (id, row)
                }
                None => (id.clone(), Row::new(id, domain)),
            })
            .collect();
        let kept: HashMap<DomainRef, Row> = old.extract_if(|id, _| unread.contains(&&id.host)).collect();
        kept.values().for_each(|row| row.pending.set(None));
        self.unconfirmed.set_value(kept.keys().cloned().collect());
        fresh.extend(kept);
        self.rows.set_value(fresh);
        self.forget_ticks(old.keys());
        self.members.update(|count| *count += 1);
        self.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_not_ticked_when_it_comes_back() {
        let owner = Owner::new();
        owner.set();
        let rows = Rows::new();
        let machine = |n: u128| {
            let id = DomainRef { host: "atlas".parse().expect("a name"), id: uuid::Uuid::from_u128(n) };
            (id.clone(), Arc::new(Domain { id: id.id, version: 1, ..Domain::default() }))
        };
        let all: Vec<_> = (1..=3).map(machine).collect();
        let ids: Vec<DomainRef> = all.iter().map(|(id, _)| id.clone()).collect();
        let ticked = || rows.ticked(&ids).len();
        rows.replace(all.clone().into_iter(), &[]);
        rows.select(&ids, true);
        rows.remove(&ids[0], 2);
        assert_eq!(ticked(), 2);
        rows.replace(all[..2].iter().cloned(), &[]);
        assert_eq!(ticked(), 1, "the first came back and is not ticked, the third is gone");
        assert!(rows.get_untracked(&ids[1]).is_some_and(|row| row.selected.get_untracked()));
        assert_eq!(rows.ticked(&ids[..1]).len(), 0, "what is ticked elsewhere does not count here");
        rows.select(&ids[2..], true);
        assert_eq!(ticked(), 1, "what is not there cannot be ticked");
    }

    #[test]
    fn what_a_new_server_has_not_read_yet_is_not_gone() {
        let owner = Owner::new();
        owner.set();
        let rows = Rows::new();
        let host: HostId = "atlas".parse().expect("a name");
        let machine = |n: u128, version| {
            let id = DomainRef { host: host.clone(), id: uuid::Uuid::from_u128(n) };
            (id.clone(), Arc::new(Domain { id: id.id, version, ..Domain::default() }))
        };
        let is_there = |n| rows.get_untracked(&machine(n, 0).0).is_some();
        rows.replace((1..=3).map(|n| machine(n, 90)), &[]);
        rows.replace(std::iter::once(machine(1, 2)), &[&host]);
        assert!(is_there(1) && is_there(2) && is_there(3), "nobody knows of the last two yet");
        let (id, domain) = machine(2, 3);
        rows.set(id.clone(), domain);
        let version = |id| rows.get_untracked(id).expect("there").domain.with_untracked(|domain| domain.version);
        assert_eq!(version(&id), 3, "the versions of the server before do not count");
        rows.host_read(&host);
        assert!(is_there(1) && is_there(2) && !is_there(3), "now it is known to be gone");
        rows.replace(std::iter::once(machine(1, 4)), &[]);
        assert!(!is_there(2), "a host that was read has what it has");
    }
}
