//! Every command on the demonstration host (libvirt's test driver), and its events.

mod support;

use std::{io, os::unix::net::UnixListener, thread};

use model::{
    DomainCommand, DomainState, Event, FaultKind,
    command::{
        DiscardSave, ForceOff, Pause, Reboot, Rename, Reset, Resume, Save, SetAutostart, SetDescription, SetTags,
        SetTitle, Shutdown, Start, StartPaused,
    },
    definition::Definition,
};
use support::World;

#[tokio::test]
async fn the_demo_shows_machines_in_every_state() {
    let world = World::demo().await;
    let inventory = world.inventory();
    let domains: Vec<_> = inventory.domains().map(|(_, domain)| domain.clone()).collect();
    assert!(domains.len() >= 12, "{} machines", domains.len());
    for state in DomainState::ALL.into_iter().filter(|state| *state != DomainState::Unknown) {
        assert!(domains.iter().any(|domain| domain.state == state), "{state:?} is missing");
    }
    assert!(domains.iter().any(|domain| domain.has_managed_save));
    assert!(domains.iter().any(|domain| domain.tags == ["prod", "web"]));
    let info = world.host().info.expect("the host was read");
    assert!(info.is_test_driver() && info.cpus == 32, "{info:?}");
}

#[tokio::test]
async fn each_command_has_the_effect_that_its_event_tells() {
    let world = World::demo().await;
    let cases: [(&str, DomainCommand, DomainState); 9] = [
        ("dns-2", DomainCommand::Start(Start {}), DomainState::Running),
        ("web-01", DomainCommand::Pause(Pause {}), DomainState::Paused),
        ("web-01", DomainCommand::Resume(Resume {}), DomainState::Running),
        ("web-01", DomainCommand::Reboot(Reboot {}), DomainState::Running),
        ("web-01", DomainCommand::Reset(Reset {}), DomainState::Running),
        ("web-01", DomainCommand::Shutdown(Shutdown {}), DomainState::Stopped),
        ("web-02", DomainCommand::ForceOff(ForceOff {}), DomainState::Stopped),
        ("k3s-c", DomainCommand::ForceOff(ForceOff {}), DomainState::Stopped),
        ("mail", DomainCommand::Save(Save {}), DomainState::Stopped),
    ];
    for (name, command, expected) in cases {
        let before = world.domain(name);
        command.check_on(&before, &world.host()).expect("possible by our own predicate");
        world.run(name, command.clone()).await.unwrap_or_else(|fault| panic!("{command:?} on {name}: {fault:?}"));
        let after = world.domain(name);
        assert_eq!(after.state, expected, "{command:?} on {name}");
        if before.state != after.state {
            assert!(after.version > before.version);
            assert!(after.since.is_some(), "we saw the change, so we know when it was");
        }
    }
    assert!(world.domain("mail").has_managed_save);
    world.run("mail", DomainCommand::DiscardSave(DiscardSave {})).await.expect("there was a saved state");
    assert!(!world.domain("mail").has_managed_save);
}

#[tokio::test]
async fn a_change_of_ours_carries_the_request_that_caused_it() {
    let world = World::demo().await;
    let request = world.run("web-01", DomainCommand::Pause(Pause {})).await.expect("pauses");
    let caused = world.events().into_iter().find_map(|event| match event {
        Event::VmStateChanged(event) if event.cause == Some(request) => Some(event),
        _ => None,
    });
    let event = caused.expect("the event names the request");
    assert_eq!((event.old_state, event.new_state), (DomainState::Running, DomainState::Paused));
}

#[tokio::test]
async fn name_title_description_tags_and_autostart_are_kept_by_libvirt() {
    let world = World::demo().await;
    let hostile = "<script>alert(\"1\")</script> & 'ü' 😀";
    world.run("dns-2", DomainCommand::SetTitle(SetTitle { title: hostile.into() })).await.expect("title");
    let description = format!("{hostile}\nsecond line");
    world
        .run("dns-2", DomainCommand::SetDescription(SetDescription { description: description.clone() }))
        .await
        .expect("description");
    world
        .run("dns-2", DomainCommand::SetTags(SetTags { tags: vec!["b<".into(), "a".into(), "a".into()] }))
        .await
        .expect("tags");
    world.run("dns-2", DomainCommand::SetAutostart(SetAutostart { enabled: true })).await.expect("autostart");
    world.run("dns-2", DomainCommand::Rename(Rename { name: "ns <b>2".into() })).await.expect("rename");
    let domain = world.domain("ns <b>2");
    assert_eq!((domain.title.as_str(), domain.description.as_str()), (hostile, description.as_str()));
    assert_eq!(domain.tags, ["a", "b<"]);
    assert!(domain.autostart);
    world.run("ns <b>2", DomainCommand::SetTags(SetTags { tags: vec![] })).await.expect("no tags");
    world.run("ns <b>2", DomainCommand::SetTags(SetTags { tags: vec![] })).await.expect("still no tags");
    world.run("ns <b>2", DomainCommand::SetTitle(SetTitle { title: String::new() })).await.expect("no title");
    let domain = world.domain("ns <b>2");
    assert!(domain.tags.is_empty() && domain.title.is_empty() && !domain.description.is_empty());
}

#[tokio::test]
async fn what_libvirt_refuses_comes_back_in_words_with_the_name() {
    let world = World::demo().await;
    let fault = world.run("dns-2", DomainCommand::Pause(Pause {})).await.expect_err("it is off");
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.reason.contains("dns-2"), "{fault:?}");
    let fault =
        world.run("dns-2", DomainCommand::StartPaused(StartPaused {})).await.expect_err("the test driver cannot");
    assert_eq!(fault.kind, FaultKind::Unsupported, "{fault:?}");
    let fault = world.run("dns-2", DomainCommand::Rename(Rename { name: "mail".into() })).await.expect_err("taken");
    assert!(fault.sentence().contains("mail") || fault.kind == FaultKind::Conflict, "{fault:?}");
    let fault = world.run_unknown().await.expect_err("no such machine");
    assert_eq!(fault.kind, FaultKind::NotFound, "{fault:?}");
}

#[tokio::test]
async fn running_machines_of_a_network_get_addresses() {
    let world = World::demo().await;
    let domain = world.until("web-01 has an address", |inventory| {
        let domain = inventory.domains().find(|(_, domain)| domain.name == "web-01")?.1.clone();
        (!domain.addresses.is_empty()).then_some(domain)
    });
    let domain = domain.await;
    assert!(domain.addresses[0].starts_with("192.168.122."), "{:?}", domain.addresses);
    assert_eq!(domain.interfaces[0].addresses, domain.addresses);
    world.run("web-01", DomainCommand::ForceOff(ForceOff {})).await.expect("off");
    assert!(world.domain("web-01").addresses.is_empty(), "a machine that is off has none");
}

#[tokio::test]
async fn the_definition_is_libvirts_text() {
    let world = World::demo().await;
    let text = world.definition("web-01").await.expect("readable");
    assert!(text.contains("web-01") && text.contains("urn:belvedere:tags:1"));
}

#[tokio::test]
async fn a_machine_is_told_as_it_runs_and_as_it_is_stored() {
    let world = World::demo().await;
    let running = world.made_of("web-01").await.expect("readable");
    let (live, inactive) = (running.live.expect("it runs"), running.inactive.expect("it is stored"));
    let keys = |definition: &Definition| definition.devices.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    assert!(keys(&live).contains(&"disk:vda".to_owned()), "{:?}", keys(&live));
    assert_eq!(keys(&live), keys(&inactive));
    assert_eq!(running.pending, []);
    world.run("web-01", DomainCommand::ForceOff(ForceOff {})).await.expect("off");
    assert_eq!(world.made_of("web-01").await.expect("readable").live, None);
}

#[tokio::test]
async fn the_boot_order_is_that_of_the_stored_definition() {
    let world = World::demo().await;
    let boot = world.boot_order("web-01").await.expect("readable");
    let kinds: Vec<_> = boot.devices.iter().map(|device| device.kind.as_str()).collect();
    assert_eq!((kinds, boot.kernel), (vec!["hd"], None));
}

#[tokio::test]
async fn two_hosts_of_which_one_is_dead_do_not_wait_for_each_other() {
    let world = World::demo_and_dead().await;
    world.settled().await;
    let inventory = world.inventory();
    let [dead, demo] = ["dead", "demo"].map(|id| &inventory.hosts[&id.parse().expect("a name")]);
    assert!(demo.host.connection.connected && demo.domains.len() >= 12);
    assert!(!dead.host.connection.connected);
    let error = dead.host.connection.error.clone().expect("the reason is told");
    assert!(error.contains("daemon is not running"), "{error}");
    assert!(dead.host.connection.retry_at.is_some());
    world.run("web-01", DomainCommand::Pause(Pause {})).await.expect("the living host works");
}

#[tokio::test]
async fn a_network_without_addresses_does_not_bring_the_process_down() {
    let node = r#"<node><network><name>bare</name><bridge name="br9"/></network>
        <domain type="test"><name>a</name><memory>1024</memory><os><type>hvm</type></os><devices>
        <interface type="network"><mac address="52:54:00:00:00:01"/><source network="bare"/></interface>
        </devices></domain></node>"#;
    let world = World::of_node(node).await;
    assert_eq!(world.domain("a").state, DomainState::Running);
    // The address query runs in parallel; a command succeeds after it.
    world.run("a", DomainCommand::Pause(Pause {})).await.expect("the process lives");
    assert!(world.domain("a").addresses.is_empty());
}

#[tokio::test]
async fn names_with_markup_quotes_and_emoji_arrive_unchanged() {
    let names = ["<img src=x onerror=alert(1)>", "\"quoted\" 'name'", "😀 ünï", "a&amp;b", "  blank "];
    let escape = |name: &str| name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let domains: String = names
        .iter()
        .map(|name| {
            format!(
                "<domain type='test'><name>{}</name><memory>1024</memory><os><type>hvm</type></os></domain>",
                escape(name)
            )
        })
        .collect();
    let world = World::of_node(&format!("<node>{domains}</node>")).await;
    for name in names {
        assert_eq!(world.domain(name).name, name);
    }
}

#[tokio::test]
async fn a_daemon_that_is_slow_to_answer_is_there_and_a_missing_one_is_not() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let socket = folder.path().join("sock");
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let why = hypervisor::probe(&uri).await.expect_err("nobody listens");
    assert!(why.contains("daemon is not running"), "{why}");

    let listener = UnixListener::bind(&socket).expect("a socket");
    let taken = thread::spawn(move || listener.accept().map(|(stream, _)| stream));
    assert_eq!(hypervisor::probe(&uri).await, Ok(()));
    // Closing the connection ends the attempt.
    let stream: io::Result<_> = taken.join().expect("no panic");
    drop(stream.expect("a call"));
}
