//! Wipes a volume.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, Verb, VolumeUse, active, any_use,
    not_on_test_driver, to_volume, verb,
};
use crate::storage::check_known_volume;

verb! {
    /// Overwrite all data in a volume (`virStorageVolWipe`).
    pub struct WipeVolume {
        /// The volume's name.
        pub name: String,
    }
}

impl Verb for WipeVolume {
    type On = Pool;

    const ABOUT: About = About {
        kind: "wipeVolume",
        label: "Wipe volume",
        done: "is wiped",
        lane: Lane::Slow,
        loses: Some("All data in the volume is overwritten and permanently lost. The volume itself is kept."),
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
        Some(any_use(users, "so it cannot be wiped"))
    }

    fn check(&self, on: &Pool, host: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        not_on_test_driver(on, host)?;
        check_known_volume(&self.name)
    }
}
