//! Not a libvirt call: the server downloads and uploads the content.

use model::{Fault, FaultKind, command::FetchVolume};

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for FetchVolume {
    fn run(&self, _: OnPool<'_>) -> Result<(), Error> {
        Err(Error::Said(Fault::new(FaultKind::Internal, "libvirt does not download files")))
    }
}
