//! What a guest says of itself.

use serde::Deserialize;
use uuid::Uuid;

use super::{About, Query};
use crate::{Command, Fault, HostInventory, command::SyncTime, domain::GuestDetails};

/// What the guest agent of a machine tells (`virDomainGetGuestInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guest {}

impl Query for Guest {
    type Answer = GuestDetails;

    const ABOUT: About = About {
        name: "guest",
        summary: "What the guest agent tells: system, users, file systems, addresses",
        kept: true,
        ..About::DEFAULT
    };

    fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
        agent(host, id)
    }
}

/// Whether the guest agent of a machine can be asked, as commands need that it can.
pub(super) fn agent(host: &HostInventory, id: Uuid) -> Result<(), Fault> {
    Command::from(crate::DomainCommand::SyncTime(SyncTime {})).check(host, id, None)
}
