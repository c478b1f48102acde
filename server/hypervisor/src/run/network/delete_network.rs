//! `virNetworkUndefine`, after stopping it.

use model::command::DeleteNetwork;

use super::OnNetwork;
use crate::{error::Error, run::Run};

impl Run<&OnNetwork<'_>> for DeleteNetwork {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        let network = on.network()?;
        // A transient network disappears when it is stopped.
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
