//! Starts a machine paused.

use super::{About, Domain, DomainState, Fault, Host, Verb, is_active, obstacle, shows, verb};

verb! {
    /// Start with paused vCPUs (`VIR_DOMAIN_START_PAUSED`).
    pub struct StartPaused {}
}

impl Verb for StartPaused {
    type On = Domain;

    const ABOUT: About = About {
        kind: "startPaused",
        label: "Start paused",
        done: "is started and paused",
        menu: true,
        ..About::DEFAULT
    };

    fn check(&self, on: &Domain, host: &Host) -> Result<(), Fault> {
        let test_driver = host.info.as_ref().is_some_and(|info| info.is_test_driver());
        let why = test_driver.then_some("is on libvirt's test driver, which cannot start a machine paused");
        obstacle(on, is_active(on).or(why))
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        shows(on, DomainState::Paused)
    }
}
