//! Limits of shared resources: records, memory, connections, streams, the journal. Measurements are
//! printed; the limits are asserted.

#![expect(clippy::print_stdout, reason = "figures are printed")]

mod support;

use std::{convert::Infallible, time::Duration};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use support::{Running, read, resident, site::Site};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_cost_a_kilobyte_each_and_commands_a_second_are_bounded() {
    let server = Running::demo().await;
    let target = server.uuid("web-01").await;
    let (before, began) = (resident(), Instant::now());
    let (mut refused, mut too_many) = (0, 0);
    for n in 0..600 {
        let text = format!("{n} {}", "x".repeat(60_000));
        let command = match n % 3 {
            0 => json!({ "kind": "setDescription", "description": text }),
            1 => json!({ "kind": "setTags", "tags": vec![text; 1] }),
            _ => json!({ "kind": "rename", "name": text }),
        };
        let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": target, "command": command });
        match server.post("/api/v1/commands", &request).await {
            (422, _) => refused += 1,
            (429, said) => {
                too_many += 1;
                assert!(said["next"].as_str().is_some(), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
    let (_, records) = server.get("/api/v1/audit.jsonl").await;
    let longest = records.lines().map(str::len).max().expect("records");
    println!(
        "600 of 60 kB in {:.1} s: {refused} refused, {too_many} too many; memory {before} → {} MiB; longest record {longest} bytes",
        began.elapsed().as_secs_f64(),
        resident()
    );
    assert!(refused >= 300 && too_many > 100, "{refused} {too_many}");
    // Including its number and hash, which are stored in addition.
    assert!(longest < 1_024 + 120, "{longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ones_request_id_takes_nothing_from_them() {
    let site = Site::new().await;
    for name in ["jane", "eve"] {
        site.add(name, "operator").await;
    }
    let (jane, eve) = (site.cookie("jane").await, site.cookie("eve").await);
    let send = async |who: &str, path: &str, body: Value| {
        let headers = [("cookie", who), ("content-type", "application/json")];
        let (status, text) = read(site.server.send("POST", path, &headers, body.to_string()).await).await;
        (status, serde_json::from_str::<Value>(&text).unwrap_or_default())
    };
    let headers = [("cookie", jane.as_str())];
    let (_, text) = read(site.server.send("GET", "/api/v1/inventory", &headers, "").await).await;
    let inventory: Value = serde_json::from_str(&text).expect("JSON");
    let machines = inventory["hosts"]["demo"]["domains"].as_array().expect("a list").clone();
    let running: Vec<&Value> = machines.iter().filter(|machine| machine["state"] == "running").take(2).collect();
    let (batch, target) = (Uuid::new_v4(), running[0]["id"].as_str().expect("an id").to_owned());
    // A former part id, used before the batch arrives.
    let part = Uuid::new_v5(&batch, target.parse::<Uuid>().expect("an id").as_bytes());
    let title = json!({ "kind": "setTitle", "title": "taken" });
    let taken = send(
        &eve,
        "/api/v1/commands",
        json!({ "requestId": part, "host": "demo", "target": target, "command": title }),
    )
    .await;
    assert_eq!(taken.0, 202);
    let pause = json!({ "requestId": batch, "host": "demo", "targets": [target], "command": { "kind": "pause" } });
    assert_eq!(send(&jane, "/api/v1/batches", pause.clone()).await.0, 202);
    let paused = async {
        loop {
            let (_, text) = read(site.server.send("GET", &format!("/api/v1/tasks/{batch}"), &headers, "").await).await;
            let task: Value = serde_json::from_str(&text).expect("JSON");
            if task["outcome"] != Value::Null {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let task = timeout(Duration::from_secs(20), paused).await.expect("it ends");
    assert_eq!(task["outcome"], "succeeded", "{task}");
    // A known request id belongs to its sender.
    let (status, said) = send(&eve, "/api/v1/batches", pause.clone()).await;
    assert!(status == 409 && said["reason"].to_string().contains("another account"), "{said}");
    assert_eq!(send(&jane, "/api/v1/batches", pause).await.0, 202, "hers is the same again");
}

/// An HTTP/2 connection with a small stream window.
async fn h2(address: &str, window: u32) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<bool>) {
    let stream = TcpStream::connect(address).await.expect("connects");
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).initial_connection_window_size(1 << 20);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    (sender, tokio::spawn(async move { connection.await.is_ok() }))
}

fn get(address: &str, path: &str) -> axum::http::Request<Full<Bytes>> {
    let uri = format!("http://{address}{path}");
    axum::http::Request::builder().uri(uri).body(Full::<Bytes>::default()).expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_end_over_http2_too() {
    let server = Running::demo().await;
    // One of many pieces, and one that is a single piece.
    for path in ["/vms", "/api/v1"] {
        let (mut sender, connection) = h2(&server.address, 0).await;
        let began = Instant::now();
        let mut held = Vec::new();
        for _ in 0..10 {
            sender.ready().await.expect("open");
            held.push(sender.send_request(get(&server.address, path)).await.expect("the head of an answer"));
        }
        // They hold responses without reading; others are served meanwhile.
        assert_eq!(server.get("/healthz").await.0, 200);
        let ended = timeout(Duration::from_secs(12), connection).await.expect("it is ended").expect("no panic");
        println!("10 answers of {path} without a window were held for {:.1} s", began.elapsed().as_secs_f64());
        assert!(!ended, "the server cut it off");
        assert!(began.elapsed() > Duration::from_secs(4), "not before its time");
        assert!(began.elapsed() < Duration::from_secs(10));
        for answer in held {
            answer.into_body().collect().await.expect_err("it is cut short");
        }
    }
    // A slow reader that makes progress gets the whole response.
    let (mut sender, _connection) = h2(&server.address, 1024).await;
    let began = Instant::now();
    sender.ready().await.expect("open");
    let mut body = sender.send_request(get(&server.address, "/vms")).await.expect("an answer").into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("it goes on").into_data().map(|data| data.len()).unwrap_or_default();
        // Longer in total than a body may wait, but never at a time.
        if began.elapsed() < Duration::from_secs(6) {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    assert!(began.elapsed() > Duration::from_secs(6) && length > 20_000, "{length} in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_known_has_few_requests_and_connections_at_a_time() {
    let arguments = ["--connect", "lab=test:///default", "--auth", "on"];
    let server = Running::with(&arguments).await;
    let (mut sender, _connection) = h2(&server.address, 0).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        sender.ready().await.expect("open");
        statuses.push(sender.send_request(get(&server.address, "/login")).await.expect("an answer"));
    }
    let refused = statuses.iter().filter(|answer| answer.status() == 429).count();
    assert!((10..=14).contains(&refused), "{refused}");
    // Idle connections without authentication.
    let mut open = Vec::new();
    for _ in 0..400 {
        open.push(TcpStream::connect(&server.address).await.expect("the kernel takes it"));
    }
    let mut closed = 0;
    for stream in &open {
        let mut byte = [0; 1];
        let read = timeout(Duration::from_millis(20), async {
            stream.readable().await.ok();
            stream.try_read(&mut byte)
        });
        closed += usize::from(matches!(read.await, Ok(Ok(0) | Err(_))));
    }
    println!("of 400 connections of strangers {closed} were closed at once");
    // 256 of one address may stay.
    assert!((140..=160).contains(&closed), "{closed}");
    drop(open);
    let again = async {
        while TcpStream::connect(&server.address).await.is_err() || server.get("/healthz").await.0 != 200 {}
        Ok::<_, Infallible>(())
    };
    timeout(Duration::from_secs(20), again).await.expect("others come in again").expect("never");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_does_not_take_all_streams() {
    let site = Site::new().await;
    site.add("jane", "viewer").await;
    site.add("root", "admin").await;
    let (jane, root) = (site.cookie("jane").await, site.cookie("root").await);
    let open = async |who: &str| site.server.send("GET", "/events", &[("cookie", who)], "").await;
    let mut streams = Vec::new();
    let refused = loop {
        let answer = open(&jane).await;
        if answer.status() != 200 {
            break answer;
        }
        streams.push(answer);
        assert!(streams.len() <= 300, "there is no end");
    };
    assert_eq!((streams.len(), refused.status().as_u16()), (200, 429));
    assert_eq!(open(&root).await.status(), 200, "others have theirs");
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_its_path_is_refused_and_public_paths_lead_to_no_page() {
    let server = Running::with(&["--demo", "--auth", "on"]).await;
    for path in [
        "/pkg/../api/v1/inventory",
        "/pkg/%2e%2e/api/v1/inventory",
        "/pkg/..%2fapi",
        "/pkg/%252e%252e/vms",
        "/./vms",
        "/pkg/x%5c..%5cy",
        "/pkg/%00",
    ] {
        assert_eq!(server.get(path).await.0, 400, "{path}");
    }
    for path in ["/pkg/none.js", "/pkg/a/b/c"] {
        assert_eq!(server.get(path).await.0, 404, "{path}");
    }
    assert_eq!(server.get("/pkg/").await.0, 303, "no file, so a page like any other");
    assert_eq!(server.get("/vms/...").await.0, 303, "three dots are a name: to the page that asks who it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reads_itself_anew_keeps_no_session_alive() {
    let site = Site::new().await;
    site.add("jane", "viewer").await;
    let cookie = site.cookie("jane").await;
    let file = rusqlite::Connection::open(site.data.join("accounts.db")).expect("opens");
    let seen = || file.query_row("SELECT seen FROM sessions", [], |row| row.get::<_, i64>(0)).expect("one");
    let rest = |by: i64| file.execute("UPDATE sessions SET seen = seen - ?", [by]).expect("written");
    rest(600_000);
    let rested = seen();
    // A cached session is looked up again after a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let headers = [("cookie", cookie.as_str()), ("x-belvedere-refresh", "1")];
    assert_eq!(site.server.send("GET", "/storage", &headers, "").await.status(), 200);
    assert_eq!(seen(), rested, "nobody was there");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(site.server.send("GET", "/storage", &headers[..1], "").await.status(), 200);
    assert!(seen() > rested, "somebody was");
}
