//! Forces a machine off without a guest shutdown.

use super::{About, Domain, DomainState, Fault, Host, Verb, obstacle, shows, verb};

verb! {
    /// Terminate the machine immediately (`virDomainDestroy`).
    pub struct ForceOff {}
}

impl Verb for ForceOff {
    type On = Domain;

    const ABOUT: About = About {
        kind: "forceOff",
        label: "Force off",
        done: "is off",
        doing: "being forced off",
        menu: true,
        loses: Some(
            "The guest is not shut down. Unsaved data is lost and file systems may be damaged, as in a power failure.",
        ),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.state.is_active()).then_some("is already off"))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        // A transient machine disappears when it stops.
        on.map_or(Some(true), |on| shows(Some(on), DomainState::Stopped))
    }
}
