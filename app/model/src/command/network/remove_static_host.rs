//! Removes a static address.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, has_static, unless, verb};

verb! {
    /// Remove a static DHCP host entry (`virNetworkUpdate`).
    pub struct RemoveStaticHost {
        /// The MAC address or DUID; empty for an entry that has only a name.
        pub mac: String,
        /// The IP address.
        pub address: IpAddr,
    }
}

impl Verb for RemoveStaticHost {
    type On = Network;

    const ABOUT: About = About {
        kind: "removeStaticHost",
        label: "Remove static address",
        done: "had a static address removed",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] =
        &[Field::new("mac", "MAC address", Input::Line(0)), Field::new("address", "Address", Input::Ip).required()];

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        let (mac, address) = (&self.mac, self.address);
        unless(on, (!has_static(on, mac, address)).then(|| format!("has no static address {address} for {mac}")))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| !has_static(on, &self.mac, self.address))
    }
}
