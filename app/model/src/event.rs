//! What happened, as data: one type per kind of event of the stream.
//!
//! An event about a machine carries the machine's whole new state and version,
//! so applying it twice changes nothing. How events come to be is decided in
//! `inventory` and by the server. A new kind is a payload below and one line of the registry.

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

/// What a kind of event is to those who hear it, whatever it carries.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name, as it stands in `event:` and `?topics=`.
    pub name: &'static str,
    /// What a role needs to hear of it, the only place that decides it.
    pub permission: Permission,
    /// What a browser makes of it.
    pub mirror: Mirror,
    /// What it is when the past is shown.
    pub replay: Replay,
}

/// What a browser makes of an event, by its kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// It carries a machine, which is shown from now on.
    Machine,
    /// A machine is gone.
    Gone,
    /// It carries a host.
    Host,
    /// It is a task.
    Task,
    /// It is an error.
    Error,
    /// A record was added.
    Record,
    /// What is shown on few pages is to be read again: pools, networks, volumes.
    Stale,
}

/// What an event is when the past is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// A step, at which one can stop, that tells how a machine was.
    MachineStep,
    /// A step.
    Step,
    /// Between steps, and tells how a machine was.
    Machine,
    /// Nothing.
    Silent,
}

impl Replay {
    /// Whether people can stop at it.
    pub fn is_step(self) -> bool {
        matches!(self, Self::MachineStep | Self::Step)
    }

    /// Whether it tells how a machine was.
    pub fn tells_machine(self) -> bool {
        matches!(self, Self::MachineStep | Self::Machine)
    }
}

/// A line of the history: the name of its picture, and what happened.
pub type Line = (&'static str, String);

/// What an event carries.
pub trait Payload: Serialize + DeserializeOwned {
    /// What it changes for whoever mirrors the hosts.
    fn change(&self) -> Change;

    /// It in the history; none when it is of no interest to people.
    fn line(&self) -> Option<Line> {
        None
    }

    /// The name and the state of its machine after it, or before it; none when there was none then,
    /// and no state when nobody noted it.
    fn machine(&self, _after: bool) -> Option<(&str, Option<DomainState>)> {
        None
    }
}

/// Declares the event enum together with its wire names and with what is true of each kind, so that
/// a kind cannot exist on one side only, nor without these decisions.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal for $permission:ident: $mirror:ident, $replay:ident;)*) => {
        /// One event of the stream.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $variant($variant),)*
        }

        impl Event {
            /// What is true of each kind.
            pub const ALL: &[Kind] = &[$(Kind {
                name: $name,
                permission: Permission::$permission,
                mirror: Mirror::$mirror,
                replay: Replay::$replay,
            }),*];

            /// The names of all kinds, as they stand in `event:` and `?topics=`.
            pub const KINDS: &[&str] = &[$($name),*];

            /// The name of this kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The host it is about; none when it is about the server itself.
            pub fn host(&self) -> Option<&HostId> {
                match self { $(Self::$variant(event) => event.host_id.named(),)* }
            }

            /// The payload as JSON, always one line.
            pub fn data(&self) -> String {
                let json = match self { $(Self::$variant(event) => serde_json::to_string(event),)* };
                json.expect("payloads have string keys only")
            }

            /// What this event changes for whoever mirrors the hosts.
            pub fn change(&self) -> Change {
                match self { $(Self::$variant(event) => event.change(),)* }
            }

            /// This event in the history; none when it is of no interest to people.
            pub fn line(&self) -> Option<Line> {
                match self { $(Self::$variant(event) => event.line(),)* }
            }

            /// The name and the state of its machine after this event, or before it; none when there was
            /// none then, and no state when nobody noted it.
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
            /// When the payload is not what the kind says.
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
    /// The state of a machine really changed.
    VmStateChanged = "vm-state-changed" for View: Machine, MachineStep;
    /// A machine was defined, imported or found.
    VmCreated = "vm-created" for View: Machine, MachineStep;
    /// A machine was undefined, or a transient one ended.
    VmDeleted = "vm-deleted" for View: Gone, MachineStep;
    /// Definition, name, metadata, devices or autostart changed.
    VmUpdated = "vm-updated" for View: Machine, Machine;
    /// A guest agent came or went.
    GuestAgentConnected = "guest-agent-connected" for View: Machine, Silent;
    /// Operating system, host name or addresses of a guest changed.
    GuestInfoUpdated = "guest-info-updated" for View: Machine, Silent;
    /// A snapshot of a machine came or is gone.
    SnapshotChanged = "snapshot-changed" for View: Stale, Silent;
    /// A storage pool was created, deleted, started, stopped, refreshed or changed.
    StoragePoolChanged = "storage-pool-changed" for View: Stale, Silent;
    /// A volume came, went or changed; which ones there are is to be read again.
    VolumeChanged = "volume-changed" for View: Stale, Silent;
    /// A network was created, deleted, started, stopped or changed.
    NetworkChanged = "network-changed" for View: Stale, Silent;
    /// PCI or USB devices of a host came, went or changed; they are to be read again.
    HostDevicesChanged = "host-devices-changed" for View: Stale, Silent;
    /// The link to a host was established, lost, restored, or failed again.
    ConnectionStatusChanged = "connection-status-changed" for View: Host, Step;
    /// A command was accepted; it is on disk.
    TaskCreated = "task-created" for View: Task, Silent;
    /// A command got further.
    TaskProgress = "task-progress" for View: Task, Silent;
    /// A command ended; how is on disk.
    TaskCompleted = "task-completed" for View: Task, Silent;
    /// A record of what people did became durable.
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
    /// What is true of a kind; none of one that this version does not know.
    pub fn about_kind(kind: &str) -> Option<&'static Kind> {
        Self::ALL.iter().find(|known| known.name == kind)
    }

    /// What somebody needs to hear of a kind; none for a kind this version does not know.
    pub fn permission_of(kind: &str) -> Option<Permission> {
        let latest = LATEST.contains(&kind).then_some(Permission::View);
        Self::about_kind(kind).map(|known| known.permission).or(latest)
    }

    /// The machine, the pool or the network that this event is about.
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

/// What an event changes for whoever mirrors the hosts. Which of these it is, its kind decides, and
/// never what its payload happens to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A machine is now this.
    Set(HostId, Arc<Domain>),
    /// A machine is gone; nothing up to this version counts any more.
    Removed(HostId, Uuid, u64),
    /// A host is now this; its machines are as before.
    Host(Box<Host>),
    /// A storage pool is now this; nothing up to this version counts any more.
    Pool(HostId, Uuid, Option<Arc<Pool>>, u64),
    /// A network is now this; nothing up to this version counts any more.
    Network(HostId, Uuid, Option<Arc<Network>>, u64),
    /// What browsers ask for when they show it is to be read again: pools, networks, volumes.
    Stale,
    /// A task is now this.
    Task(Arc<Task>),
    /// Something went wrong, or works again.
    Error(Box<Error>),
    /// A record was added.
    Appended,
    /// Nothing that a mirror shows.
    Nothing,
}

/// The fields of all payloads that a browser reads.
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
    /// Reads it from the JSON of an event; nothing of a kind that this version does not know. One
    /// reader for all kinds keeps the browser's module small.
    ///
    /// # Errors
    /// When the payload is not what the kind says.
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
        change.ok_or_else(|| serde_json::Error::custom(format!("a field of {kind} is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_changes_is_decided_by_its_kind_and_never_by_its_fields() {
        let id = Uuid::from_u128(7);
        // A later kind that names a machine and carries none removes it from nobody.
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
