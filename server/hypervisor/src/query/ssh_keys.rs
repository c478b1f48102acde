//! The SSH keys of a guest user.

use model::query::{SshKeyList, SshKeys};

use super::{Ask, Asked};
use crate::{error::Error, guest, link::Lane};

impl Ask for SshKeys {
    async fn ask(self, asked: &Asked<'_>) -> Result<SshKeyList, Error> {
        let keys = asked.on(Lane::Guest, move |connect, id| guest::ssh_keys(connect, id, &self.user)).await?;
        Ok(SshKeyList { keys })
    }
}
