//! Storage pool and volume commands.

mod build_pool;
mod clone_volume;
mod create_volume;
mod define_pool;
mod delete_pool;
mod delete_volume;
mod fetch_volume;
mod refresh_pool;
mod resize_volume;
mod set_pool_autostart;
mod start_pool;
mod stop_pool;
mod upload_volume;
mod wipe_volume;

use uuid::Uuid;
use virt::{connect::Connect, storage_pool::StoragePool, storage_vol::StorageVol};

use super::runs;
use crate::{error::Error, storage::Look};

runs! { PoolCommand on OnPool<'_> {
    StartPool,
    StopPool,
    RefreshPool,
    BuildPool,
    SetPoolAutostart,
    DefinePool,
    DeletePool,
    CreateVolume,
    UploadVolume,
    FetchVolume,
    DeleteVolume,
    ResizeVolume,
    CloneVolume,
    WipeVolume,
} }

/// A pool, and its users for a command that depends on them.
pub(crate) struct OnPool<'a> {
    pub(crate) connect: &'a Connect,
    pub(crate) id: Uuid,
    pub(crate) look: &'a mut Look,
}

impl OnPool<'_> {
    fn pool(&self) -> Result<StoragePool, Error> {
        Ok(self.connect.lookup_storage_pool_by_uuid(self.id)?)
    }

    fn volume(&self, name: &str) -> Result<StorageVol, Error> {
        Ok(self.pool()?.lookup_storage_vol_by_name(name)?)
    }
}
