//! Lets the file systems of a guest go on.

use super::{About, Domain, Fault, Host, Lane, Verb, needs_agent, verb};

verb! {
    /// Let the guest's file systems go on, by its agent (`virDomainFSThaw`).
    pub struct ThawFileSystems {}
}

impl Verb for ThawFileSystems {
    type On = Domain;

    const ABOUT: About = About {
        kind: "thawFileSystems",
        label: "Thaw file systems",
        done: "is not frozen",
        lane: Lane::Thaw,
        agent: true,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        needs_agent(on)
    }
}
