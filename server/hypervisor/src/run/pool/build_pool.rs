//! `virStoragePoolBuild`.

use model::command::BuildPool;
use virt::{storage_pool::StoragePool, sys};

use super::OnPool;
use crate::{error::Error, run::Run, xml};

impl Run<OnPool<'_>> for BuildPool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        build(&on.pool()?)
    }
}

/// Builds a pool without overwriting existing data.
pub(super) fn build(pool: &StoragePool) -> Result<(), Error> {
    let kind = xml::storage::pool(&pool.xml_desc(0)?).unwrap_or_default().kind;
    let flags = match kind.as_str() {
        "fs" | "disk" | "logical" => sys::VIR_STORAGE_POOL_BUILD_NO_OVERWRITE,
        _ => sys::VIR_STORAGE_POOL_BUILD_NEW,
    };
    Ok(pool.build(flags)?)
}
