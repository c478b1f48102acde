//! Lets a network start with its host, or not.

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, unless, verb};

verb! {
    /// Start with the host, or not (`virNetworkSetAutostart`).
    pub struct SetNetworkAutostart {
        /// Whether to.
        pub enabled: bool,
    }
}

impl Verb for SetNetworkAutostart {
    type On = Network;

    const ABOUT: About = About {
        kind: "setNetworkAutostart",
        label: "Set autostart of network",
        done: "has another autostart setting",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("enabled", "Autostart", Input::Flag)];

    fn done(&self) -> &'static str {
        if self.enabled { "starts with its host" } else { "does not start with its host" }
    }

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.persistent).then_some("is transient, so it cannot start with its host"))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| on.autostart == self.enabled)
    }
}
