//! `virNetworkDefineXML`, then start.

use model::{Fault, FaultKind, command::DefineNetwork, network::NetworkSpec};
use uuid::Uuid;
use virt::connect::Connect;

use super::OnNetwork;
use crate::{error::Error, nics, run::Run, xml};

impl Run<&OnNetwork<'_>> for DefineNetwork {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        if let Some(root) = &on.root {
            nics::check(root, &self.network).map_err(Error::Said)?;
        }
        define(on.connect, on.id, &self.network, self.autostart)
    }
}

/// Defines and starts a network; a failure leaves nothing behind.
fn define(connect: &Connect, id: Uuid, spec: &NetworkSpec, autostart: bool) -> Result<(), Error> {
    // Defining an existing network would change it, and the rollback would remove it.
    if connect.lookup_network_by_uuid(id).is_ok() {
        return Err(Error::Said(Fault::new(FaultKind::Conflict, format!("{} already exists", spec.name))));
    }
    let text = xml::network::definition(id, spec).map_err(Error::Said)?.to_string();
    let network = connect.define_network_xml(&text)?;
    let begin = || {
        network.create()?;
        if autostart {
            network.set_autostart(true)?;
        }
        Ok(())
    };
    begin().inspect_err(|_| {
        network.destroy().ok();
        network.undefine().ok();
    })
}
