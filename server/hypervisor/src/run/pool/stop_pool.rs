//! `virStoragePoolDestroy`.

use model::command::StopPool;

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for StopPool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        on.pool()?.destroy()?;
        Ok(())
    }
}
