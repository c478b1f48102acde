//! `virNetworkUpdate`, a DHCP host entry.

use model::command::RemoveStaticHost;
use virt::sys;

use super::{Change, OnNetwork, update};
use crate::{error::Error, run::Run, xml};

impl Run<&OnNetwork<'_>> for RemoveStaticHost {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        update(&on.network()?, |text| {
            let hosts = xml::network::static_hosts_to_remove(text, &self.mac, self.address).into_iter();
            let delete = sys::VIR_NETWORK_UPDATE_COMMAND_DELETE;
            hosts.map(|host| Change::of_host(delete, text, (self.address, host))).collect()
        })
    }
}
