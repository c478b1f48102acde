//! `virDomainFSFreeze`. The server decides when to thaw.

use model::{Fault, FaultKind, command::FreezeFileSystems};
use virt::domain::Domain;

use crate::{error::Error, ffi, run::Run};

impl Run<&Domain> for FreezeFileSystems {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        if ffi::fs_freeze(domain)? == 0 {
            let reason = format!("{} has no file system that the guest agent can freeze", domain.name()?);
            let next = "Check its file systems; some types cannot be frozen";
            return Err(Error::Said(Fault::new(FaultKind::Refused, reason).with_next(next)));
        }
        Ok(())
    }
}
