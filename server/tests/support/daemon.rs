//! A real libvirtd of a test's own, with real QEMU guests.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A libvirtd of this test's own with one guest, web-01; it needs root.
pub struct Daemon {
    pub folder: TempDir,
    uri: String,
}

impl Daemon {
    pub fn start() -> Self {
        Self::prepared(&[], |_| {})
    }

    /// The same with more in its environment, and a folder in which something lies.
    pub fn prepared(environment: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::with_prefix("bv-").expect("a folder");
        prepare(folder.path());
        let path = folder.path().to_str().expect("text").to_owned();
        let uri = run(script(&["start", &path]).envs(environment.iter().copied()));
        let daemon = Self { folder, uri: uri.lines().last().expect("the URI").to_owned() };
        run(script(&["guest", &path, "web-01"]).envs(environment.iter().copied()));
        daemon
    }

    pub fn path(&self) -> &str {
        self.folder.path().to_str().expect("text")
    }

    /// The arguments of a server for it.
    pub fn connect(&self) -> String {
        format!("atlas={}", self.uri)
    }

    /// The same daemon with libvirt's test driver, which it runs for all who connect.
    pub fn test_driver(&self) -> String {
        self.uri.replace("qemu+unix:///system", "test+unix:///default")
    }

    pub fn guest(&self, name: &str) {
        self.control(&["guest", self.path(), name]);
    }

    /// A guest with more devices.
    pub fn guest_with(&self, name: &str, devices: &str) {
        self.control(&["guest", self.path(), name, devices]);
    }

    /// Kills, freezes or starts it again.
    pub fn signal(&self, what: &str) {
        self.control(&[what, self.path()]);
    }

    fn control(&self, arguments: &[&str]) {
        run(&mut script(arguments));
    }

    /// A virsh that runs on.
    pub fn watching(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "virsh", "-q", "-c", &self.uri]).args(arguments);
        command
    }

    pub fn virsh(&self, arguments: &[&str]) -> String {
        run(Command::new("virsh").args(["-q", "-c", &self.uri]).args(arguments))
    }

    /// Lets a guest run something beside all else; waits until its agent takes it.
    pub async fn in_guest(&self, name: &str, script: &str) {
        let arguments = json!({ "path": "/bin/busybox", "arg": ["sh", "-c", script] });
        let wish = json!({ "execute": "guest-exec", "arguments": arguments }).to_string();
        let began = Instant::now();
        while self.try_virsh(&["qemu-agent-command", name, &wish]).is_none() {
            assert!(began.elapsed() < Duration::from_secs(90), "the agent of {name} answers");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What virsh wrote, if it succeeded.
    pub fn try_virsh(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("virsh");
        command.args(["-q", "-c", &self.uri]).args(arguments).stdin(Stdio::null());
        let output = command.output().expect("runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("stop");
    }
}

fn script(arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../end2end/host/daemon.sh"));
    command.args(arguments);
    command
}

/// Runs a program, which must succeed; gives what it wrote.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("runs");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
