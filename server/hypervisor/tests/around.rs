//! Pools, volumes and networks of libvirt's test driver: readings, commands, and their events.

mod support;

use model::{
    Event, FaultKind, NetworkCommand, PoolCommand,
    command::{
        CloneVolume, CreateVolume, DefineNetwork, DefinePool, DeleteNetwork, DeletePool, DeleteVolume, RemoveDnsHost,
        RemoveStaticHost, SetDnsHost, SetPoolAutostart, SetStaticHost, StartPool, StopNetwork, StopPool,
    },
    event::Action,
    network::NetworkSpec,
    storage::{PoolSpec, PoolState, VolumeSpec},
};
use support::World;
use uuid::Uuid;

/// Pool events since an event number.
fn pool_actions(world: &World, since: usize) -> Vec<(String, Action)> {
    let events = world.events().into_iter().skip(since);
    events
        .filter_map(|event| match event {
            Event::StoragePoolChanged(event) => Some((event.pool_name, event.action)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn the_demo_shows_pools_volumes_and_networks() {
    let world = World::demo().await;
    let host = world.host_inventory();
    let pools: Vec<_> = host.pools.values().map(|pool| (pool.name.as_str(), pool.kind.as_str(), pool.state)).collect();
    assert!(
        pools.contains(&("images", "dir", PoolState::Running))
            && pools.contains(&("fast", "logical", PoolState::Running)),
        "{pools:?}"
    );
    let images = world.pool("images").expect("it is there");
    assert!(images.percent() == Some(69) && images.path == "/var/lib/libvirt/images", "{images:?}");
    let volumes = world.volumes("images").await.expect("read");
    let web = volumes.iter().find(|volume| volume.name == "web-01.qcow2").expect("it is there");
    assert_eq!((web.format.as_str(), web.capacity_bytes, web.allocation_bytes), ("qcow2", 20 << 30, 2 << 30));
    assert_eq!(world.users("images", "web-01.qcow2").await, ["web-01"]);
    let networks: Vec<_> = host.networks.values().map(|network| (network.name.as_str(), network.mode())).collect();
    for expected in [("default", "NAT"), ("lab", "Isolated"), ("dmz", "Routed")] {
        assert!(networks.contains(&expected), "{networks:?}");
    }
    let default = host.networks.values().find(|network| network.name == "default").expect("it is there");
    assert_eq!(default.subnets[0].to_string(), "192.168.122.0/24");
    // The test driver has no leases and reports that.
    assert_eq!(world.leases("default").await.expect_err("it has none").kind, FaultKind::Unsupported);
}

#[tokio::test]
async fn a_host_tells_what_it_is_made_of_and_what_it_can_run() {
    let world = World::demo().await;
    let hardware = world.hardware().await.expect("read");
    assert_eq!((hardware.sockets, hardware.cores, hardware.threads, hardware.iommu), (1, 8, 2, Some(false)));
    let kinds: Vec<_> = hardware.guests.iter().map(|kind| (kind.arch.as_str(), kind.accelerations.join(" "))).collect();
    assert_eq!(kinds, [("i686", "test".to_owned())]);
    let devices = hardware.devices.expect("the test driver has some");
    let told: Vec<_> =
        devices.iter().map(|one| (one.address.as_str(), one.class.as_str(), one.product.as_str())).collect();
    assert_eq!(told, [("0000:01:00.0", "Display", "GP104"), ("0000:02:00.0", "Network", "I350")]);
    // Without a node file the test driver has NUMA nodes with memory and CPUs.
    let world = World::of_uri("test:///default").await;
    let cells = world.hardware().await.expect("read").cells;
    let told: Vec<_> = cells.iter().map(|cell| (cell.memory_mb, cell.cpus.as_str(), cell.cpu_count)).collect();
    assert_eq!(told, [(2048, "0-7", 8), (4096, "8-15", 8)]);
    let dead = World::dead().await.hardware().await.expect_err("away");
    assert_eq!(dead.kind, FaultKind::Unreachable);
}

#[tokio::test]
async fn a_pool_is_made_stopped_started_and_deleted_and_each_is_told() {
    let world = World::demo().await;
    let id = Uuid::from_u128(77);
    let pool = PoolSpec { name: "backup".into(), path: "/srv/backup".into(), ..PoolSpec::default() };
    let before = world.events().len();
    world.run_on(id, PoolCommand::DefinePool(DefinePool { pool, build: true, autostart: true })).await.expect("made");
    let made = world.pool("backup").expect("it is there");
    assert!(made.id == id && made.state == PoolState::Running && made.autostart && made.persistent, "{made:?}");
    world.run_on(id, PoolCommand::StopPool(StopPool {})).await.expect("stops");
    assert_eq!(world.pool("backup").expect("there").state, PoolState::Inactive);
    world.run_on(id, PoolCommand::StartPool(StartPool {})).await.expect("starts");
    world.run_on(id, PoolCommand::SetPoolAutostart(SetPoolAutostart { enabled: false })).await.expect("set");
    assert!(!world.pool("backup").expect("there").autostart);
    world.run_on(id, PoolCommand::DeletePool(DeletePool { content: false })).await.expect("deleted");
    assert!(world.pool("backup").is_none());
    let told: Vec<Action> = pool_actions(&world, before).into_iter().map(|(_, action)| action).collect();
    assert_eq!(told.first(), Some(&Action::Created));
    assert_eq!(told.last(), Some(&Action::Deleted));
    assert!(told.contains(&Action::Stopped) && told.contains(&Action::Started), "{told:?}");
    assert_eq!(
        world.run_on(id, PoolCommand::StartPool(StartPool {})).await.expect_err("gone").kind,
        FaultKind::NotFound
    );
}

#[tokio::test]
async fn volumes_are_made_cloned_and_deleted_and_each_is_told_with_its_cause() {
    let world = World::demo().await;
    let id = world.pool("images").expect("there").id;
    let names = async || -> Vec<String> {
        world.volumes("images").await.expect("read").iter().map(|volume| volume.name.clone()).collect()
    };
    let hostile = "<b>&'\"".to_owned();
    let volume =
        VolumeSpec { name: hostile.clone(), capacity_bytes: 5 << 30, format: "qcow2".into(), ..VolumeSpec::default() };
    assert!(!names().await.contains(&hostile));
    let request =
        world.run_on(id, PoolCommand::CreateVolume(CreateVolume { volume: volume.clone() })).await.expect("made");
    assert!(names().await.contains(&hostile));
    let told = world.events().into_iter().rev().find_map(|event| match event {
        Event::VolumeChanged(event) => Some(event),
        _ => None,
    });
    let told = told.expect("it is told");
    assert_eq!(
        (told.volume.as_deref(), told.action, told.cause),
        (Some(hostile.as_str()), Action::Created, Some(request))
    );
    let again =
        world.run_on(id, PoolCommand::CreateVolume(CreateVolume { volume })).await.expect_err("it is there already");
    assert_eq!(again.kind, FaultKind::Conflict, "{again:?}");
    world
        .run_on(id, PoolCommand::CloneVolume(CloneVolume { name: hostile.clone(), to: "copy".into() }))
        .await
        .expect("cloned");
    assert!(names().await.contains(&"copy".to_owned()));
    for name in [hostile, "copy".into()] {
        world.run_on(id, PoolCommand::DeleteVolume(DeleteVolume { name: name.clone() })).await.expect("deleted");
        assert!(!names().await.contains(&name));
    }
}

#[tokio::test]
async fn a_network_is_made_gets_static_addresses_and_is_deleted() {
    let world = World::demo().await;
    let id = Uuid::from_u128(78);
    let network = NetworkSpec {
        name: "guests".into(),
        ipv4: "192.168.77.1/24".into(),
        dhcp_first: "192.168.77.10".into(),
        dhcp_last: "192.168.77.99".into(),
        ..NetworkSpec::default()
    };
    world.run_on(id, NetworkCommand::DefineNetwork(DefineNetwork { network, autostart: true })).await.expect("made");
    let made = world.network("guests").expect("it is there");
    assert!(made.id == id && made.active && made.autostart && made.mode() == "NAT", "{made:?}");
    let address = "192.168.77.20".parse().expect("an address");
    let mac = "52:54:00:00:00:20".to_owned();
    let set = NetworkCommand::SetStaticHost(SetStaticHost { mac: mac.clone(), address, name: "web".into() });
    world.run_on(id, set).await.expect("set");
    let hosts = world.network("guests").expect("there").subnets[0].hosts.clone();
    assert_eq!((hosts[0].address, hosts[0].name.as_str()), (address, "web"));
    world.run_on(id, NetworkCommand::RemoveStaticHost(RemoveStaticHost { mac, address })).await.expect("removed");
    assert!(world.network("guests").expect("there").subnets[0].hosts.is_empty());
    let names = async |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        world.run_on(id, NetworkCommand::SetDnsHost(SetDnsHost { address, names: names.clone() })).await.expect("set");
        let known = world.network("guests").expect("there").dns.clone();
        assert_eq!(known.iter().map(|host| &host.names).collect::<Vec<_>>(), [&names]);
    };
    names(&["db", "db.lab"]).await;
    names(&["db", "old"]).await;
    world.run_on(id, NetworkCommand::RemoveDnsHost(RemoveDnsHost { address })).await.expect("removed");
    assert!(world.network("guests").expect("there").dns.is_empty());
    world.run_on(id, NetworkCommand::StopNetwork(StopNetwork {})).await.expect("stops");
    assert!(!world.network("guests").expect("there").active);
    world.run_on(id, NetworkCommand::DeleteNetwork(DeleteNetwork {})).await.expect("deleted");
    assert!(world.network("guests").is_none());
}
