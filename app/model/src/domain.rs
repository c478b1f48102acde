//! A virtual machine as libvirt tells it, with the parts people look at.
//!
//! It holds no statistics and no secrets. What may be done with a machine is
//! decided in `command`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::console::Serial;

/// What a machine is doing (libvirt: `virDomainState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum DomainState {
    /// Executing, or blocked on a resource.
    Running,
    /// Not executing; no process exists (libvirt: shutoff).
    Stopped,
    /// Its virtual processors are halted; memory is kept.
    Paused,
    /// The guest put itself to sleep (libvirt: pmsuspended).
    Suspended,
    /// The guest was asked to shut down and is on its way.
    ShuttingDown,
    /// The guest crashed and is kept for a look; its process still exists
    /// (`on_crash` is `preserve`). A process that ended badly is `Stopped` with
    /// that reason.
    Crashed,
    /// A state this version does not know, or libvirt tells none.
    #[default]
    #[serde(other)]
    Unknown,
}

impl DomainState {
    /// All states, in the order in which lists show them.
    pub const ALL: [Self; 7] =
        [Self::Running, Self::Paused, Self::Suspended, Self::ShuttingDown, Self::Crashed, Self::Stopped, Self::Unknown];

    /// The word on screen.
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

    /// The word in URLs, JSON and class names.
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

    /// The state with that `key`.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == key)
    }

    /// Whether a process of the machine exists (libvirt: `virDomainIsActive`).
    pub fn is_active(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Suspended | Self::ShuttingDown | Self::Crashed => true,
            Self::Stopped | Self::Unknown => false,
        }
    }
}

/// One virtual machine of a host, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Domain {
    /// libvirt's UUID of it.
    pub id: Uuid,
    /// libvirt's name of it, unique on its host. Any text: it may hold markup.
    pub name: String,
    /// A short line for people, or empty.
    pub title: String,
    /// A longer text for people, or empty.
    pub description: String,
    /// What it is doing.
    pub state: DomainState,
    /// Why it is in that state, in lower-case words ("forced off"), or empty.
    pub state_reason: String,
    /// Whether its process does not answer libvirt, so that what is said of its
    /// devices may be out of date; its state is not.
    pub unresponsive: bool,
    /// Whether a definition remains when it stops.
    pub persistent: bool,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Whether memory was saved to disk and the next start restores it.
    pub has_managed_save: bool,
    /// Words to group machines by, sorted, without duplicates.
    pub tags: Vec<String>,
    /// Virtual processors now.
    pub vcpus: u32,
    /// Virtual processors at most.
    pub max_vcpus: u32,
    /// Memory now, in MiB.
    pub memory_mb: u64,
    /// Memory at most, in MiB.
    pub max_memory_mb: u64,
    /// The kind of guest interface, `hvm` for full virtualisation.
    pub os_type: String,
    /// The emulated processor architecture, such as `x86_64`.
    pub arch: String,
    /// The emulated board, such as `pc-q35-10.0`.
    pub machine: String,
    /// `kvm`, `qemu` (emulation), `test`, …
    pub virt_type: String,
    /// Whether the guest boots through UEFI.
    pub uefi: bool,
    /// A hash of the live XML, so that any change of the definition makes a new version. It stays on
    /// the server; the definition itself is read on demand (`definition`).
    #[serde(skip)]
    pub definition_hash: u32,
    /// Network interfaces in the order of the definition.
    pub interfaces: Vec<Interface>,
    /// Graphical consoles.
    pub graphics: Vec<Graphics>,
    /// Serial ports and consoles of virtio.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<Serial>,
    /// The guest agent's channel.
    pub agent: Agent,
    /// What the guest says of itself, if anything.
    pub guest: Option<Guest>,
    /// Addresses of all interfaces, IPv4 before IPv6, without duplicates.
    pub addresses: Vec<String>,
    /// Grows with every change of this machine in one incarnation of the server.
    pub version: u64,
    /// When the state was entered, in Unix milliseconds; none when that was
    /// before this server looked.
    pub since: Option<u64>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Hardware address.
    pub mac: String,
    /// `network`, `bridge`, `user`, `direct`, `ethernet`, …
    pub kind: String,
    /// The network, bridge or device it is plugged into.
    pub source: String,
    /// `virtio`, `e1000e`, …
    pub model: String,
    /// The device on the host while the machine runs, such as `vnet3`.
    pub host_device: String,
    /// Addresses seen on it.
    pub addresses: Vec<String>,
}

/// A graphical console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Graphics {
    /// `vnc`, `spice`, …
    pub kind: String,
    /// Where it listens; none while it does not.
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
    /// Nothing answers on it.
    Disconnected,
    /// The agent in the guest has opened it.
    Connected,
}

/// What the guest says of itself through its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Guest {
    /// Its host name, or empty.
    pub hostname: String,
    /// Its operating system in words, such as "Debian GNU/Linux 13", or empty.
    pub os_version: String,
    /// Where its file systems are mounted that are nearly full.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearly_full: Vec<String>,
    /// The version of its agent, or empty where that is not asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
}

/// What a guest says of itself when somebody asks; all of it is the guest's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GuestDetails {
    /// Its host name, or empty.
    pub hostname: String,
    /// Its operating system in words, or empty.
    pub os_version: String,
    /// Its kernel's release, or empty.
    pub kernel: String,
    /// The name of its time zone, or empty.
    pub timezone: String,
    /// Seconds that its clock is ahead of UTC; none when it does not tell.
    pub timezone_offset: Option<i64>,
    /// Its load over 1, 5 and 15 minutes; none when it does not tell.
    pub load: Option<[f64; 3]>,
    /// Who is logged in.
    pub users: Vec<GuestUser>,
    /// Its file systems.
    pub file_systems: Vec<FileSystem>,
}

/// Somebody who is logged in to a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GuestUser {
    /// The name.
    pub name: String,
    /// Since when, in Unix milliseconds; none when it does not tell.
    pub since: Option<u64>,
}

/// A file system of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct FileSystem {
    /// Where it is mounted in the guest.
    pub mount_point: String,
    /// Its type.
    pub kind: String,
    /// Its size in bytes; none when it does not tell.
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

/// Tags as they are kept: trimmed, sorted, without duplicates and empty ones.
pub fn normal_tags(tags: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut tags: Vec<String> =
        tags.into_iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
    tags.sort();
    tags.dedup();
    tags
}
