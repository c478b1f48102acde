//! Refreshes a storage pool.

use super::{About, Fault, HostInventory, Lane, Pool, Verb, unless, verb};

verb! {
    /// Refresh the list of volumes (`virStoragePoolRefresh`).
    pub struct RefreshPool {}
}

impl Verb for RefreshPool {
    type On = Pool;

    const ABOUT: About =
        About { kind: "refreshPool", label: "Refresh pool", done: "is refreshed", lane: Lane::Slow, ..About::DEFAULT };

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.state.is_active()).then_some("is not active"))
    }
}
