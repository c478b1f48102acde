//! Volume content with a real libvirtd: uploads, resuming, cancelling, and downloads. These tests
//! need root; `make test` runs them.

mod support;

use std::{fs, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Running, daemon::Daemon, process::Process, read};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    time::{Instant, sleep},
};
use uuid::Uuid;

const PIECE: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// A server with a libvirtd and a directory pool.
struct Shelf {
    daemon: Daemon,
    server: Running,
    pool: String,
}

impl Shelf {
    async fn new() -> Self {
        let daemon = Daemon::start();
        let path = daemon.folder.path().join("images").to_string_lossy().into_owned();
        daemon.virsh(&["pool-define-as", "images", "dir", "--target", &path]);
        daemon.virsh(&["pool-build", "images"]);
        daemon.virsh(&["pool-start", "images"]);
        // The second address of this machine is not allowed.
        let server = Running::with(&["--connect", &daemon.connect(), "--fetch-from", "127.0.0.1"]).await;
        let pools = server.json("/api/v1/inventory").await["hosts"]["atlas"]["pools"].clone();
        let pool = pools[0]["id"].as_str().expect("a pool").to_owned();
        Self { daemon, server, pool }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.daemon.folder.path().join("images").join(name)
    }

    /// Starts an upload; returns its id once it waits for content.
    async fn begin(&self, name: &str, size: usize) -> String {
        let id = Uuid::new_v4();
        let request = json!({ "requestId": id, "host": "atlas", "target": self.pool,
            "command": { "kind": "uploadVolume", "name": name, "capacityBytes": size } });
        let (status, said) = self.server.post("/api/v1/commands", &request).await;
        assert_eq!(status, 202, "{said}");
        let mut task = self.server.stream("/events?topics=task-progress,task-completed", &[]).await;
        while self.server.get(&format!("/api/v1/uploads/{id}")).await.0 != 200 {
            task.until("task-progress").await;
        }
        id.to_string()
    }

    async fn put(&self, id: &str, offset: usize, piece: &[u8]) -> (u16, Value) {
        let path = format!("/api/v1/uploads/{id}?offset={offset}");
        let (status, text) = read(self.server.send("PUT", &path, &PIECE, piece.to_vec()).await).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn outcome(&self, id: &str) -> Value {
        let mut stream = self.server.stream("/events?topics=task-completed", &[]).await;
        loop {
            let task = self.server.json(&format!("/api/v1/tasks/{id}")).await;
            if task["outcome"] != Value::Null {
                return task;
            }
            stream.until("task-completed").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_file_comes_in_piece_by_piece_goes_on_where_it_was_and_comes_out_the_same() {
    let shelf = Shelf::new().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ n >> 8) as u8).collect();
    let name = "a & b.raw";
    let id = shelf.begin(name, content.len()).await;
    let (first, rest) = content.split_at(1_000_000);
    assert_eq!(shelf.put(&id, 0, first).await, (200, json!({ "offset": 1_000_000 })));
    // A repeated chunk, one that leaves a gap, and one that is too long are refused.
    for (offset, piece, status) in [(0, first, 409), (1_500_000, rest, 409), (1_000_000, content.as_slice(), 422)] {
        assert_eq!(shelf.put(&id, offset, piece).await.0, status, "{offset}");
    }
    // A client that lost the response queries the progress.
    assert_eq!(shelf.server.json(&format!("/api/v1/uploads/{id}")).await["offset"], 1_000_000);
    assert_eq!(shelf.put(&id, 1_000_000, rest).await, (200, json!({ "offset": content.len() })));
    assert_eq!(shelf.outcome(&id).await["outcome"], "succeeded");
    assert!(fs::read(shelf.file(name)).expect("it is there") == content);
    // A refused chunk is read, so that its connection takes the next request.
    for _ in 0..20 {
        assert_eq!(shelf.put(&id, 0, first).await.0, 404, "it has ended");
        assert_eq!(shelf.server.get("/healthz").await.0, 200);
    }
    let path = format!("/api/v1/pools/atlas/{}/content?volume=a%20%26%20b.raw", shelf.pool);
    let answer = shelf.server.send("GET", &path, &[], "").await;
    assert_eq!(answer.status(), 200);
    let named = answer.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert!(named.contains("a___b.raw") && named.contains("a%20%26%20b.raw"), "{named}");
    let got = http_body_util::BodyExt::collect(answer.into_body()).await.expect("whole").to_bytes();
    assert!(got == content);
    let audit = shelf.server.get("/api/v1/audit").await.1;
    assert!(audit.contains("volumeDownloaded") && audit.contains("a & b.raw"), "reading it is a record: {audit}");
    assert_eq!(shelf.server.get(&path.replace("a%20", "b%20")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn an_upload_that_is_cancelled_leaves_nothing_and_what_is_in_a_file_says_what_it_is() {
    let shelf = Shelf::new().await;
    let id = shelf.begin("half.raw", 2_000_000).await;
    assert_eq!(shelf.put(&id, 0, &[1; 500_000]).await.0, 200);
    assert!(shelf.file("half.raw").exists());
    // Neither the file nor its name can be used while it is uploaded.
    let volume = json!({ "name": "half.raw", "capacityBytes": 1 << 20, "format": "raw" });
    for command in [
        json!({ "kind": "deleteVolume", "name": "half.raw" }),
        json!({ "kind": "createVolume", "volume": volume }),
        json!({ "kind": "uploadVolume", "name": "half.raw", "capacityBytes": 1_000 }),
        json!({ "kind": "stopPool" }),
    ] {
        let request = json!({ "requestId": Uuid::new_v4(), "host": "atlas", "target": shelf.pool, "command": command });
        let (status, said) = shelf.server.post("/api/v1/commands", &request).await;
        assert!(status == 409 && said.to_string().contains("half.raw is still being uploaded"), "{said}");
    }
    let cancelled = shelf.server.send("POST", &format!("/api/v1/tasks/{id}/cancel"), &[], "").await;
    assert!(cancelled.status().is_success());
    assert_eq!(shelf.outcome(&id).await["fault"]["fault"], "cancelled");
    assert!(!shelf.file("half.raw").exists());
    // A disk image and a CD image, both sent as bytes.
    let image = shelf.daemon.folder.path().join("made.qcow2");
    support::daemon::run(
        std::process::Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("5G"),
    );
    let image = fs::read(image).expect("made");
    let mut disc = vec![0; 40_000];
    disc[32_768..32_775].copy_from_slice(b"\x01CD001\x01");
    for (name, content) in [("disk.img", &image), ("disc.bin", &disc)] {
        let id = shelf.begin(name, content.len()).await;
        assert_eq!(shelf.put(&id, 0, content).await.0, 200);
        assert_eq!(shelf.outcome(&id).await["outcome"], "succeeded");
    }
    let volumes = shelf.server.json(&format!("/api/v1/pools/atlas/{}/volumes", shelf.pool)).await;
    let of = |name: &str| {
        let all = volumes["volumes"].as_array().expect("a list");
        all.iter().find(|volume| volume["name"] == name).unwrap_or_else(|| panic!("{name}: {volumes}")).clone()
    };
    assert_eq!(
        (of("disk.img")["format"].as_str(), of("disk.img")["capacityBytes"].as_u64()),
        (Some("qcow2"), Some(5 << 30))
    );
    assert_eq!(of("disc.bin")["format"], "iso");
    // An upload larger than the available space is refused in advance.
    let request = json!({ "requestId": Uuid::new_v4(), "host": "atlas", "target": shelf.pool,
        "command": { "kind": "uploadVolume", "name": "huge", "capacityBytes": 1_u64 << 50 } });
    let (status, fault) = shelf.server.post("/api/v1/commands", &request).await;
    assert!(status == 409 && fault["reason"].as_str().expect("text").contains("available space"), "{fault}");
    assert!(!shelf.file("huge").exists());
}

/// A web server with files to download, some of them faulty; returns its address.
async fn place(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let content = content.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(&mut stream).lines();
                let first = lines.next_line().await.ok().flatten().unwrap_or_default();
                while lines.next_line().await.is_ok_and(|line| line.is_some_and(|line| !line.is_empty())) {}
                let path = first.split(' ').nth(1).unwrap_or_default();
                let size = content.len();
                let (head, body): (String, &[u8]) = match path.split('?').next().unwrap_or_default() {
                    "/disk.raw" => (format!("200 OK\r\nContent-Length: {size}"), &content),
                    "/moved" => ("302 Found\r\nLocation: /disk.raw\r\nContent-Length: 0".into(), b""),
                    "/inward" => (format!("302 Found\r\nLocation: http://127.0.0.2:{port}/disk.raw"), b""),
                    "/files" => ("302 Found\r\nLocation: file:///etc/passwd".into(), b""),
                    "/round" => ("302 Found\r\nLocation: /round".into(), b""),
                    "/short" => ("200 OK\r\nContent-Length: 5000".into(), &content[..100]),
                    "/endless" => ("200 OK".into(), &content[..100]),
                    "/huge" => (format!("200 OK\r\nContent-Length: {}", 1_u64 << 50), b""),
                    "/slow" => ("200 OK\r\nContent-Length: 5000".into(), b"some"),
                    _ => ("404 Not Found\r\nContent-Length: 0".into(), b""),
                };
                stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes()).await.ok();
                stream.write_all(body).await.ok();
                if path == "/slow" {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    format!("http://127.0.0.1:{port}")
}

impl Shelf {
    async fn fetch(&self, name: &str, url: &str, sha256: &str) -> String {
        let id = Uuid::new_v4();
        let request = json!({ "requestId": id, "host": "atlas", "target": self.pool,
            "command": { "kind": "fetchVolume", "name": name, "url": url, "sha256": sha256 } });
        let (status, said) = self.server.post("/api/v1/commands", &request).await;
        assert_eq!(status, 202, "{said}");
        id.to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_file_is_fetched_from_where_it_was_moved_to_and_is_the_one_that_was_meant() {
    let shelf = Shelf::new().await;
    let content: Vec<u8> = (0..20_000_000_u32).map(|n| (n ^ n >> 8) as u8).collect();
    let sha256: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02X}")).collect();
    let place = place(content.clone()).await;
    let mut stream = shelf.server.stream("/events?topics=task-progress", &[]).await;
    let id = shelf.fetch("fetched.raw", &format!("{place}/moved?signature=hush"), &sha256).await;
    assert_eq!(shelf.outcome(&id).await["outcome"], "succeeded");
    assert!(fs::read(shelf.file("fetched.raw")).expect("it is there") == content);
    let mut percent = 0;
    while percent < 80 {
        let task = stream.until("task-progress").await.data;
        percent = task["progress"]["percent"].as_u64().unwrap_or_default();
        assert!(!task.to_string().contains("hush"), "what follows a question mark may be a secret: {task}");
    }
    let (_, audit) = shelf.server.get("/api/v1/audit").await;
    let audit = audit.to_string();
    assert!(audit.contains("/moved?***") && !audit.contains("hush"), "{audit}");
    let id = shelf.fetch("other.raw", &format!("{place}/disk.raw"), &"0".repeat(64)).await;
    let task = shelf.outcome(&id).await;
    let said = task["fault"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(task["outcome"] == "failed" && said.contains(&sha256.to_ascii_lowercase()), "{task}");
    assert!(!shelf.file("other.raw").exists(), "what is not meant does not stay");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn what_cannot_be_fetched_says_why_and_leaves_nothing() {
    let shelf = Shelf::new().await;
    let place = place(vec![7; 10_000]).await;
    for (path, why) in [
        ("/none", "404 Not Found"),
        ("/inward", "127.0.0.2, which is not public"),
        ("/files", "must be http or https"),
        ("/round", "too many redirects"),
        ("/short", "Cannot download"),
        ("/endless", "does not report the file size"),
        ("/huge", "does not have enough available space"),
    ] {
        let id = shelf.fetch("wrong.raw", &format!("{place}{path}?signature=hush"), "").await;
        let task = shelf.outcome(&id).await;
        assert!(
            task["outcome"] == "failed" && task["fault"]["reason"].as_str().expect("one").contains(why),
            "{path}: {task}"
        );
        assert!(!task.to_string().contains("hush"), "{path}: {task}");
        assert!(!shelf.file("wrong.raw").exists(), "{path}");
    }
    // An existing name is kept, and a volume being downloaded cannot be used.
    fs::write(shelf.file("taken.raw"), "mine").expect("written");
    shelf.daemon.virsh(&["pool-refresh", "images"]);
    let id = shelf.fetch("taken.raw", &format!("{place}/disk.raw"), "").await;
    assert_eq!(shelf.outcome(&id).await["outcome"], "failed");
    assert_eq!(fs::read(shelf.file("taken.raw")).expect("still there"), b"mine");
    let mut stream = shelf.server.stream("/events?topics=task-progress", &[]).await;
    let id = shelf.fetch("slow.raw", &format!("{place}/slow"), "").await;
    while !stream.until("task-progress").await.data["progress"].to_string().contains(" of ") {}
    let piece = shelf.put(&id, 0, b"mine").await;
    assert_eq!(piece.0, 409, "nobody else writes into it: {piece:?}");
    assert_eq!(shelf.server.send("POST", &format!("/api/v1/tasks/{id}/cancel"), &[], "").await.status(), 202);
    assert_eq!(shelf.outcome(&id).await["fault"]["fault"], "cancelled");
    assert!(!shelf.file("slow.raw").exists());
}

/// The executable with a daemon and a pool, to be killed.
struct Killed {
    daemon: Daemon,
    data: TempDir,
    pool: String,
}

impl Killed {
    async fn serve(&self) -> Process {
        let (connect, data) = (self.daemon.connect(), self.data.path().to_str().expect("text"));
        Process::start(&["--connect", &connect, "--data", data, "--fetch-from", "127.0.0.1"], None).await
    }

    /// Waits until an upload accepts content; returns its progress.
    async fn offset(server: &Process, id: &str) -> u64 {
        let began = Instant::now();
        loop {
            let asked = server.json("GET", &format!("/api/v1/uploads/{id}"), &Value::Null).await.expect("answers");
            if let (200, told) = asked {
                return told["offset"].as_u64().expect("a number");
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it waits for content");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.daemon.folder.path().join("images").join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn an_upload_goes_on_after_the_server_was_killed_and_a_fetched_file_is_taken_back() {
    let daemon = Daemon::start();
    let path = daemon.folder.path().join("images").to_string_lossy().into_owned();
    daemon.virsh(&["pool-define-as", "images", "dir", "--target", &path]);
    daemon.virsh(&["pool-build", "images"]);
    daemon.virsh(&["pool-start", "images"]);
    let pool = daemon.virsh(&["pool-uuid", "images"]);
    let site = Killed { daemon, data: TempDir::new().expect("a folder"), pool };
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ n >> 8) as u8).collect();

    let mut server = site.serve().await;
    let wish = json!({ "kind": "uploadVolume", "name": "whole.raw", "capacityBytes": content.len() });
    let (status, said, id) = server.command(&site.pool, wish).await;
    assert_eq!(status, 202, "{said}");
    assert_eq!(Killed::offset(&server, &id).await, 0);
    let mut from = 0;
    for (ends, how) in [(1_000_000, "-KILL"), (2_000_000, "-TERM")] {
        assert_eq!(server.put(&id, from, &content[from..ends]).await, 200);
        from = ends;
        let began = Instant::now();
        server.signal(how);
        server.ended().await;
        assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for an upload");
        server = site.serve().await;
        assert_eq!(Killed::offset(&server, &id).await, from as u64, "it goes on where it was");
    }
    // Its volume cannot be deleted meanwhile.
    let (status, said, _) = server.command(&site.pool, json!({ "kind": "deleteVolume", "name": "whole.raw" })).await;
    assert_eq!(status, 409, "{said}");
    assert_eq!(server.put(&id, from, &content[from..]).await, 200);
    assert_eq!(server.ended_task(&id).await["outcome"], "succeeded");
    assert!(fs::read(site.file("whole.raw")).expect("it is there") == content);

    // A slow download while the server is killed.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://127.0.0.1:{}/half.raw", listener.local_addr().expect("an address").port());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("somebody asks");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.expect("a head");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n").await.expect("sent");
        stream.write_all(&[7; 1_000_000]).await.expect("sent");
        std::future::pending::<()>().await;
    });
    let fetch = json!({ "kind": "fetchVolume", "name": "half.raw", "url": url, "sha256": "" });
    let (status, said, id) = server.command(&site.pool, fetch).await;
    assert_eq!(status, 202, "{said}");
    server.task_when(&id, 20, |task| !task["progress"].is_null()).await;
    assert!(site.file("half.raw").exists());
    server.signal("-KILL");
    server.ended().await;
    let server = site.serve().await;
    let task = server.ended_task(&id).await;
    assert_eq!((&task["outcome"], &task["fault"]["fault"]), (&json!("failed"), &json!("interrupted")), "{task}");
    assert!(!site.file("half.raw").exists(), "what came of it is gone");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_strangers_image_that_names_a_file_of_the_host_does_not_stay() {
    let shelf = Shelf::new().await;
    let secret = shelf.daemon.folder.path().join("secret");
    fs::write(&secret, "nobody's business").expect("written");
    let evil = shelf.daemon.folder.path().join("evil");
    let create = |options: &[&str]| {
        let mut tool = std::process::Command::new("qemu-img");
        support::daemon::run(tool.args(["create", "-q", "-f", "qcow2"]).args(options).arg(&evil).arg("1M"));
        fs::read(&evil).expect("made")
    };
    let host = secret.to_string_lossy().into_owned();
    for image in [
        create(&["-u", "-F", "raw", "-b", &host]),
        create(&["-o", &format!("data_file={}", shelf.daemon.folder.path().join("data").display())]),
        create(&["-u", "-F", "raw", "-b", "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}"]),
    ] {
        let id = shelf.begin("evil", image.len()).await;
        // It was not inspected yet while uploading, so no machine may use it.
        let disk = format!(
            "<disk type='file'><driver type='qcow2'/><source file='{}'/><target dev='vda'/></disk>",
            shelf.file("evil").display()
        );
        shelf.daemon.guest_with("waits", &disk);
        let machine = shelf.machine("waits").await;
        let start =
            json!({ "requestId": Uuid::new_v4(), "host": "atlas", "target": machine, "command": { "kind": "start" } });
        let (status, said) = shelf.server.post("/api/v1/commands", &start).await;
        assert!(status == 409 && said["reason"].to_string().contains("still being uploaded"), "{said}");
        shelf.daemon.virsh(&["undefine", "waits"]);
        assert_eq!(shelf.put(&id, 0, &image).await.0, 200);
        let task = shelf.outcome(&id).await;
        assert!(task["outcome"] == "failed" && task["fault"]["fault"] == "denied", "{task}");
        assert!(!shelf.file("evil").exists());
    }
    // What QEMU would open other files for, if a machine took it for such an image.
    let flat = format!("# Disk DescriptorFile\nversion=1\nRW 2048 FLAT \"{host}\" 0\n").into_bytes();
    let id = shelf.begin("evil", flat.len()).await;
    assert_eq!(shelf.put(&id, 0, &flat).await.0, 200);
    let task = shelf.outcome(&id).await;
    assert!(task["fault"]["reason"].to_string().contains("VMDK image"), "{task}");
    assert!(!shelf.file("evil").exists());
    // Nothing is brought to where a machine waits for its disk, and what was refused does not stay
    // there although a machine was given it meanwhile.
    let disk = format!(
        "<disk type='file'><driver type='vmdk'/><source file='{}'/><target dev='vda'/></disk>",
        shelf.file("missing").display()
    );
    shelf.daemon.guest_with("waits", &disk);
    shelf.machine("waits").await;
    let upload = json!({ "requestId": Uuid::new_v4(), "host": "atlas", "target": shelf.pool,
        "command": { "kind": "uploadVolume", "name": "missing", "capacityBytes": 1000 } });
    let (_, said) = shelf.server.post("/api/v1/commands", &upload).await;
    let task = shelf.outcome(said["taskId"].as_str().expect("a task")).await;
    assert!(task["fault"]["reason"].to_string().contains("waits has it as a disk"), "{task}");
    assert!(!shelf.file("missing").exists());
    shelf.daemon.virsh(&["undefine", "waits"]);
    let image = create(&["-u", "-F", "raw", "-b", &host]);
    let id = shelf.begin("late", image.len()).await;
    shelf.daemon.guest_with("waits", &disk.replace("vmdk", "qcow2").replace("missing", "late"));
    assert_eq!(shelf.put(&id, 0, &image).await.0, 200);
    assert_eq!(shelf.outcome(&id).await["outcome"], "failed");
    assert!(!shelf.file("late").exists(), "it does not stay for the machine");
    shelf.daemon.virsh(&["undefine", "waits"]);
    // An image based on a volume is kept.
    let image = create(&["-u", "-F", "raw", "-b", "base"]);
    fs::write(shelf.file("base"), vec![0; 1 << 20]).expect("written");
    shelf.daemon.virsh(&["pool-refresh", "images"]);
    let id = shelf.begin("honest", image.len()).await;
    assert_eq!(shelf.put(&id, 0, &image).await.0, 200);
    assert_eq!(shelf.outcome(&id).await["outcome"], "succeeded");
    // A volume in use is refused immediately.
    let wipe = json!({ "requestId": Uuid::new_v4(), "host": "atlas", "target": shelf.pool, "command": { "kind": "wipeVolume", "name": "base" } });
    let (status, said) = shelf.server.post("/api/v1/commands", &wipe).await;
    assert!(status == 409 && said["reason"].to_string().contains("in use by honest"), "{said}");
}

impl Shelf {
    /// The UUID of a machine, once known.
    async fn machine(&self, name: &str) -> String {
        let mut stream = self.server.stream("/events?topics=vm-created", &[]).await;
        loop {
            let inventory = self.server.json("/api/v1/inventory").await;
            let machines = inventory["hosts"]["atlas"]["domains"].as_array().cloned().unwrap_or_default();
            if let Some(found) = machines.iter().find(|machine| machine["name"] == name) {
                return found["id"].as_str().expect("text").to_owned();
            }
            stream.until("vm-created").await;
        }
    }
}

/// The bytes of a download after a while in which it continues.
async fn taken(body: &mut hyper::body::Incoming, limit: Duration) -> (usize, bool) {
    let (began, mut length) = (Instant::now(), 0);
    while began.elapsed() < limit {
        match tokio::time::timeout(limit, http_body_util::BodyExt::frame(body)).await {
            Ok(Some(Ok(frame))) => length += frame.into_data().map(|data| data.len()).unwrap_or_default(),
            Ok(_) => return (length, true),
            Err(_) => break,
        }
        // Slow enough to last.
        sleep(Duration::from_millis(5)).await;
    }
    (length, false)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_long_body_ends_with_the_right_to_it() {
    use support::site::Site;
    let daemon = Daemon::start();
    let path = daemon.folder.path().join("images");
    daemon.virsh(&["pool-define-as", "images", "dir", "--target", path.to_str().expect("text")]);
    daemon.virsh(&["pool-build", "images"]);
    daemon.virsh(&["pool-start", "images"]);
    daemon.virsh(&["vol-create-as", "images", "large.raw", "2G", "--format", "raw"]);
    let site = Site::with(&["--connect", &daemon.connect(), "--auth", "auto"]).await;
    let token = |name: &str| {
        let said = site.run(&["token", "create", name, "--role", "operator"], "").expect("made");
        format!("Bearer {}", said.lines().last().expect("a token").trim())
    };
    let (reads, writes) = (token("reads"), token("writes"));
    let with = |token: &str| [("authorization".to_owned(), token.to_owned())];
    let ask = async |token: &str, path: &str| {
        let [(name, value)] = with(token);
        site.server.send("GET", path, &[(&name, &value)], "").await
    };
    let inventory: Value = serde_json::from_str(&read(ask(&reads, "/api/v1/inventory").await).await.1).expect("JSON");
    let pool = inventory["hosts"]["atlas"]["pools"][0]["id"].as_str().expect("a pool").to_owned();
    let content = format!("/api/v1/pools/atlas/{pool}/content?volume=large.raw");
    // As many as an account may read at a time, and one more.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(ask(&reads, &content).await);
    }
    assert!(held.iter().all(|answer| answer.status() == 200));
    assert_eq!(ask(&reads, &content).await.status(), 429);
    let other = ask(&writes, &content).await;
    assert_eq!(other.status(), 200, "others have theirs");
    drop((held.split_off(1), other));
    let mut body = held.pop().expect("one").into_body();
    let before = support::resident();
    let (begun, over) = taken(&mut body, Duration::from_secs(3)).await;
    assert!(begun > 0 && !over);
    // Whoever takes it slowly does not make the server keep the rest.
    let kept = support::resident().saturating_sub(before) >> 20;
    assert!(kept < 200, "{kept} MiB more after {} MiB were taken", begun >> 20);
    site.run(&["token", "revoke", "reads"], "").expect("revoked");
    let began = Instant::now();
    let (more, over) = taken(&mut body, Duration::from_secs(10)).await;
    eprintln!("{} MiB more, {:.1} s after the token was revoked", more >> 20, began.elapsed().as_secs_f64());
    assert!(over && began.elapsed() < Duration::from_secs(5), "it went on for {:?}", began.elapsed());
    // A chunk of an upload counts as well.
    let id = Uuid::new_v4();
    let request = json!({ "requestId": id, "host": "atlas", "target": pool,
        "command": { "kind": "uploadVolume", "name": "new.raw", "capacityBytes": 1_000_000 } });
    let headers = [("authorization", writes.as_str()), ("content-type", "application/json")];
    assert_eq!(site.server.send("POST", "/api/v1/commands", &headers, request.to_string()).await.status(), 202);
    let offset = format!("/api/v1/uploads/{id}");
    while ask(&writes, &offset).await.status() != 200 {
        sleep(Duration::from_millis(20)).await;
    }
    let put = async |token: &str| {
        let headers = [("authorization", token), ("content-type", "application/octet-stream")];
        site.server.send("PUT", &format!("{offset}?offset=0"), &headers, vec![1; 1_000]).await.status().as_u16()
    };
    // A transfer in progress is cut off, whether more data arrives or not.
    let mut slow = tokio::net::TcpStream::connect(&site.server.address).await.expect("connects");
    let head = format!(
        "PUT {offset}?offset=0 HTTP/1.1\r\nHost: {}\r\nAuthorization: {writes}\r\nContent-Length: 900000\r\n\
         Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n",
        site.server.address
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    slow.write_all(&[1; 1_000]).await.expect("sent");
    site.run(&["token", "revoke", "writes"], "").expect("revoked");
    let (began, mut said) = (Instant::now(), String::new());
    tokio::time::timeout(Duration::from_secs(10), slow.read_to_string(&mut said))
        .await
        .expect("it ends")
        .expect("read");
    assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("no longer have write access to this pool"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "it went on for {:?}", began.elapsed());
    assert_eq!(put(&writes).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn uploads_that_never_get_their_content_are_few() {
    let shelf = Shelf::new().await;
    let mut last = Value::Null;
    for n in 0..17 {
        let request = json!({ "requestId": Uuid::new_v4(), "host": "atlas", "target": shelf.pool,
            "command": { "kind": "uploadVolume", "name": format!("{n}.raw"), "capacityBytes": 1000 } });
        let (status, said) = shelf.server.post("/api/v1/commands", &request).await;
        assert_eq!(status, if n < 16 { 202 } else { 429 }, "{n}: {said}");
        last = said;
    }
    assert!(last["reason"].to_string().contains("16 tasks in progress"), "{last}");
}
