//! Networks of a host, and the checks for new ones.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Fault, HostInventory, choice::choice, domain::Interface, storage::check_object_name};

/// A virtual network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// libvirt's UUID.
    pub id: Uuid,
    /// Its name, unique on its host.
    pub name: String,
    /// Whether it is active.
    pub active: bool,
    /// Whether its definition is persistent.
    pub persistent: bool,
    /// Whether autostart is on.
    pub autostart: bool,
    /// The forward mode: `nat`, `route`, `open`, `bridge`, `private`, `vepa`, `passthrough`,
    /// `hostdev`; empty for an isolated network.
    pub forward: String,
    /// The uplink interface, if set.
    pub device: String,
    /// The host bridge.
    pub bridge: String,
    /// The DNS domain of its guests.
    pub domain: String,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// DNS host entries beyond those of its guests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<DnsHost>,
    /// Increases with every change.
    pub version: u64,
}

impl Network {
    /// Adds the DHCP and DNS entries of another definition of this network that this one lacks.
    pub fn add_entries_of(&mut self, other: Self) {
        for subnet in other.subnets {
            if let Some(own) = self.subnets.iter_mut().find(|own| own.address == subnet.address) {
                let new: Vec<StaticHost> = subnet.hosts.into_iter().filter(|host| !own.hosts.contains(host)).collect();
                own.hosts.extend(new);
            }
        }
        let new: Vec<DnsHost> = other.dns.into_iter().filter(|host| !self.dns.contains(host)).collect();
        self.dns.extend(new);
    }

    /// The label of its forward mode.
    pub fn mode(&self) -> &str {
        match self.forward.as_str() {
            "bridge" if self.bridge.is_empty() => "macvtap",
            forward => mode_words(forward),
        }
    }

    /// Whether it has a DHCP range.
    pub fn has_dhcp(&self) -> bool {
        self.subnets.iter().any(Subnet::has_dhcp)
    }

    /// Whether an interface is attached to it, by network name or bridge.
    pub fn has(&self, interface: &Interface) -> bool {
        match interface.kind.as_str() {
            "network" => interface.source == self.name,
            "bridge" => !self.bridge.is_empty() && interface.source == self.bridge,
            _ => false,
        }
    }
}

/// The label of a forward mode.
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
    /// The gateway address.
    pub address: IpAddr,
    /// The prefix length.
    pub prefix: u8,
    /// DHCP ranges: first and last address.
    #[serde(default)]
    pub ranges: Vec<(IpAddr, IpAddr)>,
    /// Static DHCP host entries.
    #[serde(default)]
    pub hosts: Vec<StaticHost>,
}

/// A static DHCP host entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StaticHost {
    /// The MAC address or DUID.
    pub mac: String,
    /// The IP address.
    pub address: IpAddr,
    /// The host name, or empty.
    pub name: String,
}

/// A DNS host entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct DnsHost {
    /// Any IP address.
    pub address: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}

/// A DHCP lease (`virNetworkGetDHCPLeases`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Lease {
    /// The MAC address.
    pub mac: String,
    /// The IP address.
    pub address: String,
    /// The guest's host name, or empty.
    pub hostname: String,
    /// Expiry in Unix seconds; 0 for never.
    pub expires: u64,
}

impl Subnet {
    /// The network; none if the prefix is longer than an address.
    fn network(&self) -> Option<IpNet> {
        IpNet::new(self.address, self.prefix).ok()
    }

    /// Whether it has a DHCP range.
    pub fn has_dhcp(&self) -> bool {
        !self.ranges.is_empty() || !self.hosts.is_empty()
    }

    /// Whether it contains an address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network().is_some_and(|network| network.contains(&address))
    }

    /// Whether two subnets overlap.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Parses a DHCP range from two fields: first and last address.
    fn range(&self, [first, last]: [(&str, &String); 2]) -> Result<(IpAddr, IpAddr), Fault> {
        let address = |(field, text): (&str, &String)| -> Result<IpAddr, Fault> {
            let family = if self.address.is_ipv6() { "IPv6" } else { "IPv4" };
            let wrong = || Fault::invalid(field, &format!("must be an {family} address"));
            let address: IpAddr = text.trim().parse().map_err(|_| wrong())?;
            if address.is_ipv6() != self.address.is_ipv6() {
                return Err(wrong());
            }
            if !self.contains(address) {
                return Err(Fault::invalid(field, &format!("{address} is not in {self}")));
            }
            if self.is_edge(address) {
                let why = format!("{address} is the network or broadcast address of {self}");
                return Err(Fault::invalid(field, &why));
            }
            Ok(address)
        };
        let (from, to) = (address(first)?, address(last)?);
        if from > to {
            return Err(Fault::invalid(last.0, "the end of the range is before its start"));
        }
        if (from..=to).contains(&self.address) {
            let why = format!("the range contains the gateway address {}", self.address);
            return Err(Fault::invalid(first.0, &why));
        }
        Ok((from, to))
    }

    /// Whether an address is the network address or, for IPv4, the broadcast address.
    fn is_edge(&self, address: IpAddr) -> bool {
        let last = |network: &IpNet| address.is_ipv4() && network.broadcast() == address;
        self.network().is_some_and(|network| network.network() == address || last(&network))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = self.network().map_or(self.address, |network| network.network());
        write!(f, "{network}/{}", self.prefix)
    }
}

choice! {
    /// How a new network is connected.
    NetworkMode {
        /// Forwarded with address translation.
        Nat = "nat": "NAT: outbound connections only",
        /// Forwarded as it is.
        Route = "route": "Routed: reachable if other hosts have a route",
        /// Routed, and libvirt's firewall leaves it alone.
        Open = "open": "Open: routed, without libvirt firewall rules",
        /// Not forwarded.
        Isolated = "isolated": "Isolated: guests reach only each other and the host",
        /// A bridge of the host.
        Bridge = "bridge": "Bridge: guests are attached to a host bridge",
        /// An interface of the host.
        Macvtap = "macvtap": "macvtap: guests share a host interface",
    }
}

impl NetworkMode {
    /// Whether libvirt manages the addresses.
    pub const fn has_subnets(self) -> bool {
        matches!(self, Self::Nat | Self::Route | Self::Open | Self::Isolated)
    }
}

/// The specification of a new network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its mode.
    pub mode: NetworkMode,
    /// The host bridge; only for mode `bridge`.
    #[serde(default)]
    pub bridge: String,
    /// The uplink interface; required for `macvtap`.
    #[serde(default)]
    pub device: String,
    /// The IPv4 gateway with prefix length, such as `192.168.50.1/24`, or empty.
    #[serde(default)]
    pub ipv4: String,
    /// Start of the DHCP range, or empty.
    #[serde(default)]
    pub dhcp_first: String,
    /// End of the DHCP range.
    #[serde(default)]
    pub dhcp_last: String,
    /// The IPv6 gateway with prefix length, or empty.
    #[serde(default)]
    pub ipv6: String,
    /// Start of the DHCPv6 range, or empty.
    #[serde(default)]
    pub dhcp6_first: String,
    /// End of the DHCPv6 range.
    #[serde(default)]
    pub dhcp6_last: String,
    /// The DNS domain of its guests, or empty.
    #[serde(default)]
    pub domain: String,
}

impl NetworkSpec {
    /// The requested subnets.
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
                return Err(Fault::invalid(range[0].0, "a DHCP range needs a gateway address with prefix length"));
            }
        }
        Ok(subnets)
    }

    /// Whether it is valid on a host.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn check(&self, host: &HostInventory) -> Result<(), Fault> {
        check_object_name(&self.name)?;
        if self.mode == NetworkMode::Bridge && !is_device(&self.bridge) {
            return Err(Fault::invalid("bridge", "must be the name of a host bridge, such as br0"));
        }
        if self.mode == NetworkMode::Macvtap || !self.device.is_empty() {
            if !is_device(&self.device) {
                return Err(Fault::invalid("device", "must be the name of a host interface, such as eth0"));
            }
            if matches!(self.mode, NetworkMode::Open | NetworkMode::Isolated | NetworkMode::Bridge) {
                return Err(Fault::invalid("device", "this mode has no uplink interface"));
            }
        }
        if !self.domain.is_empty() && !is_domain(&self.domain) {
            return Err(Fault::invalid("domain", "must be a domain name such as lab.example.org"));
        }
        let subnets = self.subnets()?;
        if !self.mode.has_subnets() {
            if !subnets.is_empty() || !self.domain.is_empty() {
                return Err(Fault::invalid("ipv4", "libvirt does not manage addresses in this mode"));
            }
            return Ok(());
        }
        if subnets.is_empty() && self.mode != NetworkMode::Isolated {
            return Err(Fault::invalid("ipv4", "this mode needs a gateway address with prefix length"));
        }
        let known =
            host.networks.values().flat_map(|network| network.subnets.iter().map(move |subnet| (network, subnet)));
        for (network, subnet) in known {
            if let Some(mine) = subnets.iter().find(|mine| mine.overlaps(subnet)) {
                let field = if mine.address.is_ipv6() { "ipv6" } else { "ipv4" };
                return Err(Fault::invalid(field, &format!("{mine} overlaps {subnet} of network {}", network.name)));
            }
        }
        Ok(())
    }
}

/// Parses an address with prefix length.
fn subnet(field: &str, text: &str, six: bool) -> Result<Subnet, Fault> {
    let example = if six { "fd00:50::1/64" } else { "192.168.50.1/24" };
    let wrong = || Fault::invalid(field, &format!("must be the gateway address with prefix length, such as {example}"));
    let (address, prefix) = text.trim().split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let (least, most) = if six { (8, 126) } else { (8, 30) };
    if address.is_ipv6() != six || !(least..=most).contains(&prefix) {
        return Err(wrong());
    }
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
        return Err(Fault::invalid(field, "cannot be assigned to a host"));
    }
    let subnet = Subnet { address, prefix, ranges: Vec::new(), hosts: Vec::new() };
    if subnet.is_edge(address) {
        return Err(Fault::invalid(
            field,
            &format!("{address} is the network or broadcast address of {subnet}; use a host address"),
        ));
    }
    Ok(subnet)
}

/// Whether a text is a network interface name (IFNAMSIZ).
fn is_device(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    !text.is_empty() && text.len() <= 15 && text.chars().all(fine) && !text.starts_with(['-', '.'])
}

/// Whether a text is a host or domain name (RFC 1123, 2.1).
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The machines of a host that are attached to a network.
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
            ipv4: text("192.168.50.1/24"),
            dhcp_first: text("192.168.50.100"),
            dhcp_last: text("192.168.50.200"),
            ipv6: text("fd00:50::1/64"),
            domain: text("lab.example.org"),
            ..NetworkSpec::default()
        }
    }

    /// The invalid field.
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
        let cases: [(NetworkSpec, &str); 17] = [
            (NetworkSpec { name: text("a b"), ..nat() }, "name"),
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
            (NetworkSpec { mode: NetworkMode::Bridge, ..nat() }, "bridge"),
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
        assert!(why.contains("192.168.122.0/24 of network default"), "{why}");
    }

    #[test]
    fn bridges_and_devices_of_the_host_are_named() {
        let plain = NetworkSpec { name: "lan".into(), ..NetworkSpec::default() };
        let bridge = NetworkSpec { mode: NetworkMode::Bridge, bridge: "br0".into(), ..plain.clone() };
        assert_eq!(bridge.check(&host()), Ok(()));
        let device = NetworkSpec { mode: NetworkMode::Macvtap, device: "eth0".into(), ..plain };
        assert_eq!(device.check(&host()), Ok(()));
        assert_eq!(wrong(&NetworkSpec { device: "-x".into(), ..device.clone() }), "device");
        assert_eq!(wrong(&NetworkSpec { ipv4: "10.0.0.1/24".into(), ..device }), "ipv4");
        assert_eq!(wrong(&NetworkSpec { device: "eth0".into(), ..bridge }), "device");
    }

    fn any_subnet() -> impl Strategy<Value = Subnet> {
        (any::<u32>(), 1_u8..=32).prop_map(|(address, prefix)| {
            let address = IpAddr::V4(address.into());
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
