//! The boot order at the next start, from the stored definition.

use model::query::{Boot, BootOrder};
use virt::sys;

use super::{Ask, Asked};
use crate::{error::Error, xml};

impl Ask for BootOrder {
    async fn ask(self, asked: &Asked<'_>) -> Result<Boot, Error> {
        let stored = |connect: &virt::connect::Connect, id| {
            Ok(connect.lookup_domain_by_uuid(id)?.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?)
        };
        Ok(xml::boot::of(&asked.machine(stored).await?))
    }
}
