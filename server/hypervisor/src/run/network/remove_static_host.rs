//! `virNetworkUpdate`, a DHCP host entry.

use model::command::RemoveStaticHost;
use virt::sys;

use super::{OnNetwork, update_host};
use crate::{error::Error, run::Run, xml};

impl Run<&OnNetwork<'_>> for RemoveStaticHost {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let network = on.network()?;
        let text = network.xml_desc(0)?;
        for host in xml::network::static_hosts_to_remove(&text, &self.mac, self.address) {
            update_host(&network, &text, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, (self.address, &host))?;
        }
        Ok(())
    }
}
