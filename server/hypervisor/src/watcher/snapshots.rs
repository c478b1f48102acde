//! Which snapshots machines have, and what has changed: libvirt has no event for them, so each
//! listing is compared with the one before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use model::{
    Domain, Event, HostId, RequestId,
    event::{Action, SnapshotChanged},
};
use uuid::Uuid;

/// The names of the snapshots of each machine that has some.
pub(crate) type Names = HashMap<Uuid, BTreeSet<String>>;

/// The last listing; none before the first one.
#[derive(Default)]
pub(super) struct Snapshots(Option<Names>);

impl Snapshots {
    /// Takes a listing; the events that turn the last one into it. `cause` knows which command is
    /// expected to change a machine. What was there at first is no event.
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
