//! `virStoragePoolDefineXML`, and starts it.

use model::{Fault, FaultKind, command::DefinePool, storage::PoolSpec};
use uuid::Uuid;
use virt::{connect::Connect, error::ErrorNumber};

use super::{OnPool, build_pool::build};
use crate::{error::Error, run::Run, xml};

impl Run<OnPool<'_>> for DefinePool {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        define(on.connect, on.id, (&self.pool, self.build, self.autostart))
    }
}

/// Makes a pool and starts it; what does not work leaves no half of it behind.
fn define(connect: &Connect, id: Uuid, wish: (&PoolSpec, bool, bool)) -> Result<(), Error> {
    let (spec, prepare, _) = wish;
    // To define what is there would change it, and undoing that would take it away.
    if connect.lookup_storage_pool_by_uuid(id).is_ok() {
        return Err(Error::Said(Fault::new(FaultKind::Conflict, format!("{} is there already", spec.name))));
    }
    let first = define_as(connect, id, wish, "auto");
    // A device without a file system gets one; whatever is on it says so before.
    let blank = spec.kind == "fs" && prepare && first.as_ref().is_err_and(|error| !error.is_link());
    if blank { define_as(connect, id, wish, "ext4") } else { first }
}

/// The same with a file system of a type, of which `auto` is the one that is there.
fn define_as(
    connect: &Connect,
    id: Uuid,
    (spec, prepare, autostart): (&PoolSpec, bool, bool),
    format: &str,
) -> Result<(), Error> {
    let pool = connect.define_storage_pool_xml(&xml::storage::pool_definition(id, spec, format), 0)?;
    let begin = || {
        // A volume group is there already; building it would begin another one.
        if prepare && spec.kind != "logical" {
            match build(&pool) {
                // What is there already is used as it is.
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
        // Whatever of it cannot be undone is still seen in the list.
        pool.destroy().ok();
        pool.undefine().ok();
    })
}
