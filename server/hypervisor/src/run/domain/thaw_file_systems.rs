//! `virDomainFSThaw`.

use crate::ffi;
use model::command::ThawFileSystems;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for ThawFileSystems {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        Ok(ffi::fs_thaw(domain)?)
    }
}
