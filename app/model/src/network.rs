//! Networks of a host, and the rules that a new one keeps.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Fault, HostInventory, domain::Interface, storage::check_object_name};

/// A network that machines are plugged into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// libvirt's UUID of it.
    pub id: Uuid,
    /// Its name, unique on its host.
    pub name: String,
    /// Whether it is started.
    pub active: bool,
    /// Whether its definition stays when it stops.
    pub persistent: bool,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// How it reaches others: `nat`, `route`, `open`, `bridge`, `private`, `vepa`,
    /// `passthrough`, `hostdev`; empty when it is isolated.
    pub forward: String,
    /// The device of the host that it goes through, if one is named.
    pub device: String,
    /// The bridge on the host.
    pub bridge: String,
    /// The DNS domain of its guests.
    pub domain: String,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Names that its DNS server knows beside those of its guests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<DnsHost>,
    /// Grows with every change.
    pub version: u64,
}

impl Network {
    /// How it reaches others, in words.
    pub fn mode(&self) -> &str {
        match self.forward.as_str() {
            "bridge" if self.bridge.is_empty() => "macvtap",
            forward => mode_words(forward),
        }
    }

    /// Whether it gives addresses to machines.
    pub fn has_dhcp(&self) -> bool {
        self.subnets.iter().any(Subnet::has_dhcp)
    }

    /// Whether an interface is plugged into it, by its name or into its bridge.
    pub fn has(&self, interface: &Interface) -> bool {
        match interface.kind.as_str() {
            "network" => interface.source == self.name,
            "bridge" => !self.bridge.is_empty() && interface.source == self.bridge,
            _ => false,
        }
    }
}

/// How a network reaches others, in words.
fn mode_words(forward: &str) -> &str {
    match forward {
        "" => "Isolated",
        "nat" => "NAT",
        "route" => "Routed",
        "open" => "Open",
        "bridge" => "Bridge",
        "private" | "vepa" | "passthrough" => "macvtap",
        "hostdev" => "Host devices",
        other => other,
    }
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// The host's own address in it.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// Addresses that DHCP gives: first and last of each range.
    #[serde(default)]
    pub ranges: Vec<(IpAddr, IpAddr)>,
    /// Machines that always get the same address.
    #[serde(default)]
    pub hosts: Vec<StaticHost>,
}

/// A machine that always gets the same address by DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StaticHost {
    /// Its hardware address, or its DHCP identifier.
    pub mac: String,
    /// Its address.
    pub address: IpAddr,
    /// Its name, or empty.
    pub name: String,
}

/// An address with names that the network's DNS server gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DnsHost {
    /// The address; it may be anywhere.
    pub address: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

/// A lease that DHCP has given (`virNetworkGetDHCPLeases`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Lease {
    /// The hardware address.
    pub mac: String,
    /// The address that was given.
    pub address: String,
    /// What the guest calls itself, or empty.
    pub hostname: String,
    /// When it ends, in Unix seconds; 0 if never.
    pub expires: u64,
}

impl Subnet {
    /// The subnet without its host part.
    fn network(&self) -> (u128, u8, bool) {
        let (bits, width) = bits(self.address);
        (bits & mask(self.prefix, width), self.prefix, self.address.is_ipv6())
    }

    /// Whether it gives addresses to machines.
    pub fn has_dhcp(&self) -> bool {
        !self.ranges.is_empty() || !self.hosts.is_empty()
    }

    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (number, width) = bits(address);
        let (network, prefix, six) = self.network();
        six == address.is_ipv6() && number & mask(prefix, width) == network
    }

    /// Whether two subnets have addresses in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let shorter = if self.prefix <= other.prefix { self } else { other };
        let longer = if self.prefix <= other.prefix { other } else { self };
        shorter.contains(longer.address)
    }

    /// Reads what DHCP shall give of it: two fields, the first address and the last.
    fn range(&self, [first, last]: [(&str, &String); 2]) -> Result<(IpAddr, IpAddr), Fault> {
        let address = |(field, text): (&str, &String)| -> Result<IpAddr, Fault> {
            let family = if self.address.is_ipv6() { "IPv6" } else { "IPv4" };
            let wrong = || Fault::invalid(field, &format!("it is an {family} address"));
            let address: IpAddr = text.trim().parse().map_err(|_| wrong())?;
            if address.is_ipv6() != self.address.is_ipv6() {
                return Err(wrong());
            }
            if !self.contains(address) {
                return Err(Fault::invalid(field, &format!("{address} is not in {self}")));
            }
            if self.is_edge(address) {
                let why = format!("{address} is the first or the last address of {self}, which no guest can have");
                return Err(Fault::invalid(field, &why));
            }
            Ok(address)
        };
        let (from, to) = (address(first)?, address(last)?);
        if from > to {
            return Err(Fault::invalid(last.0, "the last address comes before the first"));
        }
        if (from..=to).contains(&self.address) {
            let why = format!("the range holds {}, which is the host's own", self.address);
            return Err(Fault::invalid(first.0, &why));
        }
        Ok((from, to))
    }

    /// Whether an address is one that no guest can have: the first and the last of IPv4.
    fn is_edge(&self, address: IpAddr) -> bool {
        let (number, width) = bits(address);
        let host = number & !mask(self.prefix, width);
        let all = !mask(self.prefix, width) & full(width);
        if address.is_ipv6() { host == 0 } else { host == 0 || host == all }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, ..) = self.network();
        match self.address {
            IpAddr::V4(_) => write!(f, "{}/{}", Ipv4Addr::from(network as u32), self.prefix),
            IpAddr::V6(_) => write!(f, "{}/{}", Ipv6Addr::from(network), self.prefix),
        }
    }
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (address.into(), 128),
    }
}

fn full(width: u8) -> u128 {
    if width == 32 { u32::MAX.into() } else { u128::MAX }
}

fn mask(prefix: u8, width: u8) -> u128 {
    let host = u32::from(width.saturating_sub(prefix));
    full(width) & u128::MAX.checked_shl(host).unwrap_or(0)
}

/// A new network as somebody wishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// One of `NetworkSpec::MODES`.
    pub mode: String,
    /// The bridge of the host that machines join; only of mode `bridge`.
    pub bridge: String,
    /// The device of the host that it goes through; needed for `macvtap`.
    pub device: String,
    /// The host's IPv4 address with its prefix, such as `192.168.50.1/24`, or empty.
    pub ipv4: String,
    /// The first address that DHCP gives, or empty.
    pub dhcp_first: String,
    /// The last one.
    pub dhcp_last: String,
    /// The host's IPv6 address with its prefix, or empty.
    pub ipv6: String,
    /// The first IPv6 address that DHCP gives, or empty.
    pub dhcp6_first: String,
    /// The last one.
    pub dhcp6_last: String,
    /// The DNS domain of its guests, or empty.
    pub domain: String,
}

impl NetworkSpec {
    /// The modes, with words for each.
    pub const MODES: [(&str, &str); 6] = [
        ("nat", "NAT: guests reach others, others do not reach them"),
        ("route", "Routed: others reach guests when they know the way"),
        ("open", "Open: routed, without any firewall rules of libvirt"),
        ("isolated", "Isolated: guests reach each other and this host"),
        ("bridge", "Bridge: guests join a bridge of the host"),
        ("macvtap", "macvtap: guests share a device of the host"),
    ];

    /// Whether libvirt looks after the addresses of a mode.
    pub fn has_subnets(mode: &str) -> bool {
        matches!(mode, "nat" | "route" | "open" | "isolated")
    }

    /// The subnets that it asks for.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn subnets(&self) -> Result<Vec<Subnet>, Fault> {
        let four = ("ipv4", &self.ipv4, [("dhcpFirst", &self.dhcp_first), ("dhcpLast", &self.dhcp_last)]);
        let six = ("ipv6", &self.ipv6, [("dhcp6First", &self.dhcp6_first), ("dhcp6Last", &self.dhcp6_last)]);
        let mut subnets = Vec::new();
        for (field, text, range) in [four, six] {
            let ranged = range.iter().any(|(_, text)| !text.trim().is_empty());
            if !text.trim().is_empty() {
                let mut subnet = subnet(field, text, field == "ipv6")?;
                if ranged {
                    subnet.ranges = vec![subnet.range(range)?];
                }
                subnets.push(subnet);
            } else if ranged {
                return Err(Fault::invalid(range[0].0, "DHCP needs a subnet to give addresses of"));
            }
        }
        Ok(subnets)
    }

    /// Whether it is right on a host.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self, host: &HostInventory) -> Result<(), Fault> {
        check_object_name(&self.name)?;
        if !Self::MODES.iter().any(|(mode, _)| *mode == self.mode) {
            return Err(Fault::invalid("mode", "there is no such mode"));
        }
        if self.mode == "bridge" && !is_device(&self.bridge) {
            return Err(Fault::invalid("bridge", "it is the name of a bridge on the host, such as br0"));
        }
        if self.mode == "macvtap" || !self.device.is_empty() {
            if !is_device(&self.device) {
                return Err(Fault::invalid("device", "it is the name of a device of the host, such as eth0"));
            }
            if matches!(self.mode.as_str(), "open" | "isolated" | "bridge") {
                return Err(Fault::invalid("device", "a network of this mode goes through no device"));
            }
        }
        if !self.domain.is_empty() && !is_domain(&self.domain) {
            return Err(Fault::invalid("domain", "it is a name such as lab.example.org"));
        }
        let subnets = self.subnets()?;
        if !Self::has_subnets(&self.mode) {
            if !subnets.is_empty() || !self.domain.is_empty() {
                return Err(Fault::invalid(
                    "ipv4",
                    "libvirt does not look after the addresses of a network of this mode",
                ));
            }
            return Ok(());
        }
        if subnets.is_empty() && self.mode != "isolated" {
            return Err(Fault::invalid("ipv4", "a network of this mode has a subnet"));
        }
        let known =
            host.networks.values().flat_map(|network| network.subnets.iter().map(move |subnet| (network, subnet)));
        for (network, subnet) in known {
            if let Some(mine) = subnets.iter().find(|mine| mine.overlaps(subnet)) {
                let field = if mine.address.is_ipv6() { "ipv6" } else { "ipv4" };
                return Err(Fault::invalid(
                    field,
                    &format!("{mine} overlaps with {subnet} of the network {}", network.name),
                ));
            }
        }
        Ok(())
    }
}

/// Reads an address with its prefix.
fn subnet(field: &str, text: &str, six: bool) -> Result<Subnet, Fault> {
    let example = if six { "fd00:50::1/64" } else { "192.168.50.1/24" };
    let wrong = || Fault::invalid(field, &format!("it is the host's address with its prefix, such as {example}"));
    let (address, prefix) = text.trim().split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let (least, most) = if six { (8, 126) } else { (8, 30) };
    if address.is_ipv6() != six || !(least..=most).contains(&prefix) {
        return Err(wrong());
    }
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return Err(Fault::invalid(field, "no host can have this address"));
    }
    let subnet = Subnet { address, prefix, ranges: Vec::new(), hosts: Vec::new() };
    if subnet.is_edge(address) {
        return Err(Fault::invalid(
            field,
            &format!("{address} is the first or the last address of {subnet}; the host has one of those between"),
        ));
    }
    Ok(subnet)
}

/// The name of a network device (IFNAMSIZ).
fn is_device(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    !text.is_empty() && text.len() <= 15 && text.chars().all(fine) && !text.starts_with(['-', '.'])
}

/// Whether a text can be the name of a host or a domain (RFC 1123, 2.1).
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The machines of a host that are plugged into a network.
pub fn attached<'a>(host: &'a HostInventory, network: &'a Network) -> impl Iterator<Item = &'a crate::Domain> {
    let plugged = |domain: &&crate::Domain| domain.interfaces.iter().any(|interface| network.has(interface));
    host.domains.values().map(|domain| &**domain).filter(plugged)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn host() -> HostInventory {
        let mut host = HostInventory::unread("atlas".parse().expect("a name"), "test:///x".into(), false, 0);
        let subnet = Subnet {
            address: "192.168.122.1".parse().expect("right"),
            prefix: 24,
            ranges: Vec::new(),
            hosts: Vec::new(),
        };
        let network =
            Network { id: Uuid::from_u128(1), name: "default".into(), subnets: vec![subnet], ..Network::default() };
        host.networks.insert(network.id, Arc::new(network));
        host
    }

    fn nat() -> NetworkSpec {
        let text = str::to_owned;
        NetworkSpec {
            name: text("lab"),
            mode: text("nat"),
            ipv4: text("192.168.50.1/24"),
            dhcp_first: text("192.168.50.100"),
            dhcp_last: text("192.168.50.200"),
            ipv6: text("fd00:50::1/64"),
            domain: text("lab.example.org"),
            ..NetworkSpec::default()
        }
    }

    /// The field that is wrong.
    fn wrong(spec: &NetworkSpec) -> String {
        spec.check(&host()).expect_err("wrong").reason.split(':').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_new_network_keeps_to_its_subnets_and_out_of_others() {
        assert_eq!(nat().check(&host()), Ok(()));
        let six = NetworkSpec { dhcp6_first: "fd00:50::100".into(), dhcp6_last: "fd00:50::1ff".into(), ..nat() };
        assert_eq!(six.check(&host()), Ok(()));
        assert!(six.subnets().expect("right").iter().all(Subnet::has_dhcp));
        let text = str::to_owned;
        let cases: [(NetworkSpec, &str); 18] = [
            (NetworkSpec { name: text("a b"), ..nat() }, "name"),
            (NetworkSpec { mode: text("magic"), ..nat() }, "mode"),
            (
                NetworkSpec { ipv4: text("192.168.122.129/25"), dhcp_first: text(""), dhcp_last: text(""), ..nat() },
                "ipv4",
            ),
            (NetworkSpec { ipv4: text("192.0.0.1/8"), ..nat() }, "ipv4"),
            (NetworkSpec { ipv4: text("192.168.50.0/24"), ..nat() }, "ipv4"),
            (NetworkSpec { ipv4: text("192.168.50.1"), ..nat() }, "ipv4"),
            (NetworkSpec { ipv4: text("127.0.0.1/24"), ..nat() }, "ipv4"),
            (NetworkSpec { ipv4: text("fd00::1/64"), ..nat() }, "ipv4"),
            (NetworkSpec { dhcp_first: text("192.168.51.2"), ..nat() }, "dhcpFirst"),
            (NetworkSpec { dhcp_last: text("192.168.50.255"), ..nat() }, "dhcpLast"),
            (NetworkSpec { dhcp_last: text("192.168.50.99"), ..nat() }, "dhcpLast"),
            (NetworkSpec { dhcp_first: text("192.168.50.1"), ..nat() }, "dhcpFirst"),
            (
                NetworkSpec { ipv4: text(""), ipv6: text(""), dhcp_first: text(""), dhcp_last: text(""), ..nat() },
                "ipv4",
            ),
            (NetworkSpec { mode: text("bridge"), ..nat() }, "bridge"),
            (NetworkSpec { domain: text("<b>"), ..nat() }, "domain"),
            (NetworkSpec { dhcp6_first: text("fd00:50::5"), ..nat() }, "dhcp6Last"),
            (NetworkSpec { dhcp6_first: text("192.168.50.9"), dhcp6_last: text("fd00:50::9"), ..nat() }, "dhcp6First"),
            (NetworkSpec { ipv6: text(""), dhcp6_last: text("fd00:50::9"), ..nat() }, "dhcp6First"),
        ];
        for (spec, field) in cases {
            assert_eq!(wrong(&spec), field, "{spec:?}");
        }
        let overlap =
            NetworkSpec { ipv4: text("192.168.122.200/24"), dhcp_first: text(""), dhcp_last: text(""), ..nat() };
        let why = overlap.check(&host()).expect_err("wrong").reason;
        assert!(why.contains("192.168.122.0/24 of the network default"), "{why}");
    }

    #[test]
    fn bridges_and_devices_of_the_host_are_named() {
        let plain = NetworkSpec { name: "lan".into(), ..NetworkSpec::default() };
        let bridge = NetworkSpec { mode: "bridge".into(), bridge: "br0".into(), ..plain.clone() };
        assert_eq!(bridge.check(&host()), Ok(()));
        let device = NetworkSpec { mode: "macvtap".into(), device: "eth0".into(), ..plain };
        assert_eq!(device.check(&host()), Ok(()));
        assert_eq!(wrong(&NetworkSpec { device: "-x".into(), ..device.clone() }), "device");
        assert_eq!(wrong(&NetworkSpec { ipv4: "10.0.0.1/24".into(), ..device }), "ipv4");
        assert_eq!(wrong(&NetworkSpec { device: "eth0".into(), ..bridge }), "device");
    }

    fn any_subnet() -> impl Strategy<Value = Subnet> {
        (any::<u32>(), 1_u8..=32).prop_map(|(address, prefix)| {
            let address = IpAddr::V4(Ipv4Addr::from(address));
            Subnet { address, prefix, ranges: Vec::new(), hosts: Vec::new() }
        })
    }

    proptest! {
        #[test]
        fn two_subnets_overlap_when_one_holds_the_other(a in any_subnet(), b in any_subnet()) {
            let each_way = a.contains(b.address) && a.prefix <= b.prefix || b.contains(a.address) && b.prefix <= a.prefix;
            prop_assert_eq!(a.overlaps(&b), each_way);
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            prop_assert!(a.contains(a.address) && a.overlaps(&a));
        }
    }
}
