//! A separate libvirtd for a test, with real QEMU guests.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A private libvirtd with one guest, web-01; needs root.
pub struct Daemon {
    pub folder: TempDir,
    uri: String,
}

impl Daemon {
    pub fn start() -> Self {
        Self::prepared(&[], |_| {})
    }

    /// A daemon with additional environment variables and a prepared directory.
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

    /// The server arguments to connect to it.
    pub fn connect(&self) -> String {
        format!("atlas={}", self.uri)
    }

    /// The test driver of this daemon, shared by all clients.
    pub fn test_driver(&self) -> String {
        self.uri.replace("qemu+unix:///system", "test+unix:///default")
    }

    pub fn guest(&self, name: &str) {
        self.control(&["guest", self.path(), name]);
    }

    /// A guest with additional devices.
    pub fn guest_with(&self, name: &str, devices: &str) {
        self.control(&["guest", self.path(), name, devices]);
    }

    /// Sends a signal to it, or starts it again.
    pub fn signal(&self, what: &str) {
        self.control(&[what, self.path()]);
    }

    fn control(&self, arguments: &[&str]) {
        run(&mut script(arguments));
    }

    /// A long-running virsh.
    pub fn watching(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "virsh", "-q", "-c", &self.uri]).args(arguments);
        command
    }

    pub fn virsh(&self, arguments: &[&str]) -> String {
        run(Command::new("virsh").args(["-q", "-c", &self.uri]).args(arguments))
    }

    /// Runs a script in a guest in the background; waits until its agent accepts it.
    pub async fn in_guest(&self, name: &str, script: &str) {
        let arguments = json!({ "path": "/bin/busybox", "arg": ["sh", "-c", script] });
        let wish = json!({ "execute": "guest-exec", "arguments": arguments }).to_string();
        let began = Instant::now();
        while self.try_virsh(&["qemu-agent-command", name, &wish]).is_none() {
            assert!(began.elapsed() < Duration::from_secs(90), "the agent of {name} answers");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The output of virsh, if it succeeded.
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

/// Runs a program that must succeed; returns its output.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("runs");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
