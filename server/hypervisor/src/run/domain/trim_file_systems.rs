//! `virDomainFSTrim`.

use model::command::TrimFileSystems;
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for TrimFileSystems {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        Ok(ffi::fs_trim(domain)?)
    }
}
