//! Throws the saved memory of a machine away.

use super::{About, Domain, Fault, Host, Verb, obstacle, verb};

verb! {
    /// Throw the saved memory away (`virDomainManagedSaveRemove`).
    pub struct DiscardSave {}
}

impl Verb for DiscardSave {
    type On = Domain;

    const ABOUT: About = About {
        kind: "discardSave",
        label: "Discard saved state",
        done: "has no saved state any more",
        menu: true,
        loses: Some("The saved memory is thrown away. The next start is a cold boot."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, (!on.has_managed_save).then_some("has no saved state"))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| !on.has_managed_save)
    }
}
