//! `virNetworkUpdate`, a DNS host entry.

use model::{command::SetDnsHost, network::DnsHost};
use virt::sys;

use super::{Change, OnNetwork, definitions};
use crate::{error::Error, run::Run, xml};

impl Run<&OnNetwork<'_>> for SetDnsHost {
    /// libvirt cannot modify these entries: those of the address are removed first, and restored
    /// where the new one is refused.
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let network = on.network()?;
        let (add, delete) = (sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE);
        let wished = xml::network::dns_host(&DnsHost { address: self.address, names: self.names.clone() }).to_string();
        for (flag, text) in definitions(&network)? {
            let had = xml::network::dns_hosts_to_remove(&text, self.address);
            had.iter().try_for_each(|host| Change::of_names(delete, host.clone()).apply(&network, flag))?;
            Change::of_names(add, wished.clone()).apply(&network, flag).inspect_err(|_| {
                had.into_iter().for_each(|host| drop(Change::of_names(add, host).apply(&network, flag)));
            })?;
        }
        Ok(())
    }
}
