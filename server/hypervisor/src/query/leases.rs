//! The DHCP leases of a network.

use model::query::{LeaseList, Leases};

use super::{Ask, Asked};
use crate::{error::Error, link::Lane, network};

impl Ask for Leases {
    async fn ask(self, asked: &Asked<'_>) -> Result<LeaseList, Error> {
        Ok(LeaseList { leases: asked.on(Lane::Around, network::leases).await? })
    }
}
