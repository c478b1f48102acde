//! `virNetworkSetAutostart`.

use model::command::SetNetworkAutostart;

use super::OnNetwork;
use crate::{error::Error, run::Run};

impl Run<&OnNetwork<'_>> for SetNetworkAutostart {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        on.network()?.set_autostart(self.enabled)?;
        Ok(())
    }
}
