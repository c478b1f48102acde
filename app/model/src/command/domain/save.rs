//! Suspends a machine to disk.

use super::{About, Domain, DomainState, Fault, Host, Lane, NOT_RUNNING, Verb, obstacle, verb};

verb! {
    /// Save memory to disk and stop (`virDomainManagedSave`).
    pub struct Save {}
}

impl Verb for Save {
    type On = Domain;

    const ABOUT: About = About {
        kind: "save",
        label: "Suspend to disk",
        done: "is suspended to disk",
        doing: "suspending to disk",
        menu: true,
        lane: Lane::Slow,
        several: Some("Guest memory is written to disk. The guest's services are unavailable until the next start."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        use DomainState as S;
        obstacle(
            on,
            match on.state {
                _ if !on.persistent => Some("is transient, so its saved state could not be restored"),
                S::Running | S::Paused => None,
                S::Suspended | S::ShuttingDown | S::Crashed => {
                    Some("must be running or paused to be suspended to disk")
                }
                _ => Some(NOT_RUNNING),
            },
        )
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.has_managed_save)
    }
}
