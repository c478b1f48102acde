//! Network commands.

mod define_network;
mod delete_network;
mod remove_dns_host;
mod remove_static_host;
mod set_dns_host;
mod set_network_autostart;
mod set_static_host;
mod start_network;
mod stop_network;

use std::{net::IpAddr, path::PathBuf};

use model::network::DnsHost;
use uuid::Uuid;
use virt::{connect::Connect, network::Network, sys};

use super::runs;
use crate::{error::Error, xml};

runs! { NetworkCommand on &OnNetwork<'_> {
    StartNetwork,
    StopNetwork,
    SetNetworkAutostart,
    DefineNetwork,
    DeleteNetwork,
    SetStaticHost,
    RemoveStaticHost,
    SetDnsHost,
    RemoveDnsHost,
} }

/// A network, and the root of the file systems that its daemon sees.
pub(crate) struct OnNetwork<'a> {
    pub(crate) connect: &'a Connect,
    pub(crate) id: Uuid,
    pub(crate) root: Option<PathBuf>,
}

impl OnNetwork<'_> {
    fn network(&self) -> Result<Network, Error> {
        Ok(self.connect.lookup_network_by_uuid(self.id)?)
    }
}

/// Changes static DHCP host entries; `text` is the current network XML.
fn update_host(
    network: &Network,
    text: &str,
    command: sys::virNetworkUpdateCommand,
    (address, host): (IpAddr, &str),
) -> Result<(), Error> {
    let index = xml::network::index_of(text, address).unwrap_or(-1);
    update(network, command, (sys::VIR_NETWORK_SECTION_IP_DHCP_HOST, index), host)
}

/// Removes the DNS names of an address; returns the removed elements.
fn forget_names(network: &Network, address: IpAddr) -> Result<Vec<DnsHost>, Error> {
    let text = network.xml_desc(0)?;
    let mut known = xml::network::network(&text).unwrap_or_default().dns;
    known.retain(|host| host.address == address);
    for element in xml::network::dns_hosts_to_remove(&text, address) {
        update(network, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, (sys::VIR_NETWORK_SECTION_DNS_HOST, -1), &element)?;
    }
    Ok(known)
}

/// Updates a section of a network, live and stored.
fn update(
    network: &Network,
    command: sys::virNetworkUpdateCommand,
    (section, index): (sys::virNetworkUpdateSection, i32),
    part: &str,
) -> Result<(), Error> {
    let live = if network.is_active()? { sys::VIR_NETWORK_UPDATE_AFFECT_LIVE } else { 0 };
    let config = if network.is_persistent()? { sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG } else { 0 };
    Ok(network.update(command, section, index, part, live | config)?)
}
