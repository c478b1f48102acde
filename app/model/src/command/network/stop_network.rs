//! Stops a network.

use super::{About, Fault, HostInventory, Network, Verb, unless, verb};

verb! {
    /// Remove its bridge (`virNetworkDestroy`).
    pub struct StopNetwork {}
}

impl Verb for StopNetwork {
    type On = Network;

    const ABOUT: About = About {
        kind: "stopNetwork",
        label: "Stop network",
        done: "is stopped",
        loses: Some("Attached machines lose their network connection."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.active).then_some("is not active"))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| !on.active)
    }
}
