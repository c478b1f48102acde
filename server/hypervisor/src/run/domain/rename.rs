//! `virDomainRename`.

use model::command::Rename;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Rename {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.rename(&self.name, 0)?;
        Ok(())
    }
}
