//! Discards the saved state of a machine.

use super::{About, Domain, Fault, Host, Verb, obstacle, verb};

verb! {
    /// Discard the saved state (`virDomainManagedSaveRemove`).
    pub struct DiscardSave {}
}

impl Verb for DiscardSave {
    type On = Domain;

    const ABOUT: About = About {
        kind: "discardSave",
        label: "Discard saved state",
        done: "had its saved state discarded",
        menu: true,
        loses: Some("The saved memory is discarded. The next start is a cold boot."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.has_managed_save).then_some("has no saved state"))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| !on.has_managed_save)
    }
}
