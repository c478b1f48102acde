//! Guest agent data.

use model::{domain::GuestDetails, query::Guest};

use super::{Ask, Asked};
use crate::{error::Error, guest, link::Lane};

impl Ask for Guest {
    async fn ask(self, asked: &Asked<'_>) -> Result<GuestDetails, Error> {
        asked.on(Lane::Guest, guest::details).await
    }
}
