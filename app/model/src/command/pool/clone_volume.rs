//! Clones a volume within its pool.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, Verb, VolumeUse, active, to_volume, verb,
};
use crate::storage::{check_known_volume, check_volume_name};

verb! {
    /// Clone a volume within its pool (`virStorageVolCreateXMLFrom`).
    pub struct CloneVolume {
        /// The volume's name.
        pub name: String,
        /// The name of the copy.
        pub to: String,
    }
}

impl Verb for CloneVolume {
    type On = Pool;

    const ABOUT: About = About {
        kind: "cloneVolume",
        label: "Clone volume",
        done: "is cloned",
        lane: Lane::Slow,
        others_stay: true,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("name", "Name", Input::Exact).required(),
        Field::new("to", "Name of the copy", Input::Line(200)).required(),
    ];

    fn subject(&self, on: Option<&Pool>) -> Option<String> {
        to_volume(on, &self.name)
    }

    fn volume(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn hindrance(&self, users: &[VolumeUse]) -> Option<Hindrance> {
        // A block device mounted by the host is in use as well, without any machine.
        Some(Hindrance {
            users: users.iter().filter(|user| user.active).cloned().collect(),
            so: "so a copy would be inconsistent",
            next: "Shut the machine down first",
        })
    }

    fn new_volume(&self) -> Option<&str> {
        Some(&self.to)
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        check_known_volume(&self.name)?;
        check_volume_name(&self.to)?;
        if self.name == self.to {
            Err(Fault::invalid("to", "must differ from the name of the original"))
        } else {
            Ok(())
        }
    }
}
