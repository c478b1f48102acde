//! Deletes a volume.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, Verb, VolumeUse, active, any_use, to_volume, verb,
};
use crate::storage::check_known_volume;

verb! {
    /// Delete a volume that is not in use (`virStorageVolDelete`).
    pub struct DeleteVolume {
        /// The volume's name.
        pub name: String,
    }
}

impl Verb for DeleteVolume {
    type On = Pool;

    const ABOUT: About = About {
        kind: "deleteVolume",
        label: "Delete volume",
        done: "is deleted",
        lane: Lane::Slow,
        others_stay: true,
        loses: Some("All data in the volume is permanently lost."),
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("name", "Name", Input::Exact).required()];

    fn subject(&self, on: Option<&Pool>) -> Option<String> {
        to_volume(on, &self.name)
    }

    fn volume(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn loses_content(&self) -> bool {
        true
    }

    fn hindrance(&self, users: &[VolumeUse]) -> Option<Hindrance> {
        Some(any_use(users, "so it cannot be deleted"))
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        check_known_volume(&self.name)
    }
}
