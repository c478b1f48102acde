//! The volumes of a pool.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Query};
use crate::{HostInventory, ObjectKind, Volume};

/// The volumes of a pool with their users (`virStoragePoolListAllVolumes`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Volumes {}

/// Volumes by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VolumeList {
    /// The volumes.
    pub volumes: Vec<Volume>,
}

impl Query for Volumes {
    type Answer = VolumeList;

    const ABOUT: About = About {
        on: ObjectKind::Pool,
        name: "volumes",
        summary: "The volumes of a pool with their users",
        ..About::DEFAULT
    };

    fn known(&self, host: &HostInventory, id: Uuid) -> Option<VolumeList> {
        let active = host.pools.get(&id).is_some_and(|pool| pool.state.is_active());
        (!active).then(VolumeList::default)
    }
}
