//! A virtual machine as reported by libvirt.
//!
//! It contains no statistics and no secrets. Which commands are possible is decided in `command`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::console::Serial;

/// The state of a machine (libvirt: `virDomainState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DomainState {
    /// Executing, or blocked on a resource.
    Running,
    /// Not executing; no process exists (libvirt: shutoff).
    Stopped,
    /// The vCPUs are paused; memory is kept.
    Paused,
    /// The guest suspended itself (libvirt: pmsuspended).
    Suspended,
    /// The guest was asked to shut down.
    ShuttingDown,
    /// The guest crashed and its process still exists (`on_crash` is `preserve`). A process that
    /// ended with an error is `Stopped` with that reason.
    Crashed,
    /// Unknown to this version, or not reported by libvirt.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DomainState {
    /// All states, in the order of lists.
    pub const ALL: [Self; 7] =
        [Self::Running, Self::Paused, Self::Suspended, Self::ShuttingDown, Self::Crashed, Self::Stopped, Self::Unknown];

    /// The label on screen.
    pub fn label(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Paused => "Paused",
            Self::Suspended => "Suspended",
            Self::ShuttingDown => "Shutting down",
            Self::Crashed => "Crashed",
            Self::Unknown => "Unknown",
        }
    }

    /// The key in URLs, JSON and class names.
    pub fn key(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::ShuttingDown => "shuttingDown",
            Self::Crashed => "crashed",
            Self::Unknown => "unknown",
        }
    }

    /// The state of a key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == key)
    }

    /// Whether a process exists (libvirt: `virDomainIsActive`).
    pub fn is_active(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Suspended | Self::ShuttingDown | Self::Crashed => true,
            Self::Stopped | Self::Unknown => false,
        }
    }
}

/// A virtual machine of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Domain {
    /// libvirt's UUID.
    pub id: Uuid,
    /// libvirt's name, unique on its host. Any text: it may contain markup.
    pub name: String,
    /// A short title, or empty.
    pub title: String,
    /// A longer description, or empty.
    pub description: String,
    /// Its state.
    pub state: DomainState,
    /// The reason for the state, in lower case ("forced off"), or empty.
    pub state_reason: String,
    /// Whether its process does not respond to libvirt, so that device data may be out of date; the
    /// state is current.
    pub unresponsive: bool,
    /// Whether its definition is persistent.
    pub persistent: bool,
    /// Whether autostart is on.
    pub autostart: bool,
    /// Whether a saved state (managed save) exists.
    pub has_managed_save: bool,
    /// Tags, sorted, without duplicates.
    pub tags: Vec<String>,
    /// Current vCPUs.
    pub vcpus: u32,
    /// Maximum vCPUs.
    pub max_vcpus: u32,
    /// Current memory in MiB.
    pub memory_mb: u64,
    /// Maximum memory in MiB.
    pub max_memory_mb: u64,
    /// The OS type, `hvm` for full virtualisation.
    pub os_type: String,
    /// The emulated CPU architecture, such as `x86_64`.
    pub arch: String,
    /// The machine type, such as `pc-q35-10.0`.
    pub machine: String,
    /// `kvm`, `qemu` (emulation), `test`, …
    pub virt_type: String,
    /// Whether the guest boots through UEFI.
    pub uefi: bool,
    /// A hash of the live XML, so that any change of the definition increases the version. It stays
    /// on the server; the definition is read on demand (`definition`).
    #[serde(skip)]
    pub definition_hash: u32,
    /// Network interfaces in the order of the definition. They stay on the server: lists show the
    /// addresses, and the hardware, which is read on demand, has the rest.
    #[serde(skip)]
    pub interfaces: Vec<Interface>,
    /// Graphical consoles.
    pub graphics: Vec<Graphics>,
    /// Serial ports and virtio consoles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<Serial>,
    /// The guest agent's channel.
    pub agent: Agent,
    /// Guest agent data, if any.
    pub guest: Option<Guest>,
    /// IP addresses of all interfaces, IPv4 before IPv6, without duplicates.
    pub addresses: Vec<String>,
    /// Increases with every change of this machine within one server run.
    pub version: u64,
    /// When the state was entered, in Unix milliseconds; none if before the server connected.
    pub since: Option<u64>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// MAC address.
    pub mac: String,
    /// `network`, `bridge`, `user`, `direct`, `ethernet`, …
    pub kind: String,
    /// The network, bridge or device it is attached to.
    pub source: String,
    /// `virtio`, `e1000e`, …
    pub model: String,
    /// The tap device on the host while the machine runs, such as `vnet3`.
    pub host_device: String,
    /// Its known IP addresses.
    pub addresses: Vec<String>,
}

/// A graphical console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Graphics {
    /// `vnc`, `spice`, …
    pub kind: String,
    /// The port; none while it is not listening.
    pub port: Option<u16>,
    /// The listening address, or empty.
    pub listen: String,
}

/// The guest agent's channel, `org.qemu.guest_agent.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Agent {
    /// The definition has no such channel.
    #[default]
    Absent,
    /// The agent is not connected.
    Disconnected,
    /// The agent is connected.
    Connected,
}

/// Guest data reported by its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Guest {
    /// Its host name, or empty.
    pub hostname: String,
    /// Its operating system, such as "Debian GNU/Linux 13", or empty.
    pub os_version: String,
    /// Mount points of nearly full file systems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearly_full: Vec<String>,
    /// The version of the agent, or empty if not queried.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
}

/// Detailed guest data, queried on demand and reported by the guest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GuestDetails {
    /// Its host name, or empty.
    pub hostname: String,
    /// Its operating system, or empty.
    pub os_version: String,
    /// Its kernel release, or empty.
    pub kernel: String,
    /// The name of its time zone, or empty.
    pub timezone: String,
    /// Offset of its clock to UTC in seconds; none if not reported.
    pub timezone_offset: Option<i64>,
    /// Load average over 1, 5 and 15 minutes; none if not reported.
    pub load: Option<[f64; 3]>,
    /// Users that are signed in.
    pub users: Vec<GuestUser>,
    /// Its file systems.
    pub file_systems: Vec<FileSystem>,
}

/// A user that is signed in to a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GuestUser {
    /// The name.
    pub name: String,
    /// Sign-in time in Unix milliseconds; none if not reported.
    pub since: Option<u64>,
}

/// A file system of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FileSystem {
    /// Its mount point in the guest.
    pub mount_point: String,
    /// Its type.
    pub kind: String,
    /// Its size in bytes; none if not reported.
    pub total_bytes: Option<u64>,
    /// Its used space in bytes; none when the agent does not report it.
    pub used_bytes: Option<u64>,
    /// Whether the guest cannot write to it: by its type, or because all of its disks are
    /// read-only. The agent does not report mount options.
    #[serde(skip_serializing_if = "crate::device::is_default")]
    pub read_only: bool,
}

impl FileSystem {
    /// Whether 90 percent are used. A file system that cannot be written to is always full and
    /// never counts.
    pub fn is_nearly_full(&self) -> bool {
        match (self.used_bytes, self.total_bytes) {
            (Some(used), Some(total)) if total > 0 && !self.read_only => used as f64 / total as f64 >= 0.9,
            _ => false,
        }
    }
}

/// Normalises tags: trimmed, sorted, without duplicates and empty ones.
pub fn normal_tags(tags: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut tags: Vec<String> =
        tags.into_iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
    tags.sort();
    tags.dedup();
    tags
}
