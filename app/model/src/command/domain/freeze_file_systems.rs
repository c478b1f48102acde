//! Freezes the file systems of a guest for a while.

use super::{About, Domain, Fault, Field, Host, Input, Verb, needs_agent, verb};

/// Longest time that file systems may be frozen, in seconds.
const MAX_FROZEN: u32 = 600;

verb! {
    /// Freeze the guest's file systems, as for a copy of its disks, and thaw them after
    /// so many seconds at the latest, through the guest agent (`virDomainFSFreeze`, `virDomainFSThaw`).
    pub struct FreezeFileSystems {
        /// How long at most.
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
        &[Field::new("seconds", "Seconds at most", Input::Number(1, MAX_FROZEN)).required().preset("30")];

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        if !(1..=MAX_FROZEN).contains(&self.seconds) {
            return Err(Fault::invalid("seconds", "file systems are frozen for 1 to 600 seconds"));
        }
        needs_agent(on)
    }
}
