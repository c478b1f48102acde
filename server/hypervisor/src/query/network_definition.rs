//! The stored network XML.

use model::query::NetworkDefinition;

use super::{Ask, Asked};
use crate::{error::Error, link::Lane, network};

impl Ask for NetworkDefinition {
    async fn ask(self, asked: &Asked<'_>) -> Result<String, Error> {
        asked.on(Lane::Around, network::definition).await
    }
}
