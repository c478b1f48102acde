//! An unordered, keyed collection with one signal per machine, so that a change of a machine
//! updates one row.
//!
//! A row's signal outlives its row: a holder of a removed row reads the last value.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use leptos::prelude::*;
use model::{Domain, DomainRef, DomainState, HostId, RequestId};

use super::{shown::Shown, stats::Recent};

/// A running command, shown on its row until it ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pending {
    /// The request.
    pub(crate) request: RequestId,
    /// The command's kind.
    pub(crate) kind: String,
}

/// The parts of a row, each with its own signal.
#[derive(Clone)]
pub(crate) struct Row {
    /// The machine's id.
    pub(crate) id: DomainRef,
    /// The machine.
    pub(crate) domain: Shown<Arc<Domain>>,
    /// Its recent usage; empty while it is not running.
    pub(crate) stats: Shown<Recent>,
    /// Whether it is selected.
    pub(crate) selected: ArcRwSignal<bool>,
    /// The running command.
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

    /// Sets the machine; one that is not running has no usage.
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
    /// Changes with every change of any machine.
    revision: RwSignal<u64>,
    /// Changes when machines are added or removed.
    members: RwSignal<u64>,
    /// The selected machines, so that counting them needs no pass over all rows.
    selected: RwSignal<HashSet<DomainRef>>,
    /// Rows from an earlier server process, on hosts that the current one has not read yet.
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

    /// How many there are.
    #[cfg(feature = "hydrate")]
    pub(super) fn count(self) -> usize {
        self.rows.with_value(HashMap::len)
    }

    /// A row; reactive to its addition and removal.
    pub(crate) fn get(self, id: &DomainRef) -> Option<Row> {
        self.members.track();
        self.get_untracked(id)
    }

    /// A row at present.
    pub(crate) fn get_untracked(self, id: &DomainRef) -> Option<Row> {
        self.rows.with_value(|rows| rows.get(id).cloned())
    }

    /// Notifies readers of all machines of a change.
    fn changed(self) {
        let tell = move || self.revision.update(|count| *count += 1);
        #[cfg(feature = "hydrate")]
        super::draw::seldom(tell);
        #[cfg(not(feature = "hydrate"))]
        tell();
    }

    /// Tracks changes of all machines.
    pub(crate) fn track(self) {
        self.revision.track();
    }

    /// Passes all machines to a function; reactive to changes of any of them.
    pub(crate) fn with<T>(self, look: impl FnOnce(&mut dyn Iterator<Item = (&DomainRef, Arc<Domain>)>) -> T) -> T {
        self.revision.track();
        self.rows.with_value(|rows| look(&mut rows.iter().map(|(id, row)| (id, row.domain.get_untracked()))))
    }

    /// Selects existing machines, or clears their selection.
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

    /// Clears the selection.
    pub(crate) fn select_none(self) {
        let ids: Vec<DomainRef> = self.selected.with_untracked(|selected| selected.iter().cloned().collect());
        self.select(&ids, false);
    }

    /// A removed machine is no longer selected, even if it returns.
    fn forget_ticks<'a>(self, gone: impl Iterator<Item = &'a DomainRef>) {
        let ticked: Vec<&DomainRef> =
            self.selected.with_untracked(|selected| gone.filter(|id| selected.contains(*id)).collect());
        if !ticked.is_empty() {
            self.selected.update(|selected| selected.retain(|id| !ticked.contains(&id)));
        }
    }

    /// The selected machines among `among`; reactive to the selection. Machines that are not shown
    /// may stay selected, but no command is run on them.
    pub(crate) fn ticked(self, among: &[DomainRef]) -> Vec<DomainRef> {
        self.selected.with(|selected| match selected.len() {
            0 => Vec::new(),
            _ => among.iter().filter(|id| selected.contains(*id)).cloned().collect(),
        })
    }

    /// All rows at present.
    pub(crate) fn all_untracked(self) -> Vec<Row> {
        self.rows.with_value(|rows| rows.values().cloned().collect())
    }

    /// Adds or updates a machine, unless a newer version is present.
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

    /// Removes a machine, unless a newer version is present.
    pub(super) fn remove(self, id: &DomainRef, version: u64) {
        let of_another = self.confirm(id);
        let Some(row) = self.get_untracked(id) else { return };
        if !of_another && row.domain.with_untracked(|had| had.version > version) {
            return;
        }
        self.drop_rows(std::slice::from_ref(id));
    }

    /// Removes rows.
    fn drop_rows(self, gone: &[DomainRef]) {
        self.rows.update_value(|rows| rows.retain(|id, _| !gone.contains(id)));
        self.forget_ticks(gone.iter());
        self.members.update(|count| *count += 1);
        self.changed();
    }

    /// Marks a machine as confirmed by the current server process. Returns whether its row was from
    /// another process, whose versions are not comparable.
    fn confirm(self, id: &DomainRef) -> bool {
        self.unconfirmed.try_update_value(|kept| kept.remove(id)).unwrap_or_default()
    }

    /// A host has been read: unconfirmed machines on it are removed.
    pub(super) fn host_read(self, host: &HostId) {
        let gone: Vec<DomainRef> = self
            .unconfirmed
            .try_update_value(|kept| kept.extract_if(|id| id.host == *host).collect())
            .unwrap_or_default();
        if !gone.is_empty() {
            self.drop_rows(&gone);
        }
    }

    /// Replaces all machines by those of one full read, whose versions are not comparable with
    /// those of an earlier server process. Machines on hosts that the server has not read yet are
    /// kept until it has.
    pub(super) fn replace(self, machines: impl Iterator<Item = (DomainRef, Arc<Domain>)>, unread: &[&HostId]) {
        let mut old = self.rows.with_value(Clone::clone);
        let mut fresh: HashMap<DomainRef, Row> = machines
            .map(|(id, domain)| match old.remove(&id) {
                Some(row) => {
                    if row.domain.with_untracked(|had| *had != domain) {
                        row.put(domain);
                    }
                    // The end of a command may have been missed in the gap.
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
    fn a_removed_machine_is_not_selected_when_it_returns() {
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
        assert_eq!(ticked(), 1, "the first returned without selection, the third is removed");
        assert!(rows.get_untracked(&ids[1]).is_some_and(|row| row.selected.get_untracked()));
        assert_eq!(rows.ticked(&ids[..1]).len(), 0, "machines outside the list do not count");
        rows.select(&ids[2..], true);
        assert_eq!(ticked(), 1, "a removed machine cannot be selected");
    }

    #[test]
    fn machines_are_kept_until_a_new_server_has_read_their_host() {
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
        assert!(is_there(1) && is_there(2) && is_there(3), "the last two are not read yet");
        let (id, domain) = machine(2, 3);
        rows.set(id.clone(), domain);
        let version = |id| rows.get_untracked(id).expect("there").domain.with_untracked(|domain| domain.version);
        assert_eq!(version(&id), 3, "versions of the earlier server are ignored");
        rows.host_read(&host);
        assert!(is_there(1) && is_there(2) && !is_there(3), "the third is confirmed as removed");
        rows.replace(std::iter::once(machine(1, 4)), &[]);
        assert!(!is_there(2), "a host that was read is authoritative");
    }
}
