//! `virDomainInjectNMI`.

use model::command::Nmi;
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for Nmi {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        Ok(ffi::inject_nmi(domain)?)
    }
}
