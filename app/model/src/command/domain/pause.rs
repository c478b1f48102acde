//! Pauses a machine.

use super::{About, Domain, DomainState, Fault, Host, NOT_RUNNING, Verb, obstacle, shows, verb};

verb! {
    /// Pause the vCPUs (`virDomainSuspend`).
    pub struct Pause {}
}

impl Verb for Pause {
    type On = Domain;

    const ABOUT: About = About {
        kind: "pause",
        label: "Pause",
        done: "is paused",
        doing: "pausing",
        icon: Some("pause"),
        menu: true,
        harmless: true,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        use DomainState as S;
        obstacle(
            on,
            match on.state {
                S::Running | S::ShuttingDown => None,
                S::Paused => Some("is already paused"),
                S::Suspended => Some("is suspended by its guest and cannot be paused"),
                _ => Some(NOT_RUNNING),
            },
        )
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        shows(on, DomainState::Paused)
    }
}
