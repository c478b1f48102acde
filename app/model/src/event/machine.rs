//! Events of machines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Action, Change, Line, Payload};
use crate::{Domain, DomainState, HostId, RequestId};

/// Payload of `vm-state-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VmStateChanged {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's name.
    pub vm_name: String,
    /// The old state.
    pub old_state: DomainState,
    /// The new state.
    pub new_state: DomainState,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The causing command, if it was one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by a full read after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl Payload for VmStateChanged {
    fn change(&self) -> Change {
        Change::Set(self.host_id.clone(), self.vm.clone())
    }

    fn line(&self) -> Option<Line> {
        let reason = &self.vm.state_reason;
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        let (old, new) = (self.old_state.label(), self.new_state.label());
        Some((self.new_state.key(), format!("{}: {old} → {new}{why}", self.vm_name)))
    }

    fn machine(&self, after: bool) -> Option<(&str, Option<DomainState>)> {
        Some((&self.vm_name, Some(if after { self.new_state } else { self.old_state })))
    }
}

/// Payload of `vm-created`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The causing command, if it was one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by a full read after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl Payload for VmCreated {
    fn change(&self) -> Change {
        Change::Set(self.host_id.clone(), self.vm.clone())
    }

    fn line(&self) -> Option<Line> {
        Some(("check", format!("{} appeared, {}", self.vm_name, self.vm.state.label().to_ascii_lowercase())))
    }

    fn machine(&self, after: bool) -> Option<(&str, Option<DomainState>)> {
        after.then_some((&self.vm_name, Some(self.vm.state)))
    }
}

/// Payload of `vm-deleted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VmDeleted {
    /// The host that had the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's last name.
    pub vm_name: String,
    /// A version higher than all versions of the machine.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The causing command, if it was one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by a full read after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl Payload for VmDeleted {
    fn change(&self) -> Change {
        Change::Removed(self.host_id.clone(), self.vm_id, self.version)
    }

    fn line(&self) -> Option<Line> {
        Some(("close", format!("{} was removed", self.vm_name)))
    }

    /// It existed before; its state was not recorded.
    fn machine(&self, after: bool) -> Option<(&str, Option<DomainState>)> {
        (!after).then_some((&self.vm_name, None))
    }
}

/// Payload of `vm-updated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The causing command, if it was one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
    /// Whether it was found by a full read after a gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
}

impl Payload for VmUpdated {
    fn change(&self) -> Change {
        Change::Set(self.host_id.clone(), self.vm.clone())
    }

    fn line(&self) -> Option<Line> {
        Some(("check", format!("{} was changed", self.vm_name)))
    }

    fn machine(&self, _: bool) -> Option<(&str, Option<DomainState>)> {
        Some((&self.vm_name, Some(self.vm.state)))
    }
}

/// Payload of `guest-agent-connected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GuestAgentConnected {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// Whether the agent is connected.
    pub connected: bool,
    /// The agent's version; none if not known or not queried.
    pub agent_version: Option<String>,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

impl Payload for GuestAgentConnected {
    fn change(&self) -> Change {
        Change::Set(self.host_id.clone(), self.vm.clone())
    }

    fn line(&self) -> Option<Line> {
        let what = if self.connected { "connected" } else { "disconnected" };
        Some(("check", format!("The guest agent of {} {what}", self.vm.name)))
    }
}

/// Payload of `guest-info-updated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GuestInfoUpdated {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// All current IP addresses.
    pub ip_addresses: Vec<String>,
    /// The guest's host name, if reported.
    pub hostname: Option<String>,
    /// The guest's operating system, if reported.
    pub os_version: Option<String>,
    /// The machine, whole.
    pub vm: Arc<Domain>,
    /// The machine's version after this.
    pub version: u64,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

impl Payload for GuestInfoUpdated {
    fn change(&self) -> Change {
        Change::Set(self.host_id.clone(), self.vm.clone())
    }

    fn line(&self) -> Option<Line> {
        let addresses = if self.ip_addresses.is_empty() { "none".into() } else { self.ip_addresses.join(", ") };
        Some(("check", format!("{} has IP addresses: {addresses}", self.vm.name)))
    }
}

/// Payload of `snapshot-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotChanged {
    /// The host that has the machine.
    pub host_id: HostId,
    /// The machine's UUID.
    pub vm_id: Uuid,
    /// The machine's name.
    pub vm_name: String,
    /// The snapshot's name, unique within its machine.
    pub snapshot: String,
    /// Whether it was created or deleted.
    pub action: Action,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The causing command, if it was one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
}

impl Payload for SnapshotChanged {
    fn change(&self) -> Change {
        Change::Stale
    }

    fn line(&self) -> Option<Line> {
        let words = format!("Snapshot {} of {} {}", self.snapshot, self.vm_name, self.action.words());
        Some((self.action.mark(), words))
    }
}
