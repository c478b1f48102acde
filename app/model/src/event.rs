//! What happened, as data: one type per kind of event of the stream.
//!
//! An event about a machine carries the machine's whole new state and version,
//! so applying it twice changes nothing. How events come to be is decided in
//! `inventory` and by the server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Domain, DomainState, Fault, FaultKind, Host, HostId, Network, Permission, Pool, RequestId, Task, read::read,
    stats::LATEST,
};

pub use crate::task::AuditAppended;

/// Declares the event enum together with its wire names and with what somebody needs to
/// hear of it, so that a kind cannot exist on one side only, nor without that decision.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal for $permission:ident,)*) => {
        /// One event of the stream.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $variant($variant),)*
        }

        impl Event {
            /// The names of all kinds, as they stand in `event:` and `?topics=`.
            pub const KINDS: &[&str] = &[$($name),*];

            /// What somebody needs to hear of a kind, the only place that decides it; none for
            /// a kind this version does not know.
            pub fn permission_of(kind: &str) -> Option<Permission> {
                match kind {
                    $($name => Some(Permission::$permission),)*
                    kind if LATEST.contains(&kind) => Some(Permission::View),
                    _ => None,
                }
            }

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
    VmStateChanged = "vm-state-changed" for View,
    /// A machine was defined, imported or found.
    VmCreated = "vm-created" for View,
    /// A machine was undefined, or a transient one ended.
    VmDeleted = "vm-deleted" for View,
    /// Definition, name, metadata, devices or autostart changed.
    VmUpdated = "vm-updated" for View,
    /// A guest agent came or went.
    GuestAgentConnected = "guest-agent-connected" for View,
    /// Operating system, host name or addresses of a guest changed.
    GuestInfoUpdated = "guest-info-updated" for View,
    /// A storage pool was created, deleted, started, stopped, refreshed or changed.
    StoragePoolChanged = "storage-pool-changed" for View,
    /// A volume came, went or changed; which ones there are is to be read again.
    VolumeChanged = "volume-changed" for View,
    /// A network was created, deleted, started, stopped or changed.
    NetworkChanged = "network-changed" for View,
    /// PCI or USB devices of a host came, went or changed; they are to be read again.
    HostDevicesChanged = "host-devices-changed" for View,
    /// The link to a host was established, lost, restored, or failed again.
    ConnectionStatusChanged = "connection-status-changed" for View,
    /// A command was accepted; it is on disk.
    TaskCreated = "task-created" for View,
    /// A command got further.
    TaskProgress = "task-progress" for View,
    /// A command ended; how is on disk.
    TaskCompleted = "task-completed" for View,
    /// A record of what people did became durable.
    AuditAppended = "audit-appended" for ReadAudit,
    /// A background operation failed.
    Error = "error" for View,
}

/// Payload of `task-created`.
pub type TaskCreated = Arc<Task>;
/// Payload of `task-progress`.
pub type TaskProgress = Arc<Task>;
/// Payload of `task-completed`.
pub type TaskCompleted = Arc<Task>;

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

/// Payload of `vm-state-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmStateChanged {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's name.
    pub vm_name: String,
    /// The state before.
    pub old_state: DomainState,
    /// The state now.
    pub new_state: DomainState,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by reading everything again after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// Payload of `vm-created`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmCreated {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's name.
    pub vm_name: String,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by reading everything again after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// Payload of `vm-deleted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmDeleted {
    /// The host that had the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's last name.
    pub vm_name: String,
    /// A version after all the machine had.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by reading everything again after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// Payload of `vm-updated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmUpdated {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's name.
    pub vm_name: String,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by reading everything again after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// Payload of `guest-agent-connected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestAgentConnected {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// Whether the agent is there now.
    pub connected: bool,
    /// The agent's version, once it is known; none where it is not asked for.
    pub agent_version: Option<String>,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

/// Payload of `guest-info-updated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestInfoUpdated {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// All addresses now.
    pub ip_addresses: Vec<String>,
    /// The guest's host name, when it told one.
    pub hostname: Option<String>,
    /// The guest's operating system, when it told one.
    pub os_version: Option<String>,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

/// What happened to a pool, a volume or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It was made, or found.
    Created,
    /// It is gone.
    Deleted,
    /// It can be used.
    Started,
    /// It cannot be used any more.
    Stopped,
    /// It was looked at again: what is in it, or how full it is, is another.
    Refreshed,
    /// Its definition changed.
    Updated,
}

/// Payload of `storage-pool-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolChanged {
    /// The host that has the pool.
    pub host_id: HostId,
    /// The pool's UUID.
    pub pool_id: Uuid,
    /// The pool's name.
    pub pool_name: String,
    /// What happened.
    pub action: Action,
    /// The pool, whole; none when it is gone.
    pub pool: Option<Arc<Pool>>,
    /// The pool's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by reading everything again after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// Payload of `volume-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeChanged {
    /// The host that has the pool.
    pub host_id: HostId,
    /// The pool's UUID.
    pub pool_id: Uuid,
    /// The pool's name.
    pub pool_name: String,
    /// The volume's name; none when many changed at once.
    pub volume: Option<String>,
    /// What happened.
    pub action: Action,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
}

/// Payload of `network-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkChanged {
    /// The host that has the network.
    pub host_id: HostId,
    /// The network's UUID.
    pub network_id: Uuid,
    /// The network's name.
    pub network_name: String,
    /// What happened.
    pub action: Action,
    /// The network, whole; none when it is gone.
    pub network: Option<Arc<Network>>,
    /// The network's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The command that caused it, if one of ours did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by reading everything again after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

/// Payload of `host-devices-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostDevicesChanged {
    /// The host whose devices they are.
    pub host_id: HostId,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

/// Payload of `connection-status-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatusChanged {
    /// The host.
    pub host_id: HostId,
    /// Whether libvirt answers now.
    pub connected: bool,
    /// The connection URI without secrets.
    pub uri: String,
    /// Why it is not connected.
    pub error: Option<String>,
    /// The host, whole, without its machines.
    pub host: Box<Host>,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

/// How bad an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something works less well.
    Warning,
    /// Something did not work.
    Error,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Error, Self::Warning, Self::Info];

    /// Its name in JSON and in addresses.
    pub fn key(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// Its name on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Info => "Info",
            Self::Warning => "Warning",
            Self::Error => "Error",
            Self::Critical => "Critical",
        }
    }
}

/// Payload of `error`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    /// The host it happened on; none when it happened to the server itself.
    #[serde(default)]
    pub host_id: Option<HostId>,
    /// What happened, to what, and the next step.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// The operation that failed.
    pub context: Option<String>,
    /// When it happened, in Unix milliseconds.
    pub timestamp: u64,
}

/// The context of errors about the journal, which are a state of the server.
const JOURNAL: &str = "journal";

impl Error {
    /// Says that nothing can be recorded, or, with none, that it works again.
    pub fn of_journal(trouble: Option<&Fault>, timestamp: u64) -> Self {
        let (message, severity) = match trouble {
            Some(fault) => (fault.sentence(), Severity::Critical),
            None => ("Belvedere's journal can be written again; commands are carried out.".into(), Severity::Info),
        };
        Self { host_id: None, message, severity, context: Some(JOURNAL.into()), timestamp }
    }

    /// Says that something in the background did not work.
    pub fn of_background(host_id: Option<HostId>, context: &str, message: String, timestamp: u64) -> Self {
        Self { host_id, message, severity: Severity::Error, context: Some(context.to_owned()), timestamp }
    }

    /// Whether it tells that the journal cannot be written, or can again.
    pub fn is_about_the_journal(&self) -> bool {
        self.context.as_deref() == Some(JOURNAL)
    }

    /// What is wrong with the journal, of an error that is about it.
    pub fn trouble(&self) -> Option<Fault> {
        (self.severity == Severity::Critical)
            .then(|| Fault::new(FaultKind::InsufficientStorage, self.message.trim_end_matches('.')))
    }
}

/// What an event changes for whoever mirrors the hosts. A mirror needs no more of an
/// event than the new state in it, so it follows kinds that it does not know, too.
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

/// The fields of all payloads that change something.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
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
    /// Reads it from the JSON of an event.
    ///
    /// # Errors
    /// When the payload is none.
    pub fn read(kind: &str, data: &str) -> Result<Self, serde_json::Error> {
        if kind.starts_with("task-") {
            return read(data).map(Self::Task);
        }
        // Browsers do not mirror what they show on few pages.
        if ["storage-pool-changed", "volume-changed", "network-changed", "host-devices-changed"].contains(&kind) {
            return Ok(Self::Stale);
        }
        let payload: Payload = read(data)?;
        Ok(match payload {
            Payload { host_id: Some(host), vm: Some(domain), .. } => Self::Set(host, domain),
            Payload { host_id: Some(host), vm_id: Some(id), version: Some(version), .. } => {
                Self::Removed(host, id, version)
            }
            Payload { host: Some(host), .. } => Self::Host(host),
            Payload { message: Some(message), severity: Some(severity), host_id, context, timestamp, .. } => {
                let timestamp = timestamp.unwrap_or_default();
                Self::Error(Box::new(Error { host_id, message, severity, context, timestamp }))
            }
            _ if kind == "audit-appended" => Self::Appended,
            _ => Self::Nothing,
        })
    }
}
