//! Creates a network.

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, connected, taken_name, verb};
use crate::network::NetworkSpec;

verb! {
    /// Define a network with the target's UUID (`virNetworkDefineXML`), and start it.
    pub struct DefineNetwork {
        /// Its specification.
        pub network: NetworkSpec,
        /// Whether autostart is on.
        pub autostart: bool,
    }
}

impl Verb for DefineNetwork {
    type On = Network;

    const ABOUT: About =
        About { kind: "defineNetwork", label: "Create network", done: "is created", makes: true, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[
        Field::new("network.name", "Name", Input::Line(50)).required(),
        Field::new("network.mode", "Mode", Input::Choice),
        Field::new("network.bridge", "Host bridge", Input::Line(0)),
        Field::new("network.device", "Uplink interface", Input::Line(0)),
        Field::new("network.ipv4", "IPv4 gateway (CIDR)", Input::Line(0)),
        Field::new("network.dhcpFirst", "DHCP range start", Input::Line(0)),
        Field::new("network.dhcpLast", "DHCP range end", Input::Line(0)),
        Field::new("network.ipv6", "IPv6 gateway (CIDR)", Input::Line(0)),
        Field::new("network.dhcp6First", "DHCPv6 range start", Input::Line(0)),
        Field::new("network.dhcp6Last", "DHCPv6 range end", Input::Line(0)),
        Field::new("network.domain", "DNS domain", Input::Line(0)),
        Field::new("autostart", "Autostart", Input::Flag).preset("yes"),
    ];

    fn subject(&self, _: Option<&Network>) -> Option<String> {
        Some(self.network.name.clone())
    }

    fn check_new(&self, there: bool, host: &HostInventory) -> Result<(), Fault> {
        let spec = &self.network;
        connected::<Network>(host, &spec.name)?;
        spec.check(host)?;
        let taken = there || host.networks.values().any(|known| known.name == spec.name);
        if taken { Err(taken_name(&spec.name, "network", host)) } else { Ok(()) }
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        Some(on.is_some())
    }
}
