//! The hardware of a host and its guest capabilities, read on demand. Its load is in `stats`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The hardware of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Hardware {
    /// CPU sockets.
    pub sockets: u32,
    /// Cores per socket.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
    /// Page sizes in KiB.
    pub page_sizes: Vec<u64>,
    /// Whether the IOMMU is enabled for device passthrough; none if not reported (libvirt before
    /// 4.3).
    pub iommu: Option<bool>,
    /// Its NUMA nodes.
    pub cells: Vec<Cell>,
    /// Guest capabilities by architecture.
    pub guests: Vec<GuestKind>,
    /// PCI and USB devices; none if the driver does not report them.
    pub devices: Option<Vec<HostDevice>>,
}

impl Hardware {
    /// The number of IOMMU groups.
    pub fn iommu_groups(&self) -> usize {
        let groups = self.devices.iter().flatten().filter_map(|device| device.iommu_group);
        groups.collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Cell {
    /// Its number.
    pub id: u32,
    /// Its memory, in MiB.
    pub memory_mb: u64,
    /// Its CPUs, such as `0-7,16`.
    pub cpus: String,
    /// The number of its CPUs.
    pub cpu_count: u32,
    /// Its huge pages, by size.
    pub huge_pages: Vec<HugePages>,
}

/// Huge pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HugePages {
    /// The page size in KiB.
    pub size_kib: u64,
    /// The total number.
    pub total: u64,
    /// The free number; none if not reported.
    pub free: Option<u64>,
}

/// Guest capabilities of an architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GuestKind {
    /// The architecture, such as `x86_64`.
    pub arch: String,
    /// Domain types: `kvm`, `qemu`, `test`.
    pub accelerations: Vec<String>,
    /// Machine types, such as `pc-q35-10.0`.
    pub boards: Vec<String>,
    /// Kinds of firmware: `bios`, `efi`.
    pub firmware: Vec<String>,
    /// Whether firmware with secure boot is available.
    pub secure_boot: bool,
}

/// A device of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostDevice {
    /// libvirt's name for it.
    pub name: String,
    /// `pci` or `usb`.
    pub bus: String,
    /// Its address: `0000:00:02.0`, or `002:003`.
    pub address: String,
    /// Its PCI class; empty if not reported.
    pub class: String,
    /// Its vendor.
    pub vendor: String,
    /// Its product name.
    pub product: String,
    /// Vendor and product ID, such as `1af4:1001`.
    pub ids: String,
    /// Its driver; empty if none is bound.
    pub driver: String,
    /// Its IOMMU group.
    pub iommu_group: Option<u32>,
    /// Its NUMA node.
    pub cell: Option<u32>,
    /// Machines it is assigned to.
    pub users: Vec<DeviceUser>,
}

/// A machine with an assigned device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceUser {
    /// The machine.
    pub vm_id: Uuid,
    /// Its name.
    pub vm_name: String,
    /// Whether it is running.
    pub active: bool,
}

/// Whether a machine's definition refers to a device: by address or, for USB, by vendor and product
/// ID. Both as in `HostDevice`.
pub fn is_given(device: &HostDevice, bus: &str, which: &str) -> bool {
    device.bus == bus && (device.address == which || (bus == "usb" && device.ids == which))
}

/// The name of a PCI class (PCI Code and ID Assignment); empty if unknown.
pub fn class_of(code: u32) -> &'static str {
    match code >> 16 {
        0x01 => "Storage",
        0x02 => "Network",
        0x03 => "Display",
        0x04 => "Multimedia",
        0x05 => "Memory",
        0x06 => "Bridge",
        0x07 => "Communication",
        0x08 => "System",
        0x09 => "Input",
        0x0a => "Docking station",
        0x0b => "Processor",
        0x0c => "Serial bus",
        0x0d => "Wireless",
        0x10 => "Encryption",
        0x11 => "Signal processing",
        0x12 => "Accelerator",
        _ => "",
    }
}

/// Sorted numbers as ranges: `0-7,16`.
pub fn ranges(numbers: &[u32]) -> String {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut words = String::new();
    for run in sorted.chunk_by(|a, b| a + 1 == *b) {
        let comma = if words.is_empty() { "" } else { "," };
        match run {
            [first, .., last] => words.push_str(&format!("{comma}{first}-{last}")),
            [one] => words.push_str(&format!("{comma}{one}")),
            [] => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_told_as_ranges() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[2, 0, 1, 1, 16, 18, 17, 9]), "0-2,9,16-18");
    }

    #[test]
    fn a_device_is_given_by_its_place_or_by_its_numbers() {
        let stick = HostDevice {
            bus: "usb".into(),
            address: "002:003".into(),
            ids: "1af4:1001".into(),
            ..HostDevice::default()
        };
        assert!(is_given(&stick, "usb", "002:003") && is_given(&stick, "usb", "1af4:1001"));
        assert!(!is_given(&stick, "usb", "002:004") && !is_given(&stick, "pci", "002:003"));
        let card = HostDevice {
            bus: "pci".into(),
            address: "0000:00:02.0".into(),
            ids: "1af4:1001".into(),
            ..HostDevice::default()
        };
        assert!(is_given(&card, "pci", "0000:00:02.0") && !is_given(&card, "pci", "1af4:1001"));
    }
}
