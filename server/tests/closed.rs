//! Access before the first account exists.

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use hyper_util::rt::TokioIo;
use serde_json::json;
use support::{Running, read};
use tokio::net::UnixStream;
use uuid::Uuid;

const REAL: [&str; 2] = ["--connect", "lab=test:///default"];

/// The cookie of the setup link.
async fn cookie(server: &Running, link: &str) -> Option<String> {
    let answer = server.send("GET", link, &[], "").await;
    let given = answer.headers().get("set-cookie").map(|value| value.to_str().expect("text").to_owned());
    assert_eq!(answer.status().is_success(), given.is_some(), "{link}");
    given.map(|given| given.split(';').next().expect("a pair").to_owned())
}

/// The path of the printed link.
fn link(server: &Running) -> String {
    let said = &server.greeting;
    let at = said.find("/setup/").unwrap_or_else(|| panic!("no link: {said}"));
    said[at..].split_whitespace().next().expect("a link").to_owned()
}

/// One page of each kind.
const PAGES: [&str; 12] = [
    "/",
    "/vms",
    "/hosts",
    "/storage",
    "/storage/new",
    "/networks",
    "/networks/new",
    "/tasks",
    "/audit",
    "/history",
    "/history/errors",
    "/account/users",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_real_host_is_open_to_nobody_but_who_has_the_link_of_the_start() {
    let arguments = [REAL.as_slice(), &["--auth", "auto"]].concat();
    let server = Running::with(&arguments).await;
    let command =
        json!({ "requestId": Uuid::new_v4(), "host": "lab", "target": Uuid::new_v4(), "command": { "kind": "start" } });
    for path in ["/api/v1/inventory", "/events", "/metrics", "/api/v1/audit"] {
        assert_eq!(server.get(path).await.0, 401, "{path}");
    }
    assert_eq!(server.post("/api/v1/commands", &command).await.0, 401);
    assert_eq!(server.send("GET", "/vms", &[], "").await.status(), 303, "to the page that asks who it is");
    assert_eq!(server.get("/healthz").await.0, 200);
    let link = link(&server);
    assert!(cookie(&server, "/setup/0123456789abcdef").await.is_none());
    let known = cookie(&server, &link).await.expect("signed in");
    assert_eq!(cookie(&server, &link).await.as_ref(), Some(&known), "looking at it changes nothing");
    assert!(!known.contains(link.rsplit('/').next().expect("a secret")), "what stands in an address is no session");
    let headers = [("cookie", known.as_str())];
    assert_eq!(read(server.send("GET", "/api/v1/inventory", &headers, "").await).await.0, 200);
    for page in PAGES {
        let (status, text) = read(server.send("GET", page, &headers, "").await).await;
        assert!(
            status == 200 && text.contains("No accounts") && !text.contains("Open to everyone"),
            "{page}: {status}"
        );
    }
    // The first account invalidates it.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let made = server.send("POST", &link, &form, "name=root&password=a+long+enough+password").await;
    assert_eq!(made.status(), 303);
    assert_eq!(read(server.send("GET", "/api/v1/inventory", &headers, "").await).await.0, 401);
    assert!(cookie(&server, &link).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_demonstration_alone_and_who_says_so_is_open() {
    let both = ["--demo", "--connect", "lab=test:///default"];
    for (arguments, status) in [
        (vec!["--demo"], 200),
        ([REAL.as_slice(), &["--auth", "off"]].concat(), 200),
        ([both.as_slice(), &["--auth", "auto"]].concat(), 401),
        (vec!["--demo", "--auth", "on"], 401),
    ] {
        let server = Running::with(&arguments).await;
        assert_eq!(server.get("/api/v1/inventory").await.0, status, "{arguments:?}");
        if status == 200 {
            for page in PAGES {
                let (status, text) = server.get(page).await;
                assert!(status == 200 && text.contains("Open to everyone"), "{arguments:?} {page}: {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_of_this_machine_needs_no_secret_and_nobody_else_gets_at_the_data() {
    let mut server = Running::with(&[REAL.as_slice(), &["--auth", "on"]].concat()).await;
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let socket = server.data.join("belvedere.sock");
    assert_eq!(mode(&server.data), 0o700);
    for name in ["belvedere.sock", "lock", "audit.db", "accounts.db", "events.db", "usage.db"] {
        assert_eq!(mode(&server.data.join(name)), 0o600, "{name}");
    }
    let ask = async |method: &str, path: &str, body: String| {
        let stream = UnixStream::connect(&socket).await.expect("it listens");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let request = axum::http::Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(body).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        read(answer).await
    };
    let (status, inventory) = ask("GET", "/api/v1/inventory", String::new()).await;
    assert_eq!(status, 200, "{inventory}");
    let inventory: serde_json::Value = serde_json::from_str(&inventory).expect("JSON");
    let machine = inventory["hosts"]["lab"]["domains"][0]["id"].as_str().expect("a machine").to_owned();
    let command =
        json!({ "requestId": Uuid::new_v4(), "host": "lab", "target": machine, "command": { "kind": "pause" } });
    let (status, said) = ask("POST", "/api/v1/commands", command.to_string()).await;
    assert_eq!(status, 202, "{said}");
    let (_, records) = ask("GET", "/api/v1/audit", String::new()).await;
    assert!(records.contains("(local)"), "the record says who: {records}");
    server.stop().await;
    assert!(!socket.exists(), "it goes with the server");
}
