//! Reads the network interfaces of a local host, to refuse a new network whose bridge does not
//! exist or whose subnet collides. Remote hosts are not checked; libvirt reports the error there.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use model::{
    Fault,
    network::{NetworkMode, NetworkSpec, Subnet},
};

/// Checks a new network against the interfaces of the host whose daemon sees the file system `root`.
///
/// # Errors
/// `Invalid`, with the existing bridges or the colliding interface.
pub(crate) fn check(root: &Path, spec: &NetworkSpec) -> Result<(), Fault> {
    if spec.mode == NetworkMode::Bridge {
        let bridges = bridges(root);
        return match bridges.contains(&spec.bridge) {
            true => Ok(()),
            false if bridges.is_empty() => {
                let why = format!("bridge {} does not exist; the host has no bridges", spec.bridge);
                Err(Fault::invalid("bridge", &why).with_next("Create one on the host first"))
            }
            false => {
                let why = format!("bridge {} does not exist; existing bridges: {}", spec.bridge, bridges.join(", "));
                Err(Fault::invalid("bridge", &why))
            }
        };
    }
    let wished = spec.subnets()?;
    let taken = subnets(root);
    for mine in &wished {
        // A wider route, such as a VPN's, does not collide: the narrower one wins.
        let collides = |theirs: &Subnet| theirs.prefix >= mine.prefix && theirs.overlaps(mine);
        if let Some((interface, theirs)) = taken.iter().find(|(_, theirs)| collides(theirs)) {
            let field = if mine.address.is_ipv6() { "ipv6" } else { "ipv4" };
            return Err(Fault::invalid(field, &format!("{mine} overlaps {theirs} of host interface {interface}")));
        }
    }
    Ok(())
}

/// The bridges of the host, by name.
fn bridges(root: &Path) -> Vec<String> {
    let folders = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().filter_map(Result::ok);
    let bridges = folders.filter(|folder| folder.path().join("bridge").is_dir());
    let mut names: Vec<String> = bridges.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort_by(|a, b| model::natural(a, b));
    names
}

/// The subnets of the host, with their interfaces.
fn subnets(root: &Path) -> Vec<(String, Subnet)> {
    // For another process the kernel shows its network namespace.
    let process = match root.parent() {
        Some(process) if process.starts_with("/proc") => process.to_owned(),
        _ => "/proc/self".into(),
    };
    let read = |name: &str| fs::read_to_string(process.join("net").join(name)).unwrap_or_default();
    let (four, six) = (read("route"), read("if_inet6"));
    four.lines().filter_map(by_route).chain(six.lines().filter_map(by_address)).collect()
}

fn subnet(address: IpAddr, prefix: u8) -> Subnet {
    Subnet { address, prefix, ranges: Vec::new(), hosts: Vec::new() }
}

/// Parses a line of `/proc/net/route`: interface, destination and mask in host byte order. Routes
/// via a gateway are skipped.
fn by_route(line: &str) -> Option<(String, Subnet)> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| parts.get(at).and_then(|text| u32::from_str_radix(text, 16).ok());
    let (destination, gateway, mask) = (number(1)?, number(2)?, number(7)?);
    let prefix = mask.count_ones() as u8;
    // Rejected destinations are not reachable (RTF_REJECT).
    let dropped = parts[0] == "*" || number(3)? & 0x200 != 0;
    let address = Ipv4Addr::from(destination.to_ne_bytes());
    (gateway == 0 && prefix > 0 && !dropped).then(|| (parts[0].to_owned(), subnet(address.into(), prefix)))
}

/// Parses a line of `/proc/net/if_inet6`: address, interface index, prefix length, scope, flags,
/// and interface. Link-local addresses are skipped.
fn by_address(line: &str) -> Option<(String, Subnet)> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let address = u128::from_str_radix(parts.first()?, 16).ok()?;
    let prefix = u8::from_str_radix(parts.get(2)?, 16).ok()?;
    let everywhere = *parts.get(3)? == "00";
    everywhere.then(|| Some((parts.get(5)?.to_string(), subnet(Ipv6Addr::from(address).into(), prefix))))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_stands_on_a_bridge_that_is_there_and_beside_what_the_host_is_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for interface in ["br10/bridge", "br2/bridge", "eth0/device"] {
            fs::create_dir_all(root.join("sys/class/net").join(interface)).expect("made");
        }
        let on =
            |bridge: &str| NetworkSpec { mode: NetworkMode::Bridge, bridge: bridge.into(), ..NetworkSpec::default() };
        assert_eq!(check(root, &on("br2")), Ok(()));
        let why = check(root, &on("eth0")).expect_err("no bridge");
        assert_eq!(why.field.as_deref(), Some("bridge"));
        assert!(why.reason.contains("bridge eth0 does not exist; existing bridges: br2, br10"), "{why:?}");
        let none = check(&root.join("elsewhere"), &on("br0")).expect_err("none at all");
        assert!(none.reason.contains("the host has no bridges"), "{none:?}");
        // Every host has a loopback subnet.
        let nat =
            |ipv4: &str, ipv6: &str| NetworkSpec { ipv4: ipv4.into(), ipv6: ipv6.into(), ..NetworkSpec::default() };
        assert_eq!(check(root, &nat("203.0.113.1/29", "")), Ok(()));
    }

    #[test]
    fn the_subnets_of_a_host_are_read_as_the_kernel_tells_them() {
        let route = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let (interface, read) = by_route(route).expect("a subnet");
        assert_eq!((interface.as_str(), read.to_string().as_str()), ("eth0", "192.0.2.0/24"));
        assert!(by_route("eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0").is_none(), "by a gateway");
        assert!(by_route("*\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0").is_none(), "dropped");
        assert!(by_route("Iface\tDestination\tGateway").is_none());
        let (interface, read) =
            by_address("fd000000000000000000000000000002 04 40 00 82     eth0").expect("an address");
        assert_eq!(
            (interface.as_str(), read.prefix, read.address),
            ("eth0", 64, "fd00::2".parse().expect("an address"))
        );
        assert!(by_address("fe8000000000000000fc00fffe000001 04 40 20 80     eth0").is_none());
        assert!(by_address("").is_none());
    }
}
