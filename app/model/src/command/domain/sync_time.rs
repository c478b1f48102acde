//! Sets the guest clock.

use super::{About, Domain, Fault, Host, Verb, needs_agent, verb};

verb! {
    /// Set the guest clock to the server's time, through the guest agent (`virDomainSetTime`).
    pub struct SyncTime {}
}

impl Verb for SyncTime {
    type On = Domain;

    const ABOUT: About =
        About { kind: "syncTime", label: "Set clock", done: "had its clock synchronised", ..About::DEFAULT };

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        needs_agent(on)
    }
}
