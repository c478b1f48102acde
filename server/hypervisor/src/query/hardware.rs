//! The hardware of a host, with the machines that use its devices from known data.

use model::{host_hardware::Hardware, query::HostHardware};

use super::{Ask, Asked};
use crate::{error::Error, host, link::Lane};

impl Ask for HostHardware {
    async fn ask(self, asked: &Asked<'_>) -> Result<Hardware, Error> {
        let mut hardware = asked.on(Lane::Around, |connect, _| host::hardware(connect)).await?;
        host::note_users(&mut hardware, asked.known, &asked.shared.sources);
        Ok(hardware)
    }
}
