//! `virStorageVolWipe`.

use model::command::WipeVolume;

use super::OnPool;
use crate::{error::Error, run::Run, storage::images};

impl Run<OnPool<'_>> for WipeVolume {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        images::wipe(on.connect, &on.volume(&self.name)?, on.look)
    }
}
