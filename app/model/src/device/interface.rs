//! Network interfaces (formatdomain, "Network interfaces").

use serde::{Deserialize, Serialize};

use super::{Kind, is_default, words};

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// What it is attached to.
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
    /// What card the guest sees: `virtio`, `e1000e`, …
    #[serde(skip_serializing_if = "is_default")]
    pub model: String,
    /// The tap device on the host while the machine runs.
    #[serde(skip_serializing_if = "is_default")]
    pub tap: String,
    /// Whether its cable is plugged in: `up` or `down`; empty means up.
    #[serde(skip_serializing_if = "is_default")]
    pub link: String,
    /// Its MTU; none where the network decides.
    #[serde(skip_serializing_if = "is_default")]
    pub mtu: Option<u32>,
    /// The network filter that protects others from it.
    #[serde(skip_serializing_if = "is_default")]
    pub filter: String,
    /// Its place in the boot order.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_order: Option<u32>,
}

words! {
    /// What a network interface is attached to.
    InterfaceType {
        /// A virtual network.
        Network = "network",
        /// A bridge of the host.
        Bridge = "bridge",
        /// Nothing but the process of the machine itself (user-mode networking).
        User = "user",
        /// An interface of the host (macvtap).
        Direct = "direct",
        /// A tap device that a script sets up.
        Ethernet = "ethernet",
        /// A network device of the host that is given to the guest.
        Hostdev = "hostdev",
        /// A process that speaks vhost-user.
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
