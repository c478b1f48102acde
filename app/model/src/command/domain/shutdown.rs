//! Asks a guest to shut down.

use super::{About, Domain, DomainState, Fault, Host, Verb, cannot_react, obstacle, shows, verb};

verb! {
    /// Ask the guest to shut down (`virDomainShutdownFlags`): ACPI first, then the guest agent.
    pub struct Shutdown {}
}

impl Verb for Shutdown {
    type On = Domain;

    const ABOUT: About = About {
        kind: "shutdown",
        label: "Shut down",
        done: "is shut down",
        doing: "shutting down",
        icon: Some("shutdown"),
        window: 300,
        menu: true,
        several: Some(
            "The guest operating system is asked to shut down. Its services are unavailable until the next start.",
        ),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, if on.state == DomainState::ShuttingDown { None } else { cannot_react(on) })
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        // A transient machine disappears when it stops.
        on.map_or(Some(true), |on| shows(Some(on), DomainState::Stopped))
    }
}
