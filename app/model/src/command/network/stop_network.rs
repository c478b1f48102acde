//! Stops a network.

use super::{About, Fault, HostInventory, Network, Verb, unless, verb};

verb! {
    /// Take its bridge away (`virNetworkDestroy`).
    pub struct StopNetwork {}
}

impl Verb for StopNetwork {
    type On = Network;

    const ABOUT: About = About {
        kind: "stopNetwork",
        label: "Stop network",
        done: "is stopped",
        loses: Some("Machines that are plugged into it lose their connection."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.active).then_some("is not started"))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| !on.active)
    }
}
