//! Deletes a volume.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Pool, User, Verb, active, of_machines, of_volumes,
    to_volume, verb,
};
use crate::storage::check_known_volume;

verb! {
    /// Delete a volume that nobody uses (`virStorageVolDelete`).
    pub struct DeleteVolume {
        /// Its name.
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
        loses: Some("All that is in the volume is lost for good."),
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

    fn hindrance(&self, users: &[User]) -> Option<Hindrance> {
        let machines: Vec<User> = of_machines(users).cloned().collect();
        Some(match machines.is_empty() {
            true => Hindrance {
                users: of_volumes(users).cloned().collect(),
                so: "so it cannot be taken away",
                next: "Delete those first",
            },
            false => Hindrance {
                users: machines,
                so: "so it cannot be deleted",
                next: "Take the disk away from the machine first",
            },
        })
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        check_known_volume(&self.name)
    }
}
