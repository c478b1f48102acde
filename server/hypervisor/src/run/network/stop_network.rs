//! `virNetworkDestroy`.

use model::command::StopNetwork;

use super::OnNetwork;
use crate::{error::Error, run::Run};

impl Run<&OnNetwork<'_>> for StopNetwork {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        on.network()?.destroy()?;
        Ok(())
    }
}
