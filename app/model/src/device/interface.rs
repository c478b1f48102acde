//! Network interfaces (formatdomain, "Network interfaces").

use serde::{Deserialize, Serialize};

use super::{Kind, is_default, words};

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// The type of its source.
    #[serde(rename = "type")]
    pub interface_type: InterfaceType,
    /// Its MAC address.
    pub mac: String,
    /// The virtual network.
    #[serde(skip_serializing_if = "is_default")]
    pub network: String,
    /// The host bridge.
    #[serde(skip_serializing_if = "is_default")]
    pub bridge: String,
    /// The uplink interface of the host (macvtap).
    #[serde(skip_serializing_if = "is_default")]
    pub dev: String,
    /// The emulated model: `virtio`, `e1000e`, …
    #[serde(skip_serializing_if = "is_default")]
    pub model: String,
    /// The tap device on the host while the machine runs.
    #[serde(skip_serializing_if = "is_default")]
    pub tap: String,
    /// The link state: `up` or `down`; empty means up.
    #[serde(skip_serializing_if = "is_default")]
    pub link: String,
    /// Its MTU; none for the default of the network.
    #[serde(skip_serializing_if = "is_default")]
    pub mtu: Option<u32>,
    /// The network filter.
    #[serde(skip_serializing_if = "is_default")]
    pub filter: String,
    /// Its place in the boot order.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_order: Option<u32>,
}

words! {
    /// The type of a network interface's source.
    InterfaceType {
        /// A virtual network.
        Network = "network",
        /// A host bridge.
        Bridge = "bridge",
        /// User-mode networking in the QEMU process.
        User = "user",
        /// A host interface (macvtap).
        Direct = "direct",
        /// A tap device set up by a script.
        Ethernet = "ethernet",
        /// A host network device passed through to the guest.
        Hostdev = "hostdev",
        /// A vhost-user process.
        Vhostuser = "vhostuser",
    }
}

impl Kind for Interface {
    const LABEL: &'static str = "Network interface";
    const FILLED_IN: &'static [&'static str] = &["tap", "type", "bridge", "dev"];

    fn identity(&self) -> Option<&str> {
        Some(&self.mac)
    }

    fn summary(&self) -> String {
        let all = [&self.network, &self.bridge, &self.dev];
        let source = all.into_iter().find(|source| !source.is_empty()).map_or("", String::as_str);
        format!("{} {} {source}", self.mac, self.interface_type.as_str()).trim().to_owned()
    }
}
