//! A server with accounts, created on the command line while it runs.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{Response, Running};

/// A valid password.
pub const PASSWORD: &str = "correct horse battery";

/// A server whose accounts are created on the command line while it runs.
pub struct Site {
    pub server: Running,
    /// Its data directory.
    pub data: PathBuf,
    _home: TempDir,
}

impl Site {
    pub async fn new() -> Self {
        Self::with(&["--demo"]).await
    }

    /// A server with another host.
    pub async fn over(uri: &str) -> Self {
        Self::with(&["--connect", uri, "--auth", "auto"]).await
    }

    /// With these arguments.
    pub async fn with(arguments: &[&str]) -> Self {
        Self::prepared(arguments, |_| ()).await
    }

    /// With these arguments, over a data directory that is prepared.
    pub async fn prepared(arguments: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let home = TempDir::new().expect("a folder");
        let data = home.path().join("belvedere");
        std::fs::create_dir(&data).expect("made");
        prepare(&data);
        let folder = ["--data", data.to_str().expect("text")];
        let server = Running::with(&[arguments, &folder].concat()).await;
        Self { server, data, _home: home }
    }

    /// Runs `belvedere` with arguments; returns its output.
    pub fn run(&self, words: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        command.args(words).arg("--data").arg(&self.data);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        // A process that reads nothing may have exited already.
        child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().expect("ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Creates an account, and waits until sign-in is required.
    pub async fn add(&self, name: &str, role: &str) {
        self.run(&["user", "add", name, "--role", role, "--password-stdin"], PASSWORD).expect("made");
        let began = Instant::now();
        while self.server.get("/api/v1/inventory").await.0 != 401 {
            assert!(began.elapsed() < Duration::from_secs(10), "it asks who somebody is");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Response {
        self.server.form("/login", &[("name", name), ("password", password), ("next", "/vms")]).await
    }

    /// Signs in; returns the cookie.
    pub async fn cookie(&self, name: &str) -> String {
        let answer = self.log_in(name, PASSWORD).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()["location"], "/vms");
        cookie(&answer)
    }

    pub async fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let body = if method == "POST" { "{}" } else { "" };
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.server.send(method, path, &headers, body).await.status().as_u16()
    }
}

pub fn cookie(answer: &Response) -> String {
    let set = answer.headers()["set-cookie"].to_str().expect("text");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    set.split(';').next().expect("a pair").to_owned()
}
