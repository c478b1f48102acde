//! `<network>`: parsed tolerantly, and written from a specification.

use std::net::{IpAddr, Ipv4Addr};

use model::{
    Fault, Network,
    network::{DnsHost, NetworkMode, NetworkSpec, StaticHost, Subnet},
};
use roxmltree::{Document, Node};
use uuid::Uuid;

use super::{child, child_attribute, child_text, element::Element, escape};

/// Parses a network; none if the text is not a network.
pub(crate) fn network(text: &str) -> Option<Network> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    if root.tag_name().name() != "network" {
        return None;
    }
    let forward = child(root, "forward");
    // Several devices are shared by the machines of a macvtap network.
    let devices =
        forward.into_iter().flat_map(|forward| forward.children()).filter(|child| child.has_tag_name("interface"));
    let interface = devices.filter_map(|child| child.attribute("dev")).collect::<Vec<_>>().join(", ");
    let device = forward.and_then(|forward| forward.attribute("dev")).map(str::to_owned);
    Some(Network {
        id: child_text(root, "uuid").parse().unwrap_or_default(),
        name: child_text(root, "name"),
        forward: forward.map(|forward| forward.attribute("mode").unwrap_or("nat").to_owned()).unwrap_or_default(),
        device: device.filter(|device| !device.is_empty()).unwrap_or(interface),
        bridge: child_attribute(root, "bridge", "name"),
        domain: child_attribute(root, "domain", "name"),
        subnets: ips(root).filter_map(subnet).collect(),
        dns: child(root, "dns").map(dns).unwrap_or_default(),
        ..Network::default()
    })
}

fn dns(dns: Node<'_, '_>) -> Vec<DnsHost> {
    let hosts = dns.children().filter(|child| child.tag_name().name() == "host").filter_map(|host| {
        let names = host.children().filter(|child| child.tag_name().name() == "hostname");
        let names = names.filter_map(|name| name.text()).map(|name| name.trim().to_owned()).collect();
        Some(DnsHost { address: host.attribute("ip")?.parse().ok()?, names })
    });
    hosts.collect()
}

fn ips<'a, 'i>(root: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    root.children().filter(|child| child.tag_name().name() == "ip")
}

/// The index of the `<ip>` whose subnet contains an address.
pub(crate) fn index_of(text: &str, address: IpAddr) -> Option<i32> {
    let document = Document::parse(text).ok()?;
    let found = ips(document.root_element()).position(|ip| subnet(ip).is_some_and(|subnet| subnet.contains(address)));
    found.and_then(|index| i32::try_from(index).ok())
}

fn subnet(ip: Node<'_, '_>) -> Option<Subnet> {
    let address: IpAddr = ip.attribute("address")?.parse().ok()?;
    let by_mask = || {
        let mask: Ipv4Addr = ip.attribute("netmask")?.parse().ok()?;
        Some(u32::from(mask).leading_ones() as u8)
    };
    let classes = || match address {
        // libvirt's default.
        IpAddr::V4(address) if address.octets()[0] < 128 => 8,
        IpAddr::V4(address) if address.octets()[0] < 192 => 16,
        IpAddr::V4(_) => 24,
        IpAddr::V6(_) => 64,
    };
    let prefix = ip.attribute("prefix").and_then(|prefix| prefix.parse().ok()).or_else(by_mask).unwrap_or_else(classes);
    if prefix > if address.is_ipv6() { 128 } else { 32 } {
        return None;
    }
    let dhcp = child(ip, "dhcp");
    let of_dhcp = |name: &'static str| {
        let children = dhcp.into_iter().flat_map(|dhcp| dhcp.children());
        children.filter(move |child| child.tag_name().name() == name)
    };
    let ranges = of_dhcp("range").filter_map(|range| {
        let end = |name| range.attribute(name)?.parse().ok();
        Some((end("start")?, end("end")?))
    });
    let hosts = of_dhcp("host").filter_map(static_host_of);
    Some(Subnet { address, prefix, ranges: ranges.collect(), hosts: hosts.collect() })
}

/// A DHCP `<host>`: by MAC address, DUID, or name only.
fn static_host_of(host: Node<'_, '_>) -> Option<StaticHost> {
    let of = |name| host.attribute(name).map(str::to_owned);
    let (mac, name) = (of("mac").or_else(|| of("id")).unwrap_or_default(), of("name").unwrap_or_default());
    Some(StaticHost { mac, address: host.attribute("ip")?.parse().ok()?, name })
}

/// The source text of an element.
fn written<'a>(text: &'a str, node: Node<'_, '_>) -> &'a str {
    text.get(node.range()).unwrap_or_default()
}

/// The source texts of DHCP `<host>` elements that match a predicate.
fn written_static_hosts(text: &str, chosen: impl Fn(&StaticHost) -> bool) -> Vec<String> {
    let Ok(document) = Document::parse(text) else { return Vec::new() };
    let hosts = ips(document.root_element()).filter_map(|ip| child(ip, "dhcp")).flat_map(|dhcp| dhcp.children());
    let hosts =
        hosts.filter(|host| host.has_tag_name("host") && static_host_of(*host).is_some_and(|host| chosen(&host)));
    hosts.map(|host| written(text, host).to_owned()).collect()
}

/// The source texts of all entries that assign an address to a machine, for `virNetworkUpdate`.
pub(crate) fn static_hosts_to_remove(text: &str, mac: &str, address: IpAddr) -> Vec<String> {
    written_static_hosts(text, |host| host.address == address && host.mac.eq_ignore_ascii_case(mac))
}

/// A machine's entry with a new address or name, keeping everything else (`<lease expiry>`,
/// options); none if it has no entry.
pub(crate) fn patched_static_host(text: &str, mac: &str, address: IpAddr, name: &str) -> Option<String> {
    // libvirt identifies a machine by MAC address or name, and replaces everything else.
    let of_machine = |host: &StaticHost| match mac.is_empty() {
        true => host.name == name,
        false => host.mac.eq_ignore_ascii_case(mac),
    };
    let had = written_static_hosts(text, of_machine).into_iter().next()?;
    let document = Document::parse(&had).ok()?;
    let host = document.root_element();
    let kept = host.attributes().filter(|attribute| !matches!(attribute.name(), "ip" | "name"));
    let mut patched = String::from("<host");
    for attribute in kept {
        patched += &format!(" {}='{}'", attribute.name(), escape(attribute.value()));
    }
    if !name.is_empty() {
        patched += &format!(" name='{}'", escape(name));
    }
    let inner: String = host.children().map(|child| written(&had, child)).collect();
    patched += &format!(" ip='{address}'>{inner}</host>");
    Some(patched)
}

/// Elements that remove all names of an address one after the other, for `virNetworkUpdate`.
/// libvirt finds an entry by its address or one of its names: if several have the address, only the
/// names distinguish them.
pub(crate) fn dns_hosts_to_remove(text: &str, address: IpAddr) -> Vec<String> {
    let Ok(document) = Document::parse(text) else { return Vec::new() };
    let hosts = child(document.root_element(), "dns").into_iter().flat_map(|dns| dns.children());
    let of_address = |host: &Node<'_, '_>| {
        host.has_tag_name("host") && host.attribute("ip").and_then(|ip| ip.parse().ok()) == Some(address)
    };
    let found: Vec<Node<'_, '_>> = hosts.filter(of_address).collect();
    let several = found.len() > 1;
    let element = |host: &Node<'_, '_>| match several {
        false => written(text, *host).to_owned(),
        true => {
            let names = host.children().filter(|child| child.has_tag_name("hostname"));
            format!("<host>{}</host>", names.map(|name| written(text, name)).collect::<String>())
        }
    };
    found.iter().map(element).collect()
}

/// The definition of a new network.
///
/// # Errors
/// If its addresses are invalid.
pub(crate) fn definition(id: Uuid, spec: &NetworkSpec) -> Result<Element, Fault> {
    let forward = |mode: &str| Element::new("forward").with("mode", mode);
    let own = || Element::new("bridge").with("stp", "on").with("delay", 0);
    let (forward, bridge) = match spec.mode {
        NetworkMode::Isolated => (None, Some(own())),
        NetworkMode::Bridge => (Some(forward("bridge")), Some(Element::new("bridge").with("name", &spec.bridge))),
        NetworkMode::Macvtap => {
            (Some(forward("bridge").holding([Element::new("interface").with("dev", &spec.device)])), None)
        }
        mode => (Some(forward(mode.key()).with_some("dev", &spec.device)), Some(own())),
    };
    let domain = (!spec.domain.is_empty()).then(|| Element::new("domain").with("name", &spec.domain));
    let ips = spec.subnets()?.into_iter().map(|subnet| {
        let family = if subnet.address.is_ipv6() { "ipv6" } else { "ipv4" };
        let range = |(first, last)| Element::new("range").with("start", first).with("end", last);
        let dhcp = Element::new("dhcp").holding(subnet.ranges.iter().copied().map(range));
        let ip = Element::new("ip").with("family", family).with("address", subnet.address);
        ip.with("prefix", subnet.prefix).holding((!dhcp.is_bare()).then_some(dhcp))
    });
    let network = Element::new("network").holding([Element::of("name", &spec.name), Element::of("uuid", id)]);
    Ok(network.holding(forward).holding(bridge).holding(domain).holding(ips))
}

/// A static DHCP host entry for `virNetworkUpdate`.
pub(crate) fn static_host(mac: &str, address: IpAddr, name: &str) -> Element {
    // DHCPv6 does not use MAC addresses.
    let host = match address {
        IpAddr::V4(_) => Element::new("host").with("mac", mac),
        IpAddr::V6(_) => Element::new("host").with_some("id", mac),
    };
    host.with_some("name", name).with("ip", address)
}

/// A DNS host entry for `virNetworkUpdate`.
pub(crate) fn dns_host(host: &DnsHost) -> Element {
    let names = host.names.iter().map(|name| Element::of("hostname", name));
    Element::new("host").with("ip", host.address).holding(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_with_its_subnets_ranges_and_static_addresses() {
        let text = "<network><name>default</name><uuid>9d5815f3-0942-43f7-bd25-8c0cb4800b49</uuid>\
            <forward mode='nat' dev='eth0'><nat/><interface dev='eth0'/></forward><bridge name='virbr0'/>\
            <domain name='lab'/><dns><txt name='x' value='y'/><host ip='10.1.1.1'><hostname>db</hostname>\
            <hostname> db.lab </hostname></host><host ip='nonsense'/></dns><ip address='192.168.122.1' netmask='255.255.255.0'><dhcp>\
            <range start='192.168.122.2' end='192.168.122.254'/>\
            <host mac='52:54:00:00:00:01' name='web' ip='192.168.122.10'/></dhcp></ip>\
            <ip family='ipv6' address='fd00::1' prefix='64'/><ip address='nonsense'/><ip address='10.0.0.1' prefix='99'/>\
            </network>";
        let network = network(text).expect("a network");
        assert_eq!((network.name.as_str(), network.mode(), network.device.as_str()), ("default", "NAT", "eth0"));
        assert_eq!(
            network.subnets.iter().map(Subnet::to_string).collect::<Vec<_>>(),
            ["192.168.122.0/24", "fd00::/64"]
        );
        assert_eq!(network.subnets[0].hosts[0].name, "web");
        assert_eq!(network.subnets[0].ranges.len(), 1);
        let names = ["db".to_owned(), "db.lab".to_owned()];
        assert_eq!(network.dns, [DnsHost { address: "10.1.1.1".parse().expect("an address"), names: names.into() }]);
        let written = format!("<network><dns>{}</dns></network>", dns_host(&network.dns[0]));
        assert_eq!(super::network(&written).expect("a network").dns, network.dns);
        assert_eq!(index_of(text, "fd00::5".parse().expect("an address")), Some(1));
        assert_eq!(index_of(text, "10.9.9.9".parse().expect("an address")), None);
    }

    #[test]
    fn entries_are_patched_and_not_written_anew() {
        let text = "<network><dns><host ip='10.0.0.1'><hostname>a</hostname></host><host ip='10.0.0.9'><hostname>x</hostname>\
            <hostname>y</hostname></host><host ip='10.0.0.9'><hostname>z</hostname></host></dns>\
            <ip address='192.168.1.1' prefix='24'><dhcp>\
            <host mac='52:54:00:00:00:01' name='web' ip='192.168.1.10'><lease expiry='2' unit='hours'/></host>\
            <host name='only' ip='192.168.1.11'/><host id='01:02' ip='192.168.1.12'/><host id='01:03' ip='192.168.1.12'/>\
            </dhcp></ip></network>";
        let ip = |text: &str| text.parse().expect("an address");
        assert_eq!(
            patched_static_host(text, "52:54:00:00:00:01", ip("192.168.1.20"), "<db>").as_deref(),
            Some(
                "<host mac='52:54:00:00:00:01' name='&lt;db&gt;' ip='192.168.1.20'><lease expiry='2' unit='hours'/></host>"
            )
        );
        assert_eq!(patched_static_host(text, "52:54:00:00:00:09", ip("192.168.1.20"), ""), None);
        let removed = |mac: &str, address: &str| static_hosts_to_remove(text, mac, ip(address));
        assert_eq!(removed("", "192.168.1.11"), ["<host name='only' ip='192.168.1.11'/>"]);
        assert_eq!(removed("01:02", "192.168.1.12"), ["<host id='01:02' ip='192.168.1.12'/>"]);
        assert!(removed("01:02", "192.168.1.11").is_empty());
        assert_eq!(dns_hosts_to_remove(text, ip("10.0.0.1")), ["<host ip='10.0.0.1'><hostname>a</hostname></host>"]);
        let several =
            ["<host><hostname>x</hostname><hostname>y</hostname></host>", "<host><hostname>z</hostname></host>"];
        assert_eq!(dns_hosts_to_remove(text, ip("10.0.0.9")), several);
    }

    #[test]
    fn what_is_written_reads_back_as_it_was_meant() {
        let text = str::to_owned;
        let id = Uuid::from_u128(5);
        let spec = NetworkSpec {
            name: text("lab"),
            mode: NetworkMode::Route,
            device: text("eth0"),
            ipv4: text("192.168.50.1/24"),
            dhcp_first: text("192.168.50.10"),
            dhcp_last: text("192.168.50.20"),
            ipv6: text("fd00:50::1/64"),
            dhcp6_first: text("fd00:50::10"),
            dhcp6_last: text("fd00:50::20"),
            domain: text("lab.example.org"),
            ..NetworkSpec::default()
        };
        let read = |spec: &NetworkSpec| network(&definition(id, spec).expect("right").to_string()).expect("a network");
        let lab = read(&spec);
        assert_eq!(
            (lab.id, lab.mode(), lab.device.as_str(), lab.domain.as_str()),
            (id, "Routed", "eth0", "lab.example.org")
        );
        assert_eq!(lab.subnets, spec.subnets().expect("right"));
        let plain = NetworkSpec { name: text("lan"), ..NetworkSpec::default() };
        let bridge = read(&NetworkSpec { mode: NetworkMode::Bridge, bridge: text("br0"), ..plain.clone() });
        assert_eq!((bridge.mode(), bridge.bridge.as_str()), ("Bridge", "br0"));
        let macvtap = read(&NetworkSpec { mode: NetworkMode::Macvtap, device: text("eth1"), ..plain.clone() });
        assert_eq!((macvtap.mode(), macvtap.device.as_str()), ("macvtap", "eth1"));
        assert_eq!(read(&NetworkSpec { mode: NetworkMode::Isolated, ..plain }).mode(), "Isolated");
        let several = "<network><name>lan</name><forward mode='bridge'><interface dev='eth1'/><interface dev='eth2'/></forward></network>";
        assert_eq!(network(several).expect("a network").device, "eth1, eth2");
    }
}
