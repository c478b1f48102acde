//! `virDomainManagedSaveRemove`.

use model::command::DiscardSave;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for DiscardSave {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.managed_save_remove(0)?;
        Ok(())
    }
}
