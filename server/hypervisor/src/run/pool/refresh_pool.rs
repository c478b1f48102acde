//! `virStoragePoolRefresh`.

use model::command::RefreshPool;

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for RefreshPool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        on.pool()?.refresh(0)?;
        Ok(())
    }
}
