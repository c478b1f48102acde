//! The demonstration host: libvirt's own test driver with a rich node file.
//!
//! Nothing is simulated here; what the test driver cannot do is shown as such.

use std::{fs, io, path::Path};

use model::HostId;

use crate::{HostConfig, StorageRoots};

/// Writes the node file into a folder and says how to connect to it. The file
/// must stay as long as the host is used.
///
/// # Errors
/// When the file cannot be written, or the folder's name is no URI path.
pub fn demo_host(folder: &Path) -> io::Result<HostConfig> {
    let path = folder.join("demo.xml");
    fs::write(&path, include_str!("xml/demo.xml"))?;
    let id: HostId = "demo".parse().map_err(io::Error::other)?;
    Ok(HostConfig {
        id,
        uri: format!("test://{}", path.display()),
        demo: true,
        agent_version: false,
        storage_roots: StorageRoots::default(),
    })
}
