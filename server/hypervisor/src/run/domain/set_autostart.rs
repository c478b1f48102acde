//! `virDomainSetAutostart`.

use model::command::SetAutostart;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for SetAutostart {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.set_autostart(self.enabled)?;
        Ok(())
    }
}
