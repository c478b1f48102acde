//! The executable itself as a process of its own, to be killed.

use std::{process::Stdio, time::Duration};

use axum::body::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

pub struct Process {
    pub address: String,
    child: Child,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Process {
    /// Starts it, and waits until every host's first listing is over.
    pub async fn start(arguments: &[&str], failpoint: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_belvedere"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        command.env("BELVEDERE_LOG", "error").stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(place) = failpoint {
            command.env("BELVEDERE_FAILPOINT", place);
        }
        let mut child = command.spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await.expect("in time").expect("readable");
        let address = line.expect("a line").rsplit('/').next().expect("an address").to_owned();
        let process = Self { address, child, client: Client::builder(TokioExecutor::new()).build_http() };
        while process.json("GET", "/readyz", &Value::Null).await.expect("answers").0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process
    }

    /// Asks for something; none when the process did not answer.
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

    /// Waits until it has died.
    pub async fn ended(&mut self) {
        self.child.wait().await.expect("waited for");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([name, &pid]).status().expect("sent");
        assert!(sent.success());
    }
}
