//! Takes a static address away from a machine.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, has_static, unless, verb};

verb! {
    /// Stop giving a machine the same address each time (`virNetworkUpdate`).
    pub struct RemoveStaticHost {
        /// The hardware address; empty of one that is known by its name only.
        pub mac: String,
        /// The address.
        pub address: IpAddr,
    }
}

impl Verb for RemoveStaticHost {
    type On = Network;

    const ABOUT: About = About {
        kind: "removeStaticHost",
        label: "Remove static address",
        done: "has new static addresses",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("mac", "Hardware address", Input::Line(0)),
        Field::new("address", "Address", Input::Ip).required(),
    ];

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        let (mac, address) = (&self.mac, self.address);
        unless(on, (!has_static(on, mac, address)).then(|| format!("does not give {address} to {mac}")))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| !has_static(on, &self.mac, self.address))
    }
}
