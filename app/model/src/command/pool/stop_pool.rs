//! Stops a storage pool.

use super::{About, Fault, Hindrance, HostInventory, Lane, Pool, Verb, VolumeUse, of_machines, unless, verb};
use crate::storage::PoolState;

verb! {
    /// Deactivate the pool; its data is kept (`virStoragePoolDestroy`).
    pub struct StopPool {}
}

impl Verb for StopPool {
    type On = Pool;

    const ABOUT: About = About {
        kind: "stopPool",
        label: "Stop pool",
        done: "is stopped",
        lane: Lane::Slow,
        loses: Some("Machines cannot start from its volumes until it is started again. No data is lost."),
        ..About::DEFAULT
    };

    fn depends_on_use(&self) -> bool {
        true
    }

    fn hindrance(&self, users: &[VolumeUse]) -> Option<Hindrance> {
        let users = of_machines(users).filter(|user| user.active).cloned().collect();
        Some(Hindrance { users, so: "so it cannot be stopped", next: "Shut them down first" })
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.state.is_active()).then_some("is not active"))
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        on.map(|on| on.state == PoolState::Inactive)
    }
}
