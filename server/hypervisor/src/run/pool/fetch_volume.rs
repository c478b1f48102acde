//! Nothing of libvirt's: the server fetches, and asks for an upload.

use model::{Fault, FaultKind, command::FetchVolume};

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for FetchVolume {
    fn run(&self, _: OnPool<'_>) -> Result<(), Error> {
        Err(Error::Said(Fault::new(FaultKind::Internal, "libvirt fetches no files")))
    }
}
