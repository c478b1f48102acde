//! Removes the DNS names of an address.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, names_of, unless, verb};

verb! {
    /// Let the network's DNS server forget the names of an address (`virNetworkUpdate`).
    pub struct RemoveDnsHost {
        /// The address.
        pub address: IpAddr,
    }
}

impl Verb for RemoveDnsHost {
    type On = Network;

    const ABOUT: About =
        About { kind: "removeDnsHost", label: "Remove DNS names", done: "has new DNS names", ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("address", "Address of the names", Input::Ip).required()];

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        let unknown = names_of(on, self.address).is_none();
        unless(on, unknown.then(|| format!("knows no names of {}", self.address)))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| names_of(on, self.address).is_none())
    }
}
