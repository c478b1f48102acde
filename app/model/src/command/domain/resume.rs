//! Resumes a paused or suspended machine.

use super::{About, Domain, DomainState, Fault, Host, Verb, obstacle, shows, verb};

verb! {
    /// Resume the vCPUs, or wake the guest (`virDomainResume`, `virDomainPMWakeup`).
    pub struct Resume {}
}

impl Verb for Resume {
    type On = Domain;

    const ABOUT: About = About {
        kind: "resume",
        label: "Resume",
        done: "is running again",
        doing: "resuming",
        icon: Some("resume"),
        menu: true,
        harmless: true,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        use DomainState as S;
        obstacle(
            on,
            match on.state {
                S::Paused | S::Suspended => None,
                S::Running | S::ShuttingDown => Some("is not paused"),
                S::Crashed => Some("has crashed; force it off and start it again"),
                _ => Some("is off; start it instead"),
            },
        )
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        shows(on, DomainState::Running)
    }
}
