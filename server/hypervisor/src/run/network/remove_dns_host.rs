//! `virNetworkUpdate`, a DNS host entry.

use model::command::RemoveDnsHost;

use super::{OnNetwork, forget_names};
use crate::{error::Error, run::Run};

impl Run<&OnNetwork<'_>> for RemoveDnsHost {
    fn run(&self, on: &OnNetwork<'_>) -> Result<(), Error> {
        forget_names(&on.network()?, self.address).map(drop)
    }
}
