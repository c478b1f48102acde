//! `virDomainFSThaw`.

use model::command::ThawFileSystems;
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for ThawFileSystems {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        Ok(ffi::fs_thaw(domain)?)
    }
}
