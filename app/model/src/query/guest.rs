//! Guest data from the agent.

use serde::Deserialize;
use uuid::Uuid;

use super::{About, Query};
use crate::{Command, Fault, HostInventory, command::SyncTime, domain::GuestDetails};

/// Guest data from the agent of a machine (`virDomainGetGuestInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guest {}

impl Query for Guest {
    type Answer = GuestDetails;

    const ABOUT: About = About {
        name: "guest",
        summary: "Guest agent data: operating system, users, file systems, addresses",
        kept: true,
        ..About::DEFAULT
    };

    fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
        agent(host, id)
    }
}

/// Whether the guest agent can be queried; the same condition as for commands.
pub(super) fn agent(host: &HostInventory, id: Uuid) -> Result<(), Fault> {
    Command::from(crate::DomainCommand::SyncTime(SyncTime {})).check(host, id, None)
}
