//! `virDomainReboot`.

use model::command::Reboot;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Reboot {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.reboot(0)?;
        Ok(())
    }
}
