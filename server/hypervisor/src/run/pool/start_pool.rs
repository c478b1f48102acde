//! `virStoragePoolCreate`.

use model::command::StartPool;

use super::OnPool;
use crate::{error::Error, run::Run};

impl Run<OnPool<'_>> for StartPool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        on.pool()?.create(0)?;
        Ok(())
    }
}
