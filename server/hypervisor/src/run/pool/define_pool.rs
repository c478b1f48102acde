//! `virStoragePoolDefineXML`, then start.

use model::{
    Fault, FaultKind,
    command::DefinePool,
    storage::{PoolKind, PoolSpec},
};
use uuid::Uuid;
use virt::{connect::Connect, error::ErrorNumber};

use super::{OnPool, build_pool::build};
use crate::{error::Error, run::Run, xml};

impl Run<OnPool<'_>> for DefinePool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        define(on.connect, on.id, (&self.pool, self.build, self.autostart))
    }
}

/// Defines and starts a pool; a failure leaves nothing behind.
fn define(connect: &Connect, id: Uuid, wish: (&PoolSpec, bool, bool)) -> Result<(), Error> {
    let (spec, prepare, _) = wish;
    // Defining an existing pool would change it, and the rollback would remove it.
    if connect.lookup_storage_pool_by_uuid(id).is_ok() {
        return Err(Error::Said(Fault::new(FaultKind::Conflict, format!("{} already exists", spec.name))));
    }
    let first = define_as(connect, id, wish, "auto");
    // A blank device gets a file system; existing data is detected before.
    let blank = spec.kind == PoolKind::Fs && prepare && first.as_ref().is_err_and(|error| !error.is_link());
    if blank { define_as(connect, id, wish, "ext4") } else { first }
}

/// Defines with a file system type; `auto` uses the existing one.
fn define_as(
    connect: &Connect,
    id: Uuid,
    (spec, prepare, autostart): (&PoolSpec, bool, bool),
    format: &str,
) -> Result<(), Error> {
    let pool = connect.define_storage_pool_xml(&xml::storage::pool_definition(id, spec, format).to_string(), 0)?;
    let begin = || {
        // A volume group exists already; building it would create another one.
        if prepare && spec.kind != PoolKind::Logical {
            match build(&pool) {
                // An existing one is used as it is.
                Err(error) if error.is(&[ErrorNumber::StoragePoolBuilt]) => {}
                built => built?,
            }
        }
        pool.create(0)?;
        if autostart {
            pool.set_autostart(true)?;
        }
        Ok(())
    };
    begin().inspect_err(|_| {
        // Remaining parts are visible in the list.
        pool.destroy().ok();
        pool.undefine().ok();
    })
}
