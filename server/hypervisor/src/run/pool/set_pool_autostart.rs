//! `virStoragePoolSetAutostart`.

use model::command::SetPoolAutostart;

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for SetPoolAutostart {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        on.pool()?.set_autostart(self.enabled)?;
        Ok(())
    }
}
