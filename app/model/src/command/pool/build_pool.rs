//! Prepares the storage of a pool.

use super::{About, Fault, HostInventory, Lane, Permission, Pool, Verb, unless, verb};

verb! {
    /// Prepare its storage: make the folder, the file system, the volume group
    /// (`virStoragePoolBuild`).
    pub struct BuildPool {}
}

impl Verb for BuildPool {
    type On = Pool;

    const ABOUT: About = About {
        kind: "buildPool",
        label: "Build pool",
        done: "is built",
        lane: Lane::Slow,
        permission: Permission::ShapeStorage,
        loses: Some("What is on its device may be overwritten."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, on.state.is_active().then_some("is started; stop it before it is built"))
    }
}
