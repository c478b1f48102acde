//! `virDomainManagedSave`.

use model::command::Save;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Save {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.managed_save(0)?;
        Ok(())
    }
}
