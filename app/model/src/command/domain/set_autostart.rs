//! Sets autostart of a machine.

use super::{About, Domain, Fault, Field, Host, Input, Verb, obstacle, verb};

verb! {
    /// Set autostart (`virDomainSetAutostart`).
    pub struct SetAutostart {
        /// Whether autostart is on.
        pub enabled: bool,
    }
}

impl Verb for SetAutostart {
    type On = Domain;

    const ABOUT: About = About {
        kind: "setAutostart",
        label: "Set autostart",
        done: "has a new autostart setting",
        harmless: true,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("enabled", "Autostart", Input::Flag)];

    fn label(&self) -> &'static str {
        if self.enabled { "Turn autostart on" } else { "Turn autostart off" }
    }

    fn done(&self) -> &'static str {
        if self.enabled { "has autostart enabled" } else { "has autostart disabled" }
    }

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.persistent).then_some("is transient, so autostart cannot be set"))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.autostart == self.enabled)
    }
}
