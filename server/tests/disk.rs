//! The journal's disk fills up or becomes read-only under a whole server.
//!
//! Needs root to mount a small disk; `make test` runs it with `--ignored`.

mod support;

use std::{fs, path::Path, process::Command};

use serde_json::json;
use support::{Running, Stream};
use tempfile::TempDir;

/// A small disk, and the location of its image.
struct Disk(TempDir, TempDir);

impl Disk {
    fn mount() -> Self {
        let disk = Self(TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let image = disk.1.path().join("image");
        fs::File::create(&image).and_then(|file| file.set_len(8 << 20)).expect("an image");
        let image = image.to_str().expect("text");
        run(&["mkfs.ext4", "-q", image]);
        run(&["mount", "-o", "loop", image, disk.path()]);
        disk
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("text")
    }

    fn fill(&self) {
        let mut size = 1 << 20;
        while size > 0 {
            // A failed write is followed by smaller ones.
            let path = self.0.path().join(format!("ballast-{size}-{}", rest(self.0.path())));
            if fs::write(&path, vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn empty(&self) {
        let files = fs::read_dir(self.0.path()).expect("readable").filter_map(Result::ok);
        files
            .filter(|file| file.file_name().to_string_lossy().starts_with("ballast"))
            .for_each(|file| fs::remove_file(file.path()).expect("removed"));
    }

    /// Simulates a failing disk: nothing can be written, not even to open files.
    fn fail(&self) {
        run(&["mount", "-o", "remount,abort", self.path()]);
    }

    /// Simulates the repair: the disk is unmounted, repaired, and mounted again.
    fn again(&self) {
        run(&["umount", "-l", self.path()]);
        let image = self.1.path().join("image");
        let copy = self.1.path().join("repaired");
        // The old mount exists while it is in use, so a copy is repaired.
        fs::copy(&image, &copy).expect("copied");
        let repaired = Command::new("e2fsck").args(["-fy"]).arg(&copy).output().expect("runs");
        assert!(repaired.status.code().is_some_and(|code| code < 4), "{repaired:?}");
        run(&["mount", "-o", "loop", copy.to_str().expect("text"), self.path()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(&["umount", "-l", self.path()]);
    }
}

fn rest(folder: &Path) -> usize {
    fs::read_dir(folder).expect("readable").count()
}

fn run(program: &[&str]) {
    assert!(Command::new(program[0]).args(&program[1..]).status().expect("runs").success(), "{program:?}");
}

#[tokio::test]
#[ignore = "needs root to mount a disk; make test runs it"]
async fn commands_are_refused_while_the_disk_is_full_or_read_only_and_all_else_goes_on() {
    let disk = Disk::mount();
    let server = Running::with(&["--demo", "--data", disk.path()]).await;
    let mut stream = server.stream("/events?topics=error,vm-state-changed", &[]).await;
    stream.until("inventory").await;
    disk.fill();
    refused(&server, &mut stream, "is full").await;
    disk.empty();
    assert_eq!(stream.until("error").await.data["severity"], "info", "it goes on by itself");
    let (status, _, id) = server.command("dns-2", json!({ "kind": "setTitle", "title": "again" })).await;
    assert_eq!(status, 202);
    server.backend.wait(model::RequestId(id), std::time::Duration::from_secs(10)).await;
    assert_eq!(server.domain("dns-2").await["title"], "again");
    assert!(!server.get("/vms").await.1.contains("Commands are refused"));

    disk.fail();
    refused(&server, &mut stream, "cannot be written").await;
    disk.again();
    assert_eq!(stream.until("error").await.data["severity"], "info", "it goes on with the disk that is back");
    let (status, _, id) = server.command("dns-2", json!({ "kind": "setTitle", "title": "back" })).await;
    assert_eq!(status, 202);
    server.backend.wait(model::RequestId(id), std::time::Duration::from_secs(10)).await;
    assert_eq!(server.domain("dns-2").await["title"], "back");
    assert_eq!(server.json("/api/v1/audit?limit=1").await["records"][0]["requestId"], json!(id));
    let verify = ["audit", "verify", "--data", disk.path()];
    let output = Command::new(env!("CARGO_BIN_EXE_belvedere")).args(verify).output().expect("runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("records are intact"), "{output:?}");
}

/// Commands are refused with the reason, and everything else works.
async fn refused(server: &Running, stream: &mut Stream, word: &str) {
    // Commands that still fit into the allocated space may succeed first.
    let refused = loop {
        let (status, fault, _) =
            server.command("web-01", json!({ "kind": "setTitle", "title": "x".repeat(190) })).await;
        if status != 202 {
            break (status, fault);
        }
    };
    assert_eq!((refused.0, refused.1["fault"].as_str()), (507, Some("insufficientStorage")));
    assert!(refused.1["reason"].as_str().expect("text").contains(word), "{}", refused.1);
    let told = stream.until("error").await.data;
    assert_eq!((told["severity"].as_str(), told["context"].as_str()), (Some("critical"), Some("journal")));
    let before = server.domain("web-02").await["state"].clone();
    let (status, _, _) = server.command("web-02", json!({ "kind": "pause" })).await;
    assert_eq!((status, server.domain("web-02").await["state"].clone()), (507, before), "nothing was done");
    let (status, page) = server.get("/vms").await;
    assert!(status == 200 && page.contains("Commands are refused") && page.contains(word), "the page says why");
    assert_eq!(server.get("/audit").await.0, 200, "what was recorded can be read");
}
