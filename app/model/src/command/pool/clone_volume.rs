//! Copies a volume within its pool.

use super::{About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, User, Verb, active, to_volume, verb};
use crate::storage::{check_known_volume, check_volume_name};

verb! {
    /// Copy a volume within its pool (`virStorageVolCreateXMLFrom`).
    pub struct CloneVolume {
        /// Its name.
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

    fn hindrance(&self, users: &[User]) -> Option<Hindrance> {
        // A block device that the host has mounted is in use, too, although no machine uses it.
        Some(Hindrance {
            users: users.iter().filter(|user| user.active).cloned().collect(),
            so: "so a copy would not be whole",
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
        if self.name == self.to { Err(Fault::invalid("to", "the copy needs another name")) } else { Ok(()) }
    }
}
