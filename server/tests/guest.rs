//! Guests that are frozen, full, or malicious: real QEMU guests with the real agent, or with a fake
//! one.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::{
    fs,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use support::{
    agent::Between,
    daemon::{Daemon, run},
    process::Process,
};
use tempfile::TempDir;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

/// An emulated guest needs a CPU for itself to respond in time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A running guest, with a disk of 24 MiB mounted at `/mnt/disk`.
struct Site {
    daemon: Daemon,
    data: TempDir,
    id: String,
}

impl Site {
    async fn new() -> Self {
        let daemon = Daemon::start();
        let disk = daemon.folder.path().join("disk.raw");
        fs::File::create(&disk).and_then(|file| file.set_len(24 << 20)).expect("a disk");
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk));
        let device = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
            disk.display()
        );
        daemon.guest_with("app", &device);
        daemon.virsh(&["start", "app"]);
        daemon.in_guest("app", "modprobe ext4; mkdir -p /mnt/disk; mount -t ext4 /dev/vda /mnt/disk").await;
        let id = daemon.virsh(&["domuuid", "app"]);
        Self { daemon, data: TempDir::new().expect("a folder"), id }
    }

    async fn serve(&self) -> Process {
        let data = self.data.path().to_str().expect("text");
        let connect = self.daemon.connect();
        let server = Process::start(&["--connect", &connect, "--data", data, "--agent-version"], None).await;
        self.domain_when(&server, "its agent is there", |domain| domain["agent"] == "connected").await;
        server
    }

    /// The agent's freeze status, queried without the server.
    fn status(&self) -> String {
        let told = self.daemon.try_virsh(&["qemu-agent-command", "app", r#"{"execute":"guest-fsfreeze-status"}"#]);
        let told: Value = serde_json::from_str(&told.unwrap_or_default()).unwrap_or_default();
        told["return"].as_str().unwrap_or("silent").to_owned()
    }

    async fn until_status(&self, wanted: &str) {
        let began = Instant::now();
        while self.status() != wanted {
            assert!(began.elapsed() < Duration::from_secs(30), "it becomes {wanted}: {}", self.status());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Polls the API until the machine matches.
    async fn domain_when(&self, server: &Process, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (_, all) = server.json("GET", "/api/v1/inventory", &Value::Null).await.expect("answers");
            let domains = all["hosts"]["atlas"]["domains"].as_array().cloned().unwrap_or_default();
            if let Some(domain) = domains.into_iter().find(|domain| domain["name"] == "app" && wanted(domain)) {
                return domain;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{what}: {all}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Restarts the libvirt daemon and waits until the server is connected.
    async fn restart(&self, server: &Process) {
        let since = async || {
            let (_, all) = server.json("GET", "/api/v1/inventory", &Value::Null).await.expect("answers");
            let connection = &all["hosts"]["atlas"]["connection"];
            (connection["connected"].clone(), connection["since"].clone())
        };
        let (_, before) = since().await;
        self.daemon.signal("restart");
        let began = Instant::now();
        while !matches!(since().await, (Value::Bool(true), now) if now != before) {
            assert!(began.elapsed() < Duration::from_secs(60), "it is connected again");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the guest shows a file system mounted there.
    async fn file_system(&self, server: &Process, mount_point: &str) -> Value {
        let path = format!("/api/v1/domains/atlas/{}/guest", self.id);
        let began = Instant::now();
        loop {
            let (_, guest) = server.json("GET", &path, &Value::Null).await.expect("answers");
            let systems = guest["fileSystems"].as_array().cloned().unwrap_or_default();
            if let Some(found) = systems.into_iter().find(|system| system["mountPoint"] == mount_point) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{mount_point} is mounted: {guest}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn freeze(&self, server: &Process, seconds: u32) -> String {
        let wish = json!({ "kind": "freezeFileSystems", "seconds": seconds });
        let (status, answer, id) = server.command(&self.id, wish).await;
        assert_eq!(status, 202, "{answer}");
        server.task_when(&id, 30, |task| task["cancellable"] == true || !task["outcome"].is_null()).await;
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_frozen_guest_is_thawed_in_time_on_demand_and_when_the_server_stops_or_dies() {
    let _alone = ALONE.lock().await;
    let site = Site::new().await;
    let mut server = site.serve().await;

    // A guest without a file system that can be frozen is reported.
    site.daemon.virsh(&["start", "web-01"]);
    let web = site.daemon.virsh(&["domuuid", "web-01"]);
    site.daemon.in_guest("web-01", "true").await;
    let (_, _, id) = server.command(&web, json!({ "kind": "freezeFileSystems", "seconds": 5 })).await;
    let none = server.ended_task(&id).await;
    assert!(none["fault"]["reason"].to_string().contains("no file system"), "{none}");
    site.daemon.virsh(&["destroy", "web-01"]);

    // The time limit ends it.
    let short = site.freeze(&server, 3).await;
    assert_eq!(site.status(), "frozen");
    let task = server.ended_task(&short).await;
    assert_eq!((&task["outcome"], site.status().as_str()), (&json!("succeeded"), "thawed"), "{task}");
    assert!(task["durationMs"].as_u64().expect("a number") >= 3_000, "{task}");

    // A thaw request ends it, and a second freeze is refused until then.
    let long = site.freeze(&server, 600).await;
    let (status, refused, _) = server.command(&site.id, json!({ "kind": "freezeFileSystems", "seconds": 5 })).await;
    assert!(status == 409 && refused["reason"].to_string().contains("already frozen"), "{refused}");
    assert_eq!(site.status(), "frozen", "the first one is as it was");
    let thaw = server.send(&site.id, "thawFileSystems").await;
    assert_eq!(server.ended_task(&thaw).await["outcome"], "succeeded");
    assert_eq!(server.ended_task(&long).await["outcome"], "succeeded");
    assert_eq!(site.status(), "thawed");

    // So does cancelling.
    let cancelled = site.freeze(&server, 600).await;
    server.cancel(&cancelled).await;
    let task = server.ended_task(&cancelled).await;
    assert_eq!((&task["outcome"], site.status().as_str()), (&json!("succeeded"), "thawed"), "{task}");

    // A clean stop of the server.
    site.freeze(&server, 600).await;
    assert_eq!(site.status(), "frozen");
    server.signal("-TERM");
    server.ended().await;
    assert_eq!(site.status(), "thawed");

    // The server is killed: the next one thaws.
    let mut server = site.serve().await;
    let orphan = site.freeze(&server, 600).await;
    server.signal("-KILL");
    server.ended().await;
    assert_eq!(site.status(), "frozen");
    let server = site.serve().await;
    site.until_status("thawed").await;
    let task = server.ended_task(&orphan).await;
    assert_eq!((&task["outcome"], &task["fault"]["fault"]), (&json!("failed"), &json!("interrupted")), "{task}");

    // The libvirt daemon is down at the time limit: it is thawed afterwards.
    let away = site.freeze(&server, 4).await;
    site.daemon.signal("kill");
    server.task_when(&away, 30, |task| task["progress"]["text"] == "Thawing").await;
    site.daemon.signal("restart");
    assert_eq!(server.ended_task(&away).await["outcome"], "succeeded");
    site.until_status("thawed").await;

    // A machine that is off needs no thawing.
    let off = site.freeze(&server, 600).await;
    let forced = server.send(&site.id, "forceOff").await;
    assert_eq!(server.ended_task(&forced).await["outcome"], "succeeded");
    assert_eq!(server.ended_task(&off).await["outcome"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_disk_that_runs_full_inside_is_told_and_keys_come_and_go() {
    let _alone = ALONE.lock().await;
    let site = Site::new().await;
    let server = site.serve().await;
    let domain = site.domain_when(&server, "it tells", |domain| domain["guest"]["hostname"] == "app").await;
    assert!(domain["guest"]["nearlyFull"].is_null(), "{domain}");
    let told = site.daemon.virsh(&["qemu-agent-command", "app", r#"{"execute":"guest-info"}"#]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let version = told["return"]["version"].as_str().expect("text");
    assert_eq!(domain["guest"]["agentVersion"], version, "{domain}");
    assert!(server.text(&format!("/vms/atlas/{}/guest", site.id)).await.contains(version));
    site.daemon.in_guest("app", "dd if=/dev/zero of=/mnt/disk/file bs=1M; true").await;
    // What is full on a read-only disk stays so.
    let image = site.daemon.folder.path().join("sealed.raw");
    fs::File::create(&image).and_then(|file| file.set_len(8 << 20)).expect("a disk");
    let content = TempDir::new().expect("a folder");
    fs::write(content.path().join("file"), vec![7; 7_400_000]).expect("a file");
    run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal", "-d"]).arg(content.path()).arg(&image));
    let xml = site.daemon.folder.path().join("sealed.xml");
    let text = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vdb' bus='virtio'/><readonly/></disk>",
        image.display()
    );
    fs::write(&xml, text).expect("a file");
    site.daemon.virsh(&["attach-device", "app", xml.to_str().expect("text"), "--live"]);
    let mount = "mkdir -p /mnt/sealed; while ! mount -t ext4 -o ro /dev/vdb /mnt/sealed; do sleep 0.1; done";
    site.daemon.in_guest("app", mount).await;
    let sealed = site.file_system(&server, "/mnt/sealed").await;
    let part = |name: &str| sealed[name].as_f64().expect("a number");
    assert!(part("usedBytes") / part("totalBytes") >= 0.9 && sealed["readOnly"] == true, "{sealed}");
    // It is asked again while somebody listens.
    let _listening = server.stream("/events?topics=guest-info-updated").await;
    let full = site.domain_when(&server, "it is full", |domain| domain["guest"]["nearlyFull"].is_array()).await;
    assert_eq!(full["guest"]["nearlyFull"], json!(["/mnt/disk"]));
    let overview = server.text("/").await;
    assert!(overview.contains("/mnt/disk is nearly full"), "{overview}");

    let keys = async |user: &str| {
        let path = format!("/api/v1/domains/atlas/{}/ssh-keys?user={user}", site.id);
        server.json("GET", &path, &Value::Null).await.expect("answers")
    };
    assert_eq!(keys("root").await, (200, json!({ "keys": [] })));
    let (one, two) = ("ssh-ed25519 AAAAC3Nz one@home", "ecdsa-sha2-nistp256 AAAAE2Vj <two>");
    for key in [one, two] {
        let (status, _, id) =
            server.command(&site.id, json!({ "kind": "addSshKey", "user": "root", "key": key })).await;
        assert_eq!((status, &server.ended_task(&id).await["outcome"]), (202, &json!("succeeded")));
    }
    assert_eq!(keys("root").await, (200, json!({ "keys": [two, one] })));
    let page = server.text(&format!("/vms/atlas/{}/guest?keysOf=root", site.id)).await;
    assert!(page.contains("one@home") && page.contains("&lt;two&gt;") && !page.contains("<two>"), "{page}");
    let (_, _, id) = server.command(&site.id, json!({ "kind": "removeSshKey", "user": "root", "key": one })).await;
    assert_eq!(server.ended_task(&id).await["outcome"], "succeeded");
    assert_eq!(keys("root").await, (200, json!({ "keys": [two] })));
    let (status, fault) = keys("nobody-there").await;
    assert!(status >= 400 && fault["reason"].to_string().contains("app"), "{status} {fault}");
    let (_, _, id) = server.command(&site.id, json!({ "kind": "addSshKey", "user": "nobody", "key": one })).await;
    assert_eq!(server.ended_task(&id).await["outcome"], "failed", "there is no such user");
}

/// Malicious agent responses: markup, an endless text, a flood, or noise.
fn lies(question: &str) -> Vec<u8> {
    let question: Value = serde_json::from_str(question).expect("libvirt asks in JSON");
    let told = match question["execute"].as_str().expect("a command") {
        "guest-get-host-name" => json!({ "host-name": MARKUP }),
        "guest-get-osinfo" => json!({ "pretty-name": "x".repeat(200_000), "id": "tiny" }),
        "guest-get-fsinfo" => json!([]),
        "guest-get-time" => json!(0),
        "guest-get-users" => return vec![b'['; 100_000_000],
        _ => return noise(),
    };
    format!("{}\n", json!({ "return": told })).into_bytes()
}

/// A line of bytes that is not JSON. libvirt ignores what follows a NUL.
fn noise() -> Vec<u8> {
    let bytes = (0..5_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]);
    bytes.filter(|byte| ![0, b'\n'].contains(byte)).chain([b'\n']).collect()
}

const MARKUP: &str = "<script>alert(1)</script>";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_agent_that_lies_floods_or_talks_nonsense_harms_nobody() {
    let _alone = ALONE.lock().await;
    let daemon = Daemon::start();
    daemon.guest("app");
    let between = Between::new(&daemon, "app");
    for machine in ["app", "web-01"] {
        daemon.virsh(&["start", machine]);
        daemon.in_guest(machine, "true").await;
    }
    let id = daemon.virsh(&["domuuid", "app"]);
    let site = Site { daemon, data: TempDir::new().expect("a folder"), id };
    let server = site.serve().await;
    let details = format!("/api/v1/domains/atlas/{}/guest", site.id);
    let ask = async || server.json("GET", &details, &Value::Null).await.expect("answers");
    let (status, told) = ask().await;
    assert_eq!((status, &told["hostname"]), (200, &json!("app")), "the real one: {told}");

    // It receives the intended arguments; the password is not stored.
    let (told, heard) = mpsc::channel();
    between.lie(move |question| {
        told.send(question.to_owned()).ok();
        format!("{}\n", json!({ "return": {} })).into_bytes()
    });
    let set = json!({ "kind": "setGuestPassword", "user": "root", "password": "geheim" });
    for command in [json!({ "kind": "syncTime" }), set, json!({ "kind": "rebootByAgent" })] {
        let (_, _, id) = server.command(&site.id, command).await;
        let task = server.ended_task(&id).await;
        assert!(task["outcome"] == "succeeded" && !task.to_string().contains("geheim"), "{task}");
    }
    let heard: Vec<Value> = heard.try_iter().filter_map(|asked| serde_json::from_str(&asked).ok()).collect();
    let said =
        |command: &str| &heard.iter().find(|asked| asked["execute"] == command).expect("it was told")["arguments"];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as f64;
    let set = said("guest-set-time")["time"].as_f64().expect("a number");
    assert!((now - set).abs() < 60e9, "{now} {set}");
    assert_eq!(said("guest-shutdown")["mode"], "reboot");
    let password = said("guest-set-user-password");
    assert_eq!((&password["username"], &password["password"]), (&json!("root"), &json!("Z2VoZWlt")), "in base64");
    let (_, audit) = server.json("GET", "/api/v1/audit", &Value::Null).await.expect("answers");
    assert!(audit.to_string().contains("setGuestPassword") && !audit.to_string().contains("geheim"), "{audit}");

    // Its data is displayed as truncated text; it is queried while there are subscribers.
    between.lie(lies);
    let _listening = server.stream("/events?topics=guest-info-updated").await;
    let lied = site.domain_when(&server, "it lies", |domain| domain["guest"]["hostname"] == MARKUP).await;
    assert_eq!(lied["guest"]["osVersion"].as_str().expect("text").len(), 128, "{lied}");
    let page = server.text(&format!("/vms/atlas/{}", site.id)).await;
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains(MARKUP));

    // A flood: the result is a fault that names the machine, and neither the other machine nor the
    // server is delayed.
    let began = Instant::now();
    let ((status, fault), took) = tokio::join!(ask(), async {
        let web = site.daemon.virsh(&["domuuid", "web-01"]);
        for kind in ["pause", "resume"] {
            let id = server.send(&web, kind).await;
            assert_eq!(server.ended_task(&id).await["outcome"], "succeeded");
        }
        began.elapsed()
    });
    assert!(status >= 400 && fault["reason"].to_string().contains("app"), "{status} {fault}");
    // Each would take as long as the agent's time limit, if it waited for it.
    assert!(took < Duration::from_secs(9), "{took:?}");
    let memory = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("told").trim();
    let peak: u64 = peak.trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 300_000, "what it sends is not kept: {peak} kB");

    // libvirt reopens the channel and gets no response: each query ends at its limit, including
    // those that start when another one ends.
    between.lie(|_| Vec::new());
    site.restart(&server).await;
    let keys = format!("/api/v1/domains/atlas/{}/ssh-keys?user=root", site.id);
    let silence = async {
        let key = json!({ "kind": "addSshKey", "user": "root", "key": "ssh-ed25519 AAAAC3Nz" });
        let keys = server.json("GET", &keys, &Value::Null);
        let (details, keys, (_, _, id)) = tokio::join!(ask(), keys, server.command(&site.id, key));
        (details.0, keys.expect("answers").0, server.ended_task(&id).await["outcome"].clone())
    };
    let (details, keys, added) = timeout(Duration::from_secs(60), silence).await.expect("nobody waits forever");
    // The key may have been added all the same.
    assert!(details >= 400 && keys >= 400 && added == "unknown", "{details} {keys} {added}");

    // Then it gets only noise.
    between.lie(|_| noise());
    let id = server.send(&site.id, "trimFileSystems").await;
    let task = server.ended_task(&id).await;
    assert_eq!(task["outcome"], "failed", "{task}");
    let (status, fault) = ask().await;
    assert!(status >= 400 && fault["reason"].to_string().contains("app"), "{status} {fault}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_freeze_without_an_answer_may_have_worked_and_is_thawed_before_it_fails() {
    let _alone = ALONE.lock().await;
    let daemon = Daemon::start();
    daemon.guest("app");
    let between = Between::new(&daemon, "app");
    daemon.virsh(&["start", "app"]);
    daemon.in_guest("app", "true").await;
    let id = daemon.virsh(&["domuuid", "app"]);
    let site = Site { daemon, data: TempDir::new().expect("a folder"), id };
    let server = site.serve().await;
    // The freeze reaches the guest, its answer does not come back.
    let (tell, heard) = mpsc::channel();
    between.lie(move |question| {
        let asked: Value = serde_json::from_str(question).expect("libvirt asks in JSON");
        let asked = asked["execute"].as_str().expect("a command").to_owned();
        tell.send(asked.clone()).ok();
        match asked.as_str() {
            "guest-fsfreeze-freeze" => Vec::new(),
            "guest-fsfreeze-thaw" => b"{\"return\": 1}\n".to_vec(),
            _ => b"{\"return\": {}}\n".to_vec(),
        }
    });
    let (status, answer, id) = server.command(&site.id, json!({ "kind": "freezeFileSystems", "seconds": 600 })).await;
    assert_eq!(status, 202, "{answer}");
    let task = server.task_when(&id, 150, |task| !task["outcome"].is_null()).await;
    assert_eq!(task["outcome"], "failed", "{task}");
    assert!(task["fault"]["reason"].to_string().contains("app"), "{task}");
    let heard: Vec<String> = heard.try_iter().filter(|asked| asked.starts_with("guest-fsfreeze-")).collect();
    let freeze = heard.iter().position(|asked| asked == "guest-fsfreeze-freeze").expect("it was frozen");
    assert!(heard[freeze..].iter().any(|asked| asked == "guest-fsfreeze-thaw"), "{heard:?}");
}
