//! Starts a storage pool.

use super::{About, Fault, HostInventory, Lane, Pool, Verb, unless, verb};

verb! {
    /// Activate the pool (`virStoragePoolCreate`).
    pub struct StartPool {}
}

impl Verb for StartPool {
    type On = Pool;

    const ABOUT: About =
        About { kind: "startPool", label: "Start pool", done: "is started", lane: Lane::Slow, ..About::DEFAULT };

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, on.state.is_active().then_some("is already active"))
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        on.map(|on| on.state.is_active())
    }
}
