//! Network commands by state, and argument checks.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::{
    Command, Domain, DomainState, FaultKind,
    domain::Interface,
    network::{DnsHost, StaticHost, Subnet},
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
    assert!(check(NetworkCommand::StartNetwork(StartNetwork {}), &started).is_err());
    assert!(check(NetworkCommand::StartNetwork(StartNetwork {}), &stopped).is_ok());
    assert!(check(NetworkCommand::StopNetwork(StopNetwork {}), &started).is_ok());
    assert!(check(NetworkCommand::StopNetwork(StopNetwork {}), &stopped).is_err());
    assert!(check(NetworkCommand::DeleteNetwork(DeleteNetwork {}), &started).is_ok(), "it is stopped first");
    let why = check(NetworkCommand::DeleteNetwork(DeleteNetwork {}), &host(true, true)).expect_err("in use").reason;
    assert!(why.contains("web-01"), "{why}");
}

#[test]
fn a_static_address_is_free_and_in_a_subnet() {
    let host = host(true, false);
    let set = |mac: &str, address: &str, name: &str| {
        let (mac, address, name) = (mac.into(), address.parse().expect("an address"), name.into());
        check(NetworkCommand::SetStaticHost(SetStaticHost { mac, address, name }), &host)
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
        check(NetworkCommand::RemoveStaticHost(RemoveStaticHost { mac, address }), &host)
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
        check(NetworkCommand::SetStaticHost(SetStaticHost { mac, address, name }), &host)
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
        check(NetworkCommand::SetDnsHost(SetDnsHost { address, names }), &host)
    };
    assert_eq!(set("10.1.1.2", &["web", "www.lab"]), Ok(()));
    assert_eq!(set("10.1.1.1", &["db"]), Ok(()), "its own again");
    let why = set("10.1.1.2", &["db.lab"]).expect_err("taken").reason;
    assert!(why.contains("10.1.1.1"), "{why}");
    for wrong in [&[] as &[&str], &[""], &["<b>"], &["a b"], &["-x"]] {
        assert_eq!(set("10.1.1.2", wrong).expect_err("wrong").kind, FaultKind::Invalid, "{wrong:?}");
    }
    let remove = |address: &str| check(NetworkCommand::RemoveDnsHost(RemoveDnsHost { address: ip(address) }), &host);
    assert!(remove("10.1.1.1").is_ok() && remove("10.1.1.2").is_err());
    let mut bridged = Network::clone(&host.networks[&ID]);
    bridged.subnets.clear();
    host.networks.insert(ID, Arc::new(bridged));
    let set = NetworkCommand::SetDnsHost(SetDnsHost { address: ip("10.1.1.2"), names: vec!["web".into()] });
    assert_eq!(check(set, &host).expect_err("no server").kind, FaultKind::Denied);
}
