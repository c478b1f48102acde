//! Pools, volumes and networks of a real libvirtd, with changes by virsh and the view of guests.
//! These tests need root; `make test` runs them.

mod support;

use std::{fs, process::Command as Program};

use model::{
    DomainCommand, Event, FaultKind, PoolCommand,
    command::{
        BuildPool, CloneVolume, CreateVolume, DefinePool, DeletePool, DeleteVolume, RefreshPool, ResizeVolume,
        StartPool, StopPool, SyncTime, TrimFileSystems, WipeVolume,
    },
    event::Action,
    storage::{PoolKind, PoolSpec, PoolState, VolumeSpec},
};
use support::{
    World,
    daemon::{Daemon, run, script},
};
use uuid::Uuid;

fn volume(name: &str, format: &str, mib: u64) -> VolumeSpec {
    VolumeSpec { name: name.into(), capacity_bytes: mib << 20, format: format.into(), ..VolumeSpec::default() }
}

/// The current volume names.
async fn names(world: &World, pool: &str) -> Vec<String> {
    world.volumes(pool).await.expect("read").iter().map(|volume| volume.name.clone()).collect()
}

/// Creates a directory pool of the daemon.
async fn folder_pool(world: &World, daemon: &Daemon, name: &str) -> Uuid {
    let id = Uuid::from_u128(u128::from(name.as_bytes()[0]));
    let path = daemon.folder.path().join(name).to_string_lossy().into_owned();
    let pool = PoolSpec { name: name.into(), path, ..PoolSpec::default() };
    world.run_on(id, DefinePool { pool, build: true, autostart: false }).await.expect("made");
    id
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn volumes_of_a_folder_are_made_grown_copied_wiped_and_deleted() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let id = folder_pool(&world, &daemon, "images").await;
    let known = world.pool("images").expect("it is there");
    assert!(known.state == PoolState::Running && known.capacity_bytes > 1 << 30, "{known:?}");
    // Available space is as in df, not as in libvirt, which includes space reserved for root.
    let folder = daemon.folder.path().join("images");
    let df = run(Program::new("df").args(["-B1", "--output=avail"]).arg(&folder));
    let free: u64 = df.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number");
    assert!(known.available_bytes.abs_diff(free) < 256 << 20, "{} and {free}", known.available_bytes);
    let file = |name: &str| daemon.folder.path().join("images").join(name);
    for volume in [volume("base.qcow2", "qcow2", 64), volume("data.raw", "raw", 16)] {
        world.run_on(id, CreateVolume { volume }).await.expect("made");
    }
    let based = VolumeSpec {
        backing: file("base.qcow2").to_string_lossy().into_owned(),
        backing_format: "qcow2".into(),
        ..volume("overlay.qcow2", "qcow2", 64)
    };
    world.run_on(id, CreateVolume { volume: based }).await.expect("made");
    let full = VolumeSpec { preallocate: true, ..volume("full.raw", "raw", 8) };
    world.run_on(id, CreateVolume { volume: full }).await.expect("made");
    let all = world.volumes("images").await.expect("read");
    let of = |name: &str| all.iter().find(|volume| volume.name == name).expect("it is there");
    assert_eq!(of("overlay.qcow2").backing, file("base.qcow2").to_string_lossy());
    assert_eq!((of("full.raw").format.as_str(), of("full.raw").allocation_bytes), ("raw", 8 << 20));

    // A backing volume cannot be deleted.
    let needed = world.run_on(id, DeleteVolume { name: "base.qcow2".into() }).await.expect_err("needed");
    assert!(needed.kind == FaultKind::Denied && needed.reason.contains("overlay.qcow2"), "{needed:?}");
    // Growing works; shrinking is refused.
    let resize =
        |mib: u64| PoolCommand::ResizeVolume(ResizeVolume { name: "data.raw".into(), capacity_bytes: mib << 20 });
    world.run_on(id, resize(24)).await.expect("grown");
    assert_eq!(fs::metadata(file("data.raw")).expect("there").len(), 24 << 20);
    assert_eq!(world.run_on(id, resize(8)).await.expect_err("smaller").kind, FaultKind::Denied);
    fs::write(file("data.raw"), vec![7; 24 << 20]).expect("written");
    world.run_on(id, CloneVolume { name: "data.raw".into(), to: "copy.raw".into() }).await.expect("copied");
    assert_eq!(fs::read(file("copy.raw")).expect("there")[..4], [7; 4]);
    world.run_on(id, WipeVolume { name: "data.raw".into() }).await.expect("wiped");
    assert_eq!(fs::read(file("data.raw")).expect("there")[..4], [0; 4]);
    let twice = world.run_on(id, CreateVolume { volume: volume("copy.raw", "raw", 1) }).await;
    assert_eq!(twice.expect_err("there already").kind, FaultKind::Conflict);
    world.run_on(id, DeleteVolume { name: "copy.raw".into() }).await.expect("deleted");
    assert!(!file("copy.raw").exists());
    // Everything is deleted, including the directory.
    world.run_on(id, DeletePool { content: true }).await.expect("deleted");
    assert!(!daemon.folder.path().join("images").exists() && world.pool("images").is_none());
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn volumes_with_names_that_we_would_not_give_are_read_grown_copied_and_deleted() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let id = folder_pool(&world, &daemon, "images").await;
    let folder = daemon.folder.path().join("images");
    let odd = [".hidden", "-dash", "a b&<c>", "tab\tin it", &"l".repeat(240)];
    for name in odd {
        fs::write(folder.join(name), vec![7; 1 << 20]).expect("written");
    }
    world.run_on(id, RefreshPool {}).await.expect("read");
    // libvirt itself omits hidden files.
    let listed = names(&world, "images").await;
    for (n, name) in odd.into_iter().enumerate().filter(|(_, name)| listed.contains(&(*name).to_owned())) {
        let run = async |command: PoolCommand| {
            world.run_on(id, command.clone()).await.map_err(|why| format!("{command:?}: {why:?}"))
        };
        run(PoolCommand::CloneVolume(CloneVolume { name: name.into(), to: format!("copy-{n}") }))
            .await
            .expect("copied");
        assert_eq!(fs::read(folder.join(format!("copy-{n}"))).expect("there"), vec![7; 1 << 20], "{name:?}");
        run(PoolCommand::ResizeVolume(ResizeVolume { name: name.into(), capacity_bytes: 2 << 20 }))
            .await
            .expect("grown");
        assert_eq!(fs::metadata(folder.join(name)).expect("there").len(), 2 << 20, "{name:?}");
        run(PoolCommand::DeleteVolume(DeleteVolume { name: name.into() })).await.expect("deleted");
        assert!(!folder.join(name).exists(), "{name:?}");
    }
    assert!(odd[1..].iter().filter(|name| listed.contains(&(**name).to_owned())).count() >= 3, "{listed:?}");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_virsh_does_with_pools_and_volumes_is_seen() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let path = daemon.folder.path().join("other").to_string_lossy().into_owned();
    daemon.virsh(&["pool-define-as", "other", "dir", "--target", &path]);
    daemon.virsh(&["pool-build", "other"]);
    let state = |wanted: PoolState| {
        move |all: &model::Inventory| {
            let host = all.hosts.values().next()?;
            host.pools.values().any(|pool| pool.name == "other" && pool.state == wanted).then_some(())
        }
    };
    world.until("the pool appears", state(PoolState::Inactive)).await;
    daemon.virsh(&["pool-start", "other"]);
    world.until("the pool is started", state(PoolState::Running)).await;
    // A new file, and a refresh of the pool.
    fs::write(format!("{path}/<b>.img"), vec![0; 4096]).expect("written");
    daemon.virsh(&["pool-refresh", "other"]);
    world.until_event("the file is told", |event| {
        matches!(event, Event::VolumeChanged(event) if event.volume.as_deref() == Some("<b>.img") && event.action == Action::Created).then_some(())
    })
    .await;
    assert!(names(&world, "other").await.contains(&"<b>.img".to_owned()));
    // libvirt has no event for this one: it is found by the periodic reading.
    daemon.virsh(&["vol-create-as", "other", "quiet.qcow2", "1M", "--format", "qcow2"]);
    world
        .until_event("the volume is found", |event| {
            matches!(event, Event::VolumeChanged(event) if event.volume.as_deref() == Some("quiet.qcow2")).then_some(())
        })
        .await;
    daemon.virsh(&["pool-destroy", "other"]);
    world.until("the pool is stopped", state(PoolState::Inactive)).await;
    daemon.virsh(&["pool-undefine", "other"]);
    world.until("the pool is gone", |all| all.hosts.values().next()?.pools.is_empty().then_some(())).await;
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn volumes_that_stay_are_not_read_again_when_others_come_and_go() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let id = folder_pool(&world, &daemon, "images").await;
    let make = async |name: &str| {
        world.run_on(id, CreateVolume { volume: volume(name, "raw", 4) }).await.expect("made");
    };
    make("stays.raw").await;
    make("goes.raw").await;
    let size = async || {
        let all = world.volumes("images").await.expect("read");
        let names: Vec<String> = all.iter().map(|volume| volume.name.clone()).collect();
        (names, all.iter().find(|volume| volume.name == "stays.raw").expect("it stays").capacity_bytes >> 20)
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(size().await, (named(&["goes.raw", "stays.raw"]), 4));
    // Nothing reports this change, so it is visible only if the volume was read again.
    fs::File::options()
        .write(true)
        .open(daemon.folder.path().join("images/stays.raw"))
        .and_then(|file| file.set_len(8 << 20))
        .expect("written");
    make("comes.raw").await;
    assert_eq!(size().await, (named(&["comes.raw", "goes.raw", "stays.raw"]), 4));
    world.run_on(id, DeleteVolume { name: "goes.raw".into() }).await.expect("deleted");
    assert_eq!(size().await, (named(&["comes.raw", "stays.raw"]), 4));
    world.run_on(id, RefreshPool {}).await.expect("refreshed");
    assert_eq!(size().await, (named(&["comes.raw", "stays.raw"]), 8), "it may be another now");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_disk_of_a_running_machine_grows_with_its_knowledge_and_is_not_taken_away() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let id = folder_pool(&world, &daemon, "images").await;
    world.run_on(id, CreateVolume { volume: volume("disk.qcow2", "qcow2", 32) }).await.expect("made");
    let path = daemon.folder.path().join("images/disk.qcow2");
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        path.display()
    );
    script(&["guest"], daemon.folder.path(), &["web", &disk]);
    daemon.virsh(&["start", "web"]);
    world
        .until("web runs", |all| {
            all.domains().any(|(_, domain)| domain.name == "web" && domain.state.is_active()).then_some(())
        })
        .await;
    world.run_on(id, ResizeVolume { name: "disk.qcow2".into(), capacity_bytes: 48 << 20 }).await.expect("grown");
    assert!(daemon.virsh(&["domblkinfo", "web", "vda"]).contains(&(48_u64 << 20).to_string()), "the machine knows it");
    let volumes = world.volumes("images").await.expect("read");
    assert_eq!(volumes[0].capacity_bytes, 48 << 20, "and so does the pool");
    for command in [
        PoolCommand::DeleteVolume(DeleteVolume { name: "disk.qcow2".into() }),
        PoolCommand::WipeVolume(WipeVolume { name: "disk.qcow2".into() }),
        PoolCommand::CloneVolume(CloneVolume { name: "disk.qcow2".into(), to: "copy".into() }),
        PoolCommand::StopPool(StopPool {}),
        PoolCommand::DeletePool(DeletePool { content: true }),
    ] {
        let fault = world.run_on(id, command.clone()).await.expect_err("in use");
        assert!(fault.kind == FaultKind::Denied && fault.reason.contains("web"), "{command:?}: {fault:?}");
    }
    assert!(path.exists());
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_base_of_volumes_in_another_pool_is_not_taken_away() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let golden = folder_pool(&world, &daemon, "golden").await;
    let images = folder_pool(&world, &daemon, "images").await;
    world.run_on(golden, CreateVolume { volume: volume("base", "qcow2", 16) }).await.expect("made");
    world.run_on(golden, CreateVolume { volume: volume("other", "qcow2", 16) }).await.expect("made");
    let (base, overlay) = (daemon.folder.path().join("golden/base"), daemon.folder.path().join("images/web"));
    let paths = [&base, &overlay].map(|path| path.display().to_string());
    daemon.virsh(&[
        "vol-create-as",
        "images",
        "web",
        "16M",
        "--format",
        "qcow2",
        "--backing-vol",
        &paths[0],
        "--backing-vol-format",
        "qcow2",
    ]);
    for command in [
        PoolCommand::DeleteVolume(DeleteVolume { name: "base".into() }),
        PoolCommand::WipeVolume(WipeVolume { name: "base".into() }),
        PoolCommand::DeletePool(DeletePool { content: true }),
    ] {
        let fault = world.run_on(golden, command.clone()).await.expect_err("needed");
        assert!(fault.kind == FaultKind::Denied && fault.reason.contains("web"), "{command:?}: {fault:?}");
    }
    assert!(base.exists() && daemon.folder.path().join("golden/other").exists(), "nothing of it is gone");
    // The pool of the overlay is stopped, but a machine runs from it.
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        paths[1]
    );
    script(&["guest"], daemon.folder.path(), &["db", &disk]);
    daemon.virsh(&["start", "db"]);
    daemon.virsh(&["pool-destroy", "images"]);
    let fault = world.run_on(golden, DeleteVolume { name: "base".into() }).await.expect_err("needed");
    assert!(fault.reason.contains("db"), "{fault:?}");
    daemon.virsh(&["destroy", "db"]);
    daemon.virsh(&["undefine", "db"]);
    world.run_on(images, StartPool {}).await.expect("starts");
    world.run_on(images, DeletePool { content: true }).await.expect("nobody needs it");
    world.run_on(golden, DeletePool { content: true }).await.expect("nor this one now");
    assert!(!base.exists());
}

/// A loop device for a file, while the value lives.
struct Loop(String);

impl Loop {
    fn of(daemon: &Daemon) -> Self {
        let file = daemon.file("disk.img", "");
        fs::File::options().write(true).open(&file).and_then(|file| file.set_len(256 << 20)).expect("sized");
        Self(run(Program::new("losetup").args(["-f", "--show"]).arg(file)))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Program::new("losetup").args(["-d", &self.0]).status().ok();
    }
}

#[tokio::test]
#[ignore = "needs root, libvirtd and a loop device; make test runs it"]
async fn a_file_system_on_a_device_is_made_and_never_made_anew_over_what_is_there() {
    let daemon = Daemon::start();
    let device = Loop::of(&daemon);
    let world = World::of_uri(&daemon.uri).await;
    let (id, path) = (Uuid::from_u128(5), daemon.folder.path().join("disk").to_string_lossy().into_owned());
    let pool =
        PoolSpec { name: "disk".into(), kind: PoolKind::Fs, path, device: device.0.clone(), ..PoolSpec::default() };
    let define = |build| PoolCommand::DefinePool(DefinePool { pool: pool.clone(), build, autostart: false });
    // Without a file system it cannot be started, and nothing is left behind.
    world.run_on(id, define(false)).await.expect_err("there is no file system");
    assert!(world.pool("disk").is_none());
    // A blank device gets a file system.
    world.run_on(id, define(true)).await.expect("it starts");
    let known = world.pool("disk").expect("it is there");
    assert!(known.source.contains(&device.0) && known.capacity_bytes > 100 << 20, "{known:?}");
    world.run_on(id, CreateVolume { volume: volume("a.raw", "raw", 10) }).await.expect("made");
    // A volume larger than the available space is refused with a text, and leaves nothing behind.
    let large = VolumeSpec { preallocate: true, ..volume("large.raw", "raw", 200) };
    assert!(world.run_on(id, CreateVolume { volume: large }).await.is_ok(), "it fits");
    let larger = VolumeSpec { preallocate: true, ..volume("larger.raw", "raw", 200) };
    let full = world.run_on(id, CreateVolume { volume: larger }).await.expect_err("the disk is full");
    assert!(
        full.reason.contains("space") && !names(&world, "disk").await.contains(&"larger.raw".to_owned()),
        "{full:?}"
    );
    world.run_on(id, StopPool {}).await.expect("stops");
    let again = world.run_on(id, BuildPool {}).await.expect_err("there is data on it");
    assert!(matches!(again.kind, FaultKind::Denied | FaultKind::Refused), "{again:?}");
    world.run_on(id, StartPool {}).await.expect("starts");
    assert!(names(&world, "disk").await.contains(&"a.raw".to_owned()), "nothing is lost");
    world.run_on(id, DeletePool { content: false }).await.expect("forgotten");
    // An existing file system is used as it is by a new pool.
    world.run_on(id, define(true)).await.expect("it starts");
    assert!(names(&world, "disk").await.contains(&"a.raw".to_owned()), "nothing is lost");
    world.run_on(id, DeletePool { content: false }).await.expect("forgotten");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_guest_tells_of_itself_through_its_agent_and_does_what_it_is_asked() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let refused = world.run("tiny", DomainCommand::SyncTime(SyncTime {})).await.expect_err("it is off");
    assert!(matches!(refused.kind, FaultKind::Refused | FaultKind::Unsupported), "{refused:?}");
    daemon.virsh(&["start", "tiny"]);
    let connected = |all: &model::Inventory| {
        let tiny = all.domains().find(|(_, domain)| domain.name == "tiny")?.1.clone();
        (tiny.agent == model::domain::Agent::Connected && tiny.guest.is_some()).then_some(tiny)
    };
    let tiny = world.until("the agent tells", connected).await;
    let told = world.guest("tiny").await.expect("it answers");
    let known = tiny.guest.clone().expect("it was read");
    assert_eq!((&told.hostname, &told.os_version), (&known.hostname, &known.os_version));
    assert!(!told.kernel.is_empty() && told.timezone_offset.is_some(), "{told:?}");
    // The agent's version is not queried by default.
    let is_tainted = || daemon.virsh(&["dominfo", "tiny"]).contains("custom guest agent");
    assert!(known.agent_version.is_empty() && !is_tainted());
    daemon.virsh(&["qemu-agent-command", "tiny", r#"{"execute":"guest-info"}"#]);
    assert!(is_tainted(), "it would be seen");
    world.run("tiny", DomainCommand::TrimFileSystems(TrimFileSystems {})).await.expect("it trims what there is");
    world
        .until_event("it is told", |event| {
            matches!(event, Event::GuestAgentConnected(event) if event.connected).then_some(())
        })
        .await;
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_real_host_tells_its_processors_devices_and_boards_and_who_has_a_device() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let hardware = world.hardware().await.expect("read");
    let cpus: u32 = hardware.cells.iter().map(|cell| cell.cpu_count).sum();
    let real =
        fs::read_to_string("/proc/cpuinfo").expect("read").lines().filter(|line| line.starts_with("processor")).count();
    assert_eq!(cpus as usize, real, "{:?}", hardware.cells);
    let info = world.host().info.expect("it is connected");
    assert!(info.pool_types.contains(&"dir".to_owned()), "{info:?}");
    // A type without a driver is refused before libvirt is called, with the type.
    let without = PoolKind::ALL.iter().find(|kind| !info.has_pools_of(kind.key()));
    if let Some(kind) = without {
        let [path, host, folder, device, group] =
            kind.needs().map(|needed| if needed { "/srv/p".to_owned() } else { String::new() });
        let group = group.replace("/srv/", "");
        let spec = PoolSpec { name: "p".into(), kind: *kind, path, host, folder, device, group };
        let command =
            model::Command::from(PoolCommand::DefinePool(DefinePool { pool: spec, build: false, autostart: false }));
        let fault = command.check(&world.host_inventory(), Uuid::from_u128(5), None).expect_err("no driver");
        assert!(fault.kind == FaultKind::Denied && fault.reason.contains(kind.key()), "{fault:?}");
    }
    let kind = hardware.guests.iter().find(|kind| kind.arch == "x86_64").expect("QEMU runs it");
    assert!(
        kind.boards.iter().any(|board| board == "q35") && kind.accelerations.contains(&"qemu".to_owned()),
        "{kind:?}"
    );
    // Devices of the kernel are listed with their drivers.
    let devices = hardware.devices.expect("the driver of node devices is there");
    let known: Vec<String> = fs::read_dir("/sys/bus/pci/devices")
        .expect("read")
        .map(|one| one.expect("read").file_name().to_string_lossy().into_owned())
        .collect();
    for address in &known {
        let device = devices
            .iter()
            .find(|device| device.bus == "pci" && device.address == *address)
            .unwrap_or_else(|| panic!("{address}: {devices:?}"));
        let driver = fs::read_link(format!("/sys/bus/pci/devices/{address}/driver")).ok();
        let driver = driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
        assert_eq!(device.driver, driver, "{device:?}");
    }
    let Some(device) = devices.iter().find(|device| device.bus == "pci") else { return };
    let [domain, bus, rest] = device.address.split(':').collect::<Vec<_>>()[..] else { panic!("{device:?}") };
    let (slot, function) = rest.split_once('.').expect("both");
    let machine = format!(
        "<domain type='qemu'><name>holder</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices>\
         <hostdev mode='subsystem' type='pci' managed='no'><source>\
         <address domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source></hostdev></devices></domain>"
    );
    let file = daemon.folder.path().join("holder.xml");
    fs::write(&file, machine).expect("written");
    daemon.virsh(&["define", file.to_str().expect("text")]);
    world.until("the machine is seen", |_| world.find("holder")).await;
    let devices = world.hardware().await.expect("read").devices.expect("still there");
    let users = devices.into_iter().find(|one| one.address == device.address).expect("still there").users;
    assert_eq!(users.iter().map(|user| (user.vm_name.as_str(), user.active)).collect::<Vec<_>>(), [("holder", false)]);
}

/// The system's udev, which reports devices to libvirt; started if it is not running.
struct Udev {
    ours: bool,
}

impl Udev {
    fn new() -> Self {
        let ours = !Program::new("pgrep")
            .args(["-x", "-r", "D,R,S", "systemd-udevd"])
            .output()
            .expect("runs")
            .status
            .success();
        if ours {
            run(Program::new("/lib/systemd/systemd-udevd").arg("--daemon"));
        }
        Self { ours }
    }

    /// Makes the kernel repeat the event of a device.
    fn tell(action: &str, device: &str) {
        fs::write(format!("/sys/{device}/uevent"), action).expect("the kernel tells");
    }
}

impl Drop for Udev {
    fn drop(&mut self) {
        if self.ours {
            run(Program::new("pkill").args(["-x", "systemd-udevd"]));
        }
    }
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_device_that_goes_and_comes_is_told_at_once_and_nothing_is_told_of_others() {
    let _udev = Udev::new();
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let addresses = async || {
        let devices = world.hardware().await.expect("read").devices.expect("the driver of node devices is there");
        devices.into_iter().map(|device| device.address).collect::<Vec<_>>()
    };
    let told = || world.events().iter().filter(|event| matches!(event, Event::HostDevicesChanged(_))).count();
    // The last one is neither the disk nor the network of this machine.
    let Some(last) = addresses().await.into_iter().rfind(|address| address.contains('.')) else { return };
    for (action, there) in [("remove", false), ("add", true)] {
        let before = told();
        // Network interfaces change with every container, and are not listed.
        Udev::tell("change", "class/net/lo");
        Udev::tell(action, &format!("bus/pci/devices/{last}"));
        world.until("it is told", |_| (told() > before).then_some(())).await;
        assert_eq!(addresses().await.contains(&last), there, "{action}");
        assert!(told() <= before + 2, "a device is told of once or twice");
    }
    let before = told();
    Udev::tell("change", "class/net/lo");
    Udev::tell("change", &format!("bus/pci/devices/{last}"));
    world.until("a change is told", |_| (told() > before).then_some(())).await;
}
