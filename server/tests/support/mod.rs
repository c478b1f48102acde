//! A whole server on port 0 with libvirt's test driver, and a client for it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod agent;
pub mod daemon;
pub mod process;
pub mod raw;
pub mod site;

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use serde_json::{Value, json};
use server::{Backend, Server, config::Config};
use tempfile::TempDir;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

pub type Response = axum::http::Response<hyper::body::Incoming>;

pub struct Running {
    pub address: String,
    pub backend: Arc<Backend>,
    /// The terminal output.
    pub greeting: String,
    /// Its data directory.
    pub data: std::path::PathBuf,
    client: Client<HttpConnector, Full<Bytes>>,
    _data: TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Running {
    /// The demonstration host, with additional arguments.
    pub async fn demo() -> Self {
        Self::with(&["--demo"]).await
    }

    pub async fn with(arguments: &[&str]) -> Self {
        let running = Self::unsettled(arguments).await;
        timeout(Duration::from_secs(20), running.backend.settled()).await.expect("settles");
        running
    }

    pub async fn unsettled(arguments: &[&str]) -> Self {
        // A separate journal, so that tests do not write into the account's.
        let data = TempDir::new().expect("a folder");
        let own = ["--data", data.path().to_str().expect("text")];
        let own: &[&str] = if arguments.contains(&"--data") { &[] } else { &own };
        let first = ["belvedere", "--listen", "127.0.0.1:0", "--storage-root", "/tmp"];
        let all = first.iter().chain(arguments).chain(open(arguments)).chain(own).map(|argument| (*argument).into());
        let config = Config::read(all).expect("a configuration");
        let listener = server::listen(config.listen).expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = Server::start(&config).await.expect("starts");
        let backend = server.backend().clone();
        let greeting = server.greeting(&config, listener.local_addr().expect("bound")).join("\n");
        let folder = config.data.clone().unwrap_or_default();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server.serve(listener, async { stopped.await.unwrap_or_default() }));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, backend, greeting, data: folder, client, _data: data, stop: Some(stop), served: Some(served) }
    }

    pub async fn stop(&mut self) {
        self.stop.take().expect("still running").send(()).expect("is served");
        let served = self.served.take().expect("still running");
        timeout(Duration::from_secs(20), served).await.expect("drains").expect("no panic").expect("no error");
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
        let mut request = axum::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        timeout(Duration::from_secs(30), self.client.request(request)).await.expect("in time").expect("an answer")
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        read(self.send("GET", path, &[], "").await).await
    }

    pub async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        let (status, body) = read(self.send("POST", path, &headers, body.to_string()).await).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", app::routes::escape(value))).collect();
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], body.join("&")).await
    }

    /// The UUID of a demonstration machine.
    pub async fn uuid(&self, name: &str) -> String {
        self.domain(name).await["id"].as_str().expect("text").to_owned()
    }

    pub async fn domain(&self, name: &str) -> Value {
        let inventory = self.json("/api/v1/inventory").await;
        let domains = inventory["hosts"]["demo"]["domains"].as_array().expect("a list").clone();
        domains.into_iter().find(|domain| domain["name"] == name).unwrap_or_else(|| panic!("{name} exists"))
    }

    pub async fn command(&self, name: &str, command: Value) -> (u16, Value, Uuid) {
        let id = Uuid::new_v4();
        let target = self.uuid(name).await;
        let request = json!({ "requestId": id, "host": "demo", "target": target, "command": command });
        let (status, answer) = self.post("/api/v1/commands", &request).await;
        (status, answer, id)
    }

    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let response = self.send("GET", path, headers, "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"), "a compressed stream would be held back");
        Stream { body: response.into_body(), text: String::new() }
    }
}

/// A real host requires sign-in; tests of other features open it.
pub fn open(arguments: &[&str]) -> &'static [&'static str] {
    let closed = arguments.contains(&"--connect") && !arguments.iter().any(|argument| argument.starts_with("--auth"));
    if closed { &["--auth", "off"] } else { &[] }
}

/// Resident memory of this process in MiB.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("told");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") / 256
}

pub async fn read(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A stream of server-sent events.
pub struct Stream {
    pub body: hyper::body::Incoming,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

impl Stream {
    /// The next event; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
                let (id, kind, data) = (field("id: "), field("event: "), field("data: "));
                self.text = rest.to_owned();
                if kind.is_empty() {
                    continue;
                }
                return Some(Frame { id, kind, data: serde_json::from_str(&data).expect("JSON") });
            }
            let part = timeout(Duration::from_secs(20), self.body.frame()).await.expect("in time")?;
            let bytes = part.expect("no error").into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
    }

    /// All data until the end of the stream.
    pub async fn rest(mut self) -> String {
        while let Some(part) = timeout(Duration::from_secs(20), self.body.frame()).await.expect("in time") {
            let bytes = part.expect("no error").into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
        self.text
    }

    pub async fn until(&mut self, kind: &str) -> Frame {
        loop {
            let frame = self.next().await.expect("the stream goes on");
            if frame.kind == kind {
                return frame;
            }
        }
    }
}
