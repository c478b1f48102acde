//! `virStorageVolCreateXML`.

use model::command::CreateVolume;

use super::OnPool;
use crate::{error::Error, run::Run, storage::images};

impl Run<OnPool<'_>> for CreateVolume {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        images::create(on.connect, &on.pool()?, &self.volume, on.look)
    }
}
