//! Guests that are frozen, full, or that lie: real QEMU guests with the real agent, or with one
//! that answers what it likes.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    daemon::{Daemon, run},
    process::Process,
};
use tempfile::TempDir;
use tokio::{sync::Mutex, time::sleep};

/// An emulated guest needs a processor for itself to answer in time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A guest that runs, with a disk of 24 MiB that is mounted at `/mnt/disk`.
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
        let server = Process::start(&["--connect", &self.daemon.connect(), "--data", data], None).await;
        self.domain_when(&server, "its agent is there", |domain| domain["agent"] == "connected").await;
        server
    }

    /// What the agent says of the file systems, asked beside the server.
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

    /// Waits until the machine is as wanted, as any program would.
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

    // One without a file system that could be frozen is told from one that is.
    site.daemon.virsh(&["start", "web-01"]);
    let web = site.daemon.virsh(&["domuuid", "web-01"]);
    site.daemon.in_guest("web-01", "true").await;
    let (_, _, id) = server.command(&web, json!({ "kind": "freezeFileSystems", "seconds": 5 })).await;
    let none = server.ended_task(&id).await;
    assert!(none["fault"]["reason"].to_string().contains("no file system"), "{none}");
    site.daemon.virsh(&["destroy", "web-01"]);

    // Its time ends by itself.
    let short = site.freeze(&server, 3).await;
    assert_eq!(site.status(), "frozen");
    let task = server.ended_task(&short).await;
    assert_eq!((&task["outcome"], site.status().as_str()), (&json!("succeeded"), "thawed"), "{task}");
    assert!(task["durationMs"].as_u64().expect("a number") >= 3_000, "{task}");

    // Somebody thaws it, and a second freeze waits for that.
    let long = site.freeze(&server, 600).await;
    let (status, refused, _) = server.command(&site.id, json!({ "kind": "freezeFileSystems", "seconds": 5 })).await;
    assert!(status == 409 && refused["reason"].to_string().contains("frozen already"), "{refused}");
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

    // The server stops in an orderly way.
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

    // libvirt's daemon is away when the time ends: it is thawed once it is back.
    let away = site.freeze(&server, 4).await;
    site.daemon.signal("kill");
    server.task_when(&away, 30, |task| task["progress"]["text"] == "Thawing").await;
    site.daemon.signal("restart");
    assert_eq!(server.ended_task(&away).await["outcome"], "succeeded");
    site.until_status("thawed").await;

    // A machine that is switched off needs nobody to thaw it.
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
    site.daemon.in_guest("app", "dd if=/dev/zero of=/mnt/disk/file bs=1M; true").await;
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

/// An agent that answers libvirt's questions with what a script says. `$q` is the question.
fn liar(answers: &str) -> String {
    format!(
        "(sleep 1; killall qemu-ga; sleep 1; exec 3<>/dev/virtio-ports/org.qemu.guest_agent.0
         while :; do
           # Nothing comes before libvirt has opened its end, too.
           read -r q <&3 || {{ sleep 0.1; continue; }}
           case $q in
             *guest-sync*) printf '{{\"return\":%s}}\\n' \"$(echo \"$q\" | sed -n 's/.*\"id\": *\\([0-9]*\\).*/\\1/p')\" >&3 ;;
             {answers}
           esac
         done) </dev/null >/dev/null 2>&1 &"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_agent_that_lies_floods_or_talks_nonsense_harms_nobody() {
    let _alone = ALONE.lock().await;
    let site = Site::new().await;
    site.daemon.virsh(&["start", "web-01"]);
    let server = site.serve().await;
    let details = format!("/api/v1/domains/atlas/{}/guest", site.id);
    let ask = async || server.json("GET", &details, &Value::Null).await.expect("answers");
    assert_eq!(ask().await.0, 200, "the real one");

    let markup = "<script>alert(1)</script>";
    let name = format!("printf '{{\"return\":{{\"host-name\":\"{markup}\"}}}}\\n' >&3");
    let long = "x=$(head -c 20000 /dev/zero | tr '\\0' x); printf '{\"return\":{\"pretty-name\":\"%s\",\"id\":\"tiny\"}}\\n' \"$x\" >&3";
    let flood = "tr '\\0' '[' </dev/zero | head -c 100000000 >&3";
    let script = liar(&format!(
        "*guest-get-host-name*) {name} ;;
         *guest-get-osinfo*) {long} ;;
         *guest-get-fsinfo*) printf '{{\"return\":[]}}\\n' >&3 ;;
         *guest-get-users*) {flood} ;;
         *) head -c 5000 /dev/urandom >&3; echo >&3 ;;"
    ));
    site.daemon.in_guest("app", &script).await;
    let gone = site.domain_when(&server, "the real one is gone", |domain| domain["agent"] == "disconnected").await;
    assert_eq!(gone["state"], "running");
    // What it says is text, cut to size, wherever it is shown; it is asked while somebody listens.
    let _listening = server.stream("/events?topics=guest-info-updated").await;
    let lied = site.domain_when(&server, "it lies", |domain| domain["guest"]["hostname"] == markup).await;
    assert!(lied["guest"]["osVersion"].as_str().expect("text").len() <= 128, "{lied}");
    let page = server.text(&format!("/vms/atlas/{}", site.id)).await;
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains(markup));

    // All of it at once: a flood and noise. The answer is a fault that names the machine.
    let (status, fault) = ask().await;
    assert!(status >= 400 && fault["reason"].to_string().contains("app"), "{status} {fault}");
    // Meanwhile nobody else waits: the other machine, and the server.
    let began = Instant::now();
    let (asked, paused) = tokio::join!(ask(), async {
        let web = site.daemon.virsh(&["domuuid", "web-01"]);
        for kind in ["pause", "resume"] {
            let id = server.send(&web, kind).await;
            assert_eq!(server.ended_task(&id).await["outcome"], "succeeded");
        }
        began.elapsed()
    });
    // Each would take as long as the agent may be silent, if it waited for it.
    assert!(asked.0 >= 400 && paused < Duration::from_secs(9), "{asked:?} {paused:?}");
    let memory = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let peak = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("told").trim();
    let peak: u64 = peak.trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 300_000, "what it sends is not kept: {peak} kB");
    // A command that it does not understand ends with a fault.
    let id = server.send(&site.id, "trimFileSystems").await;
    assert_eq!(server.ended_task(&id).await["outcome"], "failed");
}
