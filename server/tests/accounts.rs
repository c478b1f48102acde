//! Accounts over HTTP: sign-in, permissions, and their end.

mod support;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    read,
    site::{PASSWORD, Site, cookie},
};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn without_accounts_all_is_open_and_from_the_first_one_on_nothing_is() {
    let site = Site::new().await;
    assert_eq!(site.status("GET", "/vms", &[]).await, 200);
    site.add("root", "admin").await;
    for path in ["/", "/vms", "/hosts", "/tasks", "/audit", "/history", "/vms/demo/x", "/nonsense"] {
        let answer = site.server.send("GET", path, &[], "").await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(answer.headers()["location"].to_str().expect("text").starts_with("/login?next=/"), "{path}");
    }
    let closed = [
        ("GET", "/api/v1/inventory"),
        ("GET", "/api/v1/tasks"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/audit.jsonl"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/stats"),
        ("GET", "/events"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/nonsense"),
        ("POST", "/api/v1/commands"),
        ("POST", "/api/v1/batches"),
        ("POST", "/api/v1/reports"),
        ("POST", "/api/v1/journal/check"),
        ("POST", "/api/v1/hosts/demo/reconnect"),
    ];
    for (method, path) in closed {
        assert_eq!(site.status(method, path, &[]).await, 401, "{method} {path}");
        for wrong in ["Bearer 00", "Bearer ", "Basic cm9vdDpyb290"] {
            assert_eq!(site.status(method, path, &[("authorization", wrong)]).await, 401, "{method} {path} {wrong}");
        }
        assert_eq!(site.status(method, path, &[("cookie", "belvedere=guess")]).await, 401, "{method} {path}");
    }
    for path in ["/healthz", "/readyz", "/login"] {
        assert_eq!(site.status("GET", path, &[]).await, 200, "{path}");
    }
    // Unknown routes are closed as well.
    assert_eq!(site.status("DELETE", "/vms", &[]).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_what_it_may_and_no_more() {
    let site = Site::new().await;
    for role in ["viewer", "operator", "admin"] {
        site.add(role, role).await;
    }
    let expected = [("viewer", 403, 403), ("operator", 422, 403), ("admin", 422, 200)];
    for (name, command, audit) in expected {
        let cookie = site.cookie(name).await;
        let with: &[(&str, &str)] = &[("cookie", &cookie)];
        assert_eq!(site.status("GET", "/vms", with).await, 200, "{name}");
        assert_eq!(site.status("GET", "/api/v1/inventory", with).await, 200, "{name}");
        assert_eq!(site.status("POST", "/api/v1/commands", with).await, command, "{name}");
        assert_eq!(site.status("POST", "/api/v1/batches", with).await, command, "{name}");
        assert_eq!(site.status("GET", "/audit", with).await, audit, "{name}");
        assert_eq!(site.status("GET", "/api/v1/audit", with).await, audit, "{name}");
        assert_eq!(site.status("GET", "/api/v1/audit.jsonl", with).await, audit, "{name}");
        let (_, page) = read(site.server.send("GET", "/vms", with, "").await).await;
        assert_eq!(page.contains("Your role is viewer"), name == "viewer", "the buttons of {name} say why not");
        assert_eq!(page.contains("href=\"/audit\""), name == "admin");
        assert!(page.contains("Sign out"));
    }
    // A page rendered for one role is not sent to another one.
    let (_, page) = read(site.server.send("GET", "/vms", &[], "").await).await;
    assert!(!page.contains("web-01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_role_may_and_stands_in_the_records() {
    let site = Site::new().await;
    let token = site.run(&["token", "create", "ci", "--role", "operator"], "").expect("made");
    assert_eq!(token.len(), 64);
    assert!(site.run(&["token", "create", "ci", "--role", "admin"], "").expect_err("taken").contains("already"));
    site.add("root", "admin").await;
    let bearer = format!("Bearer {token}");
    let with: &[(&str, &str)] = &[("authorization", &bearer), ("content-type", "application/json")];
    let (_, inventory) = read(site.server.send("GET", "/api/v1/inventory", with, "").await).await;
    let inventory: Value = serde_json::from_str(&inventory).expect("JSON");
    let domains = inventory["hosts"]["demo"]["domains"].as_array().expect("a list");
    let id = &domains.iter().find(|domain| domain["name"] == "web-01").expect("it exists")["id"];
    let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": id, "command": { "kind": "pause" } });
    assert_eq!(site.server.send("POST", "/api/v1/commands", with, request.to_string()).await.status(), 202);
    let cookie = site.cookie("root").await;
    let (_, audit) = read(site.server.send("GET", "/api/v1/audit", &[("cookie", &cookie)], "").await).await;
    assert!(audit.contains("\"who\":\"ci\"") && !audit.contains(&token), "{audit}");
    site.run(&["token", "revoke", "ci"], "").expect("revoked");
    let began = Instant::now();
    while site.status("GET", "/api/v1/inventory", with).await != 401 {
        assert!(began.elapsed() < Duration::from_secs(10), "it is not known any more");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_the_audit_ends_with_the_right_to_it() {
    let site = Site::new().await;
    let token = site.run(&["token", "create", "reads", "--role", "admin"], "").expect("made");
    site.add("root", "admin").await;
    // As many records as years would bring, behind those of the server: 120 MB.
    let file = rusqlite::Connection::open(site.data.join("audit.db")).expect("the records");
    let many = "INSERT INTO entries(seq, body, hash)
        WITH RECURSIVE n(i) AS (SELECT 1000000 UNION ALL SELECT i + 1 FROM n WHERE i < 1120000)
        SELECT i, json_object('entry', 'note', 'text', hex(zeroblob(500))), zeroblob(32) FROM n";
    assert_eq!(file.execute(many, ()).expect("written"), 120_001);
    let bearer = format!("Bearer {token}");
    let answer = site.server.send("GET", "/api/v1/audit.jsonl", &[("authorization", &bearer)], "").await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let next = async |body: &mut hyper::body::Incoming| {
        let frame = timeout(Duration::from_secs(10), http_body_util::BodyExt::frame(body)).await.expect("it goes on");
        // Slow enough that it lasts.
        sleep(Duration::from_millis(20)).await;
        frame.map(|frame| frame.map(|frame| frame.into_data().map_or(0, |data| data.len())))
    };
    assert!(matches!(next(&mut body).await, Some(Ok(length)) if length > 0));
    site.run(&["token", "revoke", "reads"], "").expect("revoked");
    let (began, mut more) = (Instant::now(), 0);
    let end = loop {
        match next(&mut body).await {
            Some(Ok(length)) => more += length,
            end => break end,
        }
        assert!(began.elapsed() < Duration::from_secs(6), "it goes on: {more} bytes after {:?}", began.elapsed());
    };
    assert!(matches!(end, Some(Err(_))) && more < 100_000_000, "cut short, not complete: {end:?} after {more} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_their_own_tasks_and_an_admin_those_of_others() {
    let site = Site::new().await;
    for (name, role) in [("ann", "operator"), ("ben", "operator"), ("root", "admin")] {
        site.add(name, role).await;
    }
    let (ann, ben, root) = (site.cookie("ann").await, site.cookie("ben").await, site.cookie("root").await);
    let (_, inventory) = read(site.server.send("GET", "/api/v1/inventory", &[("cookie", &ann)], "").await).await;
    let inventory: Value = serde_json::from_str(&inventory).expect("JSON");
    let domains = inventory["hosts"]["demo"]["domains"].as_array().expect("a list");
    let id = &domains.iter().find(|domain| domain["name"] == "web-01").expect("it exists")["id"];
    let request = Uuid::new_v4();
    let body = json!({ "requestId": request, "host": "demo", "target": id, "command": { "kind": "pause" } });
    let with: &[(&str, &str)] = &[("cookie", &ann), ("content-type", "application/json")];
    assert_eq!(site.server.send("POST", "/api/v1/commands", with, body.to_string()).await.status(), 202);
    let path = format!("/api/v1/tasks/{request}/cancel");
    assert_eq!(site.status("POST", &path, &[("cookie", &ben)]).await, 403, "it is not his");
    // It has ended by now, or cannot be cancelled; that is another response.
    for cookie in [&ann, &root] {
        let status = site.status("POST", &path, &[("cookie", cookie)]).await;
        assert!([202, 409].contains(&status), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_logs_in_once_and_looking_at_it_uses_nothing_up() {
    let site = Site::new().await;
    site.run(&["user", "add", "root", "--role", "admin"], "").expect("made");
    assert!(site.run(&["login-link", "nobody"], "").expect_err("refused").contains("account nobody does not exist"));
    let link = site.run(&["login-link", "root"], "").expect("made");
    let path = &link[link.find("/login/").expect("a path")..];
    for _ in 0..2 {
        let (status, page) = site.server.get(path).await;
        assert!(status == 200 && page.contains("Sign in as"), "{page}");
    }
    let answer = site.server.form(path, &[]).await;
    assert_eq!(answer.status(), 303);
    let cookie = cookie(&answer);
    assert_eq!(site.status("GET", "/vms", &[("cookie", &cookie)]).await, 200);
    assert_eq!(site.server.form(path, &[]).await.status(), 401, "it was used");
    assert_eq!(site.server.get(path).await.0, 404);
    // Signing out ends the session on the server, not only in the browser.
    let left = site.server.send("POST", "/logout", &[("cookie", &cookie)], "").await;
    assert_eq!(left.status(), 303);
    assert!(left.headers()["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
    assert_eq!(site.status("GET", "/api/v1/inventory", &[("cookie", &cookie)]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_tell_nothing_and_soon_have_to_wait() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    assert!(site.run(&["user", "add", "x", "--role", "viewer", "--password-stdin"], "short").is_err());
    let mut told = Vec::new();
    for name in ["root", "nobody"] {
        let (status, page) = read(site.log_in(name, "wrong password here").await).await;
        assert_eq!(status, 401);
        told.push(page.replace(name, "NAME"));
    }
    assert_eq!(told[0], told[1], "who exists is not told");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let answer = site.log_in("root", "wrong password here").await;
        statuses.push(answer.status().as_u16());
        assert_eq!(answer.headers().contains_key("retry-after"), answer.status() == 429);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(site.log_in("root", PASSWORD).await.status(), 429, "the right one waits, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    let guesses = (0..40).map(|_| site.log_in("root", "wrong password here"));
    let answers = futures_util::future::join_all(guesses).await;
    let checked = answers.iter().filter(|answer| answer.status() == 401).count();
    assert_eq!(checked, 5, "the others wait");
    assert!(answers.iter().all(|answer| [401, 429, 503].contains(&answer.status().as_u16())));
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_the_last_account_away_opens_nothing() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    site.run(&["user", "remove", "root"], "").expect("removed");
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(site.server.get("/api/v1/inventory").await.0, 401);
    // A second server would find no accounts of its own; it must not open what the first one
    // closed.
    let mut second = Command::new(env!("CARGO_BIN_EXE_belvedere"));
    second.args(["serve", "--connect", "other=test:///default", "--listen", "127.0.0.1:0"]);
    second.env("XDG_DATA_HOME", site.data.parent().expect("a folder")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut second = second.spawn().expect("starts");
    let began = Instant::now();
    let status = loop {
        if let Some(status) = second.try_wait().expect("waited for") {
            break status;
        }
        if began.elapsed() > Duration::from_secs(20) {
            second.kill().expect("killed");
            panic!("it serves");
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert!(!status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_another_site_leads_back_to_this_server_only() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    let from_elsewhere: &[(&str, &str)] = &[("sec-fetch-site", "cross-site"), ("cookie", "theme=dark")];
    let (status, page) = read(site.server.send("GET", "/vms?q=a", from_elsewhere, "").await).await;
    assert!(status == 200 && page.contains("0; url=/vms?q=a") && !page.contains("<script"), "{page}");
    for path in ["//evil.example/login", "/\\evil.example"] {
        let (_, page) = read(site.server.send("GET", path, from_elsewhere, "").await).await;
        assert!(!page.contains("evil"), "{path}: {page}");
        let answer = site.server.send("GET", path, &[], "").await;
        assert!(!answer.headers()["location"].to_str().expect("text").contains("evil"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_hides_what_its_viewer_may_not_see_and_ends_with_the_account() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    site.add("jane", "viewer").await;
    let (root, jane) = (site.cookie("root").await, site.cookie("jane").await);
    let open = async |cookie: &str| {
        let answer = site.server.send("GET", "/events", &[("cookie", cookie)], "").await;
        assert_eq!(answer.status(), 200);
        support::Stream { body: answer.into_body(), text: String::new() }
    };
    let (mut admins, viewers) = (open(&root).await, open(&jane).await);
    let inventory = admins.until("inventory").await.data;
    let domains = inventory["hosts"]["demo"]["domains"].as_array().expect("a list");
    let id = &domains.iter().find(|domain| domain["name"] == "web-01").expect("it exists")["id"];
    let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": id, "command": { "kind": "pause" } });
    let with: &[(&str, &str)] = &[("cookie", &root), ("content-type", "application/json")];
    assert_eq!(site.server.send("POST", "/api/v1/commands", with, request.to_string()).await.status(), 202);
    admins.until("audit-appended").await;
    site.run(&["user", "remove", "jane"], "").expect("removed");
    // She saw the change but not its record, and soon nothing more.
    let rest = tokio::time::timeout(Duration::from_secs(40), viewers.rest()).await.expect("it ends");
    assert!(rest.contains("event: vm-state-changed") && !rest.contains("audit-appended"), "{rest}");
    assert_eq!(site.status("GET", "/events", &[("cookie", &jane)]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_a_machine_are_shown_to_admins_who_ask_and_that_is_recorded() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let node = folder.path().join("node.xml");
    let machine = "<domain type='test'><name>vault</name><uuid>00000000-0000-4000-8000-000000000001</uuid>\
        <memory>1024</memory><os><type>hvm</type></os>\
        <devices><graphics type='vnc' autoport='yes' passwd='hunter22'/></devices></domain>";
    std::fs::write(&node, format!("<node>{machine}</node>")).expect("written");
    let site = Site::over(&format!("vaults=test://{}", node.display())).await;
    for role in ["viewer", "operator", "admin"] {
        site.add(role, role).await;
    }
    let address = "vaults/00000000-0000-4000-8000-000000000001";
    for (role, shown) in [("viewer", false), ("operator", false), ("admin", true)] {
        let cookie = site.cookie(role).await;
        let with: &[(&str, &str)] = &[("cookie", &cookie), ("content-type", "application/x-www-form-urlencoded")];
        let body = format!("machine={address}");
        let (status, page) = read(site.server.send("POST", "/manage/definition", with, body).await).await;
        assert_eq!((status, page.contains("hunter22")), if shown { (200, true) } else { (403, false) }, "{role}");
        for path in [
            format!("/vms/{address}/xml"),
            format!("/api/v1/domains/{address}/definition"),
            "/api/v1/inventory".into(),
            "/vms".into(),
        ] {
            let (status, text) = read(site.server.send("GET", &path, with, "").await).await;
            assert!(status == 200 && !text.contains("hunter22"), "{path} as {role}: {status}");
        }
    }
    let cookie = site.cookie("admin").await;
    let began = Instant::now();
    loop {
        let (_, audit) =
            read(site.server.send("GET", "/api/v1/audit?kind=passwordsRead", &[("cookie", &cookie)], "").await).await;
        let audit: Value = serde_json::from_str(&audit).expect("JSON");
        if let Some(record) = audit["records"].as_array().expect("a list").first() {
            assert_eq!(
                (record["who"].as_str(), record["targetName"].as_str()),
                (Some("admin"), Some("vault on vaults"))
            );
            assert!(!record.to_string().contains("hunter22"));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it is recorded");
        sleep(Duration::from_millis(50)).await;
    }
}
