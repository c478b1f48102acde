//! Networks of a real libvirtd, with changes by virsh and the view of guests. These tests need root;
//! `make test` runs them.

mod support;

use model::{
    NetworkCommand,
    command::{DefineNetwork, DeleteNetwork, RemoveDnsHost, RemoveStaticHost, SetDnsHost, SetStaticHost, StartNetwork},
    network::NetworkSpec,
};
use support::{
    World,
    daemon::{Daemon, script},
};
use uuid::Uuid;

#[tokio::test]
#[ignore = "needs root, libvirtd, dnsmasq and QEMU; make test runs it"]
async fn guests_of_a_network_of_ours_get_addresses_and_virsh_is_followed() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let id = Uuid::from_u128(78);
    let network = NetworkSpec {
        name: "bv-lab".into(),
        ipv4: "10.213.7.1/24".into(),
        dhcp_first: "10.213.7.10".into(),
        dhcp_last: "10.213.7.99".into(),
        ipv6: "fd00:213:7::1/64".into(),
        dhcp6_first: "fd00:213:7::100".into(),
        dhcp6_last: "fd00:213:7::1ff".into(),
        domain: "lab.example.org".into(),
        ..NetworkSpec::default()
    };
    world.run_on(id, DefineNetwork { network: network.clone(), autostart: true }).await.expect("made");
    let six: std::net::IpAddr = "fd00:213:7::50".parse().expect("an address");
    for (name, there) in [("web6", vec!["web6"]), ("web7", vec!["web6", "web7"])] {
        let address = if name == "web6" { six } else { "fd00:213:7::51".parse().expect("an address") };
        let fixed = NetworkCommand::SetStaticHost(SetStaticHost { mac: String::new(), address, name: name.into() });
        world.run_on(id, fixed).await.expect("set");
        let hosts = world.network("bv-lab").expect("there").subnets[1].hosts.clone();
        assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), there);
    }
    let remove = NetworkCommand::RemoveStaticHost(RemoveStaticHost { mac: String::new(), address: six });
    world.run_on(id, remove).await.expect("removed");
    assert_eq!(world.network("bv-lab").expect("there").subnets[1].hosts[0].name, "web7");
    let made = world.network("bv-lab").expect("it is there");
    assert!(made.active && made.autostart && made.bridge.starts_with("virbr"), "{made:?}");
    // libvirt would refuse a second one in the same subnet as well; we report it before.
    let same = NetworkSpec { name: "bv-other".into(), ..network };
    let command =
        model::Command::from(NetworkCommand::DefineNetwork(DefineNetwork { network: same, autostart: false }));
    let why = command.check(&world.host_inventory(), Uuid::from_u128(79), None).expect_err("overlaps").reason;
    assert!(why.contains("bv-lab"), "{why}");
    let (mac, other) = ("52:54:00:21:37:01", "52:54:00:21:37:02");
    let address = "10.213.7.50".parse().expect("an address");
    let fixed = NetworkCommand::SetStaticHost(SetStaticHost { mac: mac.into(), address, name: "web".into() });
    world.run_on(id, fixed).await.expect("set");
    // The second one is attached to the network's bridge by name, and still belongs to the network.
    let by_bridge = format!("<source bridge='{}'/>", made.bridge);
    for (name, mac, kind, source) in
        [("web", mac, "network", "<source network='bv-lab'/>"), ("db", other, "bridge", by_bridge.as_str())]
    {
        let interface =
            format!("<interface type='{kind}'><mac address='{mac}'/>{source}<model type='virtio'/></interface>");
        script(&["guest"], daemon.folder.path(), &[name, &interface]);
        daemon.virsh(&["start", name]);
    }
    let leases = async || world.leases("bv-lab").await.expect("told");
    let began = std::time::Instant::now();
    while leases().await.len() < 2 {
        assert!(began.elapsed().as_secs() < 40, "both guests get an address");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let given = leases().await;
    let of = |mac: &str| given.iter().find(|lease| lease.mac == mac).expect("it has a lease");
    assert_eq!(of(mac).address, "10.213.7.50/24", "the static one");
    assert!(of(other).address.starts_with("10.213.7.") && of(other).expires > 0);
    let plain = of(other).address.split('/').next().expect("an address").to_owned();
    world.until("its address is told", |_| world.domain("db").addresses.contains(&plain).then_some(())).await;
    // Guests resolve a DNS name as soon as dnsmasq has read it, and reach each other by it.
    let names = NetworkCommand::SetDnsHost(SetDnsHost { address, names: vec!["store.lab.example.org".into()] });
    world.run_on(id, names).await.expect("set");
    assert_eq!(world.network("bv-lab").expect("there").dns[0].address, address);
    let soon = |done: &str| format!("for n in 1 2 3 4 5 6; do {done} && exit; sleep 1; done; exit 1");
    let reached = daemon.in_guest("db", &soon("ping -c 2 -w 10 store.lab.example.org")).await;
    assert!(reached, "db reaches web by its name");
    world.run_on(id, RemoveDnsHost { address }).await.expect("removed");
    // What virsh changed in one definition alone is shown, changed and removed as well.
    let of_address = move |all: &model::Inventory, wanted: Option<&str>| {
        let network = all.hosts.values().next()?.networks.values().find(|network| network.name == "bv-lab")?;
        let mut hosts = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
        let found = hosts.find(|host| host.address.to_string() == "10.213.7.77").map(|host| host.name.as_str());
        (found == wanted).then_some(())
    };
    let odd = "10.213.7.77".parse().expect("an address");
    for (flag, mac) in [("--live", "52:54:00:21:37:77"), ("--config", "52:54:00:21:37:78")] {
        let entry = format!("<host mac='{mac}' name='odd' ip='10.213.7.77'/>");
        daemon.virsh(&["net-update", "bv-lab", "add", "ip-dhcp-host", &entry, flag]);
        world.until("it is shown", |all| of_address(all, Some("odd"))).await;
        let renamed = SetStaticHost { mac: mac.into(), address: odd, name: "even".into() };
        world.run_on(id, NetworkCommand::SetStaticHost(renamed)).await.expect("changed");
        world.until("it has the new name", |all| of_address(all, Some("even"))).await;
        world.run_on(id, RemoveStaticHost { mac: mac.into(), address: odd }).await.expect("removed");
        world.until("it is gone", |all| of_address(all, None)).await;
        let both = [&["net-dumpxml", "bv-lab"][..], &["net-dumpxml", "--inactive", "bv-lab"]];
        assert!(both.iter().all(|dump| !daemon.virsh(dump).contains("10.213.7.77")), "in both definitions");
    }
    let unknown = daemon.in_guest("db", &soon("! nslookup store.lab.example.org")).await;
    assert!(unknown, "nobody knows it any more");
    let used = world.run_on(id, DeleteNetwork {}).await.expect_err("in use");
    assert!(used.reason.contains("web") && used.reason.contains("db"), "{used:?}");
    daemon.virsh(&["net-destroy", "bv-lab"]);
    let active = |wanted: bool| {
        move |all: &model::Inventory| {
            let mut networks = all.hosts.values().next()?.networks.values();
            networks.any(|network| network.name == "bv-lab" && network.active == wanted).then_some(())
        }
    };
    world.until("virsh stopped it", active(false)).await;
    for name in ["web", "db"] {
        daemon.virsh(&["destroy", name]);
        daemon.virsh(&["undefine", name]);
    }
    world.run_on(id, StartNetwork {}).await.expect("starts");
    world
        .run_on(id, RemoveStaticHost { mac: mac.into(), address: "10.213.7.50".parse().expect("an address") })
        .await
        .expect("removed");
    assert!(world.network("bv-lab").expect("there").subnets[0].hosts.is_empty());
    world.until("the machines are gone", |all| (all.domains().count() == 1).then_some(())).await;
    world.run_on(id, DeleteNetwork {}).await.expect("deleted");
    assert!(world.network("bv-lab").is_none());
}
