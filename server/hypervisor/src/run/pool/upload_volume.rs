//! `virStorageVolCreateXML`; the content follows.

use model::{command::UploadVolume, storage::VolumeSpec};

use super::OnPool;
use crate::{error::Error, run::Run, storage::images};

impl Run<OnPool<'_>> for UploadVolume {
    fn run(&self, on: OnPool<'_>) -> Result<(), Error> {
        // Its content determines its format later; until then it is raw.
        let (name, capacity_bytes, format) = (self.name.clone(), self.capacity_bytes, "raw".into());
        let spec = VolumeSpec { name, capacity_bytes, format, ..VolumeSpec::default() };
        images::create_for_content(&on.pool()?, &spec, on.look)
    }
}
