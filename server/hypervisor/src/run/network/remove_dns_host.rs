//! `virNetworkUpdate`, a DNS host entry.

use model::command::RemoveDnsHost;
use virt::sys;

use super::{Change, OnNetwork, update};
use crate::{error::Error, run::Run, xml};

impl Run<&OnNetwork<'_>> for RemoveDnsHost {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let delete = sys::VIR_NETWORK_UPDATE_COMMAND_DELETE;
        update(&on.network()?, |text| {
            let hosts = xml::network::dns_hosts_to_remove(text, self.address).into_iter();
            hosts.map(|host| Change::of_names(delete, host)).collect()
        })
    }
}
