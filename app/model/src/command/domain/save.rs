//! Suspends a machine to disk.

use super::{About, Domain, DomainState, Fault, Host, Lane, NOT_RUNNING, Verb, obstacle, verb};

verb! {
    /// Write memory to disk and stop (`virDomainManagedSave`).
    pub struct Save {}
}

impl Verb for Save {
    type On = Domain;

    const ABOUT: About = About {
        kind: "save",
        label: "Save",
        done: "is saved and stopped",
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
                _ if !on.persistent => {
                    Some("is transient, so there would be no definition to restore the saved state with")
                }
                S::Running | S::Paused => None,
                S::Suspended | S::ShuttingDown | S::Crashed => Some("must be running or paused to be saved"),
                _ => Some(NOT_RUNNING),
            },
        )
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.has_managed_save)
    }
}
