//! `virDomainDestroy`.

use model::command::ForceOff;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for ForceOff {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.destroy()?;
        Ok(())
    }
}
