//! The HTTP interface: pages, API, stream and forms, with a whole server.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Running, read};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use uuid::Uuid;

#[tokio::test]
async fn the_inventory_has_the_shape_of_the_contract() {
    let server = Running::demo().await;
    let inventory = server.json("/api/v1/inventory").await;
    assert!(inventory["cursor"].as_str().expect("text").split_once('-').is_some());
    let host = &inventory["hosts"]["demo"];
    for key in ["connected", "uri", "error", "since"] {
        assert!(host["connection"].get(key).is_some(), "connection.{key}");
    }
    let domains = host["domains"].as_array().expect("a list");
    assert!(domains.len() >= 12);
    let keys = [
        "id",
        "name",
        "title",
        "description",
        "state",
        "stateReason",
        "persistent",
        "autostart",
        "hasManagedSave",
        "tags",
        "vcpus",
        "memoryMb",
        "maxMemoryMb",
        "osType",
        "guest",
        "addresses",
        "version",
        "since",
    ];
    for domain in domains {
        keys.iter().for_each(|key| assert!(domain.get(key).is_some(), "{key} of {domain}"));
    }
}

#[tokio::test]
async fn a_command_is_accepted_with_a_receipt_and_its_effect_arrives_as_an_event() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events", &[]).await;
    assert_eq!(stream.next().await.expect("a frame").kind, "inventory");
    let (status, receipt, id) = server.command("web-01", json!({ "kind": "pause" })).await;
    assert_eq!((status, receipt), (202, json!({ "requestId": id, "taskId": id })));
    let event = stream.until("vm-state-changed").await.data;
    assert_eq!(event["vmName"], "web-01");
    assert_eq!((event["oldState"].as_str(), event["newState"].as_str()), (Some("running"), Some("paused")));
    assert_eq!(event["hostId"], "demo");
    assert_eq!(event["cause"], json!(id));
    assert_eq!(event["vm"]["state"], "paused");
    let ended = stream.until("task-completed").await.data;
    assert_eq!((ended["taskId"].clone(), ended["fault"].clone()), (json!(id), Value::Null));
    assert_eq!(server.domain("web-01").await["state"], "paused");
}

#[tokio::test]
async fn the_same_request_sent_many_times_at_once_has_one_effect() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events?topics=task-completed,vm-state-changed", &[]).await;
    stream.until("inventory").await;
    let target = server.uuid("web-02").await;
    let request =
        json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": target, "command": { "kind": "pause" } });
    let five = tokio::join!(
        server.post("/api/v1/commands", &request),
        server.post("/api/v1/commands", &request),
        server.post("/api/v1/commands", &request),
        server.post("/api/v1/commands", &request),
        server.post("/api/v1/commands", &request),
    );
    for answer in [&five.0, &five.1, &five.2, &five.3, &five.4] {
        assert_eq!(*answer, (202, json!({ "requestId": request["requestId"], "taskId": request["requestId"] })));
    }
    // A second effect would be an error of libvirt, reported as a second end.
    stream.until("task-completed").await;
    let (_, _, other) = server.command("web-01", json!({ "kind": "pause" })).await;
    let next = stream.until("task-completed").await;
    assert_eq!(next.data["taskId"], json!(other));
}

#[tokio::test]
async fn a_request_id_that_was_used_for_something_else_is_a_conflict() {
    let server = Running::demo().await;
    let target = server.uuid("web-01").await;
    let id = Uuid::new_v4();
    let with = |kind: &str| json!({ "requestId": id, "host": "demo", "target": target, "command": { "kind": kind } });
    assert_eq!(server.post("/api/v1/commands", &with("pause")).await.0, 202);
    let (status, fault) = server.post("/api/v1/commands", &with("forceOff")).await;
    assert_eq!((status, fault["fault"].as_str()), (409, Some("conflict")));
}

#[tokio::test]
async fn refusals_say_what_and_why() {
    let server = Running::demo().await;
    let (status, fault, _) = server.command("web-01", json!({ "kind": "start" })).await;
    assert_eq!(
        (status, fault["fault"].as_str(), fault["reason"].as_str()),
        (409, Some("denied"), Some("web-01 is already running"))
    );
    let (status, fault, _) = server.command("web-01", json!({ "kind": "rename", "name": "a/b" })).await;
    assert_eq!((status, fault["fault"].as_str()), (422, Some("invalid")));
    let (status, _, _) = server.command("web-01", json!({ "kind": "undefine" })).await;
    assert_eq!(status, 422);
    let ghost = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": Uuid::new_v4(), "command": { "kind": "start" } });
    assert_eq!(server.post("/api/v1/commands", &ghost).await.0, 404);
    let nowhere = json!({ "requestId": Uuid::new_v4(), "host": "nowhere", "target": Uuid::new_v4(), "command": { "kind": "start" } });
    assert_eq!(server.post("/api/v1/commands", &nowhere).await.0, 404);
    let response = server.send("POST", "/api/v1/commands", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(response.status(), 422);
    assert_eq!(server.get("/api/v1/nothing").await.0, 404);
}

#[tokio::test]
async fn a_command_that_libvirt_refuses_ends_as_a_failed_task_with_the_reason() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events?topics=task-completed", &[]).await;
    stream.until("inventory").await;
    let (status, _, _) = server.command("dns-2", json!({ "kind": "rename", "name": "mail" })).await;
    assert_eq!(status, 202);
    let ended = stream.until("task-completed").await.data;
    assert!(ended["fault"]["reason"].as_str().expect("a reason").contains("name"), "{ended}");
}

#[tokio::test]
async fn a_stream_resumes_by_cursor_and_the_header_wins_over_the_query() {
    let server = Running::demo().await;
    let cursor = server.json("/api/v1/inventory").await["cursor"].as_str().expect("text").to_owned();
    server.command("web-01", json!({ "kind": "pause" })).await;
    let mut first = server.stream(&format!("/events?since={cursor}&topics=vm-state-changed"), &[]).await;
    let paused = first.until("vm-state-changed").await;
    server.command("web-01", json!({ "kind": "resume" })).await;
    let mut again = server
        .stream(&format!("/events?since={cursor}&topics=vm-state-changed"), &[("last-event-id", &paused.id)])
        .await;
    let resumed = again.until("vm-state-changed").await;
    assert_eq!(resumed.data["newState"], "running", "what was seen is not sent again");
    let mut lost = server.stream("/events?since=0000000000000001-7", &[]).await;
    assert_eq!(lost.next().await.expect("a frame").kind, "inventory");
}

#[tokio::test]
async fn a_stream_brings_only_the_wanted_topics_and_hosts() {
    let server = Running::with(&["--demo", "--connect", "dead=qemu+unix:///system?socket=/nonexistent"]).await;
    let mut stream = server.stream("/events?hosts=demo", &[]).await;
    let inventory = stream.next().await.expect("a frame").data;
    assert_eq!(inventory["hosts"].as_object().expect("hosts").keys().collect::<Vec<_>>(), ["demo"]);
    server.command("web-01", json!({ "kind": "pause" })).await;
    loop {
        let frame = stream.next().await.expect("a frame");
        if frame.kind == "task-completed" {
            break;
        }
        assert!(frame.kind == "bookmark" || frame.data["hostId"] == "demo", "{frame:?}");
    }
    assert_eq!(server.get("/events?topics=nonsense").await.0, 422);
    assert_eq!(server.get("/events?hosts=%3Cb%3E").await.0, 422);
}

#[tokio::test]
async fn a_dead_host_is_told_and_delays_nothing() {
    let began = std::time::Instant::now();
    let server = Running::with(&["--demo", "--connect", "dead=qemu+unix:///system?socket=/nonexistent"]).await;
    assert!(began.elapsed().as_secs() < 5);
    assert_eq!(server.get("/readyz").await.0, 200);
    let inventory = server.json("/api/v1/inventory").await;
    let dead = &inventory["hosts"]["dead"];
    assert_eq!(dead["connection"]["connected"], false);
    assert!(dead["connection"]["error"].as_str().expect("a reason").contains("daemon is not running"));
    let request = json!({ "requestId": Uuid::new_v4(), "host": "dead", "target": Uuid::new_v4(), "command": { "kind": "start" } });
    assert_eq!(server.post("/api/v1/commands", &request).await.0, 404);
    let (status, page) = server.get("/hosts").await;
    assert!(status == 200 && page.contains("daemon is not running"));
}

#[tokio::test]
async fn the_list_is_rendered_on_the_server_with_its_filter() {
    let server = Running::demo().await;
    let (status, page) = server.get("/vms").await;
    assert_eq!(status, 200);
    for name in ["web-01", "k3s-c", "template-debian"] {
        assert!(page.contains(&format!(">{name}<")), "{name}");
    }
    let (_, filtered) = server.get("/vms?q=web&sort=-name&state=running").await;
    assert!(filtered.contains(">web-01<") && !filtered.contains(">k3s-c<"));
    assert!(filtered.find(">web-02<") < filtered.find(">web-01<"), "the order is the address's");
}

#[tokio::test]
async fn a_machine_that_is_not_there_and_a_page_that_does_not_exist_are_404() {
    let server = Running::demo().await;
    assert_eq!(server.get("/nonsense").await.0, 404);
    assert_eq!(server.get(&format!("/vms/demo/{}", Uuid::new_v4())).await.0, 404);
    assert_eq!(server.get("/vms/demo/not-a-uuid").await.0, 404);
    let uuid = server.uuid("web-01").await;
    for tab in ["", "/devices", "/xml"] {
        let (status, page) = server.get(&format!("/vms/demo/{uuid}{tab}")).await;
        assert!(status == 200 && page.contains("web-01"), "{tab}");
    }
    let (_, definition) = server.get(&format!("/api/v1/domains/demo/{uuid}/definition")).await;
    assert!(definition.contains("web-01"));
}

#[tokio::test]
async fn names_with_markup_are_text_in_the_page() {
    let server = Running::demo().await;
    let hostile = "<img src=x onerror=alert(1)> \"' & 😀";
    let (status, _, id) = server.command("dns-2", json!({ "kind": "rename", "name": hostile })).await;
    assert_eq!(status, 202);
    server.backend.wait(model::RequestId(id), std::time::Duration::from_secs(10)).await;
    let (_, page) = server.get("/vms").await;
    assert!(!page.contains("<img src=x"), "markup of a name must not become markup of the page");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
}

#[tokio::test]
async fn forms_do_without_javascript_what_buttons_do_with_it() {
    let server = Running::demo().await;
    let uuid = server.uuid("web-01").await;
    let token = Uuid::new_v4().to_string();
    let wish = format!("pause@demo/{uuid}");
    let fields = [("token", token.as_str()), ("do", &wish), ("back", "/vms?q=web")];
    let response = server.form("/commands", &fields).await;
    assert_eq!(response.status(), 303);
    let there = response.headers()["location"].to_str().expect("text").to_owned();
    assert!(there.starts_with("/vms?q=web&result="), "{there}");
    let (_, page) = server.get(&there).await;
    assert!(page.contains("web-01 is paused."), "the page says how it ended");
    assert_eq!(server.domain("web-01").await["state"], "paused");
    // The same form sent again has no second effect and shows the same result.
    let again = server.form("/commands", &fields).await;
    assert_eq!(again.headers()["location"].to_str().expect("text"), there);
}

#[tokio::test]
async fn a_form_that_would_lose_something_asks_first() {
    let server = Running::demo().await;
    let uuid = server.uuid("web-01").await;
    let (token, wish) = (Uuid::new_v4().to_string(), format!("forceOff@demo/{uuid}"));
    let response = server.form("/commands", &[("token", &token), ("do", &wish), ("back", "/vms")]).await;
    let there = response.headers()["location"].to_str().expect("text").to_owned();
    assert!(there.starts_with("/confirm?"), "{there}");
    let (_, page) = server.get(&there).await;
    assert!(page.contains("Force off web-01?") && page.contains("Unsaved data is lost"));
    assert_eq!(server.domain("web-01").await["state"], "running", "looking changes nothing");
    let target = format!("demo/{uuid}");
    let fields = [
        ("token", token.as_str()),
        ("do", "forceOff@selected"),
        ("select", &target),
        ("confirm", "yes"),
        ("back", "/vms"),
    ];
    assert_eq!(server.form("/commands", &fields).await.status(), 303);
    assert_eq!(server.domain("web-01").await["state"], "stopped");
}

#[tokio::test]
async fn a_batch_form_gives_a_result_for_each_machine() {
    let server = Running::demo().await;
    let (running, stopped) = (server.uuid("web-01").await, server.uuid("dns-2").await);
    let (token, one, two) = (Uuid::new_v4().to_string(), format!("demo/{running}"), format!("demo/{stopped}"));
    let fields = [
        ("token", token.as_str()),
        ("do", "start@selected"),
        ("select", &one),
        ("select", &two),
        ("back", "//evil.example"),
    ];
    let response = server.form("/commands", &fields).await;
    let there = response.headers()["location"].to_str().expect("text").to_owned();
    assert!(there.starts_with("/vms?result="), "a foreign address is not gone back to: {there}");
    let (_, page) = server.get(&there).await;
    assert!(page.contains("dns-2 is running.") && page.contains("web-01 is already running."), "{page}");
}

#[tokio::test]
async fn requests_of_other_sites_and_rebound_names_are_refused() {
    let server = Running::with(&["--demo", "--allow-host", "vms.example.org"]).await;
    let uuid = server.uuid("web-01").await;
    let body = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": uuid, "command": { "kind": "pause" } })
        .to_string();
    let json = ("content-type", "application/json");
    let own = format!("http://{}", server.address);
    let refused: [&[(&str, &str)]; 5] = [
        &[json, ("origin", "https://evil.example")],
        &[json, ("sec-fetch-site", "cross-site")],
        &[json, ("sec-fetch-site", "same-site"), ("origin", &own)],
        &[json, ("origin", "null")],
        &[json, ("host", "evil.example")],
    ];
    for headers in refused {
        assert_eq!(server.send("POST", "/api/v1/commands", headers, body.clone()).await.status(), 403, "{headers:?}");
    }
    assert_eq!(server.send("GET", "/api/v1/inventory", &[("host", "evil.example")], "").await.status(), 403);
    assert_eq!(server.send("GET", "/api/v1/inventory", &[("host", "vms.example.org:80")], "").await.status(), 200);
    assert_eq!(server.domain("web-01").await["state"], "running");
    assert_eq!(server.send("POST", "/api/v1/commands", &[json, ("origin", &own)], body).await.status(), 202);
}

#[tokio::test]
async fn pages_carry_a_strict_policy_with_a_nonce_of_their_own() {
    let server = Running::demo().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let response = server.send("GET", "/vms", &[], "").await;
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        for header in ["x-content-type-options", "x-frame-options", "referrer-policy"] {
            assert!(response.headers().contains_key(header), "{header}");
        }
        let (_, page) = read(response).await;
        let nonce =
            policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce").to_owned();
        assert!(!policy.contains("unsafe-inline") && policy.contains("default-src 'none'"), "{policy}");
        // Initial data of a page, which browsers do not execute.
        assert_eq!(page.matches("<script type=\"application/json\" id=\"initial\">").count(), 1);
        let scripts = page.matches("<script").count() - 1;
        assert!(
            scripts > 0 && page.matches(&format!("nonce=\"{nonce}\"")).count() == scripts,
            "every script has the nonce"
        );
        assert!(!page.contains(" style=\""), "inline styles would be refused");
        seen.push(nonce);
    }
    assert_ne!(seen[0], seen[1], "even of a page that is shared");
}

#[tokio::test]
async fn hundreds_who_come_at_once_wait_at_the_door_until_they_are_let_in() {
    let listener = server::listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = listener.local_addr().expect("bound");
    // Nothing accepts them; connections beyond the backlog would retry for seconds.
    let all = futures_util::future::join_all((0..400).map(|_| tokio::net::TcpStream::connect(address)));
    let all = tokio::time::timeout(std::time::Duration::from_secs(10), all).await.expect("all are kept");
    assert!(all.iter().all(Result::is_ok));
}

#[tokio::test]
async fn reading_changes_nothing_and_bodies_are_bounded() {
    let server = Running::demo().await;
    let uuid = server.uuid("web-01").await;
    for path in [format!("/commands?do=pause@demo/{uuid}"), "/theme".to_owned(), "/api/v1/commands".to_owned()] {
        let (status, _) = server.get(&path).await;
        assert!(status == 404 || status == 405, "{path}: {status}");
    }
    assert_eq!(server.domain("web-01").await["state"], "running");
    let big = "x".repeat(65 * 1024);
    let response = server.send("POST", "/api/v1/commands", &[("content-type", "application/json")], big).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn the_theme_is_remembered_in_a_cookie_and_rendered() {
    let server = Running::demo().await;
    let response = server.form("/theme", &[("theme", "dark"), ("back", "/hosts")]).await;
    assert_eq!(response.headers()["location"], "/hosts");
    let cookie = response.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.starts_with("theme=dark;"), "{cookie}");
    let (_, page) = read(server.send("GET", "/vms", &[("cookie", "a=b; theme=dark")], "").await).await;
    assert!(page.contains("data-theme=\"dark\""));
}

#[tokio::test]
async fn streams_end_with_a_farewell_when_the_server_stops() {
    let mut server = Running::demo().await;
    let mut stream = server.stream("/events", &[]).await;
    stream.until("inventory").await;
    server.stop().await;
    let rest = stream.rest().await;
    assert!(rest.ends_with("\n\n") && rest.contains("retry: "), "{rest}");
}

/// Sends bytes and reads until a text.
async fn say(address: &str, request: &str, until: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket.write_all(request.replace("HOST", address).as_bytes()).await.expect("sent");
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains(until) {
        let read = timeout(Duration::from_secs(10), socket.read_buf(&mut told)).await.expect("in time").expect("read");
        assert!(read > 0, "it ends before {until}: {}", String::from_utf8_lossy(&told));
    }
    (socket, String::from_utf8_lossy(&told).into_owned())
}

#[tokio::test]
async fn a_stream_carries_what_every_answer_carries_and_lasts_as_long_as_its_connection() {
    let server = Running::demo().await;
    // Further requests on the connection are not answered.
    let request = "GET /events HTTP/1.1\r\nHost: HOST\r\n\r\nGET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let (mut socket, told) = say(&server.address, request, "event: bookmark").await;
    let (head, _) = told.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("transfer-encoding"), "{head}");
    let (_, other) = say(&server.address, "GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n", "ok\n").await;
    let (other, _) = other.split_once("\r\n\r\n").expect("a head");
    let own = ["content-type", "content-length", "date", "vary"];
    for line in other.lines().skip(1).filter(|line| !own.iter().any(|name| line.starts_with(name))) {
        assert!(head.contains(line), "{line} is missing: {head}");
    }
    for line in ["connection: close", "content-type: text/event-stream", "x-accel-buffering: no", "date: "] {
        assert!(head.contains(line), "{line} is missing: {head}");
    }
    socket.write_all(b"more of what nobody reads").await.expect("taken");
    let streams =
        async |count: usize| server.get("/metrics").await.1.contains(&format!("belvedere_streams {count}.0\n"));
    assert!(streams(1).await);
    drop(socket);
    let gone = async {
        while !streams(0).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), gone).await.expect("whoever is gone is no reader");
    // HEAD does not take the connection over.
    let request = "HEAD /events HTTP/1.1\r\nHost: HOST\r\n\r\nGET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let (_, told) = say(&server.address, request, "ok\n").await;
    assert_eq!(told.matches("HTTP/1.1 200").count(), 2, "{told}");
    // HTTP/1.0 works as well.
    let (_, told) = say(&server.address, "GET /events HTTP/1.0\r\nHost: HOST\r\n\r\n", "event: bookmark").await;
    assert!(told.starts_with("HTTP/1.0 200 OK"), "{told}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed_and_hurts_nobody() {
    let server = Running::demo().await;
    let mut stalled = tokio::net::TcpStream::connect(&server.address).await.expect("connects");
    let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    stalled.write_all(request.as_bytes()).await.expect("sent");
    let mut quick = server.stream("/events?topics=task-completed", &[]).await;
    quick.until("inventory").await;
    assert_eq!(server.backend.feed().readers(), 2);
    // More than all buffers hold; the stalled client reads nothing.
    let description = "x".repeat(15_000);
    let target = server.uuid("web-01").await;
    let mut rounds = 0;
    while server.backend.feed().readers() == 2 {
        let text = format!("{description}{rounds}");
        let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": target, "command": { "kind": "setDescription", "description": text } });
        assert_eq!(server.post("/api/v1/commands", &request).await.0, 202);
        quick.until("task-completed").await;
        rounds += 1;
        assert!(rounds < 20_000, "it is never closed");
    }
    let mut rest = Vec::new();
    // The connection is closed, not left half open.
    stalled.read_to_end(&mut rest).await.ok();
    assert!(String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn health_is_told_at_once_and_readiness_after_the_first_listing() {
    let server = Running::unsettled(&["--demo"]).await;
    assert_eq!(server.get("/healthz").await, (200, "ok\n".to_owned()));
    server.backend.settled().await;
    assert_eq!(server.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn running_machines_are_measured_and_stopped_ones_are_not() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events?topics=vm-stats-updated,host-stats-updated", &[]).await;
    stream.until("inventory").await;
    let inventory = server.json("/api/v1/inventory").await;
    let domains = inventory["hosts"]["demo"]["domains"].as_array().expect("a list").clone();
    let running = domains.iter().filter(|domain| domain["state"] == "running").count();
    let measured = loop {
        let frame = stream.until("vm-stats-updated").await;
        assert_eq!(frame.id, "", "it has no place in the log");
        let list = frame.data.as_array().expect("one frame a host and sweep").clone();
        if list.len() == running {
            break list;
        }
    };
    let web = domains.iter().find(|domain| domain["name"] == "web-01").expect("it exists");
    let stats = measured.iter().find(|stats| stats["vmId"] == web["id"]).expect("it runs");
    assert_eq!(stats["hostId"], "demo");
    let percent = stats["cpuUsagePercent"].as_f64().expect("a number");
    assert!((0.0..=100.0).contains(&percent), "{stats}");
    assert!(stats["memoryUsedMb"].as_u64() <= stats["memoryTotalMb"].as_u64(), "{stats}");
    for rate in ["diskReadBytesSec", "diskWriteBytesSec", "networkRxBytesSec", "networkTxBytesSec"] {
        assert!(stats[rate].is_u64(), "{rate}: {stats}");
    }
    server.command("web-01", json!({ "kind": "forceOff" })).await;
    loop {
        let list = stream.until("vm-stats-updated").await.data.as_array().expect("a list").clone();
        if list.iter().all(|stats| stats["vmId"] != web["id"]) {
            break;
        }
    }
    assert_eq!(server.get("/events?watch=nonsense").await.0, 422);
}

#[tokio::test]
async fn prometheus_reads_what_is_known_and_markup_in_names_stays_text() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events?topics=vm-stats-updated", &[]).await;
    let (_, _, id) = server.command("dns-2", json!({ "kind": "rename", "name": "a\"b" })).await;
    server.backend.wait(model::RequestId(id), std::time::Duration::from_secs(10)).await;
    while stream.until("vm-stats-updated").await.data.as_array().expect("a list").is_empty() {}
    let response = server.send("GET", "/metrics", &[], "").await;
    assert!(response.headers()["content-type"].to_str().expect("text").starts_with("application/openmetrics-text"));
    let (status, text) = support::read(response).await;
    assert_eq!(status, 200);
    for line in [
        "# TYPE belvedere_streams gauge",
        "belvedere_streams 1",
        "belvedere_host_up{host=\"demo\"} 1",
        "belvedere_host_vms{host=\"demo\",state=\"crashed\"} 1",
        "belvedere_journal_writable 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found.trim_end_matches(".0") == line), "{line}: {text}");
    }
    for part in [
        "belvedere_vm_cpu_usage_ratio{host=\"demo\",name=\"web-01\",uuid=",
        "belvedere_vm_running{host=\"demo\",name=\"a\\\"b\",uuid=",
        "belvedere_libvirt_call_duration_seconds_bucket{le=\"0.001\",lane=\"read\"}",
        "belvedere_libvirt_call_duration_seconds_bucket{le=\"+Inf\",lane=\"read\"}",
        "belvedere_libvirt_call_errors_total{lane=\"machine\"}",
        "belvedere_events_total ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn the_export_of_the_records_ends_well_when_it_is_compressed() {
    let server = Running::demo().await;
    let (status, _, _) = server.command("web-01", json!({ "kind": "pause" })).await;
    assert_eq!(status, 202);
    for encoding in ["gzip", "br", "identity"] {
        let answer = server.send("GET", "/api/v1/audit.jsonl", &[("accept-encoding", encoding)], "").await;
        assert_eq!(answer.status(), 200);
        let packed = answer.headers().get("content-encoding").map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(packed.unwrap_or("identity".into()), encoding);
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap_or_else(|error| panic!("{encoding}: {error}"))
            .to_bytes();
        assert!(!body.is_empty(), "{encoding}");
        if encoding == "identity" {
            assert!(String::from_utf8_lossy(&body).contains("web-01"));
        }
    }
}
