//! The volumes of a pool with their users.

use model::query::{VolumeList, Volumes};

use super::{Ask, Asked};
use crate::{error::Error, link, uses};

impl Ask for Volumes {
    async fn ask(self, asked: &Asked<'_>) -> Result<VolumeList, Error> {
        let (pool, volumes, mut uses) =
            uses::read::of_pool(&asked.session, asked.shared, asked.known, asked.id).await?;
        let raw = asked.shared.raw.clone();
        let told = link::blocking(move || volumes.iter().map(|volume| uses.tell(&raw, &pool, volume)).collect());
        Ok(VolumeList { volumes: told.await.map_err(|_| Error::Panicked)? })
    }
}
