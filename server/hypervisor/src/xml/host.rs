//! `<capabilities>`, `<domainCapabilities>` and `<device>`, and the part of `<network>` needed to
//! read addresses.

use model::host_hardware::{Cell, GuestKind, Hardware, HostDevice, HugePages, class_of, ranges};
use roxmltree::{Document, Node};

use super::{bytes, child, child_attribute, child_text};

/// Host data from capabilities.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// CPU architecture.
    pub(crate) arch: String,
    /// CPU model.
    pub(crate) cpu_model: String,
    /// Whether KVM guests are supported.
    pub(crate) kvm: bool,
}

/// Parses capabilities; missing data stays empty.
pub(crate) fn capabilities(text: &str) -> Capabilities {
    let Ok(document) = Document::parse(text) else { return Capabilities::default() };
    let cpu = child(document.root_element(), "host").and_then(|host| child(host, "cpu"));
    let of_cpu = |name: &str| cpu.map(|cpu| child_text(cpu, name)).unwrap_or_default();
    let kvm = document.descendants().any(|node| node.has_tag_name("domain") && node.attribute("type") == Some("kvm"));
    Capabilities { arch: of_cpu("arch"), cpu_model: of_cpu("model"), kvm }
}

/// Children with a name, of an optional node.
fn all<'a, 'i>(node: Option<Node<'a, 'i>>, name: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.into_iter().flat_map(|node| node.children()).filter(move |child| child.has_tag_name(name))
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, attribute: &str) -> Option<T> {
    node.attribute(attribute)?.parse().ok()
}

/// CPUs, memory and guest capabilities from capabilities; missing data stays empty.
pub(crate) fn hardware(text: &str) -> Hardware {
    let Ok(document) = Document::parse(text) else { return Hardware::default() };
    let host = child(document.root_element(), "host");
    let cpu = host.and_then(|host| child(host, "cpu"));
    let topology = cpu.and_then(|cpu| child(cpu, "topology"));
    let of_topology = |name: &str| topology.and_then(|node| number(node, name)).unwrap_or_default();
    let cells = host.and_then(|host| child(host, "topology")).and_then(|topology| child(topology, "cells"));
    let iommu = host.and_then(|host| child(host, "iommu")).and_then(|iommu| iommu.attribute("support"));
    let guests = document.root_element().children().filter(|node| node.has_tag_name("guest"));
    // A driver may list an architecture several times; these are merged.
    let mut kinds: Vec<GuestKind> = Vec::new();
    for kind in guests.filter_map(guest_kind) {
        if !kinds.iter().any(|known| known.arch == kind.arch) {
            kinds.push(kind);
        }
    }
    Hardware {
        sockets: of_topology("sockets"),
        cores: of_topology("cores"),
        threads: of_topology("threads"),
        page_sizes: all(cpu, "pages").filter_map(|pages| number(pages, "size")).collect(),
        iommu: iommu.map(|support| support == "yes"),
        cells: all(cells, "cell").map(cell).collect(),
        guests: kinds,
        devices: None,
    }
}

fn cell(node: Node<'_, '_>) -> Cell {
    let cpus: Vec<u32> = all(child(node, "cpus"), "cpu").filter_map(|cpu| number(cpu, "id")).collect();
    let pages = all(Some(node), "pages").filter_map(|pages| {
        let total = pages.text()?.trim().parse().ok()?;
        Some(HugePages { size_kib: number(pages, "size")?, total, free: None })
    });
    let mut pages: Vec<HugePages> = pages.collect();
    pages.sort_unstable_by_key(|pages| pages.size_kib);
    Cell {
        id: number(node, "id").unwrap_or_default(),
        memory_mb: bytes(node, "memory") >> 20,
        cpus: ranges(&cpus),
        cpu_count: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        // The smallest pages are the rest of the memory.
        huge_pages: pages.into_iter().skip(1).collect(),
    }
}

fn guest_kind(node: Node<'_, '_>) -> Option<GuestKind> {
    let arch = child(node, "arch")?;
    let accelerations = all(Some(arch), "domain").filter_map(|domain| domain.attribute("type"));
    let boards = all(Some(arch), "machine").filter_map(|board| Some(board.text()?.trim().to_owned()));
    let mut boards: Vec<String> = boards.collect();
    boards.sort_unstable();
    boards.dedup();
    Some(GuestKind {
        arch: arch.attribute("name")?.to_owned(),
        accelerations: accelerations.map(str::to_owned).collect(),
        boards,
        ..GuestKind::default()
    })
}

/// Firmware types, and whether secure boot is supported (`<domainCapabilities>`).
pub(crate) fn firmware(text: &str) -> (Vec<String>, bool) {
    let Ok(document) = Document::parse(text) else { return (Vec::new(), false) };
    let os = child(document.root_element(), "os");
    let values = |node: Option<Node<'_, '_>>, name: &str| -> Vec<String> {
        let of = all(node, "enum").find(|one| one.attribute("name") == Some(name));
        all(of, "value").filter_map(|value| value.text()).map(str::to_owned).collect()
    };
    let secure = values(os.and_then(|os| child(os, "loader")), "secure");
    (values(os, "firmware"), secure.iter().any(|value| value == "yes"))
}

/// A PCI or USB device; none for other devices and root hubs.
pub(crate) fn device(text: &str) -> Option<HostDevice> {
    let document = Document::parse(text).ok()?;
    let node = document.root_element();
    let is = |kind: &str| all(Some(node), "capability").find(|one| one.attribute("type") == Some(kind));
    let (bus, of) = is("pci").map(|of| ("pci", of)).or_else(|| is("usb_device").map(|of| ("usb", of)))?;
    let part = |name: &str| child_text(of, name).parse::<u32>().unwrap_or_default();
    let address = match bus {
        "pci" => pci_address([part("domain"), part("bus"), part("slot"), part("function")]),
        _ => usb_address(part("bus"), part("device")),
    };
    let hex = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
    let id = |name: &str| hex(&child_attribute(of, name, "id"));
    Some(HostDevice {
        name: child_text(node, "name"),
        bus: bus.to_owned(),
        address,
        class: class_of(hex(&child_text(of, "class"))).to_owned(),
        vendor: child_text(of, "vendor"),
        product: child_text(of, "product"),
        ids: format!("{:04x}:{:04x}", id("vendor"), id("product")),
        driver: child(node, "driver").map(|driver| child_text(driver, "name")).unwrap_or_default(),
        iommu_group: child_attribute(of, "iommuGroup", "number").parse().ok(),
        cell: child_attribute(of, "numa", "node").parse().ok(),
        users: Vec::new(),
    })
}

fn pci_address([domain, bus, slot, function]: [u32; 4]) -> String {
    format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
}

fn usb_address(bus: u32, device: u32) -> String {
    format!("{bus:03}:{device:03}")
}

/// A part of an address, hexadecimal with prefix or decimal.
fn part_of(node: Node<'_, '_>, name: &str) -> u32 {
    let text = node.attribute(name).unwrap_or_default();
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap_or_default(),
        None => text.parse().unwrap_or_default(),
    }
}

/// The usual form of a PCI address.
pub(super) fn pci_address_of(address: Node<'_, '_>) -> String {
    pci_address(["domain", "bus", "slot", "function"].map(|name| part_of(address, name)))
}

/// The host devices in a machine's definition, as bus and address or IDs (formatdomain, "Host
/// device assignment"): host devices, network interfaces, and NVMe disks.
pub(crate) fn given(root: Node<'_, '_>) -> Vec<(&'static str, String)> {
    let named = |node: Node<'_, '_>| -> Option<(&'static str, String)> {
        let source = child(node, "source")?;
        let address = child(source, "address");
        match (node.tag_name().name(), node.attribute("type")?, address) {
            ("hostdev", "usb", Some(of)) => Some(("usb", usb_address(part_of(of, "bus"), part_of(of, "device")))),
            ("hostdev", "usb", None) => {
                let id = |name: &str| child(source, name).map(|of| part_of(of, "id"));
                Some(("usb", format!("{:04x}:{:04x}", id("vendor")?, id("product")?)))
            }
            ("hostdev", "pci", Some(of)) | ("interface", "hostdev", Some(of)) | ("disk", "nvme", Some(of)) => {
                Some(("pci", pci_address_of(of)))
            }
            _ => None,
        }
    };
    root.descendants().filter_map(named).collect()
}

/// Whether a network has an IP address, so that querying addresses is safe on the test driver.
pub(crate) fn network_has_addresses(text: &str) -> bool {
    Document::parse(text).is_ok_and(|document| child(document.root_element(), "ip").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_tell_architecture_model_and_kvm() {
        let text = "<capabilities><host><cpu><arch>x86_64</arch><model>EPYC</model></cpu></host>\
                    <guest><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>";
        let expected = Capabilities { arch: "x86_64".into(), cpu_model: "EPYC".into(), kvm: true };
        assert_eq!(capabilities(text), expected);
        assert_eq!(capabilities("<"), Capabilities::default());
    }

    #[test]
    fn capabilities_tell_cells_pages_boards_and_the_iommu() {
        let text = "<capabilities><host><cpu><topology sockets='2' cores='4' threads='1'/><pages unit='KiB' size='4'/>\
            <pages unit='KiB' size='2048'/></cpu><iommu support='yes'/><topology><cells num='1'><cell id='1'>\
            <memory unit='KiB'>4194304</memory><pages unit='KiB' size='2048'>8</pages><pages unit='KiB' size='4'>99</pages>\
            <cpus num='3'><cpu id='8'/><cpu id='9'/><cpu id='11'/></cpus></cell></cells></topology></host>\
            <guest><arch name='x86_64'><machine canonical='b'>q35</machine><machine>b</machine><machine>b</machine>\
            <domain type='qemu'/></arch></guest><guest/></capabilities>";
        let read = hardware(text);
        assert_eq!((read.sockets, read.cores, read.threads, read.iommu), (2, 4, 1, Some(true)));
        assert_eq!(read.page_sizes, [4, 2048]);
        let huge_pages = vec![HugePages { size_kib: 2048, total: 8, free: None }];
        assert_eq!(read.cells, [Cell { id: 1, memory_mb: 4096, cpus: "8-9,11".into(), cpu_count: 3, huge_pages }]);
        let [kind] = &read.guests[..] else { panic!("{read:?}") };
        assert_eq!((kind.arch.as_str(), kind.boards.join(" ")), ("x86_64", "b q35".into()));
        assert_eq!(hardware("<"), Hardware::default());
        let of = "<domainCapabilities><os supported='yes'><enum name='firmware'><value>bios</value><value>efi</value></enum>\
            <loader supported='yes'><enum name='secure'><value>yes</value><value>no</value></enum></loader></os></domainCapabilities>";
        assert_eq!(firmware(of), (vec!["bios".to_owned(), "efi".to_owned()], true));
    }

    #[test]
    fn devices_and_who_names_them_are_read_alike() {
        let card = device(
            "<device><name>pci_0000_3b_02_1</name><driver><name>vfio-pci</name></driver><capability type='pci'><class>0x020000</class>\
            <domain>0</domain><bus>59</bus><slot>2</slot><function>1</function><product id='0x1572'>X710 &lt;b&gt;</product>\
            <vendor id='0x8086'>Intel</vendor><iommuGroup number='31'/><numa node='1'/></capability></device>",
        );
        let card = card.expect("a device");
        assert_eq!(
            (card.address.as_str(), card.class.as_str(), card.ids.as_str()),
            ("0000:3b:02.1", "Network", "8086:1572")
        );
        assert_eq!(
            (card.product.as_str(), card.driver.as_str(), card.iommu_group, card.cell),
            ("X710 <b>", "vfio-pci", Some(31), Some(1))
        );
        let stick = "<device><name>usb_2_3</name><capability type='usb_device'><bus>2</bus><device>3</device>\
            <product id='0x5591'>Stick</product><vendor id='0x0781'>S</vendor></capability></device>";
        assert_eq!(device(stick).map(|stick| (stick.address, stick.ids)), Some(("002:003".into(), "0781:5591".into())));
        assert_eq!(device("<device><name>computer</name><capability type='system'/></device>"), None);
        let machine = "<domain><devices><hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/></source></hostdev>\
            <hostdev type='usb'><source><vendor id='0x0781'/><product id='0x5591'/></source></hostdev>\
            <hostdev type='usb'><source><address bus='2' device='3'/></source></hostdev><hostdev type='scsi'/>\
            <interface type='hostdev'><source><address type='pci' domain='0x0000' bus='0x3b' slot='0x10' function='0x0'/></source></interface>\
            <interface type='network'><source network='x'/><address type='pci' bus='0x01'/></interface>\
            <disk type='nvme'><source type='pci' namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></disk></devices></domain>";
        let expected = [
            ("pci", "0000:3b:02.1"),
            ("usb", "0781:5591"),
            ("usb", "002:003"),
            ("pci", "0000:3b:10.0"),
            ("pci", "0000:01:00.0"),
        ];
        let machine = Document::parse(machine).expect("XML");
        assert_eq!(given(machine.root_element()), expected.map(|(bus, which)| (bus, which.to_owned())));
    }

    #[test]
    fn a_network_without_addresses_is_recognised() {
        assert!(network_has_addresses("<network><ip address='192.168.1.1'/></network>"));
        assert!(!network_has_addresses("<network><bridge name='br0'/></network>"));
    }
}
