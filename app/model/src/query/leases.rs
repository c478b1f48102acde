//! The DHCP leases of a network.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Query};
use crate::{HostInventory, ObjectKind, network::Lease};

/// The DHCP leases of a network (`virNetworkGetDHCPLeases`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Leases {}

/// Leases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeaseList {
    /// The leases.
    pub leases: Vec<Lease>,
}

impl Query for Leases {
    type Answer = LeaseList;

    const ABOUT: About = About {
        on: ObjectKind::Network,
        name: "leases",
        summary: "The DHCP leases of a network",
        kept: true,
        ..About::DEFAULT
    };

    fn known(&self, host: &HostInventory, id: Uuid) -> Option<LeaseList> {
        let active = host.networks.get(&id).is_some_and(|network| network.active);
        (!active).then(LeaseList::default)
    }
}
