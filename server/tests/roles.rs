//! Every command and every event kind, for every role and for anonymous clients. A new kind missing
//! in the tables fails; routes are tested in `attacks`.

mod support;

use std::collections::BTreeSet;

use model::{DomainCommand, Event, NetworkCommand, PoolCommand, stats::LATEST};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{read, site::Site};
use uuid::Uuid;

/// Every machine command; requires operator.
fn of_machines() -> Vec<Value> {
    vec![
        json!({ "kind": "start" }),
        json!({ "kind": "startPaused" }),
        json!({ "kind": "shutdown" }),
        json!({ "kind": "forceOff" }),
        json!({ "kind": "reboot" }),
        json!({ "kind": "rebootByAgent" }),
        json!({ "kind": "reset" }),
        json!({ "kind": "pause" }),
        json!({ "kind": "resume" }),
        json!({ "kind": "save" }),
        json!({ "kind": "discardSave" }),
        json!({ "kind": "nmi" }),
        json!({ "kind": "setAutostart", "enabled": true }),
        json!({ "kind": "rename", "name": "other" }),
        json!({ "kind": "setTitle", "title": "t" }),
        json!({ "kind": "setDescription", "description": "d" }),
        json!({ "kind": "setTags", "tags": ["a"] }),
        json!({ "kind": "syncTime" }),
        json!({ "kind": "trimFileSystems" }),
        json!({ "kind": "freezeFileSystems", "seconds": 5 }),
        json!({ "kind": "thawFileSystems" }),
        json!({ "kind": "addSshKey", "user": "root", "key": "ssh-ed25519 AAAA me" }),
        json!({ "kind": "removeSshKey", "user": "root", "key": "ssh-ed25519 AAAA me" }),
        json!({ "kind": "setGuestPassword", "user": "u", "password": "p" }),
    ]
}

/// Every pool and network command, and the required role.
fn of_what_is_around() -> Vec<(Value, &'static str)> {
    let pool =
        json!({ "name": "p", "kind": "dir", "path": "/srv/p", "host": "", "folder": "", "device": "", "group": "" });
    let volume = json!({ "name": "v", "format": "raw", "capacityBytes": 1024, "preallocate": false, "backing": "", "backingFormat": "" });
    let network = json!({ "name": "n", "mode": "isolated", "bridge": "", "device": "", "ipv4": "", "dhcpFirst": "", "dhcpLast": "", "ipv6": "", "domain": "" });
    vec![
        (json!({ "kind": "startPool" }), "operator"),
        (json!({ "kind": "stopPool" }), "operator"),
        (json!({ "kind": "refreshPool" }), "operator"),
        (json!({ "kind": "buildPool" }), "admin"),
        (json!({ "kind": "setPoolAutostart", "enabled": true }), "operator"),
        (json!({ "kind": "definePool", "pool": pool, "build": false, "autostart": false }), "admin"),
        (json!({ "kind": "deletePool", "content": false }), "operator"),
        (json!({ "kind": "deletePool", "content": true }), "admin"),
        (json!({ "kind": "createVolume", "volume": volume }), "operator"),
        (json!({ "kind": "uploadVolume", "name": "v", "capacityBytes": 1 }), "operator"),
        (json!({ "kind": "fetchVolume", "name": "v", "url": "https://example.org/v" }), "operator"),
        (json!({ "kind": "deleteVolume", "name": "v" }), "operator"),
        (json!({ "kind": "resizeVolume", "name": "v", "capacityBytes": 2048 }), "operator"),
        (json!({ "kind": "cloneVolume", "name": "v", "to": "w" }), "operator"),
        (json!({ "kind": "wipeVolume", "name": "v" }), "operator"),
        (json!({ "kind": "startNetwork" }), "operator"),
        (json!({ "kind": "stopNetwork" }), "operator"),
        (json!({ "kind": "setNetworkAutostart", "enabled": true }), "operator"),
        (json!({ "kind": "defineNetwork", "network": network, "autostart": false }), "operator"),
        (json!({ "kind": "deleteNetwork" }), "operator"),
        (json!({ "kind": "setStaticHost", "mac": "52:54:00:00:00:01", "address": "10.0.0.2", "name": "" }), "operator"),
        (json!({ "kind": "removeStaticHost", "mac": "52:54:00:00:00:01", "address": "10.0.0.2" }), "operator"),
        (json!({ "kind": "setDnsHost", "address": "10.0.0.2", "names": ["db"] }), "operator"),
        (json!({ "kind": "removeDnsHost", "address": "10.0.0.2" }), "operator"),
    ]
}

/// The kinds of a command enum, from the error message of its parser.
fn kinds_of<C: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<C>(json!({ "kind": "" })).err().expect("no kind").to_string();
    let (_, list) = error.split_once("expected one of").expect("it lists them");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn kind(command: &Value) -> String {
    command["kind"].as_str().expect("text").to_owned()
}

/// A server, and the credentials of anonymous and each role, the lowest first.
async fn site() -> (Site, Vec<(&'static str, String)>) {
    let site = Site::new().await;
    let mut known = vec![("nobody", String::new())];
    for role in ["viewer", "operator", "admin"] {
        known.push((
            role,
            format!("Bearer {}", site.run(&["token", "create", role, "--role", role], "").expect("made")),
        ));
    }
    site.add("root", "admin").await;
    (site, known)
}

/// Whether a role includes the required one.
fn reaches(role: &str, least: &str) -> bool {
    let rank =
        |name: &str| ["nobody", "viewer", "operator", "admin"].iter().position(|role| *role == name).expect("known");
    rank(role) >= rank(least)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_taken_from_whom_it_shall_and_from_nobody_else() {
    let around = of_what_is_around();
    let known: BTreeSet<String> =
        of_machines().iter().chain(around.iter().map(|(command, _)| command)).map(kind).collect();
    let every = [kinds_of::<DomainCommand>(), kinds_of::<PoolCommand>(), kinds_of::<NetworkCommand>()]
        .into_iter()
        .flatten()
        .collect::<BTreeSet<_>>();
    assert_eq!(known, every, "each kind of command stands in the table, and no other");
    let (site, people) = site().await;
    let machines = of_machines().into_iter().map(|command| (command, "operator"));
    for (command, least) in machines.chain(around) {
        for (role, bearer) in &people {
            // A missing object: permissions are checked first.
            let (id, target) = (Uuid::new_v4(), Uuid::new_v4());
            let one = json!({ "requestId": id, "host": "demo", "target": target, "command": command });
            let mut ways = vec![("/api/v1/commands", one)];
            if kinds_of::<DomainCommand>().contains(&kind(&command)) {
                let many =
                    json!({ "requestId": Uuid::new_v4(), "host": "demo", "targets": [target], "command": command });
                ways.push(("/api/v1/batches", many));
            }
            for (path, body) in ways {
                let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
                let (status, text) = read(site.server.send("POST", path, &headers, body.to_string()).await).await;
                let expected = match *role {
                    "nobody" => status == 401,
                    role if !reaches(role, least) => status == 403,
                    // It reaches the object, or creates it.
                    _ => [202, 404, 409].contains(&status) || (status == 422 && path.ends_with("batches")),
                };
                assert!(expected, "{path} {command} as {role}: {status} {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_event_is_told_to_whom_it_shall_and_to_nobody_else() {
    const FOR_ADMINS: &[&str] = &["audit-appended"];
    const FOR_VIEWERS: &[&str] = &[
        "vm-state-changed",
        "vm-created",
        "vm-deleted",
        "vm-updated",
        "vm-stats-updated",
        "host-stats-updated",
        "guest-agent-connected",
        "guest-info-updated",
        "snapshot-changed",
        "storage-pool-changed",
        "volume-changed",
        "network-changed",
        "host-devices-changed",
        "connection-status-changed",
        "task-created",
        "task-progress",
        "task-completed",
        "error",
    ];
    let known: BTreeSet<&str> = FOR_ADMINS.iter().chain(FOR_VIEWERS).copied().collect();
    let every: BTreeSet<&str> = Event::KINDS.iter().chain(&LATEST).copied().collect();
    assert_eq!(known, every, "each kind of event stands in a table, and no other");
    let (site, people) = site().await;
    for kind in every {
        let least = if FOR_ADMINS.contains(&kind) { "admin" } else { "viewer" };
        for (role, bearer) in &people {
            let path = format!("/events?topics={kind}&poll=0");
            let (status, text) = read(site.server.send("GET", &path, &[("authorization", bearer)], "").await).await;
            let expected = if *role == "nobody" {
                401
            } else if reaches(role, least) {
                200
            } else {
                403
            };
            assert_eq!(status, expected, "{kind} as {role}: {text}");
        }
    }
    // A client that requests all kinds gets the allowed ones, and continues without the rest.
    let mut streams = Vec::new();
    for (role, bearer) in people.iter().filter(|(role, _)| *role != "nobody") {
        let answer = site.server.send("GET", "/events", &[("authorization", bearer)], "").await;
        streams.push((*role, support::Stream { body: answer.into_body(), text: String::new() }));
    }
    let bearer = &people[2].1;
    let (_, inventory) =
        read(site.server.send("GET", "/api/v1/inventory", &[("authorization", bearer)], "").await).await;
    let inventory: Value = serde_json::from_str(&inventory).expect("JSON");
    let machine = &inventory["hosts"]["demo"]["domains"][0]["id"];
    let wish = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": machine, "command": { "kind": "setTitle", "title": "told" } });
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    assert_eq!(site.server.send("POST", "/api/v1/commands", &headers, wish.to_string()).await.status(), 202);
    for (role, stream) in &mut streams {
        let mut told = BTreeSet::new();
        while !told.contains("task-completed") || (*role == "admin" && !told.contains("audit-appended")) {
            told.insert(stream.next().await.expect("the stream goes on").kind);
        }
        assert!(told.contains("vm-updated"), "{role}: {told:?}");
        assert_eq!(told.contains("audit-appended"), *role == "admin", "{role}: {told:?}");
    }
}
