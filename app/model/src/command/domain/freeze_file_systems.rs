//! Freezes the file systems of a guest for a limited time.

use super::{About, Domain, Fault, Field, Host, Input, Verb, needs_agent, verb};

/// Maximum freeze time in seconds.
const MAX_FROZEN: u32 = 600;

verb! {
    /// Freeze the guest's file systems, for example for a backup, and thaw them after at most
    /// `seconds`, through the guest agent (`virDomainFSFreeze`, `virDomainFSThaw`).
    pub struct FreezeFileSystems {
        /// Time limit in seconds.
        pub seconds: u32,
    }
}

impl Verb for FreezeFileSystems {
    type On = Domain;

    const ABOUT: About = About {
        kind: "freezeFileSystems",
        label: "Freeze file systems",
        done: "was frozen and thawed",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] =
        &[Field::new("seconds", "Thaw automatically after (seconds)", Input::Number(1, MAX_FROZEN))
            .required()
            .preset("30")];

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        if !(1..=MAX_FROZEN).contains(&self.seconds) {
            return Err(Fault::invalid("seconds", "must be 1 to 600 seconds"));
        }
        needs_agent(on)
    }
}
