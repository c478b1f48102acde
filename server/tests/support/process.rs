//! The executable as a separate process, to be killed.

use std::{process::Stdio, time::Duration};

use axum::body::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

pub struct Process {
    pub address: String,
    child: Child,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Process {
    /// Starts it, and waits until the first listing of every host is complete.
    pub async fn start(arguments: &[&str], failpoint: Option<&str>) -> Self {
        let environment: Vec<_> = failpoint.map(|place| ("BELVEDERE_FAILPOINT", place)).into_iter().collect();
        Self::at("127.0.0.1:0", arguments, &environment).await
    }

    /// Starts it at an address, with additional environment variables.
    pub async fn at(address: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        command
            .args(["serve", "--listen", address, "--storage-root", "/tmp"])
            .args(arguments)
            .args(super::open(arguments));
        command.env("BELVEDERE_LOG", "error").stdout(Stdio::piped()).kill_on_drop(true);
        command.envs(environment.iter().copied());
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await.expect("in time").expect("readable");
        let address = line.expect("a line").rsplit('/').next().expect("an address").to_owned();
        let process = Self { address, child, client: Client::builder(TokioExecutor::new()).build_http() };
        while process.json("GET", "/readyz", &Value::Null).await.expect("answers").0 != 200 {
            sleep(Duration::from_millis(20)).await;
        }
        process
    }

    /// Sends a request; none if the process did not respond.
    pub async fn json(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        let response = timeout(Duration::from_secs(30), self.client.request(request)).await.ok()?.ok()?;
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// A page.
    pub async fn text(&self, path: &str) -> String {
        let request = axum::http::Request::get(format!("http://{}{path}", self.address));
        let response = self.client.request(request.body(Full::default()).expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("whole").to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }

    /// Sends a chunk of an upload; returns the status.
    pub async fn put(&self, id: &str, offset: usize, piece: &[u8]) -> u16 {
        let request = axum::http::Request::put(format!("http://{}/api/v1/uploads/{id}?offset={offset}", self.address))
            .header("content-type", "application/octet-stream")
            .body(Full::new(Bytes::copy_from_slice(piece)));
        self.client.request(request.expect("a request")).await.expect("an answer").status().as_u16()
    }

    /// Sends a command; returns its request id once accepted.
    pub async fn send(&self, target: &str, kind: &str) -> String {
        let (status, answer, id) = self.command(target, json!({ "kind": kind })).await;
        assert_eq!(status, 202, "{answer}");
        id
    }

    /// Sends a command with arguments; returns the response and its request id.
    pub async fn command(&self, target: &str, command: Value) -> (u16, Value, String) {
        let id = Uuid::new_v4().to_string();
        let request = json!({ "requestId": id, "host": "atlas", "target": target, "command": command });
        let (status, answer) = self.json("POST", "/api/v1/commands", &request).await.expect("answers");
        (status, answer, id)
    }

    /// Polls a task until it matches.
    pub async fn task_when(&self, id: &str, limit: u64, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (status, task) = self.json("GET", &format!("/api/v1/tasks/{id}"), &Value::Null).await.expect("answers");
            if status == 200 && wanted(&task) {
                return task;
            }
            assert!(began.elapsed() < Duration::from_secs(limit), "{id} never gets there: {task}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a task has ended.
    pub async fn ended_task(&self, id: &str) -> Value {
        self.task_when(id, 60, |task| !task["outcome"].is_null()).await
    }

    pub async fn cancel(&self, id: &str) {
        let (status, answer) =
            self.json("POST", &format!("/api/v1/tasks/{id}/cancel"), &json!({})).await.expect("answers");
        assert_eq!(status, 202, "{answer}");
    }

    /// The record of a request.
    pub async fn record(&self, id: &str) -> Value {
        let (_, found) =
            self.json("GET", &format!("/api/v1/audit?requestId={id}"), &Value::Null).await.expect("answers");
        found["records"][0].clone()
    }

    /// Waits until it has exited.
    pub async fn ended(&mut self) {
        self.child.wait().await.expect("waited for");
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Opens a stream of events.
    pub async fn stream(&self, path: &str) -> super::Stream {
        let request = axum::http::Request::get(format!("http://{}{path}", self.address));
        let response = self.client.request(request.body(Full::default()).expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), 200);
        super::Stream { body: response.into_body(), text: String::new() }
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill").args([name, &pid]).status().expect("sent");
        assert!(sent.success());
    }
}
