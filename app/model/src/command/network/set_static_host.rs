//! Sets a static address.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, has_static, verb};
use crate::network::StaticHost;

verb! {
    /// Set a static DHCP host entry, effective immediately (`virNetworkUpdate`).
    pub struct SetStaticHost {
        /// The MAC address. For IPv6 the DUID (RFC 8415), or empty if the name identifies the
        /// machine.
        pub mac: String,
        /// The IP address.
        pub address: IpAddr,
        /// The host name, or empty.
        pub name: String,
    }
}

impl Verb for SetStaticHost {
    type On = Network;

    const ABOUT: About = About {
        kind: "setStaticHost",
        label: "Set static address",
        done: "has a new static address",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("mac", "MAC address", Input::Line(0)),
        Field::new("address", "Address", Input::Ip).required(),
        Field::new("name", "Name", Input::Line(63)),
    ];

    fn filled(self) -> Self {
        Self { mac: self.mac.to_ascii_lowercase(), ..self }
    }

    fn check(&self, on: &Network, _: &HostInventory) -> Result<(), Fault> {
        static_host(on, (&self.mac, self.address, &self.name))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        on.map(|on| has_static(on, &self.mac, self.address))
    }
}

/// Whether a text is hexadecimal bytes separated by colons. Bytes of a DUID may have one digit.
fn is_bytes(text: &str, count: std::ops::RangeInclusive<usize>, digits: std::ops::RangeInclusive<usize>) -> bool {
    let byte = |text: &str| digits.contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    count.contains(&text.split(':').count()) && text.split(':').all(byte)
}

/// Whether a MAC address is a multicast address (IEEE 802: lowest bit of the first byte).
fn is_of_many(mac: &str) -> bool {
    mac.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok()).is_some_and(|byte| byte % 2 == 1)
}

/// Whether this static address can be set.
fn static_host(network: &Network, (mac, address, name): (&str, IpAddr, &str)) -> Result<(), Fault> {
    match address {
        IpAddr::V4(_) if !is_bytes(mac, 6..=6, 2..=2) => {
            return Err(Fault::invalid("mac", "must be a MAC address such as 52:54:00:12:34:56"));
        }
        IpAddr::V4(_) if is_of_many(mac) => {
            return Err(Fault::invalid("mac", "must not be a multicast MAC address; use a unicast one"));
        }
        IpAddr::V6(_) if mac.is_empty() && name.is_empty() => {
            return Err(Fault::invalid("name", "IPv6 needs a name or a DUID to identify the machine"));
        }
        IpAddr::V6(_) if !mac.is_empty() && !is_bytes(mac, 8..=130, 1..=2) => {
            let why = "must be a DUID for IPv6, such as 0:4:7e:7d:f0:7d:a8:bc:c5:d2, or empty";
            return Err(Fault::invalid("mac", why));
        }
        _ => {}
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if name.len() > 63 || !name.chars().all(plain) || name.starts_with(['-', '.']) {
        return Err(Fault::invalid("name", "must be at most 63 letters, digits, dots and dashes"));
    }
    let Some(subnet) = network.subnets.iter().find(|subnet| subnet.contains(address)) else {
        return Err(Fault::invalid("address", &format!("{address} is in no subnet of {}", network.name)));
    };
    if !subnet.has_dhcp() {
        return Err(Fault::invalid("address", &format!("{} has no DHCP range in {subnet}", network.name)));
    }
    if address == subnet.address {
        return Err(Fault::invalid("address", &format!("{address} is the gateway")));
    }
    // libvirt changes the first entry with the same IP address, MAC address or name.
    let same = |host: &&StaticHost| match mac.is_empty() {
        true => host.name == name,
        false => host.mac.eq_ignore_ascii_case(mac),
    };
    let mut others = subnet.hosts.iter().filter(|host| !same(host));
    let who = |host: &StaticHost| if host.mac.is_empty() { host.name.clone() } else { host.mac.clone() };
    match others.find(|host| host.address == address || !name.is_empty() && host.name == name) {
        Some(host) if host.address == address => {
            Err(Fault::invalid("address", &format!("{address} is already assigned to {}", who(host))))
        }
        Some(host) => Err(Fault::invalid("name", &format!("{name} is already assigned to {}", who(host)))),
        None => Ok(()),
    }
}
