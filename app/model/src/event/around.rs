//! Events of pools, volumes, networks and host devices.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Change, Line, Payload};
use crate::{HostId, Network, Pool, RequestId};

/// The change of a pool, volume or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It was created or found.
    Created,
    /// It was removed.
    Deleted,
    /// It became active.
    Started,
    /// It became inactive.
    Stopped,
    /// Its content or used space changed.
    Refreshed,
    /// Its definition changed.
    Updated,
}

impl Action {
    /// Its icon.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Started => "running",
            Self::Stopped => "stopped",
            Self::Deleted => "close",
            Self::Created | Self::Refreshed | Self::Updated => "check",
        }
    }

    /// Its text.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Created => "appeared",
            Self::Deleted => "was removed",
            Self::Started => "was started",
            Self::Stopped => "was stopped",
            Self::Refreshed => "has a new available capacity",
            Self::Updated => "was changed",
        }
    }
}

/// Payload of `storage-pool-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StoragePoolChanged {
    /// The host that has the pool.
    pub host_id: HostId,
    /// The pool's UUID.
    pub pool_id: Uuid,
    /// The change.
    pub pool_name: String,
    /// What happened.
    pub action: Action,
    /// The pool; none if it was removed.
    pub pool: Option<Arc<Pool>>,
    /// The pool's version after this.
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

impl Payload for StoragePoolChanged {
    fn change(&self) -> Change {
        Change::Pool(self.host_id.clone(), self.pool_id, self.pool.clone(), self.version)
    }

    fn line(&self) -> Option<Line> {
        Some((self.action.mark(), format!("Storage pool {} {}", self.pool_name, self.action.words())))
    }
}

/// Payload of `volume-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VolumeChanged {
    /// The host that has the pool.
    pub host_id: HostId,
    /// The pool's UUID.
    pub pool_id: Uuid,
    /// The pool's name.
    pub pool_name: String,
    /// The volume's name; none if many changed at once.
    pub volume: Option<String>,
    /// The change.
    pub action: Action,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
    /// The causing command, if it was one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<RequestId>,
}

impl Payload for VolumeChanged {
    fn change(&self) -> Change {
        Change::Stale
    }

    fn line(&self) -> Option<Line> {
        Some(match &self.volume {
            Some(volume) => (self.action.mark(), format!("Volume {}/{volume} {}", self.pool_name, self.action.words())),
            None => ("check", format!("Volumes of {} changed", self.pool_name)),
        })
    }
}

/// Payload of `network-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkChanged {
    /// The host that has the network.
    pub host_id: HostId,
    /// The network's UUID.
    pub network_id: Uuid,
    /// The network's name.
    pub network_name: String,
    /// The change.
    pub action: Action,
    /// The network; none if it was removed.
    pub network: Option<Arc<Network>>,
    /// The network's version after this.
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

impl Payload for NetworkChanged {
    fn change(&self) -> Change {
        Change::Network(self.host_id.clone(), self.network_id, self.network.clone(), self.version)
    }

    fn line(&self) -> Option<Line> {
        Some((self.action.mark(), format!("Network {} {}", self.network_name, self.action.words())))
    }
}

/// Payload of `host-devices-changed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostDevicesChanged {
    /// The host of the devices.
    pub host_id: HostId,
    /// When it was seen, in Unix milliseconds.
    pub timestamp: u64,
}

impl Payload for HostDevicesChanged {
    fn change(&self) -> Change {
        Change::Stale
    }

    fn line(&self) -> Option<Line> {
        Some(("check", format!("Devices of {} changed", self.host_id)))
    }
}
