//! Presses the reset button of a machine.

use super::{About, Domain, Fault, Host, NOT_RUNNING, Verb, obstacle, verb};

verb! {
    /// Press the reset button (`virDomainReset`).
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
            "The guest is not asked. Unsaved data is lost and file systems may be damaged, as if the reset button were pressed.",
        ),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.state.is_active()).then_some(NOT_RUNNING))
    }
}
