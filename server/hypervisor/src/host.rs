//! Reads what a host says of itself. Every function here blocks.

use model::HostInfo;
use virt::connect::Connect;

use crate::xml;

/// Reads the host; what a driver cannot tell stays empty.
pub(crate) fn read(connect: &Connect) -> HostInfo {
    let capabilities = connect.capabilities().map(|text| xml::host::capabilities(&text)).unwrap_or_default();
    let node = connect.node_info().ok();
    let or_node = |known: String| match &node {
        Some(node) if known.is_empty() => node.model.clone(),
        _ => known,
    };
    HostInfo {
        hostname: connect.hostname().unwrap_or_default(),
        driver: connect.driver_type().unwrap_or_default(),
        libvirt_version: connect.lib_version().map(version).unwrap_or_default(),
        hypervisor_version: connect.hyp_version().map(version).unwrap_or_default(),
        arch: or_node(capabilities.arch),
        cpu_model: capabilities.cpu_model,
        cpus: node.as_ref().map(|node| node.cpus).unwrap_or_default(),
        memory_mb: node.as_ref().map(|node| node.memory / 1024).unwrap_or_default(),
        kvm: capabilities.kvm,
    }
}

/// libvirt packs a version as major × 1,000,000 + minor × 1,000 + release.
fn version(packed: u32) -> String {
    match packed {
        0 => String::new(),
        _ => format!("{}.{}.{}", packed / 1_000_000, packed / 1_000 % 1_000, packed % 1_000),
    }
}
