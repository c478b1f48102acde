//! `virDomainResume`, or `virDomainPMWakeup` for a suspended guest.

use model::{DomainState, command::Resume};
use virt::domain::Domain;

use crate::{domain, error::Error, ffi, run::Run};

impl Run<&Domain> for Resume {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        match domain::state_of(ffi::state(domain)?.0) {
            DomainState::Suspended => domain.pm_wakeup(0)?,
            _ => domain.resume()?,
        };
        Ok(())
    }
}
