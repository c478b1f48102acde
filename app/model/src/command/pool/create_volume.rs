//! Creates a volume.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, Verb, VolumeUse, active, of_machines, to_volume,
    verb,
};
use crate::storage::VolumeSpec;

verb! {
    /// Create a volume (`virStorageVolCreateXML`).
    pub struct CreateVolume {
        /// Its specification.
        pub volume: VolumeSpec,
    }
}

impl Verb for CreateVolume {
    type On = Pool;

    const ABOUT: About = About {
        kind: "createVolume",
        label: "Create volume",
        done: "is created",
        lane: Lane::Slow,
        others_stay: true,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("volume.name", "Name", Input::Line(200)).required(),
        Field::new("volume.capacityBytes", "Size", Input::Bytes).required().preset("20 GiB"),
        Field::new("volume.format", "Format", Input::Choice),
        Field::new("volume.backing", "Backing volume", Input::Choice),
        Field::new("volume.backingFormat", "Backing format", Input::Choice),
        Field::new("volume.preallocate", "Preallocate", Input::Flag),
    ];

    fn subject(&self, on: Option<&Pool>) -> Option<String> {
        to_volume(on, &self.volume.name)
    }

    fn volume(&self) -> Option<&str> {
        let base = &self.volume.backing;
        (!base.is_empty()).then(|| base.rsplit('/').next()).flatten()
    }

    fn hindrance(&self, users: &[VolumeUse]) -> Option<Hindrance> {
        let users = of_machines(users).filter(|user| user.active).cloned().collect();
        Some(Hindrance { users, so: "so it cannot be used as a backing volume", next: "Shut the machine down first" })
    }

    fn new_volume(&self) -> Option<&str> {
        Some(&self.volume.name)
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        self.volume.check(on)
    }
}
