//! Reads what is known of the guest inside: addresses, host name, operating
//! system. Every function here blocks, the agent's for seconds.
//!
//! What a guest says is hostile input: it is cut to size and cleaned here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use model::domain::{Agent, Domain, Guest};
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain as Handle};

use crate::{
    error::Error,
    ffi::{self, AddressSource, Value},
    xml,
};

/// What one reading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuestReading {
    /// Addresses by hardware address in lower case.
    addresses: BTreeMap<String, Vec<String>>,
    /// What the agent told; none when it was not asked or did not answer.
    guest: Option<Guest>,
}

/// Most addresses that are kept of one interface.
const MAX_ADDRESSES: usize = 16;
/// Most interfaces whose addresses are kept.
const MAX_INTERFACES: usize = 64;

/// Reads one running machine. Where the agent is connected it is asked first;
/// leases and then the host's neighbour table fill what is missing.
pub(crate) fn read(connect: &Connect, known: &Domain, test_driver: bool) -> Result<GuestReading, Error> {
    let handle = connect.lookup_domain_by_uuid(known.id)?;
    let mut reading = GuestReading::default();
    if known.agent == Agent::Connected {
        reading.guest = ffi::guest_info(&handle).ok().map(guest);
        reading.collect(&handle, AddressSource::Agent);
    }
    if reading.addresses.is_empty() && !known.interfaces.is_empty() {
        if test_driver && !is_safe_to_ask(connect, known) {
            return Ok(reading);
        }
        reading.collect(&handle, AddressSource::Lease);
        if reading.addresses.is_empty() {
            reading.collect(&handle, AddressSource::Arp);
        }
    }
    Ok(reading)
}

/// libvirt's test driver crashes the process when it is asked for the addresses
/// of a machine whose network has none.
fn is_safe_to_ask(connect: &Connect, known: &Domain) -> bool {
    let networks = known.interfaces.iter().filter(|interface| interface.kind == "network");
    networks.map(|interface| &interface.source).all(|name| {
        let text = connect.lookup_network_by_name(name).and_then(|network| network.xml_desc(0));
        text.is_ok_and(|text| xml::host::network_has_addresses(&text))
    })
}

impl GuestReading {
    /// Adds what one source knows; a source that fails adds nothing.
    fn collect(&mut self, handle: &Handle, source: AddressSource) {
        for (mac, found) in ffi::addresses(handle, source).unwrap_or_default().into_iter().take(MAX_INTERFACES) {
            let usable = found
                .iter()
                .filter_map(|text| text.parse::<IpAddr>().ok())
                .filter(|address| is_worth_showing(*address));
            let usable: BTreeSet<IpAddr> = usable.take(MAX_ADDRESSES).collect();
            if !usable.is_empty() {
                self.addresses.insert(mac.to_ascii_lowercase(), usable.iter().map(IpAddr::to_string).collect());
            }
        }
    }

    /// The machine with this reading in it.
    pub(crate) fn merge_into(&self, known: &Domain) -> Domain {
        let mut domain = known.clone();
        for interface in &mut domain.interfaces {
            interface.addresses = self.addresses.get(&interface.mac.to_ascii_lowercase()).cloned().unwrap_or_default();
        }
        let all: BTreeSet<IpAddr> = self.addresses.values().flatten().filter_map(|text| text.parse().ok()).collect();
        // `IpAddr` orders IPv4 before IPv6.
        domain.addresses = all.iter().map(IpAddr::to_string).collect();
        if domain.agent == Agent::Connected {
            domain.guest = self.guest.clone().or(domain.guest);
        }
        domain
    }

    /// Whether everything that could be known is.
    pub(crate) fn is_complete(&self, known: &Domain) -> bool {
        let addressed = known.interfaces.is_empty() || !self.addresses.is_empty();
        addressed && (known.agent != Agent::Connected || self.guest.is_some())
    }
}

/// The machine `read`, with what `had` knew of the guest if that still runs.
pub(crate) fn keep(read: &mut Domain, had: &Domain) {
    if !read.state.is_active() {
        return;
    }
    read.addresses = had.addresses.clone();
    if read.agent == Agent::Connected {
        read.guest = had.guest.clone();
    }
    for interface in &mut read.interfaces {
        if let Some(had) = had.interfaces.iter().find(|had| had.mac == interface.mac) {
            interface.addresses = had.addresses.clone();
        }
    }
}

/// Loopback and link-local addresses say nothing.
fn is_worth_showing(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

fn guest(values: HashMap<String, Value>) -> Guest {
    let clean = |name: &str| match values.get(name) {
        Some(Value::Text(text)) => text.chars().filter(|c| !c.is_control()).take(128).collect(),
        _ => String::new(),
    };
    let pretty = clean("os.pretty-name");
    let os_version = if pretty.is_empty() {
        format!("{} {}", clean("os.name"), clean("os.version")).trim().to_owned()
    } else {
        pretty
    };
    Guest { hostname: clean("hostname"), os_version }
}

/// Identifies a reading that is under way.
pub(crate) type Read = (Uuid, Result<GuestReading, Error>);
