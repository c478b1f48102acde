//! What can be asked of a network.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::pool::{connected, taken_name};
use crate::{
    Fault, HostInventory,
    network::{Network, NetworkSpec, StaticHost, attached, is_domain},
};

/// What can be asked of a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum NetworkCommand {
    /// Make its bridge and serve addresses (`virNetworkCreate`).
    StartNetwork {},
    /// Take its bridge away (`virNetworkDestroy`).
    StopNetwork {},
    /// Start with the host, or not (`virNetworkSetAutostart`).
    SetNetworkAutostart {
        /// Whether to.
        enabled: bool,
    },
    /// Make a new one with the target's UUID (`virNetworkDefineXML`), and start it.
    DefineNetwork {
        /// What it is.
        network: NetworkSpec,
        /// Whether it starts with its host.
        autostart: bool,
    },
    /// Forget it (`virNetworkUndefine`); it is stopped first.
    DeleteNetwork {},
    /// Give a machine the same address each time, at once (`virNetworkUpdate`).
    SetStaticHost {
        /// The hardware address. Of an IPv6 address the identifier by which DHCP knows the
        /// machine (DUID, RFC 8415), or empty, when its name says which it is.
        mac: String,
        /// The address.
        address: IpAddr,
        /// The name, or empty.
        name: String,
    },
    /// The reverse of it (`virNetworkUpdate`).
    RemoveStaticHost {
        /// The hardware address; empty of one that is known by its name only.
        mac: String,
        /// The address.
        address: IpAddr,
    },
    /// Let the network's DNS server know names of an address, and no others, at once
    /// (`virNetworkUpdate`).
    SetDnsHost {
        /// The address.
        address: IpAddr,
        /// Its names.
        names: Vec<String>,
    },
    /// The reverse of it (`virNetworkUpdate`).
    RemoveDnsHost {
        /// The address.
        address: IpAddr,
    },
}

impl NetworkCommand {
    /// The names of all kinds.
    pub const KINDS: [&str; 9] = [
        "startNetwork",
        "stopNetwork",
        "setNetworkAutostart",
        "defineNetwork",
        "deleteNetwork",
        "setStaticHost",
        "removeStaticHost",
        "setDnsHost",
        "removeDnsHost",
    ];

    /// The name in JSON and forms.
    pub fn kind(&self) -> &'static str {
        let [start, stop, autostart, define, delete, set_host, remove_host, set_names, remove_names] = Self::KINDS;
        match self {
            Self::StartNetwork {} => start,
            Self::StopNetwork {} => stop,
            Self::SetNetworkAutostart { .. } => autostart,
            Self::DefineNetwork { .. } => define,
            Self::DeleteNetwork {} => delete,
            Self::SetStaticHost { .. } => set_host,
            Self::RemoveStaticHost { .. } => remove_host,
            Self::SetDnsHost { .. } => set_names,
            Self::RemoveDnsHost { .. } => remove_names,
        }
    }

    /// What it did, for "default …".
    pub fn done(&self) -> &'static str {
        match self {
            Self::StartNetwork {} => "is started",
            Self::StopNetwork {} => "is stopped",
            Self::SetNetworkAutostart { enabled: true } => "starts with its host",
            Self::SetNetworkAutostart { enabled: false } => "does not start with its host",
            Self::DefineNetwork { .. } => "is created",
            Self::DeleteNetwork {} => "is deleted",
            Self::SetStaticHost { .. } | Self::RemoveStaticHost { .. } => "has other static addresses",
            Self::SetDnsHost { .. } | Self::RemoveDnsHost { .. } => "knows other names",
        }
    }

    /// What is lost by it; none when nothing is.
    pub fn loses(&self) -> Option<&'static str> {
        match self {
            Self::StopNetwork {} => Some("Machines that are plugged into it lose their connection."),
            Self::DeleteNetwork {} => Some("The network and its settings are forgotten."),
            _ => None,
        }
    }

    /// The name of what it is about; none when there is no such network.
    pub(super) fn target_name(&self, network: Option<&Network>) -> Option<String> {
        match self {
            Self::DefineNetwork { network, .. } => Some(network.name.clone()),
            _ => network.map(|network| network.name.clone()),
        }
    }

    /// Whether this is possible now.
    ///
    /// # Errors
    /// `missing` when the network is not there, `Denied` with the reason, `Invalid` with the
    /// field.
    pub fn check(
        &self,
        network: Option<&Network>,
        host: &HostInventory,
        missing: impl Fn() -> Fault,
    ) -> Result<(), Fault> {
        if let Self::DefineNetwork { network: spec, .. } = self {
            connected(host, &spec.name)?;
            spec.check(host)?;
            let taken = host.networks.values().any(|known| known.name == spec.name) || network.is_some();
            return if taken { Err(taken_name(&spec.name, "network", host)) } else { Ok(()) };
        }
        let network = network.ok_or_else(missing)?;
        connected(host, &network.name)?;
        let denied = |why: String| Err(Fault::denied(format!("{} {why}", network.name)));
        let plugged = |running: bool| -> Vec<&str> {
            let machines = attached(host, network).filter(|domain| !running || domain.state.is_active());
            machines.map(|domain| domain.name.as_str()).collect()
        };
        match self {
            Self::StartNetwork {} if network.active => denied("is started already".into()),
            Self::StopNetwork {} if !network.active => denied("is not started".into()),
            Self::SetNetworkAutostart { .. } if !network.persistent => {
                denied("is transient, so it cannot start with its host".into())
            }
            Self::DeleteNetwork {} if !plugged(false).is_empty() => {
                denied(format!("is in use: {} are plugged into it", some_of(&plugged(false))))
            }
            Self::SetStaticHost { mac, address, name } => static_host(network, (mac, *address, name)),
            Self::SetDnsHost { address, names } => dns_host(network, *address, names),
            Self::RemoveDnsHost { address } if names_of(network, *address).is_none() => {
                denied(format!("knows no names of {address}"))
            }
            Self::RemoveStaticHost { mac, address } => match has_static(network, mac, *address) {
                true => Ok(()),
                false => denied(format!("does not give {address} to {mac}")),
            },
            _ => Ok(()),
        }
    }

    /// Whether a network shows that this was done.
    pub fn evidence(&self, network: Option<&Network>) -> Option<bool> {
        match (self, network) {
            (Self::DeleteNetwork {}, network) => Some(network.is_none()),
            (Self::DefineNetwork { .. }, network) => Some(network.is_some()),
            (Self::StartNetwork {}, Some(network)) => Some(network.active),
            (Self::StopNetwork {}, Some(network)) => Some(!network.active),
            (Self::SetNetworkAutostart { enabled }, Some(network)) => Some(network.autostart == *enabled),
            (Self::SetStaticHost { mac, address, .. }, Some(network)) => Some(has_static(network, mac, *address)),
            (Self::RemoveStaticHost { mac, address }, Some(network)) => Some(!has_static(network, mac, *address)),
            (Self::SetDnsHost { address, names }, Some(network)) => {
                Some(names_of(network, *address) == Some(names.as_slice()))
            }
            (Self::RemoveDnsHost { address }, Some(network)) => Some(names_of(network, *address).is_none()),
            _ => None,
        }
    }
}

/// Whether a network gives an address to a hardware address for good.
fn has_static(network: &Network, mac: &str, address: IpAddr) -> bool {
    let mut known = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
    known.any(|host| host.address == address && host.mac.eq_ignore_ascii_case(mac))
}

/// The names that a network's DNS server knows of an address; none when it knows nothing.
fn names_of(network: &Network, address: IpAddr) -> Option<&[String]> {
    network.dns.iter().find(|host| host.address == address).map(|host| host.names.as_slice())
}

/// Most names of one address.
const MAX_NAMES: usize = 16;

/// Whether the network's DNS server may know these names of an address.
fn dns_host(network: &Network, address: IpAddr, names: &[String]) -> Result<(), Fault> {
    if network.subnets.is_empty() {
        return Err(Fault::denied(format!("{} has no subnet, so libvirt runs no DNS server for it", network.name)));
    }
    if names.is_empty() || names.len() > MAX_NAMES || !names.iter().all(|name| is_domain(name)) {
        return Err(Fault::invalid("names", "they are 1 to 16 names such as db.lab.example.org"));
    }
    let others = network.dns.iter().filter(|host| host.address != address);
    // libvirt takes an entry that shares a name for the same one.
    match others.flat_map(|host| host.names.iter().map(move |name| (host, name))).find(|(_, name)| names.contains(name))
    {
        Some((host, name)) => Err(Fault::invalid("names", &format!("{name} is a name of {} already", host.address))),
        None => Ok(()),
    }
}

/// Whether a text is bytes in hexadecimal with colons between them. Those of DHCP identifiers
/// may lack their first digit.
fn is_bytes(text: &str, count: std::ops::RangeInclusive<usize>, digits: std::ops::RangeInclusive<usize>) -> bool {
    let byte = |text: &str| digits.contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    count.contains(&text.split(':').count()) && text.split(':').all(byte)
}

/// Whether a hardware address stands for a group of machines (IEEE 802, the lowest bit of the
/// first byte).
fn is_of_many(mac: &str) -> bool {
    mac.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok()).is_some_and(|byte| byte % 2 == 1)
}

/// Whether a machine may get an address for good.
fn static_host(network: &Network, (mac, address, name): (&str, IpAddr, &str)) -> Result<(), Fault> {
    match address {
        IpAddr::V4(_) if !is_bytes(mac, 6..=6, 2..=2) => {
            return Err(Fault::invalid("mac", "it is a hardware address such as 52:54:00:12:34:56"));
        }
        IpAddr::V4(_) if is_of_many(mac) => {
            return Err(Fault::invalid(
                "mac",
                "it is an address of many machines; the second digit of one's own is even",
            ));
        }
        IpAddr::V6(_) if mac.is_empty() && name.is_empty() => {
            return Err(Fault::invalid("name", "for IPv6 a machine is known by its name or its DHCP identifier"));
        }
        IpAddr::V6(_) if !mac.is_empty() && !is_bytes(mac, 8..=130, 1..=2) => {
            let why = "for IPv6 it is the DHCP identifier, such as 0:4:7e:7d:f0:7d:a8:bc:c5:d2, or empty";
            return Err(Fault::invalid("mac", why));
        }
        _ => {}
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if name.len() > 63 || !name.chars().all(plain) || name.starts_with(['-', '.']) {
        return Err(Fault::invalid("name", "it has up to 63 letters, digits, dots and dashes"));
    }
    let Some(subnet) = network.subnets.iter().find(|subnet| subnet.contains(address)) else {
        return Err(Fault::invalid("address", &format!("{address} is in no subnet of {}", network.name)));
    };
    if !subnet.has_dhcp() {
        return Err(Fault::invalid("address", &format!("{} gives no addresses in {subnet}", network.name)));
    }
    if address == subnet.address {
        return Err(Fault::invalid("address", &format!("{address} is the host's own")));
    }
    // libvirt changes the first entry that has the same address, hardware address or name.
    let same = |host: &&StaticHost| match mac.is_empty() {
        true => host.name == name,
        false => host.mac.eq_ignore_ascii_case(mac),
    };
    let mut others = subnet.hosts.iter().filter(|host| !same(host));
    let who = |host: &StaticHost| if host.mac.is_empty() { host.name.clone() } else { host.mac.clone() };
    match others.find(|host| host.address == address || !name.is_empty() && host.name == name) {
        Some(host) if host.address == address => {
            Err(Fault::invalid("address", &format!("{address} belongs to {}", who(host))))
        }
        Some(host) => Err(Fault::invalid("name", &format!("{name} belongs to {}", who(host)))),
        None => Ok(()),
    }
}

/// A few names in a sentence.
fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::{
        Command, Domain, DomainState, FaultKind,
        domain::Interface,
        network::{DnsHost, Subnet},
    };

    const ID: Uuid = Uuid::from_u128(1);

    fn host(active: bool, plugged: bool) -> HostInventory {
        let mut host = HostInventory::unread("atlas".parse().expect("a name"), "qemu:///system".into(), false, 0);
        host.host.connection.connected = true;
        let ip = |text: &str| text.parse().expect("an address");
        let known = StaticHost { mac: "52:54:00:00:00:01".into(), address: ip("192.168.122.10"), name: "db".into() };
        let ranges = vec![(ip("192.168.122.2"), ip("192.168.122.254"))];
        let subnet = Subnet { address: ip("192.168.122.1"), prefix: 24, ranges, hosts: vec![known] };
        let network = Network {
            id: ID,
            name: "default".into(),
            active,
            persistent: true,
            subnets: vec![subnet],
            ..Network::default()
        };
        host.networks.insert(ID, Arc::new(network));
        if plugged {
            let interface = Interface { kind: "network".into(), source: "default".into(), ..Interface::default() };
            let (id, name, state) = (Uuid::from_u128(2), "web-01".into(), DomainState::Running);
            let domain = Domain { id, name, state, interfaces: vec![interface], ..Domain::default() };
            host.domains.insert(id, Arc::new(domain));
        }
        host
    }

    fn check(command: NetworkCommand, host: &HostInventory) -> Result<(), Fault> {
        Command::from(command).check(host, ID, None)
    }

    #[test]
    fn each_state_of_a_network_allows_what_makes_sense() {
        let (started, stopped) = (host(true, false), host(false, false));
        assert!(check(NetworkCommand::StartNetwork {}, &started).is_err());
        assert!(check(NetworkCommand::StartNetwork {}, &stopped).is_ok());
        assert!(check(NetworkCommand::StopNetwork {}, &started).is_ok());
        assert!(check(NetworkCommand::StopNetwork {}, &stopped).is_err());
        assert!(check(NetworkCommand::DeleteNetwork {}, &started).is_ok(), "it is stopped first");
        let why = check(NetworkCommand::DeleteNetwork {}, &host(true, true)).expect_err("in use").reason;
        assert!(why.contains("web-01"), "{why}");
    }

    #[test]
    fn a_static_address_is_free_and_in_a_subnet() {
        let host = host(true, false);
        let set = |mac: &str, address: &str, name: &str| {
            let (mac, address, name) = (mac.into(), address.parse().expect("an address"), name.into());
            check(NetworkCommand::SetStaticHost { mac, address, name }, &host)
                .map_err(|fault| fault.reason.split(':').next().unwrap_or_default().to_owned())
        };
        assert_eq!(set("52:54:00:00:00:02", "192.168.122.11", "web"), Ok(()));
        assert_eq!(set("52:54:00:00:00:01", "192.168.122.10", ""), Ok(()), "its own again");
        assert_eq!(set("52:54:00:00:00:02", "192.168.122.10", ""), Err("address".into()));
        assert_eq!(set("52:54:00:00:00:02", "192.168.123.10", ""), Err("address".into()));
        assert_eq!(set("52:54:00:00:00:02", "192.168.122.1", ""), Err("address".into()));
        assert_eq!(set("52:54:00:00:00:02", "192.168.122.11", "db"), Err("name".into()), "of another one");
        assert_eq!(set("52:54", "192.168.122.12", ""), Err("mac".into()));
        assert_eq!(set("53:54:00:00:00:09", "192.168.122.12", ""), Err("mac".into()), "one of many machines");
        assert_eq!(set("52:54:00:00:00:02", "192.168.122.12", "<b>"), Err("name".into()));
        let remove = |mac: &str, address: &str| {
            let (mac, address) = (mac.into(), address.parse().expect("an address"));
            check(NetworkCommand::RemoveStaticHost { mac, address }, &host)
        };
        assert_eq!(remove("52:54:00:00:00:09", "192.168.122.10").expect_err("gone").kind, FaultKind::Denied);
        assert!(remove("52:54:00:00:00:01", "192.168.122.11").is_err(), "another address");
        assert!(remove("52:54:00:00:00:01", "192.168.122.10").is_ok());
    }

    #[test]
    fn by_ipv6_a_machine_is_known_by_its_name_or_its_identifier() {
        let mut host = host(true, false);
        let ip = |text: &str| text.parse().expect("an address");
        let mut network = Network::clone(&host.networks[&ID]);
        let ranges = vec![(ip("fd00::100"), ip("fd00::1ff"))];
        let known = StaticHost { mac: String::new(), address: ip("fd00::10"), name: "db".into() };
        network.subnets.push(Subnet { address: ip("fd00::1"), prefix: 64, ranges, hosts: vec![known] });
        host.networks.insert(ID, Arc::new(network));
        let set = |mac: &str, address: &str, name: &str| {
            let (mac, address, name) = (mac.into(), ip(address), name.into());
            check(NetworkCommand::SetStaticHost { mac, address, name }, &host)
                .map_err(|fault| fault.reason.split(':').next().unwrap_or_default().to_owned())
        };
        assert_eq!(set("", "fd00::20", "web"), Ok(()));
        assert_eq!(set("0:4:7e:7d:f0:7d:a8:bc:c5:d2", "fd00::20", ""), Ok(()));
        assert_eq!(set("", "fd00::10", "db"), Ok(()), "its own again");
        assert_eq!(set("", "fd00::20", ""), Err("name".into()));
        assert_eq!(set("52:54:00:00:00:02", "fd00::20", "web"), Err("mac".into()), "that is for IPv4");
        assert_eq!(set("", "fd00::10", "web"), Err("address".into()));
        assert_eq!(set("", "fd01::10", "web"), Err("address".into()));
    }

    #[test]
    fn names_belong_to_one_address_each() {
        let mut host = host(true, false);
        let ip = |text: &str| text.parse().expect("an address");
        let mut network = Network::clone(&host.networks[&ID]);
        network.dns.push(DnsHost { address: ip("10.1.1.1"), names: vec!["db".into(), "db.lab".into()] });
        host.networks.insert(ID, Arc::new(network));
        let set = |address: &str, names: &[&str]| {
            let (address, names) = (ip(address), names.iter().map(|name| (*name).to_owned()).collect());
            check(NetworkCommand::SetDnsHost { address, names }, &host)
        };
        assert_eq!(set("10.1.1.2", &["web", "www.lab"]), Ok(()));
        assert_eq!(set("10.1.1.1", &["db"]), Ok(()), "its own again");
        let why = set("10.1.1.2", &["db.lab"]).expect_err("taken").reason;
        assert!(why.contains("10.1.1.1"), "{why}");
        for wrong in [&[] as &[&str], &[""], &["<b>"], &["a b"], &["-x"]] {
            assert_eq!(set("10.1.1.2", wrong).expect_err("wrong").kind, FaultKind::Invalid, "{wrong:?}");
        }
        let remove = |address: &str| check(NetworkCommand::RemoveDnsHost { address: ip(address) }, &host);
        assert!(remove("10.1.1.1").is_ok() && remove("10.1.1.2").is_err());
        let mut bridged = Network::clone(&host.networks[&ID]);
        bridged.subnets.clear();
        host.networks.insert(ID, Arc::new(bridged));
        let set = NetworkCommand::SetDnsHost { address: ip("10.1.1.2"), names: vec!["web".into()] };
        assert_eq!(check(set, &host).expect_err("no server").kind, FaultKind::Denied);
    }
}
