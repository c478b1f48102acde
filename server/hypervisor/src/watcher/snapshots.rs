//! Snapshots of machines and their changes: libvirt has no event for them, so listings are
//! compared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{
    Domain, Event, HostId, RequestId,
    event::{Action, SnapshotChanged},
};
use uuid::Uuid;

/// Snapshot names per machine.
pub(crate) type Names = HashMap<Uuid, BTreeSet<String>>;

/// The last listing; none before the first one.
#[derive(Default)]
pub(super) struct Snapshots(Option<Names>);

impl Snapshots {
    /// Stores a listing and returns the events that turn the previous one into it. `cause` returns
    /// the command expected to change a machine. The first listing causes no events.
    pub(super) fn take(
        &mut self,
        next: Names,
        host: &HostId,
        machines: &BTreeMap<Uuid, Arc<Domain>>,
        cause: impl Fn(Uuid) -> Option<RequestId>,
    ) -> Vec<Event> {
        let had = self.0.replace(next);
        let (Some(had), Some(next)) = (had, &self.0) else { return Vec::new() };
        let none = BTreeSet::new();
        let mut events = Vec::new();
        for (id, machine) in machines {
            let (before, now) = (had.get(id).unwrap_or(&none), next.get(id).unwrap_or(&none));
            let gone = before.difference(now).map(|name| (name, Action::Deleted));
            let changed = now.difference(before).map(|name| (name, Action::Created)).chain(gone);
            events.extend(changed.map(|(snapshot, action)| {
                Event::SnapshotChanged(SnapshotChanged {
                    host_id: host.clone(),
                    vm_id: *id,
                    vm_name: machine.name.clone(),
                    snapshot: snapshot.clone(),
                    action,
                    timestamp: super::now(),
                    cause: cause(*id),
                })
            }));
        }
        events
    }
}
