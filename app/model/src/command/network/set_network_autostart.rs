//! Sets autostart of a network.

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, unless, verb};

verb! {
    /// Set autostart (`virNetworkSetAutostart`).
    pub struct SetNetworkAutostart {
        /// Whether autostart is on.
        pub enabled: bool,
    }
}

impl Verb for SetNetworkAutostart {
    type On = Network;

    const ABOUT: About = About {
        kind: "setNetworkAutostart",
        label: "Set network autostart",
        done: "has a new autostart setting",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("enabled", "Autostart", Input::Flag)];

    fn done(&self) -> &'static str {
        if self.enabled { "has autostart enabled" } else { "has autostart disabled" }
    }

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.persistent).then_some("is transient, so autostart cannot be set"))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| on.autostart == self.enabled)
    }
}
