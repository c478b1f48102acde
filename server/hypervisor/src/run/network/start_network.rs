//! `virNetworkCreate`.

use model::command::StartNetwork;

use super::OnNetwork;
use crate::{error::Error, run::Run};

impl Run<&OnNetwork<'_>> for StartNetwork {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        on.network()?.create()?;
        Ok(())
    }
}
