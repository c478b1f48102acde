//! `virDomainReset`.

use model::command::Reset;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Reset {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.reset()?;
        Ok(())
    }
}
