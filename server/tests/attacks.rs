//! Known attacks on programs of this kind, one per test.

mod support;

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use support::{
    read,
    site::{PASSWORD, Site, cookie},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

/// Every route, its method, and the lowest role that is allowed (`-` for anonymous).
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/inventory", "viewer"),
    ("POST", "/api/v1/commands", "operator"),
    ("POST", "/api/v1/consoles", "operator"),
    ("GET", "/api/v1/consoles", "operator"),
    ("POST", "/api/v1/batches", "operator"),
    ("GET", "/api/v1/tasks", "viewer"),
    ("GET", "/api/v1/tasks/{id}", "viewer"),
    ("POST", "/api/v1/tasks/{id}/cancel", "operator"),
    ("GET", "/api/v1/audit", "admin"),
    ("GET", "/api/v1", "viewer"),
    ("POST", "/manage/hosts", "admin"),
    ("PUT", "/api/v1/hosts/{host}", "admin"),
    ("DELETE", "/api/v1/hosts/{host}", "admin"),
    ("POST", "/api/v1/host-tests", "admin"),
    ("GET", "/api/v1/openapi.json", "viewer"),
    ("GET", "/api/v1/view", "viewer"),
    ("GET", "/api/v1/domains", "viewer"),
    ("GET", "/api/v1/domains/{host}/{uuid}", "viewer"),
    ("GET", "/api/v1/audit.jsonl", "admin"),
    ("GET", "/api/v1/events", "viewer"),
    ("GET", "/api/v1/stats", "viewer"),
    ("GET", "/api/v1/stats/{host}/{uuid}", "viewer"),
    ("POST", "/api/v1/journal/check", "operator"),
    ("POST", "/api/v1/hosts/{host}/reconnect", "operator"),
    ("GET", "/api/v1/domains/{host}/{uuid}/boot-order", "viewer"),
    ("GET", "/api/v1/domains/{host}/{uuid}/definition", "viewer"),
    ("GET", "/api/v1/domains/{host}/{uuid}/hardware", "viewer"),
    ("GET", "/api/v1/domains/{host}/{uuid}/guest", "viewer"),
    ("GET", "/api/v1/domains/{host}/{uuid}/ssh-keys", "operator"),
    ("GET", "/api/v1/pools/{host}/{uuid}/volumes", "viewer"),
    ("GET", "/api/v1/networks/{host}/{uuid}/leases", "viewer"),
    ("GET", "/api/v1/networks/{host}/{uuid}/definition", "viewer"),
    ("GET", "/api/v1/hosts/{host}/hardware", "viewer"),
    ("GET", "/api/v1/uploads/{id}", "operator"),
    ("PUT", "/api/v1/uploads/{id}", "operator"),
    ("GET", "/api/v1/pools/{host}/{uuid}/content", "operator"),
    ("GET", "/api/{*unknown}", "viewer"),
    ("POST", "/api/{*unknown}", "viewer"),
    ("POST", "/api/v1/reports", "viewer"),
    ("POST", "/commands", "operator"),
    ("POST", "/cancel", "operator"),
    ("POST", "/reconnect", "operator"),
    ("POST", "/theme", "-"),
    ("GET", "/healthz", "-"),
    ("GET", "/readyz", "-"),
    ("GET", "/metrics", "viewer"),
    ("GET", "/events", "viewer"),
    ("GET", "/login", "-"),
    ("POST", "/login", "-"),
    ("POST", "/login/code", "-"),
    ("GET", "/login/{secret}", "-"),
    ("POST", "/login/{secret}", "-"),
    ("GET", "/login/provider", "-"),
    ("GET", "/login/provider/back", "-"),
    ("GET", "/setup/{secret}", "-"),
    ("POST", "/setup/{secret}", "-"),
    ("POST", "/logout", "-"),
    ("POST", "/manage/password", "viewer"),
    ("POST", "/manage/factor", "viewer"),
    ("POST", "/manage/sessions", "viewer"),
    ("POST", "/manage/users", "admin"),
    ("POST", "/manage/tokens", "admin"),
    ("POST", "/manage/definition", "admin"),
    ("GET", "/worker.js", "-"),
    // Pages, routed by the interface.
    ("GET", "/", "viewer"),
    ("GET", "/vms", "viewer"),
    ("GET", "/hosts", "viewer"),
    ("GET", "/hosts/demo", "viewer"),
    ("GET", "/storage", "viewer"),
    ("GET", "/storage/new", "viewer"),
    ("GET", "/networks", "viewer"),
    ("GET", "/networks/new", "viewer"),
    ("GET", "/tasks", "viewer"),
    ("GET", "/history", "viewer"),
    ("GET", "/history/errors", "viewer"),
    ("GET", "/history/replay", "viewer"),
    ("GET", "/about", "viewer"),
    ("GET", "/confirm", "viewer"),
    ("GET", "/account", "viewer"),
    ("GET", "/account/users", "admin"),
    ("GET", "/account/tokens", "admin"),
    ("GET", "/account/sessions", "admin"),
    ("GET", "/audit", "admin"),
];

/// The routes in the tables of the sources, and those of queries.
fn routes_of_sources() -> BTreeSet<(&'static str, String)> {
    let sources = [include_str!("../src/http.rs"), include_str!("../src/http/assets.rs")];
    let words = [("GET", "get(\"/"), ("POST", "post(\"/"), ("PUT", "put(\"/")];
    let spelled = sources.iter().flat_map(|source| {
        words.iter().flat_map(|(method, word)| source.split(word).skip(1).map(move |rest| (*method, rest)))
    });
    let spelled = spelled.filter_map(|(method, rest)| Some((method, format!("/{}", rest.split_once('"')?.0))));
    spelled.chain(model::query::ALL.iter().map(|about| ("GET", about.path()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_shall_and_nobody_else() {
    let routes = routes_of_sources();
    assert!(routes.len() > 45, "{routes:?}");
    let tried = |method, route: &String| ROUTES.iter().any(|(known, path, _)| (*known, *path) == (method, route));
    let missing: Vec<_> = routes.iter().filter(|(method, route)| !tried(method, route)).collect();
    assert!(missing.is_empty(), "nobody has decided who may use {missing:?}");
    let site = Site::new().await;
    let mut tokens = Vec::new();
    for role in ["viewer", "operator", "admin"] {
        tokens.push(site.run(&["token", "create", role, "--role", role], "").expect("made"));
    }
    site.add("root", "admin").await;
    let here = |route: &str| cfg!(feature = "oidc") || !route.starts_with("/login/provider");
    for (method, route, least) in ROUTES.iter().filter(|(_, route, _)| here(route)) {
        let path = route.replace("{id}", &Uuid::new_v4().to_string()).replace("{uuid}", &Uuid::new_v4().to_string());
        let path = path.replace("{host}", "demo").replace("{secret}", "guess").replace("{*unknown}", "v9/nothing");
        let allowed = |rank: usize| match *least {
            "-" => true,
            role => ["viewer", "operator", "admin"].iter().position(|known| *known == role).expect("known") < rank,
        };
        for rank in 0..=3 {
            let bearer = format!("Bearer {}", if rank == 0 { "" } else { &tokens[rank - 1] });
            let (status, to) = {
                let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
                let body = if *method == "POST" { "{}" } else { "" };
                let answer = site.server.send(method, &path, &headers, body).await;
                let to = answer.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
                (answer.status().as_u16(), to.unwrap_or_default())
            };
            let refused = [401, 403].contains(&status) || to.starts_with("/login?next=");
            // A guessed link is refused by its own handler.
            let by_itself = *least == "-" && status == 401;
            assert_eq!(!refused || by_itself, allowed(rank), "{method} {route} as {rank}: {status} {to}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_wrong_passwords_are_a_handful_of_guesses() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    let mut answers = std::collections::BTreeMap::new();
    for _ in 0..100 {
        let guesses = (0..100).map(|_| site.log_in("root", "wrong password here"));
        for answer in futures_util::future::join_all(guesses).await {
            *answers.entry(answer.status().as_u16()).or_insert(0) += 1;
        }
    }
    let guessed = answers.get(&401).copied().unwrap_or_default();
    assert!((5..=12).contains(&guessed), "{answers:?}");
    assert_eq!(answers.values().sum::<i32>(), 10_000);
    // Others sign in meanwhile, and the processed attempts are recorded.
    site.run(&["user", "add", "jane", "--role", "admin", "--password-stdin"], PASSWORD).expect("made");
    let cookie = site.cookie("jane").await;
    let (_, audit) =
        read(site.server.send("GET", "/api/v1/audit?kind=logInFailed", &[("cookie", &cookie)], "").await).await;
    let audit: Value = serde_json::from_str(&audit).expect("JSON");
    assert!(audit["records"].as_array().expect("a list").len() <= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_put_into_a_browser_is_not_the_one_that_begins() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    let planted = format!("belvedere={}", "0".repeat(64));
    let headers = [("cookie", planted.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let body = format!("name=root&password={}", PASSWORD.replace(' ', "+"));
    let answer = site.server.send("POST", "/login", &headers, body).await;
    assert_eq!(answer.status(), 303);
    assert_ne!(cookie(&answer), planted);
    assert_eq!(site.status("GET", "/api/v1/inventory", &[("cookie", &planted)]).await, 401);
    let both = [site.cookie("root").await, site.cookie("root").await];
    assert_ne!(both[0], both[1], "each session has a secret of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_an_address_lets_nobody_in() {
    let site = Site::new().await;
    let token = site.run(&["token", "create", "ci", "--role", "admin"], "").expect("made");
    site.add("root", "admin").await;
    let session = site.cookie("root").await;
    let secret = session.split_once('=').expect("a pair").1;
    for secret in [token.as_str(), secret] {
        for name in ["token", "access_token", "authorization", "belvedere", "api_key", "session"] {
            assert_eq!(site.status("GET", &format!("/api/v1/inventory?{name}={secret}"), &[]).await, 401, "{name}");
        }
    }
    // A session secret is not valid as a token, and vice versa.
    assert_eq!(site.status("GET", "/events", &[("authorization", &format!("Bearer {secret}"))]).await, 401);
    assert_eq!(site.status("GET", "/events", &[("cookie", &format!("belvedere={token}"))]).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_can_neither_post_nor_upgrade() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    let session = site.cookie("root").await;
    let (form, text) = ("application/x-www-form-urlencoded", "text/plain");
    let changing = ["/commands", "/manage/users", "/manage/tokens", "/manage/password", "/logout", "/api/v1/commands"];
    for path in changing {
        for from in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
        ] {
            let headers = [("cookie", session.as_str()), from, ("content-type", form)];
            let status = site.server.send("POST", path, &headers, "do=add&name=eve&role=admin").await.status();
            assert_eq!(status, 403, "{path} {from:?}");
        }
        // A cross-site form can send text that looks like JSON without a preflight.
        let headers = [("cookie", session.as_str()), ("content-type", text)];
        assert_eq!(site.server.send("POST", path, &headers, "{}").await.status(), 422, "{path}");
    }
    let upgrade = [
        ("cookie", session.as_str()),
        ("origin", "http://evil.example"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    // It is refused for its origin in any case.
    for path in ["/events", "/api/v1/inventory", "/vms", "/api/v1/consoles"] {
        assert_eq!(site.server.send("GET", path, &upgrade, "").await.status(), 403, "{path}");
    }
    let own = format!("http://{}", site.server.address);
    let ours = upgrade.map(|(name, value)| (name, if name == "origin" { own.as_str() } else { value }));
    assert_eq!(site.server.send("GET", "/api/v1/consoles", &ours, "").await.status(), 422, "it lacks a ticket only");
    let (_, page) = read(site.server.send("GET", "/account/users", &[("cookie", &session)], "").await).await;
    assert!(page.contains(">root<") && !page.contains(">eve<"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_paths_cannot_be_injected() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    for next in
        ["/vms\r\nset-cookie: a=b", "//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
    {
        let fields = [("name", "root"), ("password", PASSWORD), ("next", next)];
        let answer = site.server.form("/login", &fields).await;
        assert_eq!(answer.headers()["location"], "/", "{next:?}");
        assert_eq!(answer.headers().get_all("set-cookie").iter().count(), 1, "{next:?}");
    }
    let session = site.cookie("root").await;
    for path in [
        "/pkg/../../../../etc/passwd",
        "/pkg/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/pkg/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/pkg//etc/passwd",
        "/..%5c..%5cetc/passwd",
        "/pkg/%00",
    ] {
        let (status, body) = read(site.server.send("GET", path, &[("cookie", &session)], "").await).await;
        assert!(status >= 400 && !body.contains("root:x:"), "{path}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_large_or_never_come_hold_nothing_up() {
    let site = Site::new().await;
    let head = "POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    // They send nothing, one letter, half a header and half a body; all are closed, and others are
    // served meanwhile.
    let open = async |text: String| {
        let mut slow = TcpStream::connect(&site.server.address).await.expect("connects");
        slow.write_all(text.as_bytes()).await.expect("sent");
        slow
    };
    // An oversized body is refused by its declared length, before it is read.
    let mut large = open(format!("{head}content-length: 70000\r\n\r\n")).await;
    let mut answer = [0; 12];
    timeout(Duration::from_secs(20), large.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    let slow = [
        open(String::new()).await,
        open("P".to_owned()).await,
        open(head.to_owned()).await,
        open(format!("{head}content-length: 100\r\n\r\nname=")).await,
    ];
    assert_eq!(site.server.get("/healthz").await.0, 200);
    for mut slow in slow {
        let mut said = Vec::new();
        timeout(Duration::from_secs(20), slow.read_to_end(&mut said)).await.expect("it is let go").ok();
        assert!(!String::from_utf8_lossy(&said).starts_with("HTTP/1.1 2"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_does_not_climb() {
    let site = Site::new().await;
    site.add("root", "admin").await;
    site.add("jane", "viewer").await;
    let (jane, root) = (site.cookie("jane").await, site.cookie("root").await);
    let form = async |path: &str, cookie: &str, body: &str| {
        let headers = [("cookie", cookie), ("content-type", "application/x-www-form-urlencoded")];
        site.server.send("POST", path, &headers, body.to_owned()).await.status().as_u16()
    };
    for body in [
        "do=role&name=jane&role=admin",
        "do=add&name=eve&role=admin",
        "do=link&name=root",
        "do=remove&name=root&sure=yes",
    ] {
        assert_eq!(form("/manage/users", &jane, body).await, 403, "{body}");
    }
    assert_eq!(form("/manage/tokens", &jane, "do=add&name=t&role=admin").await, 403);
    // A refused form is shown again only on a page its sender may see.
    site.add("opal", "operator").await;
    let opal = site.cookie("opal").await;
    for page in [
        "/account/sessions",
        "/account/users",
        "/account/tokens",
        "/audit",
        "/audit?q=x",
        "//audit",
        "/./audit",
        "/%61udit",
        "/x/../audit",
    ] {
        for (path, cookie, body) in [
            ("/commands", &opal, format!("token={}&do=x&from={page}", Uuid::new_v4())),
            ("/commands", &opal, format!("token={}&do=setTitle@x&title=x&back={page}", Uuid::new_v4())),
            ("/manage/sessions", &jane, format!("id=x&back={page}")),
        ] {
            let headers = [
                ("cookie", cookie.as_str()),
                ("accept", "text/html"),
                ("content-type", "application/x-www-form-urlencoded"),
            ];
            let (status, text) = read(site.server.send("POST", path, &headers, body).await).await;
            assert!((400..500).contains(&status), "{path} {page}: {status}");
            for secret in ["Belvedere was started", "Add account", "Create token", ">root<"] {
                assert!(!text.contains(secret), "{path} shows {page}: {secret}");
            }
        }
    }
    // Sessions of others cannot be ended by ID.
    for id in 0..6 {
        let status =
            form("/manage/sessions", &jane, &format!("id={id}&back=/account/sessions&name=root&user=root")).await;
        assert!([303, 403].contains(&status));
    }
    assert_eq!(site.status("GET", "/api/v1/inventory", &[("cookie", &root)]).await, 200, "root is still in");
    // A command cannot set its sender.
    let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": Uuid::new_v4(), "command": { "kind": "start" }, "who": "root" });
    let headers = [("cookie", root.as_str()), ("content-type", "application/json")];
    let (status, why) = read(site.server.send("POST", "/api/v1/commands", &headers, request.to_string()).await).await;
    assert!(status == 422 && why.contains("who"), "{status} {why}");
}
