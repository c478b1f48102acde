//! Discards unused blocks of a guest's file systems.

use super::{About, Domain, Fault, Host, Lane, Verb, needs_agent, verb};

verb! {
    /// Discard unused blocks of the guest's file systems, through the guest agent (`virDomainFSTrim`).
    pub struct TrimFileSystems {}
}

impl Verb for TrimFileSystems {
    type On = Domain;

    const ABOUT: About = About {
        kind: "trimFileSystems",
        label: "Trim file systems",
        done: "had its file systems trimmed",
        lane: Lane::Slow,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        needs_agent(on)
    }
}
