//! `virDomainCreateWithFlags`.

use model::command::StartPaused;
use virt::{domain::Domain, sys};

use crate::{error::Error, run::Run};

impl Run<&Domain> for StartPaused {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        domain.create_with_flags(sys::VIR_DOMAIN_START_PAUSED)?;
        Ok(())
    }
}
