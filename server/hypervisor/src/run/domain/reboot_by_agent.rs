//! `virDomainReboot` through the guest agent.

use model::command::RebootByAgent;
use virt::{domain::Domain, sys};

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for RebootByAgent {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        let _limit = ffi::limit_agent(domain);
        domain.reboot(sys::VIR_DOMAIN_REBOOT_GUEST_AGENT)?;
        Ok(())
    }
}
