//! `<domain>` and its devices, parsed tolerantly: missing or unknown content becomes empty, never
//! an error.

use model::{
    console::Serial,
    domain::{Agent, Domain, Graphics, Interface, normal_tags},
    text::is_plain,
};
use roxmltree::Node;
use uuid::Uuid;

use super::{child, child_attribute, child_text, element::Element, to_bytes};

/// The namespace of our metadata.
pub(crate) const TAGS_URI: &str = "urn:belvedere:tags:1";

/// Parses a definition; none if it is not a domain.
pub(crate) fn of(root: Node<'_, '_>) -> Option<Domain> {
    if root.tag_name().name() != "domain" {
        return None;
    }
    let (memory_mb, max_memory_mb) = memory(root);
    let (vcpus, max_vcpus) = vcpus(root);
    let os = child(root, "os");
    let kind = os.and_then(|os| child(os, "type"));
    let of_kind = |name: &str| kind.and_then(|kind| kind.attribute(name)).unwrap_or_default().to_owned();
    let devices = child(root, "devices");
    let each = |name: &'static str| {
        let children = devices.into_iter().flat_map(|devices| devices.children());
        children.filter(move |device| device.tag_name().name() == name)
    };
    Some(Domain {
        id: child_text(root, "uuid").parse::<Uuid>().unwrap_or_default(),
        // The name is not trimmed: libvirt allows surrounding blanks.
        name: child(root, "name").and_then(|name| name.text()).unwrap_or_default().to_owned(),
        title: child_text(root, "title"),
        description: child_text(root, "description"),
        tags: tags(root),
        vcpus,
        max_vcpus,
        memory_mb,
        max_memory_mb,
        os_type: kind.and_then(|kind| kind.text()).unwrap_or_default().trim().to_owned(),
        arch: of_kind("arch"),
        machine: of_kind("machine"),
        virt_type: root.attribute("type").unwrap_or_default().to_owned(),
        uefi: os.is_some_and(is_uefi),
        interfaces: each("interface").map(interface).collect(),
        graphics: each("graphics").map(graphics).collect(),
        serials: serials(each("serial"), each("console")),
        agent: each("channel").find_map(agent).unwrap_or_default(),
        ..Domain::default()
    })
}

/// The metadata element with the tags, for `virDomainSetMetadata`.
pub(crate) fn tags_element(tags: &[String]) -> Element {
    Element::new("tags").holding(tags.iter().map(|tag| Element::of("tag", tag)))
}

fn tags(root: Node<'_, '_>) -> Vec<String> {
    let ours = child(root, "metadata").into_iter().flat_map(|metadata| metadata.children());
    let ours = ours.filter(|element| element.has_tag_name((TAGS_URI, "tags")));
    // Comments have a text as well, but are not tags.
    let tags = ours.flat_map(|tags| tags.children()).filter(|tag| tag.has_tag_name((TAGS_URI, "tag")));
    let tags = tags.filter_map(|tag| tag.text());
    // Another tool may have written anything; tags stay single names.
    normal_tags(tags.map(|tag| tag.chars().filter(|c| is_plain(*c)).take(48).collect()).take(32))
}

/// Current and maximum memory in MiB.
fn memory(root: Node<'_, '_>) -> (u64, u64) {
    let amount = |name| {
        let element = child(root, name)?;
        let value: u64 = element.text()?.trim().parse().ok()?;
        Some(to_bytes(value, element.attribute("unit").unwrap_or("KiB")) >> 20)
    };
    let most = amount("memory").unwrap_or_default();
    (amount("currentMemory").unwrap_or(most), most)
}

/// Current and maximum vCPUs.
fn vcpus(root: Node<'_, '_>) -> (u32, u32) {
    let Some(element) = child(root, "vcpu") else { return (1, 1) };
    let most = element.text().and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    let now = element.attribute("current").and_then(|text| text.parse().ok()).unwrap_or(most);
    (now, most)
}

fn is_uefi(os: Node<'_, '_>) -> bool {
    let loader_is_flash = child_attribute(os, "loader", "type") == "pflash";
    os.attribute("firmware") == Some("efi") || loader_is_flash
}

/// The location of a `<source>` as one text; empty if there is none.
pub(super) fn source_of(source: Node<'_, '_>) -> String {
    let get = |name| source.attribute(name).map(str::to_owned);
    let volume = || Some(format!("{}/{}", source.attribute("pool")?, source.attribute("volume")?));
    let plain = ["file", "dev", "dir"].into_iter().find_map(get).or_else(volume).or_else(|| get("path"));
    if let Some(plain) = plain {
        return plain;
    }
    // An NVMe namespace, by the address of its controller.
    if let Some(address) = child(source, "address").filter(|_| source.attribute("type") == Some("pci")) {
        let namespace = source.attribute("namespace").unwrap_or("1");
        return format!("NVMe {}, namespace {namespace}", super::host::pci_address_of(address));
    }
    if let Some(protocol) = source.attribute("protocol") {
        let host = child(source, "host");
        let at = host.and_then(|host| host.attribute("name").or_else(|| host.attribute("socket"))).unwrap_or_default();
        return match source.attribute("name").filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => format!("{protocol} {at}").trim().to_owned(),
        };
    }
    let says_more =
        source.attributes().any(|attribute| attribute.name() != "startupPolicy" && attribute.name() != "index");
    match get("name") {
        Some(name) => name,
        None if says_more || source.children().any(|child| child.is_element()) => "unknown source type".to_owned(),
        None => String::new(),
    }
}

/// The location of a disk's data as one text; empty without a medium.
pub(super) fn disk_source(disk: Node<'_, '_>) -> String {
    child(disk, "source").map(source_of).unwrap_or_default()
}

/// The source of an interface; empty if there is none.
pub(super) fn interface_source(interface: Node<'_, '_>) -> String {
    let source = child(interface, "source").and_then(|source| {
        ["network", "bridge", "dev", "path", "name"].into_iter().find_map(|name| source.attribute(name))
    });
    source.unwrap_or_default().to_owned()
}

fn interface(interface: Node<'_, '_>) -> Interface {
    let source = interface_source(interface);
    // A live interface contains the resolved source; the network is the configured one.
    let of_network = child(interface, "source").is_some_and(|source| source.has_attribute("network"));
    Interface {
        mac: child_attribute(interface, "mac", "address"),
        kind: if of_network { "network" } else { interface.attribute("type").unwrap_or_default() }.to_owned(),
        source,
        model: child_attribute(interface, "model", "type"),
        host_device: child_attribute(interface, "target", "dev"),
        addresses: Vec::new(),
    }
}

fn graphics(graphics: Node<'_, '_>) -> Graphics {
    // libvirt writes -1 while no port is assigned.
    let port = |name| graphics.attribute(name)?.parse::<u16>().ok();
    Graphics {
        kind: graphics.attribute("type").unwrap_or_default().to_owned(),
        port: port("port").or_else(|| port("tlsPort")),
        listen: graphics.attribute("listen").unwrap_or_default().to_owned(),
    }
}

/// Serial ports, and consoles that do not duplicate one: libvirt also writes a console for the
/// first port.
fn serials<'a, 'b: 'a>(
    ports: impl Iterator<Item = Node<'a, 'b>>,
    consoles: impl Iterator<Item = Node<'a, 'b>>,
) -> Vec<Serial> {
    let own = consoles.enumerate().filter(|(_, console)| child_attribute(*console, "target", "type") != "serial");
    let named = |prefix: &str, number: usize, device: Node<'_, '_>| Serial {
        // An inactive machine has no device aliases yet; libvirt will assign these.
        name: match child_attribute(device, "alias", "name") {
            name if name.is_empty() => format!("{prefix}{number}"),
            name => name,
        },
        kind: device.attribute("type").unwrap_or_default().to_owned(),
    };
    let ports = ports.enumerate().map(|(number, port)| named("serial", number, port));
    ports.chain(own.map(|(number, console)| named("console", number, console))).collect()
}

fn agent(channel: Node<'_, '_>) -> Option<Agent> {
    let target = child(channel, "target")?;
    if target.attribute("name") != Some("org.qemu.guest_agent.0") {
        return None;
    }
    Some(if target.attribute("state") == Some("connected") { Agent::Connected } else { Agent::Disconnected })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use roxmltree::Document;

    use super::*;

    /// Parses a text from libvirt.
    fn read(text: &str) -> Option<Domain> {
        of(Document::parse(text).ok()?.root_element())
    }

    const RICH: &str = r#"
<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>db &lt;b&gt;"x"&#10;😀</name><uuid>9d5815f3-0942-43f7-bd25-8c0cb4800b49</uuid>
  <title>Main database</title><description>line 1
line 2</description>
  <metadata>
    <b:tags xmlns:b='urn:belvedere:tags:1'><!-- old --><b:note>no tag</b:note><b:tag> prod </b:tag><b:tag>db</b:tag><b:tag>db</b:tag></b:tags>
    <other:thing xmlns:other='urn:other'><tag>not ours</tag></other:thing>
  </metadata>
  <memory unit='GiB'>16</memory><currentMemory unit='KiB'>8388608</currentMemory><vcpu placement='static' current='4'>8</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/a.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='volume' device='cdrom'><source pool='iso' volume='d.iso'/><target dev='sda' bus='sata'/><readonly/></disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='sata'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><target dev='vnet3'/><model type='virtio'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <serial type='pty'><target type='isa-serial' port='0'/><alias name='serial0'/></serial>
    <serial type='unix'><target port='1'/></serial>
    <console type='pty'><target type='serial' port='0'/><alias name='serial0'/></console>
    <console type='pty'><target type='virtio' port='1'/></console>
    <unknown-device/>
  </devices>
  <qemu:commandline><qemu:arg value='-x'/></qemu:commandline>
</domain>"#;

    #[test]
    fn a_rich_definition_is_read_whole() {
        let domain = read(RICH).expect("a domain");
        assert_eq!(domain.name, "db <b>\"x\"\n😀");
        assert_eq!(domain.tags, ["db", "prod"]);
        assert_eq!((domain.memory_mb, domain.max_memory_mb), (8192, 16384));
        assert_eq!((domain.vcpus, domain.max_vcpus), (4, 8));
        assert!(domain.uefi);
        assert_eq!(domain.agent, Agent::Connected);
        assert_eq!(domain.interfaces[0].source, "default");
        assert_eq!(domain.graphics[0].port, None);
        let lines: Vec<_> = domain.serials.iter().map(|line| (line.name.as_str(), line.kind.as_str())).collect();
        assert_eq!(lines, [("serial0", "pty"), ("serial1", "unix"), ("console1", "pty")]);
    }

    #[test]
    fn sources_of_every_kind_are_shown() {
        let of = |source: &str| {
            let text = format!("<disk device='disk'>{source}<target dev='vda'/></disk>");
            disk_source(Document::parse(&text).expect("XML").root_element())
        };
        for (source, shown) in [
            ("<source file='/a b'/>", "/a b"),
            ("<source protocol='nbd'><host transport='unix' socket='/run/nbd.sock'/></source>", "nbd /run/nbd.sock"),
            ("<source protocol='nbd' name='disk'><host name='nas' port='10809'/></source>", "disk"),
            ("<source protocol='rbd' name='pool/a'/>", "pool/a"),
            (
                "<source type='pci' managed='yes' namespace='2'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>",
                "NVMe 0000:01:00.0, namespace 2",
            ),
            ("<source type='unix' path='/run/vhost.sock'/>", "/run/vhost.sock"),
            ("<source novel='thing'/>", "unknown source type"),
            ("<source startupPolicy='optional'/>", ""),
            ("", ""),
        ] {
            assert_eq!(of(source), shown, "{source}");
        }
    }

    #[test]
    fn a_definition_with_next_to_nothing_is_still_a_machine() {
        let domain = read("<domain><name>a</name></domain>").expect("a domain");
        assert_eq!((domain.name.as_str(), domain.vcpus, domain.memory_mb), ("a", 1, 0));
    }

    #[test]
    fn what_is_no_domain_is_refused_without_a_panic() {
        for text in ["", "<", "<network/>", "<domain>", "<!DOCTYPE a [<!ENTITY b 'c'>]><domain>&b;</domain>", "\0"] {
            assert!(read(text).is_none(), "{text:?}");
        }
        let deep = format!("{}{}", "<domain>".repeat(100_000), "</domain>".repeat(100_000));
        read(&deep);
    }

    #[test]
    fn units_of_memory_are_libvirts() {
        let of = |value, unit| to_bytes(value, unit) >> 20;
        assert_eq!((of(1, "GiB"), of(2048, "KiB"), of(1 << 20, "b"), of(1, "TB")), (1024, 2, 1, 953_674));
        assert_eq!(of(u64::MAX, "TiB"), u64::MAX >> 20);
    }

    proptest! {
        #[test]
        fn tags_come_back_as_they_were_written(tags in prop::collection::vec("[a-z<>&\"' äö😀]{1,12}", 0..5)) {
            let wanted = normal_tags(tags);
            let element = tags_element(&wanted).to_string().replacen("<tags>", "<tags xmlns='urn:belvedere:tags:1'>", 1);
            let domain = read(&format!("<domain><metadata>{element}</metadata></domain>")).expect("a domain");
            prop_assert_eq!(domain.tags, wanted);
        }

        #[test]
        fn damaged_text_never_panics(at in 0_usize..RICH.len(), with in ".{0,3}") {
            let mut text = RICH.to_owned();
            let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.insert_str(at, &with);
            read(&text);
            read(&text[..at]);
        }
    }
}
