//! Asks a guest to reboot.

use super::{About, Domain, Fault, Host, Verb, cannot_react, obstacle, verb};

verb! {
    /// Ask the guest to reboot (`virDomainReboot`).
    pub struct Reboot {}
}

impl Verb for Reboot {
    type On = Domain;

    const ABOUT: About = About {
        kind: "reboot",
        label: "Reboot",
        done: "was asked to reboot",
        doing: "rebooting",
        icon: Some("reboot"),
        menu: true,
        several: Some(
            "The guest operating system is asked to reboot. Its services are unavailable until it is up again.",
        ),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        obstacle(on, cannot_react(on))
    }
}
