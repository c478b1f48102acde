//! Thaws the file systems of a guest.

use super::{About, Domain, Fault, Host, Lane, Verb, needs_agent, verb};

verb! {
    /// Thaw the guest's file systems, through the guest agent (`virDomainFSThaw`).
    pub struct ThawFileSystems {}
}

impl Verb for ThawFileSystems {
    type On = Domain;

    const ABOUT: About = About {
        kind: "thawFileSystems",
        label: "Thaw file systems",
        done: "is thawed",
        lane: Lane::Thaw,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        needs_agent(on)
    }
}
