//! Changes without libvirt events, hung machines, and addresses configured inside a guest. These
//! tests need root; `make test` runs them.

mod support;

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use model::{DomainCommand, DomainState, Event, command::Start, storage::PoolState};
use rustix::process::{Pid, Signal, kill_process};
use support::{
    World,
    daemon::{Daemon, script},
};

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_libvirt_has_no_event_for_shows_within_two_seconds() {
    let daemon = Daemon::start();
    let slowest = slowest_change(&daemon, &daemon.uri).await;
    assert!(slowest.0 < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn the_same_shows_of_a_host_elsewhere_whose_files_cannot_be_watched() {
    let daemon = Daemon::start();
    let slowest = slowest_change(&daemon, &daemon.elsewhere()).await;
    // Listings are two seconds apart, and their hints are read then.
    assert!(slowest.0 < Duration::from_millis(2_500), "{slowest:?}");
}

/// Makes all changes without a libvirt event, and returns the slowest one to show.
async fn slowest_change(daemon: &Daemon, uri: &str) -> (Duration, &'static str) {
    let world = World::of_uri(uri).await;
    script(&["guest"], daemon.folder.path(), &["off"]);
    let folder = daemon.folder.path().join("pool");
    fs::create_dir(&folder).expect("made");
    let virsh = |arguments: &[&str]| daemon.virsh(arguments);
    virsh(&["pool-define-as", "files", "dir", "--target", folder.to_str().expect("text")]);
    virsh(&["pool-start", "files"]);
    let network =
        daemon.file("lab.xml", "<network><name>lab</name><ip address='10.199.7.1' netmask='255.255.255.0'/></network>");
    virsh(&["net-define", network.to_str().expect("text")]);
    world
        .until("all of it", |_| {
            (world.pool("files").is_some_and(|pool| pool.state == PoolState::Running)
                && world.network("lab").is_some()
                && world.find("off").is_some())
            .then_some(())
        })
        .await;

    let mut slowest = (Duration::ZERO, "");
    let mut seen = |what: &'static str, began: Instant| {
        slowest = slowest.max((began.elapsed(), what));
    };
    macro_rules! shows {
        ($what:literal, $arguments:expr, $ready:expr) => {{
            virsh(&$arguments);
            let began = Instant::now();
            world.until($what, |_| $ready.then_some(())).await;
            seen($what, began);
        }};
    }
    let volume_of = |name: &'static str| {
        move |event: &Event| match event {
            Event::VolumeChanged(event) => {
                (event.volume.is_none() || event.volume.as_deref() == Some(name)).then_some(())
            }
            _ => None,
        }
    };
    shows!("autostart", ["autostart", "off"], world.domain("off").autostart);
    shows!("no autostart", ["autostart", "off", "--disable"], !world.domain("off").autostart);
    virsh(&["setvcpus", "off", "3", "--maximum", "--config"]);
    shows!("setvcpus", ["setvcpus", "off", "3", "--config"], world.domain("off").vcpus == 3);
    shows!("setmaxmem", ["setmaxmem", "off", "200M", "--config"], world.domain("off").max_memory_mb == 200);
    shows!("autostart of a network", ["net-autostart", "lab"], world.network("lab").is_some_and(|one| one.autostart));
    shows!("autostart of a pool", ["pool-autostart", "files"], world.pool("files").is_some_and(|one| one.autostart));
    let entry = "<host ip='10.199.7.9'><hostname>gate</hostname></host>";
    shows!(
        "net-update",
        ["net-update", "lab", "add", "dns-host", entry, "--config"],
        world.network("lab").is_some_and(|one| !one.dns.is_empty())
    );
    world.run("tiny", DomainCommand::Start(Start {})).await.expect("started");
    world.until("it runs", |_| (world.domain("tiny").state == DomainState::Running).then_some(())).await;
    virsh(&["managedsave", "tiny"]);
    world.until("saved", |_| world.domain("tiny").has_managed_save.then_some(())).await;
    shows!("managedsave-remove", ["managedsave-remove", "tiny"], !world.domain("tiny").has_managed_save);
    for (what, arguments) in [
        ("vol-create", vec!["vol-create-as", "files", "a.qcow2", "8M", "--format", "qcow2"]),
        ("vol-resize", vec!["vol-resize", "--pool", "files", "a.qcow2", "16M"]),
        ("vol-delete", vec!["vol-delete", "--pool", "files", "a.qcow2"]),
    ] {
        // Earlier events are ignored.
        let before = world.events().len();
        virsh(&arguments);
        let began = Instant::now();
        let wanted = volume_of("a.qcow2");
        world.until(what, |_| world.events()[before..].iter().find_map(&wanted)).await;
        seen(what, began);
        let size = world.volumes("files").await.expect("read").first().map(|volume| volume.capacity_bytes >> 20);
        assert_eq!(
            size,
            [("vol-create", 8), ("vol-resize", 16)].into_iter().find(|one| one.0 == what).map(|one| one.1)
        );
    }
    slowest
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_machine_that_hangs_costs_only_itself_and_is_marked_without_being_asked() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    script(&["guest"], daemon.folder.path(), &["other"]);
    world.until("both", |_| world.find("other").map(drop)).await;
    world.run("tiny", DomainCommand::Start(Start {})).await.expect("started");
    world.until("it runs", |_| (world.domain("tiny").state == DomainState::Running).then_some(())).await;
    let pid = fs::read_to_string(daemon.folder.path().join("run/qemu/tiny.pid")).expect("it has a process");
    let pid = process(&pid);
    kill_process(pid, Signal::STOP).expect("stopped");
    let began = Instant::now();
    world.until("marked", |_| world.domain("tiny").unresponsive.then_some(())).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    // Others are visible immediately meanwhile, and the host's devices are read.
    let mut slowest = Duration::ZERO;
    for round in 0..6 {
        let title = format!("round {round}");
        daemon.virsh(&["desc", "other", "--title", "--config", &title]);
        let began = Instant::now();
        world.until("the other", |_| (world.domain("other").title == title).then_some(())).await;
        slowest = slowest.max(began.elapsed());
    }
    let began = Instant::now();
    world.hardware().await.expect("read");
    let hardware = began.elapsed();
    kill_process(pid, Signal::CONT).expect("thawed");
    assert!(slowest < Duration::from_secs(1), "another machine's change came after {slowest:?}");
    assert!(hardware < Duration::from_secs(3), "the host's devices came after {hardware:?}");
    world.until("it answers again", |_| (!world.domain("tiny").unresponsive).then_some(())).await;
}

fn process(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().expect("a number")).expect("not 0")
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_address_that_comes_inside_a_guest_shows_within_five_seconds_while_its_page_is_open() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    script(&["guest"], daemon.folder.path(), &["web", "<interface type='user'><model type='virtio'/></interface>"]);
    daemon.virsh(&["start", "web"]);
    let addresses = || world.find("web").map(|web| web.addresses.clone()).unwrap_or_default();
    world.until("it has an address", |_| (!addresses().is_empty()).then_some(())).await;
    world.watch(&[world.domain("web").id]);
    for (verb, there) in [("add", true), ("del", false)] {
        let script = format!("ip addr {verb} 10.77.7.7/24 dev eth0");
        assert!(daemon.in_guest("web", &script).await, "{script}");
        let began = Instant::now();
        let has = || addresses().iter().any(|address| address == "10.77.7.7");
        world.until(verb, |_| (has() == there).then_some(())).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{verb} {:?}", began.elapsed());
    }
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn how_long_a_guest_runs_is_known_to_who_comes_later() {
    let daemon = Daemon::start();
    let before = now();
    daemon.virsh(&["start", "tiny"]);
    let after = now();
    let world = World::of_uri(&daemon.uri).await;
    let since = world.until("it is seen", |_| world.find("tiny")).await.since.expect("its process tells");
    // File system timestamps lag by a clock tick.
    assert!((before - 100..=after).contains(&since), "{before} {since} {after}");
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("a while")
}
