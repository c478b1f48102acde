//! Sends a machine a non-maskable interrupt.

use super::{About, Domain, DomainState, Fault, Host, NOT_RUNNING, Verb, obstacle, verb};

verb! {
    /// Send a non-maskable interrupt (`virDomainInjectNMI`).
    pub struct Nmi {}
}

impl Verb for Nmi {
    type On = Domain;

    const ABOUT: About = About {
        kind: "nmi",
        label: "Send NMI",
        done: "received an NMI",
        menu: true,
        loses: Some("Many guests respond to an NMI with a crash dump and a restart."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(
            on,
            match on.state {
                DomainState::Crashed => Some("has crashed and cannot handle an NMI"),
                state => (!state.is_active()).then_some(NOT_RUNNING),
            },
        )
    }
}
