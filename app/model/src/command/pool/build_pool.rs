//! Builds the storage of a pool.

use super::{About, Fault, HostInventory, Lane, Permission, Pool, Verb, unless, verb};

verb! {
    /// Build the storage: create the directory, file system or volume group
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
        loses: Some("Existing data on its device may be overwritten."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, on.state.is_active().then_some("is active; stop it before building it"))
    }
}
