//! Creates a volume whose content is uploaded by the browser.

use super::{About, Fault, Field, HostInventory, Input, Lane, Pool, Verb, active, not_on_test_driver, to_volume, verb};
use crate::storage::{check_capacity, check_volume_name};

verb! {
    /// Create a volume of that size and wait for its content in chunks (`virStorageVolUpload`). The
    /// volume is deleted if the content does not arrive.
    pub struct UploadVolume {
        /// The volume's name.
        pub name: String,
        /// The size of its content, in bytes.
        pub capacity_bytes: u64,
    }
}

impl Verb for UploadVolume {
    type On = Pool;

    const ABOUT: About =
        About { kind: "uploadVolume", label: "Upload volume", done: "is uploaded", lane: Lane::Slow, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[
        Field::new("name", "Name", Input::Line(200)).required(),
        Field::new("capacityBytes", "Size", Input::Bytes).required(),
    ];

    fn subject(&self, on: Option<&Pool>) -> Option<String> {
        to_volume(on, &self.name)
    }

    fn new_volume(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn check(&self, on: &Pool, host: &HostInventory) -> Result<(), Fault> {
        active(on)?;
        not_on_test_driver(on, host)?;
        check_volume_name(&self.name)?;
        check_capacity(self.capacity_bytes)?;
        if self.capacity_bytes > on.available_bytes {
            return Err(Fault::denied(format!("{} does not have enough available space", on.name))
                .with_next("Delete unneeded volumes, or choose another pool"));
        }
        Ok(())
    }
}
