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

/// A change of one section of a network (`virNetworkUpdate`).
#[derive(PartialEq)]
struct Change {
    command: sys::virNetworkUpdateCommand,
    section: sys::virNetworkUpdateSection,
    /// The `<ip>` that it concerns; -1 for none.
    index: i32,
    part: String,
}

impl Change {
    /// A change of a DHCP host entry in a definition.
    fn of_host(command: sys::virNetworkUpdateCommand, text: &str, (address, part): (IpAddr, String)) -> Self {
        let index = xml::network::index_of(text, address).unwrap_or(-1);
        Self { command, section: sys::VIR_NETWORK_SECTION_IP_DHCP_HOST, index, part }
    }

    /// A change of a DNS host entry.
    fn of_names(command: sys::virNetworkUpdateCommand, part: String) -> Self {
        Self { command, section: sys::VIR_NETWORK_SECTION_DNS_HOST, index: -1, part }
    }

    fn apply(&self, network: &Network, flags: sys::virNetworkUpdateFlags) -> Result<(), Error> {
        Ok(network.update(self.command, self.section, self.index, &self.part, flags)?)
    }
}

/// The definitions of a network, live and stored, each with the flag that changes it. The two may
/// differ: `virsh net-update` changes either one.
fn definitions(network: &Network) -> Result<Vec<(sys::virNetworkUpdateFlags, String)>, Error> {
    let mut all = Vec::new();
    if network.is_active()? {
        all.push((sys::VIR_NETWORK_UPDATE_AFFECT_LIVE, network.xml_desc(0)?));
    }
    if network.is_persistent()? {
        all.push((sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG, crate::network::stored(network)?));
    }
    Ok(all)
}

/// Makes the changes that each definition needs; in one call where both need the same.
fn update(network: &Network, changes: impl Fn(&str) -> Vec<Change>) -> Result<(), Error> {
    let all: Vec<_> = definitions(network)?.into_iter().map(|(flag, text)| (flag, changes(&text))).collect();
    match all.as_slice() {
        [(live, one), (config, other)] if one == other => {
            one.iter().try_for_each(|change| change.apply(network, live | config))
        }
        all => all
            .iter()
            .try_for_each(|(flag, changes)| changes.iter().try_for_each(|change| change.apply(network, *flag))),
    }
}
