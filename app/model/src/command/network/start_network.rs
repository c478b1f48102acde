//! Starts a network.

use super::{About, Fault, HostInventory, Network, Verb, unless, verb};

verb! {
    /// Create its bridge and start DHCP and DNS (`virNetworkCreate`).
    pub struct StartNetwork {}
}

impl Verb for StartNetwork {
    type On = Network;

    const ABOUT: About = About { kind: "startNetwork", label: "Start network", done: "is started", ..About::DEFAULT };

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        unless(on, on.active.then_some("is already active"))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| on.active)
    }
}
