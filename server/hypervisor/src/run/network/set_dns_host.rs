//! `virNetworkUpdate`, a DNS host entry.

use model::{command::SetDnsHost, network::DnsHost};
use virt::{network::Network, sys};

use super::{OnNetwork, forget_names, update};
use crate::{error::Error, run::Run, xml};

impl Run<&OnNetwork<'_>> for SetDnsHost {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let network = on.network()?;
        let wished = DnsHost { address: self.address, names: self.names.clone() };
        // libvirt cannot modify these entries; the old one is removed first, and restored on
        // failure.
        let had = forget_names(&network, self.address)?;
        update_names(&network, sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, &wished).inspect_err(|_| {
            had.iter().for_each(|had| {
                update_names(&network, sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, had).ok();
            });
        })
    }
}

fn update_names(network: &Network, command: sys::virNetworkUpdateCommand, host: &DnsHost) -> Result<(), Error> {
    update(network, command, (sys::VIR_NETWORK_SECTION_DNS_HOST, -1), &xml::network::dns_host(host))
}
