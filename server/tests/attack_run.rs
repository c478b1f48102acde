//! One run of attacks by an operator and a viewer on a real host: read, grow, fill, stall, outlive,
//! guess. Another user works meanwhile, and their waiting time is measured. It needs root; `make
//! test` runs it.

#![expect(clippy::print_stdout, reason = "figures are printed")]

mod support;

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use serde_json::{Value, json};
use support::{Running, daemon::Daemon, read, resident, site::Site};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// A secret that no attacker may see.
const SECRET: &str = "the-hosts-own-secret-0451";

/// A client with a token.
struct Somebody<'a> {
    server: &'a Running,
    token: String,
}

impl<'a> Somebody<'a> {
    fn new(site: &'a Site, name: &str, role: &str) -> Self {
        let said = site.run(&["token", "create", name, "--role", role], "").expect("made");
        let token = format!("Bearer {}", said.lines().last().expect("a token").trim());
        Self { server: &site.server, token }
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> (u16, String) {
        let headers = [("authorization", self.token.as_str()), ("content-type", kind)];
        read(self.server.send(method, path, &headers, body).await).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, "application/json", Vec::new()).await
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.1).unwrap_or_default()
    }

    /// Sends a command; returns the status and the task id.
    async fn command(&self, target: &str, command: Value) -> (u16, String) {
        let id = Uuid::new_v4().to_string();
        let request = json!({ "requestId": id, "host": "atlas", "target": target, "command": command });
        let (status, _) = self.send("POST", "/api/v1/commands", "application/json", request.to_string().into()).await;
        (status, id)
    }

    /// The result of a task.
    async fn ended(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let task = self.json(&format!("/api/v1/tasks/{id}")).await;
            if task["outcome"] != Value::Null || began.elapsed() > Duration::from_secs(20) {
                return task;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Uploads a file to a pool; returns the result.
    async fn upload(&self, pool: &str, name: &str, content: Vec<u8>) -> Value {
        let command = json!({ "kind": "uploadVolume", "name": name, "capacityBytes": content.len() });
        let (status, id) = self.command(pool, command).await;
        assert_eq!(status, 202);
        let path = format!("/api/v1/uploads/{id}");
        while self.get(&path).await.0 != 200 {
            sleep(Duration::from_millis(20)).await;
        }
        self.send("PUT", &format!("{path}?offset=0"), "application/octet-stream", content).await;
        self.ended(&id).await
    }
}

/// Images that refer to a file of the host in different ways.
fn hostile_images(folder: &std::path::Path, secret: &std::path::Path) -> Vec<(&'static str, Vec<u8>)> {
    let image = |name: &'static str, arguments: &[&str]| {
        let path = folder.join(name);
        let made = Command::new("qemu-img").args(arguments).arg(&path).arg("1M").status().expect("qemu-img runs");
        assert!(made.success(), "{name}");
        (name, fs::read(path).expect("made"))
    };
    let secret = secret.to_str().expect("text");
    let json = format!("json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{secret}\"}}}}");
    let base = ["create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b"];
    vec![
        image("backing.qcow2", &[&base[..], &[secret]].concat()),
        image("json.qcow2", &[&base[..], &[json.as_str()]].concat()),
        image(
            "data.qcow2",
            &["create", "-q", "-f", "qcow2", "-o", &format!("data_file={secret}.new,data_file_raw=on")],
        ),
        (
            "flat.vmdk",
            format!("# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"{secret}\" 0\n")
                .into_bytes(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn an_operator_and_a_viewer_read_grow_fill_stall_outlive_and_guess_nothing() {
    let daemon = Daemon::start();
    let folder = daemon.folder.path();
    let (images, secret) = (folder.join("images"), folder.join("secret.raw"));
    fs::write(&secret, SECRET.repeat(1_000)).expect("written");
    daemon.virsh(&["pool-define-as", "images", "dir", "--target", images.to_str().expect("text")]);
    daemon.virsh(&["pool-build", "images"]);
    daemon.virsh(&["pool-start", "images"]);
    daemon.virsh(&["vol-create-as", "images", "large.raw", "1G", "--format", "raw"]);
    daemon.virsh(&["vol-create-as", "images", "disk.raw", "8M", "--format", "raw"]);
    // A machine uses it by another path.
    std::os::unix::fs::symlink(&images, folder.join("way")).expect("made");
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        folder.join("way/disk.raw").display()
    );
    daemon.guest_with("busy", &disk);
    daemon.virsh(&["start", "busy"]);
    let site = Site::with(&["--connect", &daemon.connect(), "--auth", "auto"]).await;
    let [eve, ann, root] = [("eve", "operator"), ("ann", "operator"), ("root", "admin")]
        .map(|(name, role)| Somebody::new(&site, name, role));
    let vic = Somebody::new(&site, "vic", "viewer");
    let inventory = ann.json("/api/v1/inventory").await;
    let pool = inventory["hosts"]["atlas"]["pools"][0]["id"].as_str().expect("a pool").to_owned();
    let machine = daemon.virsh(&["domuuid", "busy"]);

    // A user works all the time.
    let over = Arc::new(AtomicBool::new(false));
    let work = async {
        let (mut waits, mut n) = (Vec::new(), 0);
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            n += 1;
            let (status, id) = ann.command(&machine, json!({ "kind": "setTitle", "title": format!("Work {n}") })).await;
            assert_eq!(status, 202, "who does nothing wrong is not hindered");
            assert_eq!(ann.ended(&id).await["outcome"], "succeeded");
            assert_eq!(ann.get("/api/v1/inventory").await.0, 200);
            waits.push(began.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
        waits.sort_unstable();
        waits
    };
    let attack = async {
        let (memory, began) = (resident(), Instant::now());
        let length = fs::metadata(&secret).expect("there").len();
        // Read and grow.
        for (name, content) in hostile_images(folder, &secret) {
            let brought = eve.upload(&pool, name, content).await;
            for command in [
                json!({ "kind": "cloneVolume", "name": name, "to": "copy.raw" }),
                json!({ "kind": "resizeVolume", "name": name, "capacityBytes": 64 << 20 }),
            ] {
                let (status, id) = eve.command(&pool, command.clone()).await;
                let done = status == 202 && eve.ended(&id).await["outcome"] == "succeeded";
                assert!(!done, "{name}: {command}");
            }
            for volume in [name, "copy.raw"] {
                let (_, content) = eve.get(&format!("/api/v1/pools/atlas/{pool}/content?volume={volume}")).await;
                assert!(!content.contains(&SECRET.repeat(2)), "{volume}: {brought}");
            }
        }
        assert_eq!(fs::metadata(&secret).expect("there").len(), length, "nothing has grown");
        for kind in ["deleteVolume", "wipeVolume"] {
            let (status, id) = eve.command(&pool, json!({ "kind": kind, "name": "disk.raw" })).await;
            assert!(status != 202 || eve.ended(&id).await["outcome"] == "failed", "{kind} of a running machine's disk");
        }
        assert_eq!(eve.command(&pool, json!({ "kind": "stopPool" })).await.0, 409);
        for command in ["start", "deleteVolume", "stopPool"] {
            assert_eq!(vic.command(&pool, json!({ "kind": command, "name": "disk.raw" })).await.0, 403, "{command}");
        }
        // No role can create a pool in system directories or our own data.
        for path in ["/etc", "/root/x", "/srv/../etc/x", site.data.to_str().expect("text")] {
            let made = json!({ "kind": "definePool", "pool": { "name": "evil", "kind": "dir", "path": path }, "build": false, "autostart": false });
            let (status, _) = root.command(&Uuid::new_v4().to_string(), made).await;
            assert!(status == 409 || status == 422, "{path}: {status}");
        }
        println!("read and grow: nothing, in {:.1} s", began.elapsed().as_secs_f64());

        // Fill.
        for text in ["a\u{ffff}", "\u{fffe}", "\u{b}", "a\u{0}"] {
            for command in [
                json!({ "kind": "setTitle", "title": text }),
                json!({ "kind": "setDescription", "description": text }),
                json!({ "kind": "setTags", "tags": [text] }),
            ] {
                assert_eq!(eve.command(&machine, command.clone()).await.0, 422, "{command}");
            }
        }
        let (records, began) = (root.get("/api/v1/audit.jsonl").await.1.len(), Instant::now());
        let (mut refused, mut too_many) = (0, 0);
        for n in 0..500 {
            let (status, _) = eve
                .command(
                    &machine,
                    json!({ "kind": "setDescription", "description": format!("{n} {}", "x".repeat(60_000)) }),
                )
                .await;
            refused += u32::from(status == 422);
            too_many += u32::from(status == 429);
        }
        for _ in 0..30 {
            let targets: Vec<Uuid> = (0..500).map(|_| Uuid::new_v4()).collect();
            let batch = json!({ "requestId": Uuid::new_v4(), "host": "atlas", "targets": targets, "command": { "kind": "start" } });
            too_many += u32::from(
                eve.send("POST", "/api/v1/batches", "application/json", batch.to_string().into()).await.0 == 429,
            );
        }
        let grown = (root.get("/api/v1/audit.jsonl").await.1.len() - records) >> 10;
        println!(
            "fill: {refused} refused and {too_many} too many in {:.1} s; records grew by {grown} kB, memory {memory} → {} MiB",
            began.elapsed().as_secs_f64(),
            resident()
        );
        assert!(too_many > 100 && grown < 16 << 10, "{too_many} {grown}");
        assert!(resident() < memory + 64, "{memory} → {}", resident());

        // Stall: unread streams, abandoned queries.
        let began = Instant::now();
        let mut held = Vec::new();
        let mut turned_away = 0;
        for _ in 0..230 {
            let headers = [("authorization", vic.token.as_str())];
            let answer = site.server.send("GET", "/events", &headers, "").await;
            turned_away += u32::from(answer.status() == 429);
            held.push(answer);
        }
        for n in 0..40 {
            let path = format!("/api/v1/events?q=nothing{n}");
            timeout(Duration::from_millis(5), vic.get(&path)).await.ok();
        }
        println!("stall: {turned_away} of 230 streams turned away, in {:.1} s", began.elapsed().as_secs_f64());
        assert!(turned_away >= 30, "{turned_away}");
        drop(held);

        // Guess.
        let began = Instant::now();
        for _ in 0..100 {
            let guess = [("authorization", format!("Bearer {}", Uuid::new_v4()))];
            let [(name, value)] = &guess;
            assert_eq!(
                site.server.send("GET", "/api/v1/inventory", &[(*name, value.as_str())], "").await.status(),
                401
            );
            assert_eq!(eve.get(&format!("/api/v1/uploads/{}", Uuid::new_v4())).await.0, 404);
        }
        println!("guess: 200 guesses, none right, in {:.1} s", began.elapsed().as_secs_f64());

        // Outlive.
        let headers = [("authorization", eve.token.as_str())];
        let content = format!("/api/v1/pools/atlas/{pool}/content?volume=large.raw");
        let mut body = site.server.send("GET", &content, &headers, "").await.into_body();
        body.frame().await.expect("it begins").expect("it is read");
        site.run(&["token", "revoke", "eve"], "").expect("revoked");
        let (began, mut more) = (Instant::now(), 0);
        while let Ok(Some(Ok(frame))) = timeout(Duration::from_secs(10), body.frame()).await {
            more += frame.data_ref().map_or(0, |data| data.len());
            // As slowly as an attacker would to keep it.
            sleep(Duration::from_millis(5)).await;
        }
        println!(
            "outlive: {} MiB more, {:.1} s after the token was revoked",
            more >> 20,
            began.elapsed().as_secs_f64()
        );
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert_eq!(eve.get("/api/v1/inventory").await.0, 401);
        over.store(true, Ordering::Relaxed);
    };
    let ((), waits) = tokio::join!(attack, work);
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
    println!(
        "others: {} commands, median {:?}, 99 of 100 within {:?}, longest {:?}",
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(waits.len() >= 10 && at(0.5) < Duration::from_secs(1) && at(1.0) < Duration::from_secs(5), "{waits:?}");
    assert_eq!(daemon.virsh(&["domstate", "busy"]), "running", "its disk is as it was");
}
