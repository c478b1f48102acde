//! `virStorageVolCreateXMLFrom`.

use model::command::CloneVolume;

use super::OnPool;
use crate::{error::Error, run::Run, storage::images};

impl Run<OnPool<'_>> for CloneVolume {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        images::clone(on.connect, &on.pool()?, (&on.volume(&self.name)?, &self.to), on.look)
    }
}
