//! The SSH keys of a guest user.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Query, guest::agent};
use crate::{Fault, HostInventory, Permission};

/// The authorized SSH keys of a guest user (`virDomainAuthorizedSSHKeysGet`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SshKeys {
    /// The guest user.
    #[serde(default = "root")]
    pub user: String,
}

fn root() -> String {
    "root".into()
}

/// SSH keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SshKeyList {
    /// The lines of `authorized_keys`.
    pub keys: Vec<String>,
}

impl Query for SshKeys {
    type Answer = SshKeyList;

    const ABOUT: About = About {
        name: "ssh-keys",
        permission: Permission::Operate,
        summary: "The SSH keys of a guest user",
        ..About::DEFAULT
    };

    fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
        agent(host, id)
    }
}
