//! Starts a machine.

use super::{About, Domain, DomainState, Fault, Host, Verb, is_active, obstacle, shows, verb};

verb! {
    /// Boot, or restore the saved state (`virDomainCreate`).
    pub struct Start {}
}

impl Verb for Start {
    type On = Domain;

    const ABOUT: About = About {
        kind: "start",
        label: "Start",
        done: "is running",
        doing: "starting",
        icon: Some("start"),
        menu: true,
        harmless: true,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, is_active(on))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        shows(on, DomainState::Running)
    }
}
