//! `virStorageVolResize`, or `virDomainBlockResize`.

use model::command::ResizeVolume;

use super::OnPool;
use crate::{error::Error, run::Run, storage::images};

impl Run<OnPool<'_>> for ResizeVolume {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        images::resize(on.connect, (&on.pool()?, &on.volume(&self.name)?), self.capacity_bytes, on.look)
    }
}
