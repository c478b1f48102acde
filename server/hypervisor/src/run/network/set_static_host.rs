//! `virNetworkUpdate`, a DHCP host entry.

use model::command::SetStaticHost;
use virt::sys;

use super::{Change, OnNetwork, update};
use crate::{error::Error, run::Run, xml};

impl Run<&OnNetwork<'_>> for SetStaticHost {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let (mac, address, name) = (&self.mac, self.address, &self.name);
        update(&on.network()?, |text| {
            let (command, host) = match xml::network::patched_static_host(text, mac, address, name) {
                Some(patched) => (sys::VIR_NETWORK_UPDATE_COMMAND_MODIFY, patched),
                None => (
                    sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
                    xml::network::static_host(mac, address, name).to_string(),
                ),
            };
            vec![Change::of_host(command, text, (address, host))]
        })
    }
}
