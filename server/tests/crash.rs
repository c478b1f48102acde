//! Crashes of the process at every step of a command, with a real daemon and a real QEMU guest:
//! nothing is lost or repeated.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    daemon::{Daemon, run},
    process::Process,
};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

/// Events reported by libvirt itself, one per line.
struct Witness {
    file: PathBuf,
    child: std::process::Child,
}

impl Witness {
    fn start(daemon: &Daemon) -> Self {
        let file = daemon.folder.path().join("events");
        let out = fs::File::create(&file).expect("a file");
        let child = daemon
            .watching(&["event", "--loop", "--event", "lifecycle"])
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .expect("virsh runs");
        Self { file, child }
    }

    fn count(&self, word: &str) -> usize {
        fs::read_to_string(&self.file).expect("readable").lines().filter(|line| line.contains(word)).count()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The failpoint, the outcome of the request, and the number of guest starts.
const PLACES: [(&str, &str, usize); 7] = [
    ("before-intent", "succeeded", 1),
    ("after-intent", "failed", 0),
    ("before-libvirt", "failed", 0),
    ("after-libvirt", "succeeded", 1),
    ("before-outcome", "succeeded", 1),
    ("after-outcome", "succeeded", 1),
    ("after-publish", "succeeded", 1),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_process_that_dies_at_any_place_of_a_command_loses_nothing_and_does_nothing_twice() {
    let daemon = Daemon::start();
    let target = daemon.virsh(&["domuuid", "web-01"]);
    let witness = Witness::start(&daemon);
    for (place, outcome, effects) in PLACES {
        let data = TempDir::new().expect("a folder");
        let arguments = ["--connect", &daemon.connect(), "--data", data.path().to_str().expect("text")];
        let before = witness.count("Started");
        let id = Uuid::new_v4().to_string();
        let request = json!({ "requestId": id, "host": "atlas", "target": target, "command": { "kind": "start" } });

        let mut server = Process::start(&arguments, Some(place)).await;
        // The same request five times concurrently; responses may be lost with the process.
        let five = (0..5).map(|_| server.json("POST", "/api/v1/commands", &request));
        let answers = futures_util::future::join_all(five).await;
        timeout(Duration::from_secs(30), server.ended()).await.unwrap_or_else(|_| panic!("{place} was not reached"));
        let accepted = answers.iter().flatten().any(|(status, _)| *status == 202);
        assert!(!(accepted && place == "before-intent"), "what was accepted is on disk");

        let server = Process::start(&arguments, None).await;
        let (_, known) =
            server.json("GET", &format!("/api/v1/audit?requestId={id}"), &Value::Null).await.expect("answers");
        let records = known["records"].as_array().expect("a list").len();
        assert_eq!(records, usize::from(place != "before-intent"), "{place}: {known}");
        let (status, receipt) = server.json("POST", "/api/v1/commands", &request).await.expect("answers");
        assert_eq!((status, &receipt["requestId"]), (202, &json!(id)), "{place}: {receipt}");
        let task = server.ended_task(&id).await;
        assert_eq!(task["outcome"], outcome, "{place}: {task}");
        let (_, again) = server.json("POST", "/api/v1/commands", &request).await.expect("answers");
        assert_eq!(again, receipt, "{place}");
        assert_eq!(witness.count("Started") - before, effects, "{place}: the guest was started");
        if effects > 0 {
            daemon.virsh(&["destroy", "web-01"]);
        }
        drop(server);
        let verify =
            [env!("CARGO_BIN_EXE_belvedere"), "audit", "verify", "--data", data.path().to_str().expect("text")];
        assert!(run(Command::new(verify[0]).args(&verify[1..])).contains("records are intact"), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_process_that_dies_in_a_batch_settles_what_had_begun_and_begins_nothing_more() {
    let daemon = Daemon::start();
    (2..=6).for_each(|n| daemon.guest(&format!("web-0{n}")));
    let targets: Vec<_> = (1..=6).map(|n| daemon.virsh(&["domuuid", &format!("web-0{n}")])).collect();
    let witness = Witness::start(&daemon);
    // The first intent is the batch itself, so it crashes between its parts.
    for place in ["after-intent:3", "before-libvirt:2", "after-libvirt:2", "after-outcome"] {
        let data = TempDir::new().expect("a folder");
        let arguments = ["--connect", &daemon.connect(), "--data", data.path().to_str().expect("text")];
        let before = witness.count("Started");
        let id = Uuid::new_v4().to_string();
        let batch = json!({ "requestId": id, "host": "atlas", "targets": targets, "command": { "kind": "start" } });

        let mut server = Process::start(&arguments, Some(place)).await;
        server.json("POST", "/api/v1/batches", &batch).await;
        timeout(Duration::from_secs(30), server.ended()).await.unwrap_or_else(|_| panic!("{place} was not reached"));

        let server = Process::start(&arguments, None).await;
        let (status, _) = server.json("POST", "/api/v1/batches", &batch).await.expect("answers");
        assert_eq!(status, 202, "{place}");
        let task = server.ended_task(&id).await;
        let (_, parts) =
            server.json("GET", &format!("/api/v1/audit?parent={id}"), &Value::Null).await.expect("answers");
        let parts = parts["records"].as_array().expect("a list").clone();
        let good = parts.iter().filter(|part| part["outcome"] == "succeeded").count();
        assert!(parts.iter().all(|part| !part["endedAt"].is_null()), "{place}: each part has a result: {parts:?}");
        assert_eq!(witness.count("Started") - before, good, "{place}: as many guests started as parts say so");
        let left = targets.len() - parts.len();
        let (outcome, why) = (task["outcome"].as_str(), task["fault"]["fault"].as_str());
        let reason = task["fault"]["reason"].as_str().unwrap_or_default();
        let count = format!("{good} of 6 machines succeeded");
        match left {
            // Results are recorded after the next parts have started, so the last one may have
            // started as well.
            0 if place == "after-outcome" && good == targets.len() => assert_eq!(outcome, Some("succeeded")),
            0 if place == "after-outcome" => assert!(outcome == Some("failed") && reason.contains(&count), "{task}"),
            _ => {
                assert_eq!((outcome, why), (Some("failed"), Some("interrupted")), "{place}");
                let stopped = format!("{count}; Belvedere stopped before {left}");
                assert!(left > 0 && reason.contains(&stopped), "{place}: {reason}");
            }
        }
        for name in daemon.virsh(&["list", "--name"]).split_whitespace() {
            daemon.virsh(&["destroy", name]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn since_when_a_machine_is_paused_outlives_the_server() {
    let daemon = Daemon::start();
    let target = daemon.virsh(&["domuuid", "web-01"]);
    let data = TempDir::new().expect("a folder");
    let arguments = ["--connect", &daemon.connect(), "--data", data.path().to_str().expect("text")];
    let mut server = Process::start(&arguments, None).await;
    for command in ["start", "pause"] {
        let id = server.send(&target, command).await;
        assert_eq!(server.ended_task(&id).await["outcome"], "succeeded");
    }
    let paused = async |server: &Process| loop {
        let (_, all) = server.json("GET", "/api/v1/inventory", &Value::Null).await.expect("answers");
        let machines = all["hosts"]["atlas"]["domains"].as_array().cloned().unwrap_or_default();
        match machines.into_iter().find(|machine| machine["id"] == target.as_str()) {
            Some(machine) if machine["state"] == "paused" => return machine["since"].as_u64().expect("it is told"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let before = paused(&server).await;
    // Events are stored with a delay.
    loop {
        let path = format!("/api/v1/events?target={target}&kinds=vm-state-changed");
        let (_, told) = server.json("GET", &path, &Value::Null).await.expect("answers");
        if told.to_string().contains("\"newState\":\"paused\"") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.signal("-TERM");
    server.ended().await;
    let again = Process::start(&arguments, None).await;
    assert_eq!(paused(&again).await, before, "and not the time at which the new server saw it");
}
