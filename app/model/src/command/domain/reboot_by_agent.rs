//! Reboots a guest through its agent, for guests that ignore the ACPI button.

use super::{About, Domain, Fault, Host, Verb, needs_agent, verb};

verb! {
    /// Ask the guest agent to reboot (`VIR_DOMAIN_REBOOT_GUEST_AGENT`).
    pub struct RebootByAgent {}
}

impl Verb for RebootByAgent {
    type On = Domain;

    const ABOUT: About = About {
        kind: "rebootByAgent",
        label: "Reboot by guest agent",
        done: "was asked to reboot",
        doing: "rebooting",
        menu: true,
        several: Some(
            "The guest operating system is asked to reboot. Its services are unavailable until it is up again.",
        ),
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        needs_agent(on)
    }
}
