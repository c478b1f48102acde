//! Sets the DNS names of an address.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, names_of, verb};
use crate::network::is_domain;

verb! {
    /// Replace the DNS names of an address, effective immediately (`virNetworkUpdate`).
    pub struct SetDnsHost {
        /// The IP address.
        pub address: IpAddr,
        /// Its names.
        pub names: Vec<String>,
    }
}

impl Verb for SetDnsHost {
    type On = Network;

    const ABOUT: About =
        About { kind: "setDnsHost", label: "Set DNS names", done: "has new DNS names", ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[
        Field::new("address", "Address", Input::Ip).required(),
        Field::new("names", "Names", Input::Words).required(),
    ];

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        dns_host(on, self.address, &self.names)
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| names_of(on, self.address) == Some(self.names.as_slice()))
    }
}

/// Maximum number of names per address.
const MAX_NAMES: usize = 16;

/// Whether these DNS names can be set for an address.
fn dns_host(network: &Network, address: IpAddr, names: &[String]) -> Result<(), Fault> {
    if network.subnets.is_empty() {
        return Err(Fault::denied(format!("{} has no subnet, so libvirt runs no DNS server for it", network.name)));
    }
    if names.is_empty() || names.len() > MAX_NAMES || !names.iter().all(|name| is_domain(name)) {
        return Err(Fault::invalid("names", "must be 1 to 16 names such as db.lab.example.org"));
    }
    let others = network.dns.iter().filter(|host| host.address != address);
    // libvirt treats an entry that shares a name as the same entry.
    match others.flat_map(|host| host.names.iter().map(move |name| (host, name))).find(|(_, name)| names.contains(name))
    {
        Some((host, name)) => Err(Fault::invalid("names", &format!("{name} is already a name of {}", host.address))),
        None => Ok(()),
    }
}
