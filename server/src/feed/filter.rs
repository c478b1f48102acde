//! Filters the stream for a limited scope. A machine that enters the scope appears as created, and
//! one that leaves it as deleted.

use std::collections::BTreeSet;

use axum::body::Bytes;
use model::{
    Cursor, Domain, DomainRef, Event, HostId, Inventory, RequestId, Task, Viewer,
    event::{Change, VmCreated, VmDeleted},
    stats::LATEST,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Before, Frame, encode, payload};
use crate::tasks::now;

/// Tracks the machines visible to a viewer.
pub(super) struct Sieve {
    viewer: Viewer,
    visible: BTreeSet<DomainRef>,
    /// Tasks in progress that were sent, so that their end is sent as well.
    open: BTreeSet<RequestId>,
}

/// A frame, and its kind.
type Told = (&'static str, Bytes);

impl Sieve {
    /// Starts with the current inventory, and goes back through the events since the reader's
    /// position, the last one first.
    pub(super) fn new<'a>(viewer: Viewer, inventory: &Inventory, since: impl Iterator<Item = &'a Frame>) -> Self {
        let (mut visible, open) = (BTreeSet::new(), BTreeSet::new());
        // A viewer of whole hosts sees their machines.
        if viewer.scope.tags.is_empty() {
            return Self { viewer, visible, open };
        }
        let seen = inventory.domains().filter(|(host, domain)| viewer.scope.sees(&host.host.id, &domain.tags));
        visible.extend(seen.map(|(host, domain)| DomainRef { host: host.host.id.clone(), id: domain.id }));
        for frame in since {
            let (Some(before), Some(host), Some(id)) = (&frame.before, &frame.host, frame.subject) else { continue };
            let id = DomainRef { host: host.clone(), id };
            match &**before {
                Before::Tagged(tags) if viewer.scope.sees(host, tags) => drop(visible.insert(id)),
                Before::Tagged(_) | Before::Absent => drop(visible.remove(&id)),
            }
        }
        Self { viewer, visible, open }
    }

    /// The replacement of a frame; none if it is not visible.
    pub(super) fn pass(
        &mut self,
        kind: &'static str,
        host: Option<&HostId>,
        bytes: Bytes,
        cursor: Cursor,
    ) -> Option<Told> {
        // Events of the server itself are visible to everyone.
        let Some(host) = host else { return Some((kind, addressed(&bytes, cursor))) };
        if !self.viewer.scope.sees_host(host) {
            return None;
        }
        if self.viewer.scope.tags.is_empty() {
            return Some((kind, addressed(&bytes, cursor)));
        }
        // Unreadable events are not sent.
        let event = Event::parse(kind, payload(&bytes)).ok()??;
        let as_it_is = match event.change() {
            Change::Set(host, domain) => match self.look(&host, &domain) {
                (true, true) => true,
                (false, false) => false,
                (false, true) => return Some(appears(host, &domain, cursor)),
                (true, false) => return Some(vanishes(host, &domain, cursor)),
            },
            Change::Removed(host, id, _) => self.visible.remove(&DomainRef { host, id }),
            Change::Task(task) => self.follow(&task),
            Change::Host(_) => true,
            // Errors and records contain machine names, and so do volumes.
            Change::Error(_) | Change::Appended | Change::Pool(..) | Change::Network(..) => false,
            Change::Stale | Change::Nothing => false,
        };
        as_it_is.then(|| (kind, addressed(&bytes, cursor)))
    }

    /// Whether a task is visible.
    fn follow(&mut self, task: &Task) -> bool {
        let told = self.open.remove(&task.task_id) || self.viewer.sees_task(task, |id| self.visible.contains(id));
        if told && task.outcome.is_none() {
            self.open.insert(task.task_id);
        }
        told
    }

    /// Whether a machine was visible before, and whether it is now.
    fn look(&mut self, host: &HostId, domain: &Domain) -> (bool, bool) {
        let id = DomainRef { host: host.clone(), id: domain.id };
        let sees = self.viewer.scope.sees(host, &domain.tags);
        let saw = if sees { !self.visible.insert(id) } else { self.visible.remove(&id) };
        (saw, sees)
    }

    /// The replacement of a frame of which only the latest counts.
    pub(super) fn latest(&self, kind: &str, host: &HostId, frame: Bytes) -> Option<Bytes> {
        if !self.viewer.scope.sees_host(host) {
            return None;
        }
        if self.viewer.scope.tags.is_empty() {
            return Some(frame);
        }
        if kind != LATEST[0] {
            // Pools are for those who see all of their host.
            let mut load: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload(&frame)).ok()?;
            load.insert("storage".into(), serde_json::Value::Array(Vec::new()));
            let text = serde_json::to_string(&load).ok()?;
            return Some(Bytes::from(format!("event: {kind}\ndata: {text}\n\n")));
        }
        Some(figures_of(kind, &frame, |id| self.visible.contains(&DomainRef { host: host.clone(), id })))
    }
}

/// A frame with the figures of some machines only.
pub(super) fn figures_of(kind: &str, frame: &Bytes, sees: impl Fn(Uuid) -> bool) -> Bytes {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Which {
        vm_id: Uuid,
    }
    // Figures that cannot be read are not sent.
    let machines: Vec<&RawValue> = serde_json::from_str(payload(frame)).unwrap_or_default();
    let sees = |text: &&str| serde_json::from_str::<Which>(text).is_ok_and(|Which { vm_id }| sees(vm_id));
    let seen: Vec<&str> = machines.into_iter().map(RawValue::get).filter(sees).collect();
    Bytes::from(format!("event: {kind}\ndata: [{}]\n\n", seen.join(",")))
}

/// A frame with the position in the form of its reader.
fn addressed(bytes: &Bytes, cursor: Cursor) -> Bytes {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    [format!("id: {cursor}").as_bytes(), &bytes[end..]].concat().into()
}

fn appears(host_id: HostId, domain: &std::sync::Arc<Domain>, cursor: Cursor) -> Told {
    told(
        cursor,
        &Event::VmCreated(VmCreated {
            host_id,
            vm_id: domain.id,
            vm_name: domain.name.clone(),
            vm: domain.clone(),
            version: domain.version,
            timestamp: now(),
            cause: None,
            resync: false,
        }),
    )
}

fn vanishes(host_id: HostId, domain: &Domain, cursor: Cursor) -> Told {
    told(
        cursor,
        &Event::VmDeleted(VmDeleted {
            host_id,
            vm_id: domain.id,
            // Its name may be new, and must not be visible any more.
            vm_name: String::new(),
            version: domain.version,
            timestamp: now(),
            cause: None,
            resync: false,
        }),
    )
}

fn told(cursor: Cursor, event: &Event) -> Told {
    (event.kind(), encode(cursor, event.kind(), &event.data()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{
        HostInventory, Role, Scope,
        event::{VmStateChanged, VmUpdated},
    };

    use super::*;

    const CURSOR: Cursor = Cursor { epoch: 1, seq: 2 };

    fn domain(tags: &[&str], version: u64) -> Arc<Domain> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Arc::new(Domain { id: Uuid::from_u128(7), name: "web".into(), tags, version, ..Domain::default() })
    }

    fn host() -> HostId {
        "atlas".parse().expect("a host")
    }

    fn sieve(scope: &str, tags: &[&str]) -> Sieve {
        let mut known = HostInventory::unread(host(), "test:///x".into(), false, 0);
        known.domains.insert(Uuid::from_u128(7), domain(tags, 1));
        let inventory = Inventory { hosts: [(host(), Arc::new(known))].into() };
        let scope = Scope::from_words(scope).expect("a scope");
        Sieve::new(
            Viewer { name: Some("jane".into()), role: Role::Viewer, scope, open: false },
            &inventory,
            std::iter::empty(),
        )
    }

    fn updated(tags: &[&str], version: u64) -> Event {
        let (vm, vm_id) = (domain(tags, version), Uuid::from_u128(7));
        Event::VmUpdated(VmUpdated {
            host_id: host(),
            vm_id,
            vm_name: "web".into(),
            vm,
            version,
            timestamp: 0,
            cause: None,
            resync: false,
        })
    }

    /// The kind of the resulting frame, if any.
    fn through(sieve: &mut Sieve, event: &Event) -> Option<&'static str> {
        let bytes = encode(CURSOR, event.kind(), &event.data());
        let (kind, bytes) = sieve.pass(event.kind(), event.host(), bytes, CURSOR)?;
        assert!(bytes.starts_with(format!("id: {CURSOR}\nevent: {kind}\n").as_bytes()), "{bytes:?}");
        Some(kind)
    }

    #[test]
    fn a_machine_that_comes_into_sight_appears_and_one_that_leaves_it_is_gone() {
        let mut sieve = sieve("#web", &[]);
        let steps = [
            (updated(&[], 2), None),
            (updated(&["web"], 3), Some("vm-created")),
            (updated(&["web", "x"], 4), Some("vm-updated")),
            (updated(&["x"], 5), Some("vm-deleted")),
            (updated(&["y"], 6), None),
        ];
        for (event, expected) in steps {
            assert_eq!(through(&mut sieve, &event), expected, "{event:?}");
        }
    }

    #[test]
    fn other_hosts_are_silent_and_words_are_not_told_to_those_who_see_some_machines_only() {
        let mut elsewhere = sieve("other", &["web"]);
        assert_eq!(through(&mut elsewhere, &updated(&["web"], 2)), None);
        let error = Event::Error(model::event::Error::of_background(Some(host()), "x", "web burns".into(), 0));
        assert_eq!(through(&mut sieve("#web", &["web"]), &error), None);
        assert_eq!(through(&mut sieve("atlas", &["web"]), &error), Some("error"));
        let ours = Event::Error(model::event::Error::of_background(None, "x", "full".into(), 0));
        assert_eq!(through(&mut sieve("#web", &[]), &ours), Some("error"));
    }

    #[test]
    fn figures_are_those_of_visible_machines() {
        let figures = |sieve: Sieve| {
            let id = Uuid::from_u128(7);
            let frame = format!(
                "event: {}\ndata: [{{\"vmId\":\"{id}\",\"cpu\":1}},{{\"vmId\":\"{}\"}}]\n\n",
                LATEST[0],
                Uuid::from_u128(8)
            );
            sieve.latest(LATEST[0], &host(), frame.into()).map(|bytes| payload(&bytes).matches("vmId").count())
        };
        assert_eq!(figures(sieve("#web", &["web"])), Some(1));
        assert_eq!(figures(sieve("#web", &[])), Some(0));
        assert_eq!(figures(sieve("atlas", &[])), Some(2));
        assert_eq!(figures(sieve("other", &[])), None);
    }

    #[test]
    fn a_state_that_changes_out_of_sight_is_nobodys_business() {
        let (vm, vm_id) = (domain(&["mail"], 2), Uuid::from_u128(7));
        let (old_state, new_state) = (model::DomainState::Stopped, model::DomainState::Running);
        let (vm_name, cause) = ("web".to_owned(), None);
        let event = Event::VmStateChanged(VmStateChanged {
            host_id: host(),
            vm_id,
            vm_name,
            old_state,
            new_state,
            vm,
            version: 2,
            timestamp: 0,
            cause,
            resync: false,
        });
        assert_eq!(through(&mut sieve("#web", &["mail"]), &event), None);
        assert_eq!(through(&mut sieve("#mail", &["mail"]), &event), Some("vm-state-changed"));
    }
}
