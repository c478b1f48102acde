//! `virDomainAuthorizedSSHKeysSet`.

use model::command::RemoveSshKey;
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for RemoveSshKey {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        Ok(ffi::set_ssh_key(domain, &self.user, &self.key, false)?)
    }
}
