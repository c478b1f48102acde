//! The interface for programs: windows, versions, errors, spellings of requests.

mod support;

use serde_json::{Value, json};
use support::{Running, read};
use uuid::Uuid;

async fn get(server: &Running, path: &str, headers: &[(&str, &str)]) -> (u16, hyper::HeaderMap, Value) {
    let answer = server.send("GET", path, headers, "").await;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, serde_json::from_str(&read(answer).await.1).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_come_in_windows_that_lead_to_one_another_with_counts_of_all() {
    let server = Running::with(&["--demo"]).await;
    let (_, _, all) = get(&server, "/api/v1/inventory", &[]).await;
    let all = all["hosts"]["demo"]["domains"].as_array().expect("machines").len();
    let (mut path, mut names) = ("/api/v1/domains?limit=5&sort=-memory".to_owned(), Vec::new());
    loop {
        let (status, headers, page) = get(&server, &path, &[]).await;
        assert_eq!((status, &page["counts"]["all"]), (200, &json!(all)), "{page}");
        let some = page["domains"].as_array().expect("machines");
        assert!(some.len() <= 5 && some.iter().all(|machine| machine["hostId"] == "demo"), "{page}");
        names.extend(some.iter().map(|machine| machine["name"].as_str().expect("text").to_owned()));
        let Some(link) = headers.get("link") else {
            assert!(page["next"].is_null(), "{page}");
            break;
        };
        let link = link.to_str().expect("text");
        path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link").to_owned();
        assert!(path.contains("sort=-memory") && page["next"].is_string(), "{path}");
    }
    let once: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!((once.len(), names.len()), (all, all), "each once: {names:?}");

    let (_, _, some) = get(&server, "/api/v1/domains?q=web&state=running", &[]).await;
    assert_eq!(some["counts"]["states"]["running"], json!(some["domains"].as_array().map(Vec::len)), "{some}");
    for (query, field) in
        [("sort=colour", "sort"), ("state=asleep", "state"), ("after=x", "after"), ("limit=x", "limit")]
    {
        let (status, _, fault) = get(&server, &format!("/api/v1/domains?{query}"), &[]).await;
        assert_eq!((status, &fault["field"]), (422, &json!(field)), "{fault}");
    }
    let gone = format!("/api/v1/domains?after=demo/{}", Uuid::new_v4());
    let (status, _, fault) = get(&server, &gone, &[]).await;
    assert_eq!((status, &fault["next"]), (404, &json!("Read the list from its beginning")), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problems_with_a_stable_code_beside_the_fault() {
    let server = Running::with(&["--demo"]).await;
    let id = Uuid::new_v4();
    let (status, headers, problem) = get(&server, &format!("/api/v1/domains/demo/{id}"), &[]).await;
    assert_eq!((status, &headers["content-type"]), (404, &"application/problem+json".parse().expect("a value")));
    for field in ["type", "title", "status", "detail", "fault", "reason", "code"] {
        assert!(!problem[field].is_null(), "{field}: {problem}");
    }
    assert_eq!(
        (&problem["status"], &problem["fault"], &problem["detail"]),
        (&json!(404), &json!("notFound"), &problem["reason"])
    );
    let command = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": id, "command": { "kind": "start" } });
    let json = [("content-type", "application/json")];
    let (_, text) = read(server.send("POST", "/api/v1/commands", &json, command.to_string()).await).await;
    let problem: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&problem["type"], &problem["arguments"]["host"]),
        (&json!("/errors/object-not-found"), &json!("demo")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_an_entity_tag_and_a_request_id_an_idempotency_key() {
    let server = Running::with(&["--demo"]).await;
    let (_, _, page) = get(&server, "/api/v1/domains?q=web-01", &[]).await;
    let id = page["domains"][0]["id"].as_str().expect("text").to_owned();
    let path = format!("/api/v1/domains/demo/{id}");
    let (_, headers, machine) = get(&server, &path, &[]).await;
    let tag = headers["etag"].to_str().expect("text").to_owned();
    assert_eq!(tag, format!("\"{}\"", machine["version"]));
    assert_eq!(get(&server, &path, &[("if-none-match", &tag)]).await.0, 304);
    assert_eq!(get(&server, &path, &[("if-none-match", "\"1\"")]).await.0, 200);

    let send = async |key: &str, tag: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", key), ("if-match", tag)];
        let answer = server.send("POST", "/api/v1/commands", &headers, body.to_string()).await;
        let (status, text) = read(answer).await;
        (status, serde_json::from_str::<Value>(&text).expect("JSON"))
    };
    let pause = json!({ "host": "demo", "target": id, "command": { "kind": "pause" } });
    let (status, problem) = send(&Uuid::new_v4().to_string(), "\"1\"", pause.clone()).await;
    assert_eq!(
        (status, &problem["status"], &problem["code"]),
        (412, &json!(412), &json!("version-changed")),
        "{problem}"
    );
    let key = Uuid::new_v4().to_string();
    let (status, receipt) = send(&key, &tag, pause.clone()).await;
    assert_eq!((status, &receipt["requestId"]), (202, &json!(key)), "{receipt}");
    let (status, again) = send(&format!("\"{key}\""), &tag, pause.clone()).await;
    assert_eq!((status, &again), (202, &receipt), "it is the same request");
    let mut other = pause;
    other["requestId"] = json!(Uuid::new_v4());
    let (status, problem) = send(&key, "*", other).await;
    assert_eq!((status, &problem["field"]), (422, &json!("Idempotency-Key")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_what_it_can_do() {
    let server = Running::with(&["--demo"]).await;
    let (_, _, abilities) = get(&server, "/api/v1", &[]).await;
    assert!(abilities["commands"].as_array().expect("kinds").contains(&json!("start")), "{abilities}");
    assert!(
        abilities["questions"].as_array().expect("questions").contains(&json!("domains/boot-order")),
        "{abilities}"
    );
    for (version, text) in [("", "3.2.0"), ("?version=3.1", "3.1.1")] {
        let (status, _, document) = get(&server, &format!("/api/v1/openapi.json{version}"), &[]).await;
        assert_eq!((status, &document["openapi"]), (200, &json!(text)));
        assert!(document["paths"]["/api/v1/domains"]["get"]["summary"].is_string());
    }
    let (status, _, fault) = get(&server, "/api/v1/openapi.json?version=2", &[]).await;
    assert_eq!((status, &fault["field"]), (422, &json!("version")));
}
