//! Gives back what the file systems of a guest do not use.

use super::{About, Domain, Fault, Host, Lane, Verb, needs_agent, verb};

verb! {
    /// Give room that the guest's file systems do not use back, by its agent (`virDomainFSTrim`).
    pub struct TrimFileSystems {}
}

impl Verb for TrimFileSystems {
    type On = Domain;

    const ABOUT: About = About {
        kind: "trimFileSystems",
        label: "Trim file systems",
        done: "gave back what it does not use",
        lane: Lane::Slow,
        agent: true,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        needs_agent(on)
    }
}
