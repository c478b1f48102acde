//! `virNetworkUndefine`; it is stopped first.

use model::command::DeleteNetwork;

use super::OnNetwork;
use crate::{error::Error, run::Run};

impl Run<&OnNetwork<'_>> for DeleteNetwork {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let network = on.network()?;
        // A transient network is gone once it is stopped.
        let persistent = network.is_persistent()?;
        if network.is_active()? {
            network.destroy()?;
        }
        if persistent {
            network.undefine()?;
        }
        Ok(())
    }
}
