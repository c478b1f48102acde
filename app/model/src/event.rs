//! The events of the stream, one type per kind.
//!
//! An event about a machine carries its whole new state and version, so applying it twice changes
//! nothing. Events are created in `inventory` and by the server. A new kind is a payload below and
//! one line of the registry.

mod around;
mod machine;
mod trouble;

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub use self::{
    around::{Action, HostDevicesChanged, NetworkChanged, StoragePoolChanged, VolumeChanged},
    machine::{
        GuestAgentConnected, GuestInfoUpdated, SnapshotChanged, VmCreated, VmDeleted, VmStateChanged, VmUpdated,
    },
    trouble::{ConnectionStatusChanged, Error, Severity},
};
pub use crate::task::AuditAppended;
use crate::{Domain, DomainState, Host, HostId, Network, Permission, Pool, Task, read::read, stats::LATEST};

/// Properties of an event kind that do not depend on its payload.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in `event:` and `?topics=`.
    pub name: &'static str,
    /// The permission to receive it, decided only here.
    pub permission: Permission,
    /// Its effect in a browser's store.
    pub mirror: Mirror,
    /// Its role in the replay.
    pub replay: Replay,
}

/// The effect of an event in a browser's store, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// Sets a machine.
    Machine,
    /// Removes a machine.
    Gone,
    /// Sets a host.
    Host,
    /// Sets a task.
    Task,
    /// Adds an error.
    Error,
    /// An audit record was added.
    Record,
    /// Pools, networks or volumes must be read again.
    Stale,
}

/// The role of an event in the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// A step with the state of a machine.
    MachineStep,
    /// A step.
    Step,
    /// Not a step, but contains the state of a machine.
    Machine,
    /// Not used.
    Silent,
}

impl Replay {
    /// Whether the replay can stop at it.
    pub fn is_step(self) -> bool {
        matches!(self, Self::MachineStep | Self::Step)
    }

    /// Whether it contains the state of a machine.
    pub fn tells_machine(self) -> bool {
        matches!(self, Self::MachineStep | Self::Machine)
    }
}

/// A line of the history: icon name and text.
pub type Line = (&'static str, String);

/// The payload of an event.
pub trait Payload: Serialize + DeserializeOwned {
    /// The change for mirrors of the inventory.
    fn change(&self) -> Change;

    /// Its line in the history; none if it is not shown.
    fn line(&self) -> Option<Line> {
        None
    }

    /// Name and state of its machine after or before the event; none if the machine did not exist,
    /// and no state if it was not recorded.
    fn machine(&self, _after: bool) -> Option<(&str, Option<DomainState>)> {
        None
    }
}

/// Declares the event enum with its wire names and the properties of each kind, so that a kind
/// cannot exist without them.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal for $permission:ident: $mirror:ident, $replay:ident;)*) => {
        /// One event of the stream.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $variant($variant),)*
        }

        impl Event {
            /// The properties of each kind.
            pub const ALL: &[Kind] = &[$(Kind {
                name: $name,
                permission: Permission::$permission,
                mirror: Mirror::$mirror,
                replay: Replay::$replay,
            }),*];

            /// The names of all kinds in `event:` and `?topics=`.
            pub const KINDS: &[&str] = &[$($name),*];

            /// The name of this kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The host; none for the server.
            pub fn host(&self) -> Option<&HostId> {
                match self { $(Self::$variant(event) => event.host_id.named(),)* }
            }

            /// The payload as JSON, always one line.
            pub fn data(&self) -> String {
                let json = match self { $(Self::$variant(event) => serde_json::to_string(event),)* };
                json.expect("payloads have string keys only")
            }

            /// The change for mirrors of the inventory.
            pub fn change(&self) -> Change {
                match self { $(Self::$variant(event) => event.change(),)* }
            }

            /// Its line in the history; none if it is not shown.
            pub fn line(&self) -> Option<Line> {
                match self { $(Self::$variant(event) => event.line(),)* }
            }

            /// Name and state of its machine after or before the event; none if the machine did not
            /// exist, and no state if it was not recorded.
            pub fn machine(&self, after: bool) -> Option<(&str, Option<DomainState>)> {
                match self { $(Self::$variant(event) => event.machine(after),)* }
            }

            /// The schema of each kind's payload.
            #[cfg(feature = "schema")]
            pub fn schemas(generator: &mut schemars::SchemaGenerator) -> Vec<(&'static str, schemars::Schema)> {
                vec![$(($name, generator.subschema_for::<$variant>())),*]
            }

            /// Reads a payload of the named kind; none for a kind this version does not know.
            ///
            /// # Errors
            /// If the payload does not match the kind.
            pub fn parse(kind: &str, data: &str) -> Result<Option<Self>, serde_json::Error> {
                Ok(match kind {
                    $($name => Some(Self::$variant(serde_json::from_str(data)?)),)*
                    _ => None,
                })
            }
        }
    };
}

events! {
    /// The state of a machine changed.
    VmStateChanged = "vm-state-changed" for View: Machine, MachineStep;
    /// A machine was defined, imported or found.
    VmCreated = "vm-created" for View: Machine, MachineStep;
    /// A machine was undefined, or a transient one ended.
    VmDeleted = "vm-deleted" for View: Gone, MachineStep;
    /// Definition, name, metadata, devices or autostart changed.
    VmUpdated = "vm-updated" for View: Machine, Machine;
    /// A guest agent connected or disconnected.
    GuestAgentConnected = "guest-agent-connected" for View: Machine, Silent;
    /// Operating system, host name or addresses of a guest changed.
    GuestInfoUpdated = "guest-info-updated" for View: Machine, Silent;
    /// A snapshot of a machine was created or deleted.
    SnapshotChanged = "snapshot-changed" for View: Stale, Silent;
    /// A storage pool was created, deleted, started, stopped, refreshed or changed.
    StoragePoolChanged = "storage-pool-changed" for View: Stale, Silent;
    /// A volume was added, removed or changed; the list must be read again.
    VolumeChanged = "volume-changed" for View: Stale, Silent;
    /// A network was created, deleted, started, stopped or changed.
    NetworkChanged = "network-changed" for View: Stale, Silent;
    /// PCI or USB devices of a host changed; they must be read again.
    HostDevicesChanged = "host-devices-changed" for View: Stale, Silent;
    /// The connection to a host was established, lost, restored, or failed again.
    ConnectionStatusChanged = "connection-status-changed" for View: Host, Step;
    /// A command was accepted and stored.
    TaskCreated = "task-created" for View: Task, Silent;
    /// A command made progress.
    TaskProgress = "task-progress" for View: Task, Silent;
    /// A command ended; its result is stored.
    TaskCompleted = "task-completed" for View: Task, Silent;
    /// An audit record was stored.
    AuditAppended = "audit-appended" for ReadAudit: Record, Silent;
    /// A background operation failed.
    Error = "error" for View: Error, Step;
}

/// Payload of `task-created`.
pub type TaskCreated = Arc<Task>;
/// Payload of `task-progress`.
pub type TaskProgress = Arc<Task>;
/// Payload of `task-completed`.
pub type TaskCompleted = Arc<Task>;

impl Payload for Arc<Task> {
    fn change(&self) -> Change {
        Change::Task(self.clone())
    }
}

impl Payload for AuditAppended {
    fn change(&self) -> Change {
        Change::Appended
    }
}

impl Event {
    /// The properties of a kind; none if it is unknown.
    pub fn about_kind(kind: &str) -> Option<&'static Kind> {
        Self::ALL.iter().find(|known| known.name == kind)
    }

    /// The permission to receive a kind; none if it is unknown.
    pub fn permission_of(kind: &str) -> Option<Permission> {
        let latest = LATEST.contains(&kind).then_some(Permission::View);
        Self::about_kind(kind).map(|known| known.permission).or(latest)
    }

    /// The machine, pool or network of this event.
    pub fn subject(&self) -> Option<Uuid> {
        match self.change() {
            Change::Set(_, domain) => Some(domain.id),
            Change::Removed(_, id, _) | Change::Pool(_, id, ..) | Change::Network(_, id, ..) => Some(id),
            Change::Task(task) => task.target,
            _ => None,
        }
    }
}

/// The field `host_id` of a payload, which may be absent.
trait Named {
    fn named(&self) -> Option<&HostId>;
}

impl Named for HostId {
    fn named(&self) -> Option<&HostId> {
        Some(self)
    }
}

impl Named for Option<HostId> {
    fn named(&self) -> Option<&HostId> {
        self.as_ref()
    }
}

/// The change of an event for mirrors of the inventory. It is decided by the kind, never by the
/// payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A machine has this state.
    Set(HostId, Arc<Domain>),
    /// A machine was removed; its versions up to this one are obsolete.
    Removed(HostId, Uuid, u64),
    /// A host has this state; its machines are unchanged.
    Host(Box<Host>),
    /// A storage pool has this state; its versions up to this one are obsolete.
    Pool(HostId, Uuid, Option<Arc<Pool>>, u64),
    /// A network has this state; its versions up to this one are obsolete.
    Network(HostId, Uuid, Option<Arc<Network>>, u64),
    /// Pools, networks or volumes must be read again.
    Stale,
    /// A task has this state.
    Task(Arc<Task>),
    /// An error occurred or was resolved.
    Error(Box<Error>),
    /// A record was added.
    Appended,
    /// Nothing that is mirrored.
    Nothing,
}

/// All payload fields that a browser reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    host_id: Option<HostId>,
    vm: Option<Arc<Domain>>,
    vm_id: Option<Uuid>,
    version: Option<u64>,
    host: Option<Box<Host>>,
    message: Option<String>,
    severity: Option<Severity>,
    context: Option<String>,
    timestamp: Option<u64>,
}

impl Change {
    /// Reads it from the JSON of an event; `Nothing` for an unknown kind. One reader for all kinds
    /// keeps the browser module small.
    ///
    /// # Errors
    /// If the payload does not match the kind.
    pub fn read(kind: &str, data: &str) -> Result<Self, serde_json::Error> {
        use serde::de::Error as _;
        let Some(known) = Event::about_kind(kind) else { return Ok(Self::Nothing) };
        match known.mirror {
            Mirror::Task => return read(data).map(Self::Task),
            Mirror::Stale => return Ok(Self::Stale),
            Mirror::Record => return Ok(Self::Appended),
            Mirror::Machine | Mirror::Gone | Mirror::Host | Mirror::Error => {}
        }
        let fields: Fields = read(data)?;
        let Fields { host_id, vm, vm_id, version, host, message, severity, context, timestamp } = fields;
        let change = match known.mirror {
            Mirror::Machine => host_id.zip(vm).map(|(host, vm)| Self::Set(host, vm)),
            Mirror::Gone => {
                host_id.zip(vm_id).zip(version).map(|((host, id), version)| Self::Removed(host, id, version))
            }
            Mirror::Host => host.map(Self::Host),
            _ => message.zip(severity).map(|(message, severity)| {
                let timestamp = timestamp.unwrap_or_default();
                Self::Error(Box::new(Error { host_id, message, severity, context, timestamp }))
            }),
        };
        change.ok_or_else(|| serde_json::Error::custom(format!("a required field of {kind} is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_changes_is_decided_by_its_kind_and_never_by_its_fields() {
        let id = Uuid::from_u128(7);
        // A later kind that names a machine without a state must not remove it.
        let later = format!(r#"{{"hostId":"atlas","vmId":"{id}","version":9,"timestamp":1}}"#);
        assert_eq!(Change::read("vm-of-a-later-version", &later).expect("read"), Change::Nothing);
        assert_eq!(Change::read("host-devices-changed", &later).expect("read"), Change::Stale);
        let host: HostId = "atlas".parse().expect("a name");
        assert_eq!(Change::read("vm-deleted", &later).expect("read"), Change::Removed(host, id, 9));
        assert!(Change::read("vm-updated", &later).is_err(), "its machine is missing");
        assert!(Change::read("connection-status-changed", &later).is_err());
    }

    #[test]
    fn each_kind_is_named_once() {
        let names: std::collections::BTreeSet<&str> = Event::KINDS.iter().copied().collect();
        assert_eq!(names.len(), Event::ALL.len());
    }
}
