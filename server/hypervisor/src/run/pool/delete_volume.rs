//! `virStorageVolDelete`.

use model::command::DeleteVolume;

use super::OnPool;
use crate::{error::Error, run::Run, storage::images};

impl Run<OnPool<'_>> for DeleteVolume {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        images::delete(&on.volume(&self.name)?, on.look)
    }
}
