//! A libvirt host: the link to it, and what it says of itself.

use serde::{Deserialize, Serialize};

use crate::HostId;

/// The link to one host's libvirt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Link {
    /// Whether libvirt answers now.
    pub connected: bool,
    /// The connection URI without secrets.
    pub uri: String,
    /// Why it is not connected, with the next step; none while connected.
    pub error: Option<String>,
    /// When this state of the link began, in Unix milliseconds.
    pub since: u64,
    /// When the next attempt is made, in Unix milliseconds; none while connected.
    pub retry_at: Option<u64>,
}

/// Whether a URI leads to a libvirt on this machine, over a socket that can hand files over.
pub fn is_local(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    matches!(scheme, "qemu" | "qemu+unix") && rest.starts_with('/')
}

/// What a host says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostInfo {
    /// Its own host name (`virConnectGetHostname`).
    pub hostname: String,
    /// The hypervisor driver: `QEMU`, `TEST`, … (`virConnectGetType`).
    pub driver: String,
    /// libvirt's version on that host, such as `11.3.0`.
    pub libvirt_version: String,
    /// The hypervisor's version, such as `10.0.2`, or empty.
    pub hypervisor_version: String,
    /// Processor architecture.
    pub arch: String,
    /// Processor model as libvirt names it.
    pub cpu_model: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Whether capabilities offer KVM guests.
    pub kvm: bool,
    /// Types of storage pools that it has drivers for; empty when it does not tell
    /// (`virConnectGetStoragePoolCapabilities`, since libvirt 5.2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pool_types: Vec<String>,
}

impl HostInfo {
    /// Whether it has a driver for storage pools of a type; one that does not tell may have.
    pub fn has_pools_of(&self, kind: &str) -> bool {
        self.pool_types.is_empty() || self.pool_types.iter().any(|known| known == kind)
    }

    /// Whether this is libvirt's test driver, which keeps machines in memory only.
    pub fn is_test_driver(&self) -> bool {
        self.driver.eq_ignore_ascii_case("test")
    }
}

/// One host without its machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Its name here.
    pub id: HostId,
    /// The link to it.
    pub connection: Link,
    /// What it says of itself; none before the first contact, kept while it is away.
    #[serde(default)]
    pub info: Option<HostInfo>,
    /// Whether it is the built-in demonstration, not a real host.
    #[serde(default)]
    pub demo: bool,
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_a_libvirt_on_this_machine_is_local() {
        let local = ["qemu:///system", "qemu+unix:///system?socket=/run/x", "qemu:///session"];
        let not =
            ["qemu+ssh://kvm-1/system", "qemu+tcp://127.0.0.1/system", "test:///default", "qemu://kvm-1/system", ""];
        assert!(local.into_iter().all(is_local) && !not.into_iter().any(is_local));
    }
}
