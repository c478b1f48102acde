//! Resets a machine.

use super::{About, Domain, Fault, Host, NOT_RUNNING, Verb, obstacle, verb};

verb! {
    /// Hardware reset (`virDomainReset`).
    pub struct Reset {}
}

impl Verb for Reset {
    type On = Domain;

    const ABOUT: About = About {
        kind: "reset",
        label: "Reset",
        done: "was reset",
        menu: true,
        loses: Some(
            "The guest is not shut down. Unsaved data is lost and file systems may be damaged, as with a hardware reset.",
        ),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.state.is_active()).then_some(NOT_RUNNING))
    }
}
