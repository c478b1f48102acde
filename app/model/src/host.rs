//! A libvirt host and the connection to it.

use serde::{Deserialize, Serialize};

use crate::HostId;

/// The connection to a host's libvirt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Link {
    /// Whether libvirt is connected.
    pub connected: bool,
    /// The connection URI without secrets.
    pub uri: String,
    /// Why it is not connected, with the next step; none while connected.
    pub error: Option<String>,
    /// Start of this connection state, in Unix milliseconds.
    pub since: u64,
    /// The next connection attempt, in Unix milliseconds; none while connected.
    pub retry_at: Option<u64>,
}

/// Whether a URI leads to a local libvirt over a socket that can pass file descriptors.
pub fn is_local(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    matches!(scheme, "qemu" | "qemu+unix") && rest.starts_with('/')
}

/// Host data reported by libvirt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostInfo {
    /// Its host name (`virConnectGetHostname`).
    pub hostname: String,
    /// The hypervisor driver: `QEMU`, `TEST`, … (`virConnectGetType`).
    pub driver: String,
    /// Its libvirt version, such as `11.3.0`.
    pub libvirt_version: String,
    /// The hypervisor's version, such as `10.0.2`, or empty.
    pub hypervisor_version: String,
    /// Processor architecture.
    pub arch: String,
    /// CPU model as reported by libvirt.
    pub cpu_model: String,
    /// Logical CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Whether KVM guests are supported.
    pub kvm: bool,
    /// Supported storage pool types; empty if not reported (`virConnectGetStoragePoolCapabilities`,
    /// since libvirt 5.2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pool_types: Vec<String>,
}

impl HostInfo {
    /// Whether a storage pool type is supported; true if types are not reported.
    pub fn has_pools_of(&self, kind: &str) -> bool {
        self.pool_types.is_empty() || self.pool_types.iter().any(|known| known == kind)
    }

    /// Whether this is libvirt's test driver, which keeps machines in memory only.
    pub fn is_test_driver(&self) -> bool {
        self.driver.eq_ignore_ascii_case("test")
    }
}

/// A host without its machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Its name in Belvedere.
    pub id: HostId,
    /// The connection.
    pub connection: Link,
    /// Its data; none before the first connection, kept while disconnected.
    #[serde(default)]
    pub info: Option<HostInfo>,
    /// Whether it is the demonstration host.
    #[serde(default)]
    pub demo: bool,
    /// Whether it was added while the server ran, and can be changed there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub managed: bool,
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
