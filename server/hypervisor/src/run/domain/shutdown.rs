//! `virDomainShutdownFlags`: ACPI first, the guest agent later.

use model::{DomainState, command::Shutdown};
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, sys};

use crate::{domain::state_of, error::Error, ffi, run::Run};

impl Run<&Domain> for Shutdown {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        // Drivers without ACPI use their default method.
        match domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN).map_err(Error::from) {
            Err(error) if error.is_unsupported() => domain.shutdown()?,
            answer => answer?,
        };
        Ok(())
    }
}

/// Shuts the guest down through its agent, if the machine still runs.
pub(crate) fn by_agent(connect: &Connect, id: Uuid) -> Result<(), Error> {
    let domain = connect.lookup_domain_by_uuid(id)?;
    if state_of(ffi::state(&domain)?.0) == DomainState::Running {
        domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)?;
    }
    Ok(())
}
