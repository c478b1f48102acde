//! What a host is made of, with the machines that have its devices by what is known of them.

use model::{hardware::Hardware, query::HostHardware};

use super::{Ask, Asked};
use crate::{error::Error, host, link::Lane};

impl Ask for HostHardware {
    async fn ask(self, asked: &Asked<'_>) -> Result<Hardware, Error> {
        let mut hardware = asked.on(Lane::Around, |connect, _| host::hardware(connect)).await?;
        host::note_users(&mut hardware, asked.known, &asked.shared.sources);
        Ok(hardware)
    }
}
