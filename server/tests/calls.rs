//! libvirt calls that are slow, break, or outlive the server, with a real daemon and real QEMU
//! guests.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::{Value, json};
use support::{daemon::Daemon, process::Process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// A server that can be restarted.
struct Site {
    daemon: Daemon,
    data: TempDir,
    target: String,
}

impl Site {
    fn with(daemon: Daemon) -> Self {
        let target = daemon.virsh(&["domuuid", "web-01"]);
        Self { daemon, data: TempDir::new().expect("a folder"), target }
    }

    async fn serve(&self) -> Process {
        let data = self.data.path().to_str().expect("text");
        Process::start(&["--connect", &self.daemon.connect(), "--data", data], None).await
    }
}

fn is_waiting(task: &Value) -> bool {
    let text = task["progress"]["text"].as_str().unwrap_or_default();
    task["cancellable"] == true && text.contains("Waiting for the guest")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_guest_that_ignores_the_power_button_is_waited_for_until_somebody_cancels() {
    let site = Site::with(Daemon::start());
    let server = site.serve().await;
    // Early firmware does not support ACPI.
    let start = server.send(&site.target, "start").await;
    assert_eq!(server.ended_task(&start).await["outcome"], "succeeded");
    let shutdown = server.send(&site.target, "shutdown").await;
    server.task_when(&shutdown, 20, is_waiting).await;
    server.cancel(&shutdown).await;
    let task = server.ended_task(&shutdown).await;
    assert_eq!((task["outcome"].as_str(), task["fault"]["fault"].as_str()), (Some("failed"), Some("cancelled")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_command_in_flight_when_the_server_stops_is_unknown_on_disk_and_settled_after() {
    let site = Site::with(Daemon::start());
    let mut server = site.serve().await;
    let start = server.send(&site.target, "start").await;
    server.ended_task(&start).await;
    let shutdown = server.send(&site.target, "shutdown").await;
    server.task_when(&shutdown, 20, is_waiting).await;
    server.signal("-TERM");
    timeout(Duration::from_secs(30), server.ended()).await.expect("it stops all the same");

    let server = site.serve().await;
    let record = server.record(&shutdown).await;
    assert_eq!((record["outcome"].as_str(), record["fault"]["fault"].as_str()), (Some("unknown"), Some("interrupted")));
    assert!(record["fault"]["reason"].as_str().expect("text").contains("Belvedere stopped before"), "{record}");
    site.daemon.virsh(&["destroy", "web-01"]);
    assert_eq!(server.ended_task(&shutdown).await["outcome"], "succeeded", "the machine itself shows it");
    assert_eq!(server.record(&shutdown).await["outcome"], "succeeded");
}

/// A libvirt hook that waits while a file exists, like a slow start.
fn hook(folder: &Path) {
    let hooks = folder.join("etc/hooks");
    fs::create_dir_all(&hooks).expect("a folder");
    let (file, here) = (hooks.join("qemu"), folder.display());
    fs::write(&file, format!("#!/bin/sh\n[ -e {here}/dawdle-$2 ] && touch {here}/reached && sleep 60\nexit 0\n"))
        .expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_call_whose_daemon_dies_in_the_middle_is_settled_by_the_machine_and_not_repeated() {
    let site = Site::with(Daemon::prepared(&[], hook));
    let server = site.serve().await;
    // Before QEMU runs the command had no effect, after that it had.
    for (phase, outcome, state) in [("prepare", "failed", "shut off"), ("started", "succeeded", "running")] {
        let folder = site.daemon.folder.path();
        fs::write(folder.join(format!("dawdle-{phase}")), "").expect("written");
        let start = server.send(&site.target, "start").await;
        let began = Instant::now();
        while !folder.join("reached").exists() {
            assert!(began.elapsed() < Duration::from_secs(20), "{phase}: libvirt calls its hook");
            sleep(Duration::from_millis(20)).await;
        }
        site.daemon.signal("kill");
        fs::remove_file(folder.join(format!("dawdle-{phase}"))).expect("removed");
        fs::remove_file(folder.join("reached")).expect("removed");
        let unknown = server.task_when(&start, 20, |task| task["state"] == "unknown").await;
        assert!(unknown["outcome"].is_null(), "{phase}: it is looked at before it is judged");
        site.daemon.signal("restart");
        let task = server.ended_task(&start).await;
        assert_eq!(task["outcome"], outcome, "{phase}: {task}");
        assert_eq!(site.daemon.virsh(&["domstate", "web-01"]), state, "{phase}");
        if outcome == "failed" {
            assert!(task["fault"]["reason"].as_str().expect("text").contains("and had no effect on"), "{task}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn saving_a_machine_tells_how_far_it_is_and_can_be_cancelled() {
    // Incompressible memory, and a slow compression.
    let environment = [("QEMU_CONF", "save_image_format = \"xz\""), ("GUEST_MIB", "256")];
    let site = Site::with(Daemon::prepared(&environment, |_| {}));
    let server = site.serve().await;
    let start = server.send(&site.target, "start").await;
    server.ended_task(&start).await;
    let agent = |wish: Value| site.daemon.try_virsh(&["qemu-agent-command", "web-01", &wish.to_string()]);
    let fill = json!({ "execute": "guest-exec", "arguments":
        { "path": "/bin/busybox", "arg": ["dd", "if=/dev/urandom", "of=/filled", "bs=1M", "count=30"] } });
    let began = Instant::now();
    let pid = loop {
        match agent(fill.clone()) {
            Some(answer) => break serde_json::from_str::<Value>(&answer).expect("JSON")["return"]["pid"].clone(),
            None => sleep(Duration::from_millis(200)).await,
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the agent answers");
    };
    loop {
        let wish = json!({ "execute": "guest-exec-status", "arguments": { "pid": pid } });
        let answer: Value = serde_json::from_str(&agent(wish).expect("answers")).expect("JSON");
        if answer["return"]["exited"] == true {
            assert_eq!(answer["return"]["exitcode"], 0, "the guest fills its memory");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "in time");
        sleep(Duration::from_millis(200)).await;
    }

    let save = server.send(&site.target, "save").await;
    let percent = |task: &Value| task["progress"]["percent"].as_u64().unwrap_or_default();
    let first = server.task_when(&save, 30, |task| percent(task) > 0).await;
    assert_eq!((first["state"].as_str(), first["cancellable"].as_bool()), (Some("running"), Some(true)), "{first}");
    server.task_when(&save, 30, |task| percent(task) > percent(&first)).await;
    server.cancel(&save).await;
    let task = server.ended_task(&save).await;
    assert_eq!((task["outcome"].as_str(), task["fault"]["fault"].as_str()), (Some("failed"), Some("cancelled")));
    assert!(task["log"].to_string().contains("Cancellation requested"), "{task}");
    assert_eq!(site.daemon.virsh(&["domstate", "web-01"]), "running", "it goes on as before");

    let save = server.send(&site.target, "save").await;
    let task = server.task_when(&save, 120, |task| !task["outcome"].is_null()).await;
    assert_eq!(task["outcome"], "succeeded", "{task}");
    assert!(site.daemon.virsh(&["dominfo", "web-01"]).contains("Managed save:   yes"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn guests_that_ignore_the_power_button_are_waited_for_all_at_once_until_somebody_cancels() {
    let daemon = Daemon::start();
    (2..=6).for_each(|n| daemon.guest(&format!("web-0{n}")));
    let targets: Vec<_> = (1..=6).map(|n| daemon.virsh(&["domuuid", &format!("web-0{n}")])).collect();
    let data = TempDir::new().expect("a folder");
    let arguments = ["--connect", &daemon.connect(), "--data", data.path().to_str().expect("text")];
    let server = Process::start(&arguments, None).await;
    let send = async |kind: &str| {
        let id = Uuid::new_v4().to_string();
        let batch = json!({ "requestId": id, "host": "atlas", "targets": targets, "command": { "kind": kind } });
        let (status, answer) = server.json("POST", "/api/v1/batches", &batch).await.expect("answers");
        assert_eq!(status, 202, "{answer}");
        id
    };
    // Early firmware does not support ACPI.
    let start = send("start").await;
    assert_eq!(server.ended_task(&start).await["outcome"], "succeeded");
    let shutdown = send("shutdown").await;
    let began = Instant::now();
    loop {
        let (_, tasks) = server.json("GET", "/api/v1/tasks", &Value::Null).await.expect("answers");
        let tasks = tasks["tasks"].as_array().expect("a list").clone();
        let parts = tasks.iter().filter(|task| task["parent"] == json!(shutdown));
        let waiting = parts.filter(|task| task["cancellable"] == true);
        let texts = waiting.filter_map(|task| task["progress"]["text"].as_str());
        if texts.filter(|text| text.contains("Waiting for the guest")).count() == targets.len() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "more wait than may call libvirt at once: {tasks:?}");
        sleep(Duration::from_millis(50)).await;
    }
    server.cancel(&shutdown).await;
    let task = server.ended_task(&shutdown).await;
    assert_eq!((task["outcome"].as_str(), task["fault"]["fault"].as_str()), (Some("failed"), Some("refused")));
    assert!(task["fault"]["reason"].as_str().expect("text").contains("0 of 6 machines succeeded"), "{task}");
}
