//! The domain XML without secrets.

use model::query::Definition;

use super::{Ask, Asked};
use crate::{domain, error::Error};

impl Ask for Definition {
    async fn ask(self, asked: &Asked<'_>) -> Result<String, Error> {
        asked.machine(|connect, id| domain::definition(connect, id, false)).await
    }
}
