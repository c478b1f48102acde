//! Nothing of libvirt's: the server fetches, and asks for an upload.

use model::command::FetchVolume;
use model::{Fault, FaultKind};

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for FetchVolume {
    fn run(&self, _: OnPool<'_>) -> Result<(), Error> {
        Err(Error::Said(Fault::new(FaultKind::Internal, "libvirt fetches no files")))
    }
}
