//! `virDomainFSFreeze`. When it is over, the server knows.

use model::{Fault, FaultKind, command::FreezeFileSystems};
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for FreezeFileSystems {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        if ffi::fs_freeze(domain)? == 0 {
            let reason = format!("{} has no file system that its agent could freeze", domain.name()?);
            let next = "Look at its file systems; some kinds cannot be frozen";
            return Err(Error::Said(Fault::new(FaultKind::Refused, reason).with_next(next)));
        }
        Ok(())
    }
}
