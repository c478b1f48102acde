//! Reads host data. Every function here blocks.

use model::{
    HostInfo, HostInventory,
    host_hardware::{DeviceUser, Hardware, HostDevice, is_given},
};
use virt::{connect::Connect, sys};

use crate::{
    error::{Error, gone_is_none},
    ffi,
    uses::read::Sources,
    xml,
};

/// Reads the host; data the driver does not provide stays empty.
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
        pool_types: ffi::pool_capabilities(connect).map(|text| xml::storage::pool_types(&text)).unwrap_or_default(),
    }
}

/// The hardware of a host. Data the driver does not provide stays empty; without any data it is an
/// error.
pub(crate) fn hardware(connect: &Connect) -> Result<Hardware, Error> {
    let mut hardware = xml::host::hardware(&connect.capabilities()?);
    if hardware.sockets == 0
        && let Ok(node) = connect.node_info()
    {
        (hardware.sockets, hardware.cores, hardware.threads) = (node.sockets, node.cores, node.threads);
    }
    for kind in &mut hardware.guests {
        let of = connect.domain_capabilities(None, Some(&kind.arch), None, None, 0);
        (kind.firmware, kind.secure_boot) = of.map(|text| xml::host::firmware(&text)).unwrap_or_default();
    }
    for cell in &mut hardware.cells {
        for pages in &mut cell.huge_pages {
            let Ok(size) = u32::try_from(pages.size_kib) else { continue };
            pages.free = connect.free_pages(&[size], cell.id, 1, 0).ok().and_then(|free| free.first().copied());
        }
    }
    hardware.devices = devices(connect)?;
    Ok(hardware)
}

/// PCI and USB devices; none if the driver has none. Their users are determined separately.
fn devices(connect: &Connect) -> Result<Option<Vec<HostDevice>>, Error> {
    let kinds = sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV | sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV;
    let handles = match connect.list_all_node_devices(kinds).map_err(Error::from) {
        Err(error) if error.is_unsupported() => return Ok(None),
        handles => handles?,
    };
    // A device removed meanwhile is skipped.
    let read = handles.iter().filter_map(|handle| {
        gone_is_none(handle.xml_desc(0).map_err(Error::from)).map(|text| xml::host::device(&text?)).transpose()
    });
    let mut devices: Vec<HostDevice> = read.collect::<Result<_, Error>>()?;
    devices.sort_unstable_by(|a, b| (&a.bus, &a.address).cmp(&(&b.bus, &b.address)));
    Ok(Some(devices))
}

/// Sets which machines use which devices, from their last known definitions: no machine is queried,
/// so a hung one costs nothing.
pub(crate) fn note_users(hardware: &mut Hardware, host: &HostInventory, sources: &Sources) {
    for domain in host.domains.values() {
        for (bus, which) in sources.devices_of(domain.id) {
            let devices = hardware.devices.iter_mut().flatten();
            for device in devices.filter(|device| is_given(device, bus, &which)) {
                let (vm_name, active) = (domain.name.clone(), domain.state.is_active());
                device.users.push(DeviceUser { vm_id: domain.id, vm_name, active });
            }
        }
    }
}

/// libvirt encodes a version as major × 1,000,000 + minor × 1,000 + release.
fn version(packed: u32) -> String {
    match packed {
        0 => String::new(),
        _ => format!("{}.{}.{}", packed / 1_000_000, packed / 1_000 % 1_000, packed % 1_000),
    }
}
