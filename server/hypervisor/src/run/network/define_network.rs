//! `virNetworkDefineXML`, and starts it.

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

/// Makes a network and starts it; what does not work leaves no half of it behind.
fn define(connect: &Connect, id: Uuid, spec: &NetworkSpec, autostart: bool) -> Result<(), Error> {
    // To define what is there would change it, and undoing that would take it away.
    if connect.lookup_network_by_uuid(id).is_ok() {
        return Err(Error::Said(Fault::new(FaultKind::Conflict, format!("{} is there already", spec.name))));
    }
    let text = xml::network::definition(id, spec).map_err(Error::Said)?;
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
