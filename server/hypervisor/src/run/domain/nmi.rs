//! `virDomainInjectNMI`.

use crate::ffi;
use model::command::Nmi;
use virt::domain::Domain;

use crate::{error::Error, run::Run};

impl Run<&Domain> for Nmi {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        Ok(ffi::inject_nmi(domain)?)
    }
}
