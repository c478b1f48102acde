//! Pool and volume commands by state and use, and argument checks.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::{
    Command, FaultKind,
    command::Address,
    storage::{PoolSpec, PoolState, VolumeSpec},
};

const ID: Uuid = Uuid::from_u128(1);

/// A host with one pool in a given state.
fn host(state: PoolState) -> HostInventory {
    let mut host = HostInventory::unread("atlas".parse().expect("a name"), "qemu:///system".into(), false, 0);
    host.host.connection.connected = true;
    let pool = Pool {
        id: ID,
        name: "images".into(),
        kind: "dir".into(),
        path: "/srv/images".into(),
        persistent: true,
        state,
        available_bytes: 1_000,
        ..Pool::default()
    };
    host.pools.insert(ID, Arc::new(pool));
    host
}

fn check(command: PoolCommand, host: &HostInventory) -> Result<(), FaultKind> {
    Command::from(command).check(host, ID, None).map_err(|fault| fault.kind)
}

#[test]
fn each_state_of_a_pool_allows_what_makes_sense() {
    let (started, stopped) = (host(PoolState::Running), host(PoolState::Inactive));
    let denied = Err(FaultKind::Denied);
    for (command, when_started, when_stopped) in [
        (PoolCommand::StartPool(StartPool {}), denied, Ok(())),
        (PoolCommand::StopPool(StopPool {}), Ok(()), denied),
        (PoolCommand::RefreshPool(RefreshPool {}), Ok(()), denied),
        (PoolCommand::BuildPool(BuildPool {}), denied, Ok(())),
        (PoolCommand::SetPoolAutostart(SetPoolAutostart { enabled: true }), Ok(()), Ok(())),
        (PoolCommand::DeletePool(DeletePool { content: false }), Ok(()), Ok(())),
        (PoolCommand::DeletePool(DeletePool { content: true }), Ok(()), denied),
        (PoolCommand::DeleteVolume(DeleteVolume { name: "unused".into() }), Ok(()), denied),
        (PoolCommand::ResizeVolume(ResizeVolume { name: "web.qcow2".into(), capacity_bytes: 5 }), Ok(()), denied),
    ] {
        assert_eq!(check(command.clone(), &started), when_started, "{command:?}");
        assert_eq!(check(command.clone(), &stopped), when_stopped, "{command:?}");
    }
}

#[test]
fn a_volume_that_is_there_can_be_named_whatever_it_is_called() {
    let started = host(PoolState::Running);
    let long = "x".repeat(240);
    for name in ["-rf", ".hidden", " ", "a\u{1}b", long.as_str()] {
        assert_eq!(check(PoolCommand::DeleteVolume(DeleteVolume { name: name.into() }), &started), Ok(()), "{name:?}");
        assert_eq!(
            check(PoolCommand::CloneVolume(CloneVolume { name: name.into(), to: "copy".into() }), &started),
            Ok(())
        );
        let new = PoolCommand::UploadVolume(UploadVolume { name: name.into(), capacity_bytes: 5 });
        assert_eq!(check(new, &started), Err(FaultKind::Invalid), "{name:?}");
    }
    let name = crate::storage::escaped(b"caf\xe9-\xff\xc3\xa9");
    assert_eq!(name, "caf\\xe9-\\xffé");
    assert_eq!(
        check(PoolCommand::DeleteVolume(DeleteVolume { name }), &started),
        Err(FaultKind::Denied),
        "the name is not valid UTF-8"
    );
    for name in [r"a\x", r"a\xe", r"a\x41", r"\\share"] {
        assert_eq!(check(PoolCommand::DeleteVolume(DeleteVolume { name: name.into() }), &started), Ok(()), "{name}");
    }
    for name in ["", "../x", "a\0b"] {
        assert_eq!(
            check(PoolCommand::DeleteVolume(DeleteVolume { name: name.into() }), &started),
            Err(FaultKind::Invalid)
        );
    }
}

#[test]
fn what_is_used_is_not_taken_away_and_who_uses_it_is_named() {
    let pool = Pool { name: "images".into(), ..Pool::default() };
    let machine = |active| VolumeUse { vm_id: Some(ID), name: "web-01".into(), active, unresponsive: false };
    let overlay = VolumeUse { name: "overlay.qcow2".into(), ..VolumeUse::default() };
    let silent = VolumeUse { unresponsive: true, ..machine(true) };
    let name = || "a.qcow2".to_owned();
    let base = VolumeSpec { name: "b".into(), backing: "/srv/images/a.qcow2".into(), ..VolumeSpec::default() };
    let commands = [
        (PoolCommand::StopPool(StopPool {}), [true, false, false]),
        (PoolCommand::DeletePool(DeletePool { content: false }), [true, true, false]),
        (PoolCommand::DeletePool(DeletePool { content: true }), [true, true, true]),
        (PoolCommand::DeleteVolume(DeleteVolume { name: name() }), [true, true, true]),
        (PoolCommand::WipeVolume(WipeVolume { name: name() }), [true, true, true]),
        (PoolCommand::CloneVolume(CloneVolume { name: name(), to: "copy".into() }), [true, false, false]),
        (PoolCommand::ResizeVolume(ResizeVolume { name: name(), capacity_bytes: 5 }), [false, false, true]),
        (PoolCommand::CreateVolume(CreateVolume { volume: base }), [true, false, false]),
        (PoolCommand::RefreshPool(RefreshPool {}), [false, false, false]),
    ];
    let resize = PoolCommand::ResizeVolume(ResizeVolume { name: name(), capacity_bytes: 5 });
    let why = resize
        .check_use(&pool, std::slice::from_ref(&silent))
        .expect_err("a machine that does not respond blocks it")
        .reason;
    assert!(why.starts_with("web-01 is not responding"), "{why}");
    for (command, hindered) in commands {
        let users = [machine(true), machine(false), overlay.clone()];
        for (user, hindered) in users.iter().zip(hindered) {
            let checked = command.check_use(&pool, std::slice::from_ref(user));
            match checked {
                Ok(()) => assert!(!hindered, "{command:?} {user:?}"),
                Err(fault) => {
                    assert!(hindered && fault.kind == FaultKind::Denied, "{command:?} {user:?} {fault:?}");
                    assert!(fault.reason.contains(&user.name) && fault.next.is_some(), "{fault:?}");
                }
            }
        }
        assert_eq!(command.check_use(&pool, &[]), Ok(()));
        if hindered[0] {
            let fault = command.check_use(&pool, std::slice::from_ref(&silent)).expect_err("it may use it");
            assert!(fault.reason.starts_with("web-01 is not responding"), "{fault:?}");
        }
    }
}

#[test]
fn a_new_pool_has_a_name_and_a_uuid_of_its_own() {
    let host = host(PoolState::Running);
    let define = |name: &str, id| {
        let pool = PoolSpec { name: name.into(), path: "/srv/x".into(), ..PoolSpec::default() };
        let command = Command::from(PoolCommand::DefinePool(DefinePool { pool, build: true, autostart: true }));
        command.check(&host, id, None).map_err(|fault| fault.kind)
    };
    assert_eq!(define("backup", Uuid::from_u128(9)), Ok(()));
    let mut poor = host.clone();
    poor.host.info = Some(crate::HostInfo { pool_types: vec!["logical".into()], ..crate::HostInfo::default() });
    let pool = PoolSpec { name: "b".into(), path: "/srv/x".into(), ..PoolSpec::default() };
    let command = Command::from(PoolCommand::DefinePool(DefinePool { pool, build: true, autostart: true }));
    let fault = command.check(&poor, Uuid::from_u128(9), None).expect_err("no driver");
    assert!(fault.kind == FaultKind::Denied && fault.reason.contains("type dir"), "{fault:?}");
    assert_eq!(define("images", Uuid::from_u128(9)), Err(FaultKind::Conflict));
    assert_eq!(define("backup", ID), Err(FaultKind::Conflict));
    let gone = Command::from(PoolCommand::StartPool(StartPool {})).check(&host, Uuid::from_u128(9), None);
    assert_eq!(gone.expect_err("gone").kind, FaultKind::NotFound);
}

#[test]
fn a_file_is_fetched_from_an_address_that_can_be_one_and_tells_no_password() {
    let host = host(PoolState::Running);
    let fetch = |url: &str, sha256: &str| {
        check(
            PoolCommand::FetchVolume(FetchVolume {
                name: "a.iso".into(),
                url: Address(url.into()),
                sha256: sha256.into(),
            }),
            &host,
        )
    };
    let digits = "0123456789abcdefABCDEF".repeat(3);
    for url in ["https://example.org/a.iso", "http://10.0.0.1:8080/a?b=c#d", "https://[2001:db8::1]/a"] {
        assert_eq!(fetch(url, ""), Ok(()), "{url}");
        assert_eq!(fetch(url, &digits[..64]), Ok(()), "{url}");
    }
    let long = format!("https://example.org/{}", "a".repeat(2_048));
    for url in [
        "",
        "ftp://example.org/a",
        "https://",
        "https:///a",
        "file:///etc/passwd",
        "https://a b/c",
        "https://a/\n",
        "https://a/b?***",
        &long,
    ] {
        assert_eq!(fetch(url, ""), Err(FaultKind::Invalid), "{url}");
    }
    assert_eq!(fetch("https://jane:secret@example.org/a", ""), Err(FaultKind::Invalid));
    assert_eq!(fetch("https://example.org/a@b", ""), Ok(()), "only who logs in is a secret");
    for sha256 in ["abc", &digits[..63], &"g".repeat(64)] {
        assert_eq!(fetch("https://example.org/a", sha256), Err(FaultKind::Invalid), "{sha256}");
    }
}

#[test]
fn a_kind_is_read_back_as_itself() {
    for kind in PoolCommand::ALL.iter().map(|about| about.kind) {
        let json = format!(
            "{{\"kind\":\"{kind}\",\"enabled\":true,\"content\":true,\"name\":\"a\",\"to\":\"b\",\"capacityBytes\":1,\"url\":\"u\",\"sha256\":\"\",\
             \"pool\":{{\"kind\":\"dir\"}},\"build\":true,\"autostart\":true,\"volume\":{{}}}}"
        );
        let mut value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        // Fields of other commands are removed one after the other.
        let command = loop {
            match serde_json::from_value::<PoolCommand>(value.clone()) {
                Ok(command) => break command,
                Err(error) => {
                    let text = error.to_string();
                    let field = text.split('`').nth(1).expect("it names the field").to_owned();
                    value.as_object_mut().expect("an object").remove(&field).expect("it was there");
                }
            }
        };
        assert_eq!(command.kind(), kind);
    }
}
