//! Reads guest data: IP addresses, host name, operating system. Every function here blocks, agent
//! calls for seconds.
//!
//! Guest data is untrusted input: it is validated and truncated here.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use model::domain::{Agent, Domain, FileSystem, Guest, GuestDetails, GuestUser};
use serde::Deserialize;
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain as Handle};

use crate::{
    error::Error,
    ffi::{self, AddressSource, Value},
    xml,
};

/// The result of one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuestReading {
    /// Guest interfaces with IP addresses.
    addresses: Vec<Seen>,
    /// Agent data; none if not queried or no response.
    guest: Option<Guest>,
    /// Whether an agent did not respond to a query.
    pub(crate) silent: bool,
}

/// An interface reported by the guest, a lease or the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// Its name in the guest; otherwise the host device.
    name: String,
    /// Its MAC address in lower case, or empty.
    mac: String,
    /// Its IP addresses, IPv4 before IPv6.
    addresses: Vec<IpAddr>,
}

impl Seen {
    /// Whether it belongs to containers or machines inside the guest, which are not reachable from
    /// outside.
    fn is_inner(&self) -> bool {
        let begins = |names: &[&str]| names.iter().any(|name| self.name.starts_with(name));
        let of_docker = |rest: &str| rest.len() == 12 && rest.chars().all(|c| c.is_ascii_hexdigit());
        self.mac.starts_with("02:42:")
            || begins(&["docker", "veth", "cni", "flannel", "cali", "podman", "virbr", "lxcbr", "lxdbr", "kube"])
            || self.name.strip_prefix("br-").is_some_and(of_docker)
    }
}

/// Maximum IP addresses kept per interface.
const MAX_ADDRESSES: usize = 16;
/// Maximum interfaces kept.
const MAX_INTERFACES: usize = 64;

/// Guest query options of a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Whether it is libvirt's test driver.
    pub(crate) test_driver: bool,
    /// Whether agents are queried for their version.
    pub(crate) agent_version: bool,
}

/// Reads one running machine. A connected agent is queried first; leases and the host's neighbour
/// table add missing data.
pub(crate) fn read(connect: &Connect, known: &Domain, how: How) -> Result<GuestReading, Error> {
    let handle = connect.lookup_domain_by_uuid(known.id)?;
    let silent = known.agent == Agent::Connected && greet(&handle).is_err();
    let mut reading = GuestReading { silent, ..Default::default() };
    if known.agent == Agent::Connected && !silent {
        // An agent without file system support is queried for the rest.
        let told = ffi::guest_info(&handle, ffi::GUEST_NAMES | ffi::GUEST_FILE_SYSTEMS);
        reading.guest = told.or_else(|_| ffi::guest_info(&handle, ffi::GUEST_NAMES)).ok().map(|values| {
            let full = file_systems(&values, &BTreeSet::new()).any(|system| system.is_nearly_full());
            // The definition is read only where it may change the answer.
            guest(&values, &if full { read_only_disks(&handle) } else { BTreeSet::new() })
        });
        if let Some(guest) = &mut reading.guest {
            guest.agent_version = match &known.guest {
                // A new version means a restarted agent without known data.
                Some(known) if !known.agent_version.is_empty() => known.agent_version.clone(),
                _ if how.agent_version => agent_version(&handle).unwrap_or_default(),
                _ => String::new(),
            };
        }
        reading.collect(&handle, AddressSource::Agent);
    }
    if reading.addresses.is_empty() && !known.interfaces.is_empty() {
        if how.test_driver && !is_safe_to_ask(connect, known) {
            return Ok(reading);
        }
        reading.collect(&handle, AddressSource::Lease);
        reading.collect_leases_of_bridges(connect, known);
        if reading.addresses.is_empty() {
            reading.collect(&handle, AddressSource::Arp);
        }
    }
    Ok(reading)
}

/// Whether a guest can be queried.
pub(crate) fn is_worth_asking(known: &Domain) -> bool {
    known.state.is_active() && (!known.interfaces.is_empty() || known.agent == Agent::Connected)
}

/// Queries the time, which all agents support, and fails if the agent does not respond
/// (`virDomainGetTime`). In a combined query libvirt treats a missing response as unsupported and
/// would wait for each part.
fn greet(handle: &Handle) -> Result<(), Error> {
    let _limit = ffi::limit_agent(handle);
    match handle.time(0).map_err(Error::from) {
        Err(error) if error.is_silence() => Err(error),
        _ => Ok(()),
    }
}

/// The version of an agent. libvirt has no call for it, so a QEMU agent command is used
/// (`virDomainQemuAgentCommand`, `guest-info`).
fn agent_version(handle: &Handle) -> Option<String> {
    version_in(&ffi::agent_command(handle, r#"{"execute":"guest-info"}"#).ok()?)
}

fn version_in(answer: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        r#return: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        version: String,
    }
    let Answer { r#return: Info { version } } = serde_json::from_str(answer).ok()?;
    Some(cut(&version))
}

/// libvirt's test driver crashes the process when it is queried for the addresses of a machine
/// whose network has none.
fn is_safe_to_ask(connect: &Connect, known: &Domain) -> bool {
    let networks = known.interfaces.iter().filter(|interface| interface.kind == "network");
    networks.map(|interface| &interface.source).all(|name| {
        let text = connect.lookup_network_by_name(name).and_then(|network| network.xml_desc(0));
        text.is_ok_and(|text| xml::host::network_has_addresses(&text))
    })
}

impl GuestReading {
    /// Adds the data of one source; a failed source adds nothing.
    fn collect(&mut self, handle: &Handle, source: AddressSource) {
        for (name, mac, found) in ffi::addresses(handle, source).unwrap_or_default() {
            self.add(&name, &mac, found.iter().map(String::as_str));
        }
    }

    fn add<'a>(&mut self, name: &str, mac: &str, found: impl Iterator<Item = &'a str>) {
        let usable = found.filter_map(|text| text.parse::<IpAddr>().ok()).filter(|address| is_worth_showing(*address));
        // `IpAddr` orders IPv4 before IPv6.
        let usable: BTreeSet<IpAddr> = usable.take(MAX_ADDRESSES).collect();
        if !usable.is_empty() && self.addresses.len() < MAX_INTERFACES {
            let addresses = usable.into_iter().collect();
            self.addresses.push(Seen { name: cut(name), mac: cut(mac).to_ascii_lowercase(), addresses });
        }
    }

    /// Adds the leases of interfaces attached to the bridge of a network by name: libvirt checks
    /// only interfaces of type network.
    fn collect_leases_of_bridges(&mut self, connect: &Connect, known: &Domain) {
        let bridged: Vec<_> = known.interfaces.iter().filter(|interface| interface.kind == "bridge").collect();
        if bridged.is_empty() {
            return;
        }
        for network in connect.list_all_networks(virt::sys::VIR_CONNECT_LIST_NETWORKS_ACTIVE).unwrap_or_default() {
            let Ok(bridge) = network.bridge_name() else { continue };
            let mut plugged = bridged.iter().filter(|interface| interface.source == bridge).peekable();
            if plugged.peek().is_none() {
                continue;
            }
            let leases = ffi::leases(&network).unwrap_or_default();
            for interface in plugged {
                let own = leases.iter().filter(|lease| lease.mac.eq_ignore_ascii_case(&interface.mac));
                let own: Vec<&str> = own.map(|lease| lease.address.split('/').next().unwrap_or_default()).collect();
                self.add(&interface.host_device, &interface.mac, own.into_iter());
            }
        }
    }

    /// The machine with this reading.
    pub(crate) fn merge_into(&self, known: &Domain) -> Domain {
        let mut domain = known.clone();
        // Several interfaces may share a MAC address: VLANs and their bridges.
        let of = |mac: &str| {
            let seen = self.addresses.iter().filter(|seen| !mac.is_empty() && seen.mac.eq_ignore_ascii_case(mac));
            let (inner, outer): (Vec<_>, Vec<_>) = seen.partition(|seen| seen.is_inner());
            outer.into_iter().chain(inner).flat_map(|seen| seen.addresses.iter().copied()).collect::<Vec<IpAddr>>()
        };
        for interface in &mut domain.interfaces {
            let mut all: BTreeSet<IpAddr> = BTreeSet::new();
            let own = of(&interface.mac).into_iter().filter(|address| all.insert(*address));
            interface.addresses = own.map(|address| address.to_string()).collect();
        }
        domain.addresses = self.in_order(known).iter().map(IpAddr::to_string).collect();
        if domain.agent == Agent::Connected {
            domain.guest = self.guest.clone().or(domain.guest);
        }
        domain
    }

    /// All IP addresses without duplicates: those of the machine's interfaces in order, then others
    /// with a MAC address, those without, and those inside the guest.
    fn in_order(&self, known: &Domain) -> Vec<IpAddr> {
        let place = |seen: &Seen| {
            let own =
                known.interfaces.iter().position(|own| !seen.mac.is_empty() && own.mac.eq_ignore_ascii_case(&seen.mac));
            match own {
                _ if seen.is_inner() => (3, 0),
                Some(own) => (0, own),
                None if !seen.mac.is_empty() => (1, 0),
                None => (2, 0),
            }
        };
        let mut seen: Vec<&Seen> = self.addresses.iter().collect();
        seen.sort_by_key(|seen| place(seen));
        let mut told = BTreeSet::new();
        let all = seen.into_iter().flat_map(|seen| seen.addresses.iter().copied());
        all.filter(|address| told.insert(*address)).collect()
    }

    /// Whether all obtainable data was read.
    pub(crate) fn is_complete(&self, known: &Domain) -> bool {
        let addressed = known.interfaces.is_empty() || !self.addresses.is_empty();
        addressed && (known.agent != Agent::Connected || self.guest.is_some())
    }
}

/// Copies guest data of `had` to `read` if the guest still runs.
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

/// Loopback and link-local addresses are not shown.
fn is_worth_showing(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// A guest text, truncated and without line breaks.
fn clean(values: &HashMap<String, Value>, name: &str) -> String {
    match values.get(name) {
        Some(Value::Text(text)) => cut(text),
        _ => String::new(),
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

fn number(values: &HashMap<String, Value>, name: &str) -> Option<i64> {
    match values.get(name) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

/// Maximum length of a guest text in characters.
const MAX_TEXT: usize = 128;
/// Maximum guest users and file systems.
const MAX_LINES: i64 = 64;

/// The agent's error for a user without keys.
const NO_KEYS: (&str, &str) = ("authorized_keys", "No such file");
/// Maximum number of keys shown, and maximum length of a key in bytes.
const MAX_KEYS: usize = 256;
const MAX_KEY: usize = 16 * 1024;
/// Maximum nearly full file systems in events.
const MAX_FULL: usize = 4;

/// All guest data.
pub(crate) fn details(connect: &Connect, id: Uuid) -> Result<GuestDetails, Error> {
    let handle = connect.lookup_domain_by_uuid(id)?;
    greet(&handle)?;
    Ok(read_details(&ffi::guest_info(&handle, 0)?, &read_only_disks(&handle)))
}

/// The targets of disks that the guest cannot write to; none when the definition cannot be read.
fn read_only_disks(handle: &Handle) -> BTreeSet<String> {
    handle.xml_desc(0).map(|text| xml::device::read_only_disks(&text)).unwrap_or_default()
}

/// The authorized keys of a guest user. Lines that are not text are skipped.
pub(crate) fn ssh_keys(connect: &Connect, id: Uuid, user: &str) -> Result<Vec<String>, Error> {
    let told = match ffi::ssh_keys(&connect.lookup_domain_by_uuid(id)?, user).map_err(Error::from) {
        // A user without the file has no keys.
        Err(Error::Libvirt { message, .. }) if message.contains(NO_KEYS.0) && message.contains(NO_KEYS.1) => Vec::new(),
        told => told?,
    };
    let keys = told.into_iter().filter(|key| key.len() <= MAX_KEY && !key.chars().any(char::is_control));
    let mut keys: Vec<String> = keys.filter(|key| !key.trim().is_empty()).take(MAX_KEYS).collect();
    // Agents return them in no order.
    keys.sort();
    Ok(keys)
}

fn read_details(values: &HashMap<String, Value>, read_only: &BTreeSet<String>) -> GuestDetails {
    let text = |name: &str| clean(values, name);
    let load = |minutes: &str| match values.get(&format!("load.{minutes}m")) {
        Some(Value::Float(load)) if load.is_finite() && *load >= 0.0 => Some(*load),
        _ => None,
    };
    let user = |n: i64| {
        let since = number(values, &format!("user.{n}.login-time")).and_then(|at| u64::try_from(at).ok());
        GuestUser { name: text(&format!("user.{n}.name")), since: since.filter(|at| *at < 1 << 53) }
    };
    let Guest { hostname, os_version, .. } = guest(values, read_only);
    GuestDetails {
        hostname,
        os_version,
        kernel: text("os.kernel-release"),
        timezone: text("timezone.name"),
        timezone_offset: number(values, "timezone.offset").filter(|offset| (-86_400..=86_400).contains(offset)),
        load: load("1").zip(load("5")).zip(load("15")).map(|((one, five), fifteen)| [one, five, fifteen]),
        users: lines(values, "user").map(user).filter(|user| !user.name.is_empty()).collect(),
        file_systems: file_systems(values, read_only).collect(),
    }
}

/// The indexes of a group, up to the maximum.
fn lines(values: &HashMap<String, Value>, group: &str) -> std::ops::Range<i64> {
    0..number(values, &format!("{group}.count")).unwrap_or_default().clamp(0, MAX_LINES)
}

/// Types of file systems that cannot be written to, in lower case.
const READ_ONLY: [&str; 9] = ["squashfs", "iso9660", "cd9660", "cdfs", "udf", "erofs", "cramfs", "romfs", "hsfs"];

/// The file systems of a guest; `read_only` are the targets of its disks that it cannot write to.
fn file_systems(values: &HashMap<String, Value>, read_only: &BTreeSet<String>) -> impl Iterator<Item = FileSystem> {
    let text = |name: &str| clean(values, name);
    let bytes = |name: String| number(values, &name).and_then(|number| u64::try_from(number).ok());
    let on_read_only_disks = move |n: i64| {
        let mut disks =
            lines(values, &format!("fs.{n}.disk")).map(|m| text(&format!("fs.{n}.disk.{m}.alias"))).peekable();
        disks.peek().is_some() && disks.all(|disk| read_only.contains(&disk))
    };
    let file_system = move |n: i64| {
        let kind = text(&format!("fs.{n}.fstype"));
        FileSystem {
            mount_point: text(&format!("fs.{n}.mountpoint")),
            read_only: READ_ONLY.contains(&kind.to_ascii_lowercase().as_str()) || on_read_only_disks(n),
            kind,
            total_bytes: bytes(format!("fs.{n}.total-bytes")),
            used_bytes: bytes(format!("fs.{n}.used-bytes")),
        }
    };
    lines(values, "fs").map(file_system).filter(|system| !system.mount_point.is_empty())
}

fn guest(values: &HashMap<String, Value>, read_only: &BTreeSet<String>) -> Guest {
    let clean = |name: &str| clean(values, name);
    let pretty = clean("os.pretty-name");
    let os_version = if pretty.is_empty() {
        format!("{} {}", clean("os.name"), clean("os.version")).trim().to_owned()
    } else {
        pretty
    };
    let nearly_full = file_systems(values, read_only).filter(FileSystem::is_nearly_full).take(MAX_FULL);
    let nearly_full: BTreeSet<String> = nearly_full.map(|system| system.mount_point).collect();
    let nearly_full = nearly_full.into_iter().collect();
    Guest { hostname: clean("hostname"), os_version, nearly_full, agent_version: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_machines_own_interfaces_come_first_and_those_of_containers_last() {
        let mut reading = GuestReading::default();
        for (name, mac, address) in [
            ("docker0", "02:42:aa:00:00:01", "172.17.0.1"),
            ("br-0123456789ab", "52:54:00:00:00:77", "172.18.0.1"),
            ("wg0", "", "10.99.0.1"),
            ("eth1", "52:54:00:00:00:02", "10.0.2.5"),
            ("tap9", "52:54:00:00:00:99", "10.0.9.9"),
            ("eth0.10", "52:54:00:00:00:01", "10.10.0.5"),
            ("eth0", "52:54:00:00:00:01", "2001:db8::5"),
            ("br0", "52:54:00:00:00:01", "10.0.1.5"),
            ("lo", "", "127.0.0.1"),
        ] {
            reading.add(name, &mac.to_uppercase(), [address].into_iter());
        }
        let nic = |mac: &str| model::domain::Interface { mac: mac.into(), ..Default::default() };
        let interfaces = vec![nic("52:54:00:00:00:01"), nic("52:54:00:00:00:02")];
        let merged = reading.merge_into(&Domain { interfaces, ..Domain::default() });
        assert_eq!(merged.interfaces[0].addresses, ["10.10.0.5", "2001:db8::5", "10.0.1.5"], "all of its MAC");
        let expected =
            ["10.10.0.5", "2001:db8::5", "10.0.1.5", "10.0.2.5", "10.0.9.9", "10.99.0.1", "172.17.0.1", "172.18.0.1"];
        assert_eq!(merged.addresses, expected);
    }

    #[test]
    fn what_a_guest_lies_about_is_cut_to_size() {
        let text = |text: &str| Value::Text(text.into());
        let mut values: HashMap<String, Value> = [
            ("hostname", text("<b>a\n\u{7}</b>")),
            ("os.pretty-name", text(&"x".repeat(10_000))),
            ("user.count", Value::Int(i64::MAX)),
            ("fs.count", Value::Int(-5)),
            ("timezone.offset", Value::Int(i64::MIN)),
            ("load.1m", Value::Float(f64::NAN)),
            ("user.1.name", text("jane")),
            ("user.1.login-time", Value::Int(-1)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let details = read_details(&values, &BTreeSet::new());
        assert_eq!((details.hostname.as_str(), details.os_version.len()), ("<b>a</b>", MAX_TEXT));
        assert_eq!(details.users, [GuestUser { name: "jane".into(), since: None }]);
        assert!(details.file_systems.is_empty() && details.timezone_offset.is_none() && details.load.is_none());
        values.insert("fs.count".into(), Value::Int(i64::MAX));
        values.extend((0..1_000).map(|n| (format!("fs.{n}.mountpoint"), text("/"))));
        assert_eq!(read_details(&values, &BTreeSet::new()).file_systems.len(), 64);
    }

    #[test]
    fn a_version_is_cut_to_size_and_nonsense_is_none() {
        let told =
            |version: &str| version_in(&format!(r#"{{"return":{{"version":"{version}","supported_commands":[]}}}}"#));
        assert_eq!(told("10.0.8"), Some("10.0.8".into()));
        assert_eq!(told(&"9".repeat(200_000)).map(|text| text.len()), Some(MAX_TEXT));
        assert_eq!(told(r"<b>\n\u0007"), Some("<b>".into()));
        for nonsense in ["", "{}", r#"{"return":{}}"#, r#"{"return":{"version":7}}"#, &"[".repeat(100_000)] {
            assert_eq!(version_in(nonsense), None, "{:.20}", nonsense);
        }
    }

    #[test]
    fn file_systems_that_are_nearly_full_are_told_but_not_what_nobody_writes_to() {
        let line = |n: usize, (mount, kind, used, total): (&str, &str, i64, i64)| {
            let name = |field: &str| format!("fs.{n}.{field}");
            [
                (name("mountpoint"), Value::Text(mount.into())),
                (name("fstype"), Value::Text(kind.into())),
                (name("used-bytes"), Value::Int(used)),
                (name("total-bytes"), Value::Int(total)),
            ]
        };
        let all = [
            ("/var", "ext4", 95, 100),
            ("/", "xfs", 90, 100),
            ("/home", "xfs", 89, 100),
            ("/snap/core", "squashfs", 100, 100),
            ("D:\\", "CDFS", 100, 100),
            ("/media/dvd", "UDF", 100, 100),
            ("/cd", "ISO9660", 100, 100),
            ("/odd", "ext4", 5, 0),
            ("/lies", "ext4", -5, 4),
        ];
        let mut values: HashMap<String, Value> =
            all.into_iter().enumerate().flat_map(|(n, each)| line(n, each)).collect();
        values.insert("fs.count".into(), Value::Int(9));
        let full = |values: &HashMap<String, Value>, read_only: &[&str]| {
            guest(values, &read_only.iter().map(|&disk| disk.to_owned()).collect()).nearly_full
        };
        assert_eq!(full(&values, &[]), ["/", "/var"]);
        // An ext4 on a disk that is read-only in the definition; one on two disks needs both.
        values.extend([
            ("fs.0.disk.count".to_owned(), Value::Int(1)),
            ("fs.0.disk.0.alias".to_owned(), Value::Text("vdb".into())),
            ("fs.1.disk.count".to_owned(), Value::Int(2)),
            ("fs.1.disk.0.alias".to_owned(), Value::Text("vdb".into())),
            ("fs.1.disk.1.alias".to_owned(), Value::Text("vda".into())),
        ]);
        assert_eq!(full(&values, &["vdb"]), ["/"]);
        assert_eq!(full(&values, &["vda", "vdb"]), [""; 0]);
    }
}
