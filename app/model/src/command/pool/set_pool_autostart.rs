//! Lets a storage pool start with its host, or not.

use super::{About, Fault, Field, HostInventory, Input, Pool, Verb, unless, verb};

verb! {
    /// Start with the host, or not (`virStoragePoolSetAutostart`).
    pub struct SetPoolAutostart {
        /// Whether to.
        pub enabled: bool,
    }
}

impl Verb for SetPoolAutostart {
    type On = Pool;

    const ABOUT: About = About {
        kind: "setPoolAutostart",
        label: "Set autostart of pool",
        done: "has another autostart setting",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("enabled", "Autostart", Input::Flag)];

    fn done(&self) -> &'static str {
        if self.enabled { "starts with its host" } else { "does not start with its host" }
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        unless(on, (!on.persistent).then_some("is transient, so it cannot start with its host"))
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        on.map(|on| on.autostart == self.enabled)
    }
}
