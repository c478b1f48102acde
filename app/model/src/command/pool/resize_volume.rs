//! Resizes a volume.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, Verb, VolumeUse, active, not_on_test_driver,
    of_machines, of_volumes, to_volume, verb,
};
use crate::storage::{check_capacity, check_known_volume};

verb! {
    /// Resize a volume (`virStorageVolResize`, or `virDomainBlockResize` if a running machine uses
    /// it).
    pub struct ResizeVolume {
        /// The volume's name.
        pub name: String,
        /// The new size, in bytes.
        pub capacity_bytes: u64,
    }
}

impl Verb for ResizeVolume {
    type On = Pool;

    const ABOUT: About =
        About { kind: "resizeVolume", label: "Resize volume", done: "is resized", lane: Lane::Slow, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[
        Field::new("name", "Name", Input::Exact).required(),
        Field::new("capacityBytes", "New size", Input::Bytes).required(),
    ];

    fn subject(&self, on: Option<&Pool>) -> Option<String> {
        to_volume(on, &self.name)
    }

    fn volume(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn hindrance(&self, users: &[VolumeUse]) -> Option<Hindrance> {
        let silent = of_machines(users).filter(|user| user.unresponsive);
        Some(Hindrance {
            users: of_volumes(users).chain(silent).cloned().collect(),
            so: "so it cannot be resized",
            next: "Resize the volume that is based on it instead",
        })
    }

    fn check(&self, on: &Pool, host: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        not_on_test_driver(on, host)?;
        check_known_volume(&self.name)?;
        check_capacity(self.capacity_bytes)
    }
}
