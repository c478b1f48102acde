//! The state × action table, and argument checks.

use super::*;
use crate::{CommandRequest, HostInfo, Link, command::Secret};

fn host(driver: &str) -> Host {
    Host {
        id: "atlas".parse().expect("a name"),
        connection: Link { connected: true, ..Link::default() },
        info: Some(HostInfo { driver: driver.into(), ..HostInfo::default() }),
        demo: false,
        managed: false,
    }
}

fn domain(state: DomainState) -> Domain {
    Domain { name: "web-01".into(), state, persistent: true, agent: Agent::Connected, ..Domain::default() }
}

/// One row per action, one column per state in the order of `STATES`; `x` is allowed.
const TABLE: [(&str, &str); 14] = [
    //              RPSsCHU
    ("start", ".....xx"),
    ("startPaused", ".....xx"),
    ("resume", ".xx...."),
    ("pause", "x..x..."),
    ("shutdown", "x..x..."),
    ("reboot", "x......"),
    ("rebootByAgent", "x......"),
    ("save", "xx....."),
    ("discardSave", "......."),
    ("nmi", "xxxx..."),
    ("reset", "xxxxx.."),
    ("forceOff", "xxxxx.."),
    ("setAutostart", "xxxxxxx"),
    ("rename", ".....xx"),
];

const STATES: [DomainState; 7] = [
    DomainState::Running,
    DomainState::Paused,
    DomainState::Suspended,
    DomainState::ShuttingDown,
    DomainState::Crashed,
    DomainState::Stopped,
    DomainState::Unknown,
];

fn commands() -> Vec<DomainCommand> {
    let mut all = DomainCommand::menu();
    all.push(DomainCommand::SetAutostart(SetAutostart { enabled: true }));
    all.push(DomainCommand::Rename(Rename { name: "web-02".into() }));
    all
}

#[test]
fn each_state_allows_exactly_the_actions_of_the_table() {
    let host = host("QEMU");
    assert_eq!(commands().len(), TABLE.len());
    for (command, (kind, row)) in commands().iter().zip(TABLE) {
        assert_eq!(command.kind(), kind);
        let allowed: String = STATES
            .iter()
            .map(|state| if command.check_on(&domain(*state), &host).is_ok() { 'x' } else { '.' })
            .collect();
        assert_eq!(allowed, row, "{kind}");
    }
}

#[test]
fn every_refusal_names_the_machine_and_gives_a_reason() {
    let host = host("QEMU");
    for command in commands() {
        for state in STATES {
            if let Err(fault) = command.check_on(&domain(state), &host) {
                assert!(fault.reason.starts_with("web-01 ") && fault.reason.len() > 12, "{fault:?}");
            }
        }
    }
}

#[test]
fn nothing_is_possible_on_a_host_that_is_not_connected() {
    let mut host = host("QEMU");
    host.connection.connected = false;
    for command in commands() {
        let fault = command.check_on(&domain(DomainState::Running), &host).expect_err("must be denied");
        assert!(fault.reason.contains("atlas is not connected"), "{fault:?}");
    }
}

#[test]
fn a_transient_machine_can_not_be_saved_renamed_or_started_with_its_host() {
    let transient = Domain { persistent: false, ..domain(DomainState::Running) };
    for command in [
        DomainCommand::Save(Save {}),
        DomainCommand::SetAutostart(SetAutostart { enabled: true }),
        DomainCommand::Rename(Rename { name: "a".into() }),
    ] {
        assert!(command.check_on(&transient, &host("QEMU")).is_err(), "{command:?}");
    }
}

#[test]
fn a_saved_state_can_be_discarded_only_where_there_is_one() {
    let saved = Domain { has_managed_save: true, ..domain(DomainState::Stopped) };
    assert!(DomainCommand::DiscardSave(DiscardSave {}).check_on(&saved, &host("QEMU")).is_ok());
    assert!(DomainCommand::Rename(Rename { name: "b".into() }).check_on(&saved, &host("QEMU")).is_err());
}

#[test]
fn the_test_driver_says_that_it_cannot_start_paused() {
    let fault = DomainCommand::StartPaused(StartPaused {}).check_on(&domain(DomainState::Stopped), &host("TEST"));
    assert!(fault.expect_err("must be denied").reason.contains("test driver"));
}

#[test]
fn impossible_arguments_are_refused_with_their_field() {
    let long = "x".repeat(17 * 1024);
    let bad = [
        (DomainCommand::Rename(Rename { name: " ".into() }), "name"),
        (DomainCommand::Rename(Rename { name: "a/b".into() }), "name"),
        (DomainCommand::Rename(Rename { name: "a\nb".into() }), "name"),
        (DomainCommand::SetTitle(SetTitle { title: "a\nb".into() }), "title"),
        (DomainCommand::SetDescription(SetDescription { description: long }), "description"),
        (DomainCommand::SetDescription(SetDescription { description: "a\0".into() }), "description"),
        (DomainCommand::SetTags(SetTags { tags: vec!["".into()] }), "tags"),
        (DomainCommand::SetTags(SetTags { tags: vec!["a,b".into()] }), "tags"),
        (DomainCommand::SetTags(SetTags { tags: vec!["a".into(); 33] }), "tags"),
    ];
    for (command, field) in bad {
        let fault = command.check_on(&domain(DomainState::Stopped), &host("QEMU")).expect_err("must be refused");
        assert!(fault.reason.starts_with(field), "{fault:?}");
        assert_eq!(fault.kind.status(), 422);
    }
}

#[test]
fn what_only_an_agent_can_do_needs_one_that_answers() {
    use crate::domain::Agent;
    let with = |state, agent| Domain { agent, ..domain(state) };
    let password =
        || DomainCommand::SetGuestPassword(SetGuestPassword { user: "root".into(), password: Secret("geheim".into()) });
    for command in
        [DomainCommand::SyncTime(SyncTime {}), DomainCommand::TrimFileSystems(TrimFileSystems {}), password()]
    {
        let check = |state, agent| command.check_on(&with(state, agent), &host("QEMU")).is_ok();
        assert!(check(DomainState::Running, Agent::Connected), "{command:?}");
        assert!(!check(DomainState::Running, Agent::Disconnected) && !check(DomainState::Running, Agent::Absent));
        assert!(!check(DomainState::Paused, Agent::Connected) && !check(DomainState::Stopped, Agent::Connected));
    }
    // It is in no log, record or trace.
    let written = format!("{:?} {}", password(), serde_json::to_string(&password()).expect("json"));
    assert!(!written.contains("geheim"), "{written}");
    let read: DomainCommand =
        serde_json::from_str(r#"{"kind":"setGuestPassword","user":"root","password":"geheim"}"#).expect("valid");
    // Masked values compare equal to any value, so the text is compared.
    assert!(
        matches!(read, DomainCommand::SetGuestPassword(SetGuestPassword { password, .. }) if password.0 == "geheim")
    );
    for (user, secret) in [("", "x"), ("a:b", "x"), ("root", ""), ("root", "a\nb")] {
        let command =
            DomainCommand::SetGuestPassword(SetGuestPassword { user: user.into(), password: Secret(secret.into()) });
        let fault = command.check_on(&with(DomainState::Running, Agent::Connected), &host("QEMU")).expect_err("wrong");
        assert_eq!(fault.kind.status(), 422);
    }
}

#[test]
fn keys_and_times_are_checked_before_a_guest_is_asked() {
    let ready = Domain { agent: Agent::Connected, ..domain(DomainState::Running) };
    let check = |command: DomainCommand| command.check_on(&ready, &host("QEMU")).map_err(|fault| fault.kind.status());
    let add = |user: &str, key: &str| DomainCommand::AddSshKey(AddSshKey { user: user.into(), key: key.into() });
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ me@home";
    for right in [key, &format!("no-pty,command=\"a b\" {key}"), "ecdsa-sha2-nistp256 AAAAE2VjZHNh"] {
        assert_eq!(check(add("root", right)), Ok(()), "{right}");
    }
    let long = format!("{key}{}", "x".repeat(20_000));
    for wrong in [
        "",
        "hello",
        "ssh-ed25519",
        "ssh-rsa me",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        &format!("{key}\n{key}"),
        &long,
    ] {
        assert_eq!(check(add("root", wrong)), Err(422), "{wrong}");
        assert_eq!(
            check(DomainCommand::RemoveSshKey(RemoveSshKey { user: "root".into(), key: wrong.into() })),
            Err(422),
            "{wrong}"
        );
    }
    assert_eq!(check(add("../root", key)), Err(422));
    for (seconds, answer) in [(0, Err(422)), (1, Ok(())), (600, Ok(())), (601, Err(422))] {
        assert_eq!(check(DomainCommand::FreezeFileSystems(FreezeFileSystems { seconds })), answer, "{seconds}");
    }
    let silent = Domain { agent: Agent::Disconnected, ..ready.clone() };
    let denied = DomainCommand::ThawFileSystems(ThawFileSystems {})
        .check_on(&silent, &host("QEMU"))
        .expect_err("the guest agent is not connected");
    assert!(denied.reason.contains("qemu-guest-agent"), "{}", denied.reason);
}

#[test]
fn a_command_travels_as_its_kind_with_its_arguments() {
    let text = r#"{"requestId":"9d5815f3-0942-43f7-bd25-8c0cb4800b49","host":"atlas","target":"9d5815f3-0942-43f7-bd25-8c0cb4800b40","command":{"kind":"setAutostart","enabled":true}}"#;
    let request: CommandRequest = serde_json::from_str(text).expect("valid");
    assert_eq!(request.command, DomainCommand::SetAutostart(SetAutostart { enabled: true }).into());
    assert_eq!(serde_json::to_string(&request).expect("json"), text);
    assert!(serde_json::from_str::<DomainCommand>(r#"{"kind":"start"}"#).is_ok());
    assert!(serde_json::from_str::<DomainCommand>(r#"{"kind":"undefine"}"#).is_err());
    assert!(serde_json::from_str::<DomainCommand>(r#"{"kind":"start","force":true}"#).is_err());
}

#[test]
fn a_machine_shows_whether_an_unseen_command_had_its_effect() {
    use DomainState as S;
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let saved = Domain { has_managed_save: true, ..domain(S::Stopped) };
    let marked = Domain { tags: tags(&["a", "b"]), autostart: true, ..domain(S::Running) };
    let cases = [
        (DomainCommand::Start(Start {}), Some(domain(S::Running)), Some(true)),
        (DomainCommand::Start(Start {}), Some(domain(S::Stopped)), Some(false)),
        (DomainCommand::Start(Start {}), Some(domain(S::Unknown)), None),
        (DomainCommand::Start(Start {}), None, None),
        (DomainCommand::Pause(Pause {}), Some(domain(S::Paused)), Some(true)),
        (DomainCommand::ForceOff(ForceOff {}), Some(domain(S::Running)), Some(false)),
        (DomainCommand::ForceOff(ForceOff {}), None, Some(true)),
        (DomainCommand::Save(Save {}), Some(saved.clone()), Some(true)),
        (DomainCommand::Save(Save {}), Some(domain(S::Stopped)), Some(false)),
        (DomainCommand::DiscardSave(DiscardSave {}), Some(saved), Some(false)),
        (DomainCommand::SetTags(SetTags { tags: tags(&["b", "a", "b"]) }), Some(marked.clone()), Some(true)),
        (DomainCommand::SetAutostart(SetAutostart { enabled: false }), Some(marked), Some(false)),
        (DomainCommand::Rename(Rename { name: "web-02".into() }), Some(domain(S::Stopped)), Some(false)),
        (DomainCommand::Reset(Reset {}), Some(domain(S::Running)), None),
        (DomainCommand::Reboot(Reboot {}), Some(domain(S::Running)), None),
        (DomainCommand::Nmi(Nmi {}), Some(domain(S::Running)), None),
    ];
    for (command, domain, expected) in cases {
        assert_eq!(command.evidence(domain.as_ref()), expected, "{command:?} {domain:?}");
    }
}

#[test]
fn only_what_loses_nothing_may_be_sent_late() {
    for command in DomainCommand::menu() {
        assert!(!(command.about().harmless && command.loses().is_some()), "{command:?}");
    }
    assert!(
        DomainCommand::Start(Start {}).about().harmless
            && !DomainCommand::Shutdown(Shutdown {}).about().harmless
            && !DomainCommand::Reboot(Reboot {}).about().harmless
    );
}

#[test]
fn what_stops_several_asks_and_what_is_for_many_wants_their_number() {
    let polite = [DomainCommand::Shutdown(Shutdown {}), DomainCommand::Reboot(Reboot {}), DomainCommand::Save(Save {})];
    for command in polite {
        assert!(command.asks(2).is_some() && command.asks(MANY + 1).is_some(), "{command:?}");
        let typed = |count| crate::Command::from(command.clone()).typed("web-01", count);
        assert_eq!((typed(1), typed(MANY), typed(MANY + 1)), (None, None, Some((MANY + 1).to_string())));
    }
    assert!(
        DomainCommand::Shutdown(Shutdown {}).asks(1).is_none() && DomainCommand::Start(Start {}).asks(MANY).is_none()
    );
    assert!(DomainCommand::Start(Start {}).asks(MANY + 1).is_some(), "so many at once are a load");
    assert!(DomainCommand::ForceOff(ForceOff {}).asks(1).is_some());
}
