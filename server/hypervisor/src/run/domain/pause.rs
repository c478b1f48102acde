//! `virDomainSuspend`.

use model::command::Pause;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Pause {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.suspend()?;
        Ok(())
    }
}
