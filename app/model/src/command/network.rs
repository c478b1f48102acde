//! Commands for networks. Each command is a separate file below.

mod define_network;
mod delete_network;
mod remove_dns_host;
mod remove_static_host;
mod set_dns_host;
mod set_network_autostart;
mod set_static_host;
mod start_network;
mod stop_network;

use std::net::IpAddr;

use super::{
    pool::taken_name,
    verb::{About, Field, Input, Object, Plain, Verb, commands, connected, unless, verb},
};
use crate::{Fault, Host, HostInventory, Network};

commands! {
    /// A command for a network.
    NetworkCommand on Network {
        start_network::StartNetwork,
        stop_network::StopNetwork,
        set_network_autostart::SetNetworkAutostart,
        define_network::DefineNetwork,
        delete_network::DeleteNetwork,
        set_static_host::SetStaticHost,
        remove_static_host::RemoveStaticHost,
        set_dns_host::SetDnsHost,
        remove_dns_host::RemoveDnsHost,
    }
}

impl Object for Network {
    type Around = HostInventory;

    fn name(&self) -> &str {
        &self.name
    }

    fn host(around: &HostInventory) -> &Host {
        &around.host
    }
}

/// Whether a network has this static address for a MAC address.
fn has_static(network: &Network, mac: &str, address: IpAddr) -> bool {
    let mut known = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
    known.any(|host| host.address == address && host.mac.eq_ignore_ascii_case(mac))
}

/// The DNS names of an address in a network; none if there are none.
fn names_of(network: &Network, address: IpAddr) -> Option<&[String]> {
    network.dns.iter().find(|host| host.address == address).map(|host| host.names.as_slice())
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
