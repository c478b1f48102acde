//! Every command and every external change with real QEMU guests, under a separate libvirtd. These
//! tests need root, so cargo skips them by default; `make test` runs them.

mod support;

use std::{process::Command as Program, time::Duration};

use hypervisor::OpenConsole;
use model::{
    Console, Domain, DomainCommand, DomainState, Event, FaultKind, Inventory,
    command::{ForceOff, Nmi, Pause, Reset, Resume, Save, Shutdown, Start, StartPaused},
    event::Action,
};
use support::{
    World,
    daemon::{Daemon, run},
};
use tokio::time::timeout;

fn tiny(inventory: &Inventory) -> Option<&Domain> {
    inventory.domains().find(|(_, domain)| domain.name == "tiny").map(|(_, domain)| &**domain)
}

/// Waits for a guest's state through events, without queries.
async fn until_state(world: &World, state: DomainState) {
    world.until(&format!("tiny is {state:?}"), |all| (tiny(all)?.state == state).then_some(())).await;
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn each_command_does_to_a_real_guest_what_it_says() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    let cases: [(DomainCommand, DomainState); 10] = [
        (DomainCommand::StartPaused(StartPaused {}), DomainState::Paused),
        (DomainCommand::Resume(Resume {}), DomainState::Running),
        (DomainCommand::Pause(Pause {}), DomainState::Paused),
        (DomainCommand::Resume(Resume {}), DomainState::Running),
        (DomainCommand::Reset(Reset {}), DomainState::Running),
        (DomainCommand::Nmi(Nmi {}), DomainState::Running),
        (DomainCommand::Save(Save {}), DomainState::Stopped),
        (DomainCommand::Start(Start {}), DomainState::Running),
        (DomainCommand::ForceOff(ForceOff {}), DomainState::Stopped),
        (DomainCommand::Start(Start {}), DomainState::Running),
    ];
    for (command, expected) in cases {
        let before = world.domain("tiny");
        command.check_on(&before, &world.host()).unwrap_or_else(|fault| panic!("{command:?}: {fault:?}"));
        world.run("tiny", command.clone()).await.unwrap_or_else(|fault| panic!("{command:?}: {fault:?}"));
        until_state(&world, expected).await;
        let domain = world.domain("tiny");
        let told: Vec<_> = world
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::VmStateChanged(event) if event.version > before.version => {
                    Some((event.old_state, event.new_state))
                }
                _ => None,
            })
            .collect();
        // Suspending to disk pauses the guest first; no other command has an intermediate state,
        // although libvirt reports a guest as paused until it has started.
        let direct: &[_] = if before.state == expected { &[] } else { &[(before.state, expected)] };
        assert!(told == direct || command == DomainCommand::Save(Save {}), "{command:?} told {told:?}");
        assert_eq!(domain.has_managed_save, command == DomainCommand::Save(Save {}), "after {command:?}");
        assert_eq!(daemon.virsh(&["domstate", "tiny"]) == "running", expected == DomainState::Running, "{command:?}");
    }
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_guest_is_asked_to_shut_down_and_ends_by_itself() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    world.run("tiny", DomainCommand::Start(Start {})).await.expect("starts");
    // Only a running guest handles requests; its agent shows that it is up.
    world.until("the agent answers", |all| tiny(all)?.guest.as_ref().map(|_| ())).await;
    world.run("tiny", DomainCommand::Shutdown(Shutdown {})).await.expect("is asked");
    until_state(&world, DomainState::Stopped).await;
    let reason = world.domain("tiny").state_reason.clone();
    assert_eq!(daemon.virsh(&["domstate", "--reason", "tiny"]), "shut off (shutdown)", "{reason}");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_others_do_is_told_without_being_asked() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    daemon.virsh(&["start", "tiny"]);
    until_state(&world, DomainState::Running).await;

    let disk = daemon.file("disk.raw", "");
    run(Program::new("truncate").args(["-s", "1M"]).arg(&disk));
    let before = world.domain("tiny").definition_hash;
    daemon.virsh(&["attach-disk", "tiny", &disk.display().to_string(), "vdz"]);
    let is_another = |all: &Inventory| tiny(all).filter(|tiny| tiny.definition_hash != before).map(|_| ());
    world.until("another definition", is_another).await;

    // It exists until the machine stops, because the stored definition does not contain it. And
    // vice versa.
    daemon.virsh(&["attach-disk", "tiny", &disk.display().to_string(), "vdy", "--config"]);
    let made = world.made_of("tiny").await.expect("told");
    let paths: Vec<_> =
        made.pending.iter().map(|one| (one.path.as_str(), one.live.is_null(), one.next.is_null())).collect();
    assert_eq!(paths, [("devices/disk:vdz", false, true), ("devices/disk:vdy", true, false)]);

    daemon.virsh(&["desc", "tiny", "--title", "A <b>title</b>"]);
    world.until("the title", |all| (tiny(all)?.title == "A <b>title</b>").then_some(())).await;

    daemon.virsh(&["destroy", "tiny"]);
    until_state(&world, DomainState::Stopped).await;
    let definition = daemon.virsh(&["dumpxml", "tiny"]);
    daemon.virsh(&["undefine", "tiny"]);
    world.until("it is gone", |all| tiny(all).is_none().then_some(())).await;

    // A machine without a stored definition exists only while it runs.
    let transient = daemon.file("transient.xml", &definition);
    daemon.virsh(&["create", &transient.display().to_string()]);
    let domain = world.until("it is back", |all| tiny(all).filter(|d| d.state == DomainState::Running).cloned()).await;
    assert!(!domain.persistent);
    let refused = DomainCommand::Save(Save {}).check_on(&domain, &world.host()).expect_err("nothing could be kept");
    assert_eq!(refused.kind, FaultKind::Denied);
    daemon.virsh(&["destroy", "tiny"]);
    world.until("it is gone again", |all| tiny(all).is_none().then_some(())).await;

    let told: Vec<_> = world.events().iter().map(Event::kind).collect();
    assert_eq!(told.iter().filter(|kind| **kind == "vm-deleted").count(), 2, "{told:?}");
    // Once found, once created.
    assert_eq!(told.iter().filter(|kind| **kind == "vm-created").count(), 2, "{told:?}");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn snapshots_that_others_take_and_delete_are_told() {
    let daemon = Daemon::start();
    let disk = daemon.file("disk.qcow2", "").display().to_string();
    run(Program::new("qemu-img").args(["create", "-q", "-f", "qcow2", &disk, "1M"]));
    daemon.virsh(&["attach-disk", "tiny", &disk, "vdz", "--config", "--subdriver", "qcow2"]);
    daemon.virsh(&["snapshot-create-as", "tiny", "before"]);
    let world = World::of_uri(&daemon.uri).await;
    daemon.virsh(&["snapshot-create-as", "tiny", "<b>after"]);
    daemon.virsh(&["snapshot-delete", "tiny", "before"]);
    let changed = |wanted: Action| {
        move |event: &Event| match event {
            Event::SnapshotChanged(told) if told.action == wanted => {
                Some((told.vm_name.clone(), told.snapshot.clone()))
            }
            _ => None,
        }
    };
    let came = world.until_event("the new one", changed(Action::Created)).await;
    assert_eq!(came, ("tiny".into(), "<b>after".into()));
    let gone = world.until_event("the deleted one", changed(Action::Deleted)).await;
    assert_eq!(gone, ("tiny".into(), "before".into()), "what was there at first is told when it goes");
}

/// The console output until it contains a text.
async fn shown_until(console: &mut OpenConsole, text: &str) -> String {
    let mut shown = String::new();
    while !shown.contains(text) {
        let part = timeout(Duration::from_secs(60), console.shown.recv()).await;
        let part = part.unwrap_or_else(|_| panic!("{text} is shown: {shown}")).expect("it goes on");
        shown.push_str(&String::from_utf8_lossy(&part));
    }
    shown
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn consoles_carry_bytes_both_ways_to_their_end() {
    let daemon = Daemon::start();
    let world = World::of_uri(&daemon.uri).await;
    daemon.virsh(&["start", "tiny"]);
    until_state(&world, DomainState::Running).await;
    let [screen, line] = Console::all(&world.domain("tiny")).try_into().expect("a screen and a line");

    let mut open = world.open_console("tiny", &line).await.expect("opens");
    shown_until(&mut open, "guest is ready").await;
    open.typed.send("echo $((6 * 7))-answer; seq 20000 20999; echo en''d\r".into()).await.expect("typed");
    let shown = shown_until(&mut open, "end\r\n").await;
    // The shell may wrap a typed line in front of a number.
    let is_number = |line: &&str| line.len() == 5 && line.starts_with("20") && line.parse::<u32>().is_ok();
    let numbers = shown.lines().filter(is_number).count();
    assert!(shown.contains("42-answer") && numbers == 1_000, "nothing is lost: {numbers}");
    // libvirt gives a serial console to one client, and the second one gets an error.
    let second = world.open_console("tiny", &line).await.expect_err("it is held");
    assert_eq!(second.kind, FaultKind::Busy, "{second:?}");
    let others = World::of_uri(&daemon.uri).await;
    let second = others.open_console("tiny", &line).await.expect_err("it is held by somebody else");
    assert_eq!(second.kind, FaultKind::Conflict, "{second:?}");

    // A VNC server sends a greeting first (RFC 6143, 7.1.1).
    let mut picture = world.open_console("tiny", &screen).await.expect("opens");
    assert_eq!(shown_until(&mut picture, "\n").await, "RFB 003.008\n");
    let both = world.open_console("tiny", &screen).await;
    assert!(both.is_ok(), "a screen has several readers");

    daemon.virsh(&["destroy", "tiny"]);
    for console in [&mut open, &mut picture] {
        while timeout(Duration::from_secs(10), console.shown.recv()).await.expect("it ends").is_some() {}
    }
    let off = world.open_console("tiny", &line).await;
    until_state(&world, DomainState::Stopped).await;
    assert!(off.is_err());

    // A dropped console is released.
    daemon.virsh(&["start", "tiny"]);
    until_state(&world, DomainState::Running).await;
    for _ in 0..3 {
        let mut again = world.open_console("tiny", &line).await;
        while again.as_ref().is_err_and(|fault| fault.kind == FaultKind::Busy) {
            again = world.open_console("tiny", &line).await;
        }
        drop(again.expect("opens"));
    }
}
