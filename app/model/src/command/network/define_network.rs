//! Makes a network.

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, connected, taken_name, verb};
use crate::network::NetworkSpec;

verb! {
    /// Make a new one with the target's UUID (`virNetworkDefineXML`), and start it.
    pub struct DefineNetwork {
        /// What it is.
        pub network: NetworkSpec,
        /// Whether it starts with its host.
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
        Field::new("network.bridge", "Bridge of the host", Input::Line(0)),
        Field::new("network.device", "Device of the host", Input::Line(0)),
        Field::new("network.ipv4", "IPv4: this host's address", Input::Line(0)),
        Field::new("network.dhcpFirst", "DHCP from", Input::Line(0)),
        Field::new("network.dhcpLast", "DHCP to", Input::Line(0)),
        Field::new("network.ipv6", "IPv6: this host's address", Input::Line(0)),
        Field::new("network.dhcp6First", "DHCPv6 from", Input::Line(0)),
        Field::new("network.dhcp6Last", "DHCPv6 to", Input::Line(0)),
        Field::new("network.domain", "DNS domain", Input::Line(0)),
        Field::new("autostart", "Start it with its host", Input::Flag).preset("yes"),
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
