//! The demonstration host: libvirt's test driver with a prepared node file.
//!
//! Nothing is simulated here; features that the test driver lacks are shown as unsupported.

use std::{fs, io, path::Path};

use model::HostId;

use crate::{HostConfig, StorageRoots};

/// Writes the node file to a directory and returns the host configuration. The file must exist as
/// long as the host is used.
///
/// # Errors
/// If the file cannot be written, or the directory name is not a URI path.
pub fn demo_host(folder: &Path) -> io::Result<HostConfig> {
    let path = folder.join("demo.xml");
    fs::write(&path, include_str!("xml/demo.xml"))?;
    let id: HostId = "demo".parse().map_err(io::Error::other)?;
    Ok(HostConfig {
        managed: false,
        id,
        uri: format!("test://{}", path.display()),
        demo: true,
        agent_version: false,
        storage_roots: StorageRoots::default(),
    })
}
