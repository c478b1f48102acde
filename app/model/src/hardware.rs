//! What a host is made of, and what machines it can run. It is read when somebody looks;
//! how busy a host is, is in `stats`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a host is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Hardware {
    /// Sockets of processors.
    pub sockets: u32,
    /// Cores of each socket.
    pub cores: u32,
    /// Threads of each core.
    pub threads: u32,
    /// Sizes of memory pages that it offers, in KiB.
    pub page_sizes: Vec<u64>,
    /// Whether its IOMMU is on, so that devices can be given to machines; none when it is not
    /// told (libvirt before 4.3).
    pub iommu: Option<bool>,
    /// Its NUMA cells.
    pub cells: Vec<Cell>,
    /// What kinds of machines it runs, by architecture.
    pub guests: Vec<GuestKind>,
    /// Its PCI and USB devices; none where the driver does not tell.
    pub devices: Option<Vec<HostDevice>>,
}

impl Hardware {
    /// The groups of devices that can only be given away together, with how many are in each.
    pub fn iommu_groups(&self) -> usize {
        let groups = self.devices.iter().flatten().filter_map(|device| device.iommu_group);
        groups.collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// Processors and memory that are near each other (NUMA).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Cell {
    /// Its number.
    pub id: u32,
    /// Its memory, in MiB.
    pub memory_mb: u64,
    /// Its processors, such as `0-7,16`.
    pub cpus: String,
    /// How many of them there are.
    pub cpu_count: u32,
    /// Pages of its memory that are set aside, of each size but the smallest.
    pub huge_pages: Vec<HugePages>,
}

/// Large pages of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HugePages {
    /// The size of each, in KiB.
    pub size_kib: u64,
    /// How many there are.
    pub total: u64,
    /// How many nobody uses; none when it is not told.
    pub free: Option<u64>,
}

/// What machines of an architecture can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct GuestKind {
    /// The architecture, such as `x86_64`.
    pub arch: String,
    /// How they are run: `kvm`, `qemu`, `test`.
    pub accelerations: Vec<String>,
    /// Types of boards, such as `pc-q35-10.0`.
    pub boards: Vec<String>,
    /// Kinds of firmware: `bios`, `efi`.
    pub firmware: Vec<String>,
    /// Whether firmware with secure boot is there.
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
    /// Where it is: `0000:00:02.0`, or `002:003`.
    pub address: String,
    /// What it is, by the PCI code of its class; empty when that is not told.
    pub class: String,
    /// Who made it.
    pub vendor: String,
    /// What they call it.
    pub product: String,
    /// The numbers of both, as `1af4:1001`.
    pub ids: String,
    /// The driver that has it; empty when none has.
    pub driver: String,
    /// The group of devices that can only be given away together.
    pub iommu_group: Option<u32>,
    /// The NUMA cell that it is near.
    pub cell: Option<u32>,
    /// Machines that it is given to.
    pub users: Vec<DeviceUser>,
}

/// A machine that a device is given to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceUser {
    /// The machine.
    pub vm_id: Uuid,
    /// Its name.
    pub vm_name: String,
    /// Whether it runs.
    pub active: bool,
}

/// Whether a machine's definition names a device: by its address, or a USB device by its
/// numbers. Both are written as `HostDevice` has them.
pub fn is_given(device: &HostDevice, bus: &str, which: &str) -> bool {
    device.bus == bus && (device.address == which || (bus == "usb" && device.ids == which))
}

/// What a PCI class is in words (PCI Code and ID Assignment); empty for one that has none.
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

/// Numbers in order, as ranges: `0-7,16`.
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
