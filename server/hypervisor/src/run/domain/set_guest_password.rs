//! `virDomainSetUserPassword`.

use model::command::SetGuestPassword;
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for SetGuestPassword {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        let _limit = ffi::limit_agent(domain);
        domain.set_user_password(&self.user, &self.password.0, 0)?;
        Ok(())
    }
}
