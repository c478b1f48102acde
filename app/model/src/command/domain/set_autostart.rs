//! Lets a machine start with its host, or not.

use super::{About, Domain, Fault, Field, Host, Input, Verb, obstacle, verb};

verb! {
    /// Start with the host, or not (`virDomainSetAutostart`).
    pub struct SetAutostart {
        /// Whether to.
        pub enabled: bool,
    }
}

impl Verb for SetAutostart {
    type On = Domain;

    const ABOUT: About = About {
        kind: "setAutostart",
        label: "Set autostart",
        done: "has another autostart setting",
        harmless: true,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("enabled", "Autostart", Input::Flag)];

    fn label(&self) -> &'static str {
        if self.enabled { "Turn autostart on" } else { "Turn autostart off" }
    }

    fn done(&self) -> &'static str {
        if self.enabled { "starts with its host" } else { "does not start with its host" }
    }

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.persistent).then_some("is transient, so it cannot start with its host"))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.autostart == self.enabled)
    }
}
