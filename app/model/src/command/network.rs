//! What can be asked of a network.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::pool::{connected, taken_name};
use crate::{
    Fault, HostInventory,
    network::{Network, NetworkSpec, attached},
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
    /// Give a hardware address the same address each time, at once (`virNetworkUpdate`).
    SetStaticHost {
        /// The hardware address.
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
}

impl NetworkCommand {
    /// The names of all kinds.
    pub const KINDS: [&str; 7] = [
        "startNetwork",
        "stopNetwork",
        "setNetworkAutostart",
        "defineNetwork",
        "deleteNetwork",
        "setStaticHost",
        "removeStaticHost",
    ];

    /// The name in JSON and forms.
    pub fn kind(&self) -> &'static str {
        let [start, stop, autostart, define, delete, set_host, remove_host] = Self::KINDS;
        match self {
            Self::StartNetwork {} => start,
            Self::StopNetwork {} => stop,
            Self::SetNetworkAutostart { .. } => autostart,
            Self::DefineNetwork { .. } => define,
            Self::DeleteNetwork {} => delete,
            Self::SetStaticHost { .. } => set_host,
            Self::RemoveStaticHost { .. } => remove_host,
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
            _ => None,
        }
    }
}

/// Whether a network gives an address to a hardware address for good.
fn has_static(network: &Network, mac: &str, address: IpAddr) -> bool {
    let mut known = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
    known.any(|host| host.address == address && host.mac.eq_ignore_ascii_case(mac))
}

/// Whether a machine may get an address for good.
fn static_host(network: &Network, (mac, address, name): (&str, IpAddr, &str)) -> Result<(), Fault> {
    let bytes: Vec<&str> = mac.split(':').collect();
    let byte = |text: &&str| text.len() == 2 && u8::from_str_radix(text, 16).is_ok();
    if bytes.len() != 6 || !bytes.iter().all(byte) {
        return Err(Fault::invalid("mac", "it is a hardware address such as 52:54:00:12:34:56"));
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
    if address.is_ipv6() {
        let reason = "DHCPv6 knows machines by their names, not by their hardware addresses; use virsh net-update";
        return Err(Fault::invalid("address", reason));
    }
    // libvirt changes the first entry that has the same address, hardware address or name.
    let mut others = subnet.hosts.iter().filter(|host| !host.mac.eq_ignore_ascii_case(mac));
    match others.find(|host| host.address == address || !name.is_empty() && host.name == name) {
        Some(host) if host.address == address => {
            Err(Fault::invalid("address", &format!("{address} belongs to {}", host.mac)))
        }
        Some(host) => Err(Fault::invalid("name", &format!("{name} belongs to {}", host.mac))),
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
        network::{StaticHost, Subnet},
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
        assert_eq!(set("52:54:00:00:00:02", "192.168.122.12", "<b>"), Err("name".into()));
        let remove = |mac: &str, address: &str| {
            let (mac, address) = (mac.into(), address.parse().expect("an address"));
            check(NetworkCommand::RemoveStaticHost { mac, address }, &host)
        };
        assert_eq!(remove("52:54:00:00:00:09", "192.168.122.10").expect_err("gone").kind, FaultKind::Denied);
        assert!(remove("52:54:00:00:00:01", "192.168.122.11").is_err(), "another address");
        assert!(remove("52:54:00:00:00:01", "192.168.122.10").is_ok());
    }
}
