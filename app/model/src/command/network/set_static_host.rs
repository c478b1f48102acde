//! Gives a machine the same address each time.

use std::net::IpAddr;

use super::{About, Fault, Field, HostInventory, Input, Network, Verb, has_static, verb};
use crate::network::StaticHost;

verb! {
    /// Give a machine the same address each time, at once (`virNetworkUpdate`).
    pub struct SetStaticHost {
        /// The hardware address. Of an IPv6 address the identifier by which DHCP knows the
        /// machine (DUID, RFC 8415), or empty, when its name says which it is.
        pub mac: String,
        /// The address.
        pub address: IpAddr,
        /// The name, or empty.
        pub name: String,
    }
}

impl Verb for SetStaticHost {
    type On = Network;

    const ABOUT: About = About {
        kind: "setStaticHost",
        label: "Set static address",
        done: "has new static addresses",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("mac", "Hardware address", Input::Line(0)),
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
