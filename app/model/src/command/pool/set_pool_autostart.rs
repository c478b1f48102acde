//! Sets autostart of a storage pool.

use super::{About, Fault, Field, HostInventory, Input, Pool, Verb, unless, verb};

verb! {
    /// Set autostart (`virStoragePoolSetAutostart`).
    pub struct SetPoolAutostart {
        /// Whether autostart is on.
        pub enabled: bool,
    }
}

impl Verb for SetPoolAutostart {
    type On = Pool;

    const ABOUT: About = About {
        kind: "setPoolAutostart",
        label: "Set pool autostart",
        done: "has a new autostart setting",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("enabled", "Autostart", Input::Flag)];

    fn done(&self) -> &'static str {
        if self.enabled { "has autostart enabled" } else { "has autostart disabled" }
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.persistent).then_some("is transient, so autostart cannot be set"))
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        on.map(|on| on.autostart == self.enabled)
    }
}
