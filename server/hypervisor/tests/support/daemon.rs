//! A separate libvirtd for a test.

use std::{
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command as Program,
};

use tempfile::TempDir;

/// A private libvirtd with one tiny guest. It ends with the test.
pub struct Daemon {
    pub folder: TempDir,
    pub uri: String,
}

impl Daemon {
    pub fn start() -> Self {
        let folder = TempDir::with_prefix_in("bv-", "/tmp").expect("a folder");
        let uri = script(&["start"], folder.path(), &[]);
        let daemon = Self { folder, uri };
        script(&["guest"], daemon.folder.path(), &["tiny"]);
        daemon
    }

    pub fn virsh(&self, arguments: &[&str]) -> String {
        run(Program::new("virsh").args(["-q", "-c", &self.uri]).args(arguments))
    }

    /// Runs a script in a guest through its agent; returns whether it succeeded.
    pub async fn in_guest(&self, name: &str, script: &str) -> bool {
        let ask = async |command: &str, arguments: serde_json::Value| -> serde_json::Value {
            let wish = serde_json::json!({ "execute": command, "arguments": arguments }).to_string();
            let began = std::time::Instant::now();
            loop {
                let mut virsh = Program::new("virsh");
                let output = virsh.args(["-q", "-c", &self.uri, "qemu-agent-command", name, &wish]).output();
                let output = output.expect("it runs");
                if output.status.success() {
                    return serde_json::from_slice(&output.stdout).expect("JSON");
                }
                assert!(began.elapsed().as_secs() < 60, "the agent of {name} answers");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        let wish = serde_json::json!({ "path": "/bin/busybox", "arg": ["sh", "-c", script] });
        let pid = ask("guest-exec", wish).await["return"]["pid"].clone();
        loop {
            let status = ask("guest-exec-status", serde_json::json!({ "pid": pid })).await;
            if status["return"]["exited"] == true {
                return status["return"]["exitcode"] == 0;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// The URI of this host as a remote one, over TCP.
    pub fn elsewhere(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let socket = self.folder.path().join("sock/libvirt-sock");
        std::thread::spawn(move || {
            for far in listener.incoming().map_while(Result::ok) {
                let near = UnixStream::connect(&socket).expect("libvirtd listens");
                let (mut from_far, mut to_near) = (far.try_clone().expect("copied"), near.try_clone().expect("copied"));
                let (mut from_near, mut to_far) = (near, far);
                std::thread::spawn(move || std::io::copy(&mut from_far, &mut to_near));
                std::thread::spawn(move || std::io::copy(&mut from_near, &mut to_far));
            }
        });
        format!("qemu+tcp://127.0.0.1:{port}/system")
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        script(&["stop"], self.folder.path(), &[]);
    }
}

pub fn script(verb: &[&str], folder: &Path, arguments: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../end2end/host/daemon.sh");
    let said = run(Program::new(path).args(verb).arg(folder).args(arguments));
    said.lines().last().unwrap_or_default().to_owned()
}

pub fn run(program: &mut Program) -> String {
    let output = program.output().expect("it exists");
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
