//! Removes the DNS names of an address.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, names_of, unless, verb};

verb! {
    /// Remove the DNS entry of an address (`virNetworkUpdate`).
    pub struct RemoveDnsHost {
        /// The IP address.
        pub address: IpAddr,
    }
}

impl Verb for RemoveDnsHost {
    type On = Network;

    const ABOUT: About =
        About { kind: "removeDnsHost", label: "Remove DNS names", done: "had DNS names removed", ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("address", "Address", Input::Ip).required()];

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        let unknown = names_of(on, self.address).is_none();
        unless(on, unknown.then(|| format!("has no DNS names for {}", self.address)))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| names_of(on, self.address).is_none())
    }
}
