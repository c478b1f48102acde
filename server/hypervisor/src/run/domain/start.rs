//! `virDomainCreate`.

use model::command::Start;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Start {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.create()?;
        Ok(())
    }
}
