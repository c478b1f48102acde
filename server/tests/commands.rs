//! Commands, tasks, records and past events over HTTP, with a whole server.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Frame, Running, Stream};
use tempfile::TempDir;
use uuid::Uuid;

/// A server with a persistent journal.
async fn with_data(folder: &TempDir) -> Running {
    Running::with(&["--demo", "--data", folder.path().to_str().expect("text")]).await
}

async fn completed(stream: &mut Stream, id: Uuid) -> Value {
    loop {
        let Frame { data, .. } = stream.until("task-completed").await;
        if data["taskId"] == json!(id) {
            return data;
        }
    }
}

async fn record(server: &Running, id: Uuid) -> Value {
    let found = server.json(&format!("/api/v1/audit?requestId={id}")).await;
    let records = found["records"].as_array().expect("a list").clone();
    assert_eq!(records.len(), 1, "one record for one request: {records:?}");
    records[0].clone()
}

#[tokio::test]
async fn a_command_is_a_task_whose_beginning_and_end_are_events_and_a_record() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events", &[]).await;
    stream.until("inventory").await;
    let (status, _, id) = server.command("web-01", json!({ "kind": "pause" })).await;
    assert_eq!(status, 202);
    let created = stream.until("task-created").await.data;
    assert_eq!((created["taskId"].clone(), created["kind"].as_str()), (json!(id), Some("pause")));
    assert_eq!((created["targetName"].as_str(), created["outcome"].clone()), (Some("web-01"), Value::Null));
    let appended = stream.until("audit-appended").await.data;
    assert_eq!(
        (appended["record"]["requestId"].clone(), appended["record"]["outcome"].as_str()),
        (json!(id), Some("accepted"))
    );
    let ended = completed(&mut stream, id).await;
    assert_eq!((ended["state"].as_str(), ended["outcome"].as_str()), (Some("succeeded"), Some("succeeded")));
    assert_eq!(stream.until("audit-appended").await.data["record"]["outcome"], "succeeded");
    let record = record(&server, id).await;
    assert_eq!((record["kind"].as_str(), record["targetName"].as_str()), (Some("pause"), Some("web-01")));
    assert_eq!((record["source"].as_str(), record["address"].as_str()), (Some("api"), Some("127.0.0.1")));
    assert!(record["endedAt"].as_u64() >= record["timestamp"].as_u64());
    let tasks = server.json("/api/v1/tasks").await;
    assert_eq!(tasks["tasks"][0]["taskId"], json!(id));
    assert_eq!(server.json(&format!("/api/v1/tasks/{id}")).await["outcome"], "succeeded");
    assert_eq!(server.get(&format!("/api/v1/tasks/{}", Uuid::new_v4())).await.0, 404);
}

#[tokio::test]
async fn a_refusal_is_recorded_and_answered_alike_when_it_comes_again() {
    let server = Running::demo().await;
    let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": server.uuid("web-01").await,
        "command": { "kind": "start" }, "tab": "t-1", "session": "<b>" });
    let first = server.post("/api/v1/commands", &request).await;
    assert_eq!((first.0, first.1["fault"].as_str()), (409, Some("denied")));
    assert_eq!(server.post("/api/v1/commands", &request).await, first);
    let id = request["requestId"].as_str().expect("text").parse().expect("an id");
    let record = record(&server, id).await;
    assert_eq!((record["outcome"].as_str(), record["tab"].as_str()), (Some("refused"), Some("t-1")));
    assert_eq!(record["session"], Value::Null, "a name that is none is not kept");
    assert_eq!(server.json("/api/v1/tasks").await["tasks"], json!([]), "what was refused is no task");
}

#[tokio::test]
async fn a_request_that_comes_again_after_a_restart_has_no_second_effect() {
    let folder = TempDir::new().expect("a folder");
    let mut server = with_data(&folder).await;
    let target = server.uuid("web-01").await;
    let request =
        json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": target, "command": { "kind": "pause" } });
    let receipt = server.post("/api/v1/commands", &request).await;
    assert_eq!(receipt.0, 202);
    server
        .backend
        .wait(
            model::RequestId(request["requestId"].as_str().expect("text").parse().expect("an id")),
            Duration::from_secs(10),
        )
        .await;
    server.stop().await;
    drop(server);
    // The test driver is reset, so a second effect would be visible.
    let server = with_data(&folder).await;
    assert_eq!(server.post("/api/v1/commands", &request).await, receipt);
    assert_eq!(server.domain("web-01").await["state"], "running");
    let other =
        json!({ "requestId": request["requestId"], "host": "demo", "target": target, "command": { "kind": "reset" } });
    let (status, fault) = server.post("/api/v1/commands", &other).await;
    assert_eq!((status, fault["fault"].as_str()), (409, Some("conflict")));
    assert_eq!(server.json("/api/v1/tasks").await["tasks"][0]["outcome"], "succeeded");
    let kinds: Vec<_> = server.json("/api/v1/audit").await["records"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|record| record["kind"].clone())
        .collect();
    assert_eq!(kinds, ["serverStarted", "serverStopped", "pause", "serverStarted"]);
}

#[tokio::test]
async fn a_command_for_another_version_of_the_machine_is_a_conflict() {
    let server = Running::demo().await;
    let domain = server.domain("dns-2").await;
    let with = |version: u64| json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": domain["id"], "command": { "kind": "start" }, "expectedVersion": version });
    let version = domain["version"].as_u64().expect("a number");
    assert!(version < 1 << 53, "browsers count no further");
    let (status, fault) = server.post("/api/v1/commands", &with(version - 1)).await;
    assert_eq!((status, fault["fault"].as_str()), (409, Some("conflict")));
    assert!(fault["reason"].as_str().expect("text").contains("dns-2 has changed"));
    assert_eq!(server.post("/api/v1/commands", &with(version)).await.0, 202);
}

#[tokio::test]
async fn a_batch_is_a_task_with_a_task_for_each_machine() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events?topics=task-created,task-completed", &[]).await;
    stream.until("inventory").await;
    let (stopped, running) = (server.uuid("dns-2").await, server.uuid("web-01").await);
    let id = Uuid::new_v4();
    let batch =
        json!({ "requestId": id, "host": "demo", "targets": [stopped, running], "command": { "kind": "start" } });
    let answers = tokio::join!(server.post("/api/v1/batches", &batch), server.post("/api/v1/batches", &batch));
    assert_eq!(answers.0, answers.1);
    assert_eq!(answers.0, (202, json!({ "requestId": id, "taskId": id })));
    let ended = completed(&mut stream, id).await;
    assert_eq!(ended["outcome"], "failed");
    assert!(ended["fault"]["reason"].as_str().expect("text").contains("1 of 2 machines succeeded"), "{ended}");
    let parts = server.json(&format!("/api/v1/audit?parent={id}")).await["records"].as_array().expect("a list").clone();
    let mut results: Vec<_> = parts
        .iter()
        .map(|part| (part["targetName"].as_str().expect("text"), part["outcome"].as_str().expect("text")))
        .collect();
    results.sort();
    assert_eq!(results, [("dns-2", "succeeded"), ("web-01", "refused")]);
    assert_eq!(server.domain("dns-2").await["state"], "running");
    let empty = json!({ "requestId": Uuid::new_v4(), "host": "demo", "targets": [], "command": { "kind": "start" } });
    assert_eq!(server.post("/api/v1/batches", &empty).await.0, 422);
    let nowhere =
        json!({ "requestId": Uuid::new_v4(), "host": "nowhere", "targets": [running], "command": { "kind": "start" } });
    assert_eq!(server.post("/api/v1/batches", &nowhere).await.0, 404);
}

#[tokio::test]
async fn what_happened_can_be_read_again_by_time_machine_and_kind() {
    let folder = TempDir::new().expect("a folder");
    let mut server = with_data(&folder).await;
    let (_, _, id) = server.command("web-01", json!({ "kind": "pause" })).await;
    server.backend.wait(model::RequestId(id), Duration::from_secs(10)).await;
    let target = server.uuid("web-01").await;
    let before = server.json("/api/v1/inventory").await;
    server.stop().await;
    drop(server);
    let server = with_data(&folder).await;
    let past =
        server.json(&format!("/api/v1/events?target={target}&topics=vm-state-changed&from=2020-01-01T00:00")).await;
    let events = past["events"].as_array().expect("a list");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (events[0]["event"].as_str(), events[0]["data"]["newState"].as_str()),
        (Some("vm-state-changed"), Some("paused"))
    );
    assert_eq!(events[0]["data"]["cause"], json!(id));
    let epoch = before["cursor"].as_str().expect("text").split('-').next().expect("an epoch");
    assert!(events[0]["id"].as_str().expect("text").starts_with(epoch), "it keeps the position of its time");
    assert_eq!(server.json("/api/v1/events?to=1000").await["events"], json!([]));
    let page = server.json("/api/v1/events?limit=2").await;
    assert_eq!(page["events"].as_array().expect("a list").len(), 2);
    let after = page["next"].as_u64().expect("there is more");
    let second = server.json(&format!("/api/v1/events?limit=2&after={after}")).await;
    assert_ne!(second["events"][0]["id"], page["events"][0]["id"]);
    assert_eq!(server.domain("web-01").await["state"], "running", "reading the past carries nothing out");
    for wrong in [
        "/api/v1/events?from=yesterday",
        "/api/v1/audit?requestId=1",
        "/api/v1/tasks?limit=many",
        "/api/v1/audit?host=%3Cb%3E",
    ] {
        assert_eq!(server.get(wrong).await.0, 422, "{wrong}");
    }
}

#[tokio::test]
async fn a_task_that_cannot_be_cancelled_says_why() {
    let server = Running::demo().await;
    let (_, _, id) = server.command("web-01", json!({ "kind": "pause" })).await;
    server.backend.wait(model::RequestId(id), Duration::from_secs(10)).await;
    let (status, fault) = server.post(&format!("/api/v1/tasks/{id}/cancel"), &Value::Null).await;
    assert_eq!(status, 409);
    assert!(fault["reason"].as_str().expect("text").contains("Pause of web-01 has already finished"), "{fault}");
    assert_eq!(server.post(&format!("/api/v1/tasks/{}/cancel", Uuid::new_v4()), &Value::Null).await.0, 404);
    assert_eq!(
        server.send("GET", &format!("/api/v1/tasks/{id}/cancel"), &[], "").await.status(),
        405,
        "a GET changes nothing"
    );
}

#[tokio::test]
async fn the_records_can_be_taken_away_as_json_lines() {
    let server = Running::demo().await;
    let (_, _, id) = server.command("web-01", json!({ "kind": "pause" })).await;
    server.backend.wait(model::RequestId(id), Duration::from_secs(10)).await;
    let response = server.send("GET", "/api/v1/audit.jsonl", &[], "").await;
    assert_eq!(response.headers()["content-type"], "application/jsonl");
    let (_, lines) = support::read(response).await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let entries: Vec<_> = lines.iter().map(|line| line["record"]["entry"].as_str().expect("text")).collect();
    assert_eq!(entries, ["server", "intent", "outcome"]);
    assert_eq!(lines[1]["record"]["requestId"], json!(id));
}
