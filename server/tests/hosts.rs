//! Hosts that come and go while the server runs: added, watched, changed, removed and kept.

mod support;

use serde_json::{Value, json};
use support::{
    daemon::Daemon,
    read,
    site::{PASSWORD, Site},
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends JSON as an admin.
async fn send(site: &Site, root: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = site.server.send(method, path, &[JSON, ("cookie", root)], body.to_string()).await;
    let (status, text) = read(answer).await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_may_not_name_is_refused_and_only_admins_add_hosts() {
    let site = Site::new().await;
    let add = json!({ "uri": "qemu+ssh://kvm-2/system" });
    let open = site.server.send("PUT", "/api/v1/hosts/kvm-2", &[JSON], add.to_string()).await;
    let (status, text) = read(open).await;
    assert!(status == 409 && text.contains("open to everyone"), "{status} {text}");
    site.add("root", "admin").await;
    site.add("olga", "operator").await;
    let (root, olga) = (site.cookie("root").await, site.cookie("olga").await);
    assert_eq!(send(&site, &olga, "PUT", "/api/v1/hosts/kvm-2", &add).await.0, 403);
    for (name, uri, field) in [
        ("kvm-2", "qemu+ssh://kvm-2/system?command=/tmp/x", "uri"),
        ("kvm-2", "qemu+unix:///system?socket=/run/x", "uri"),
        ("kvm-2", "test:///default", "uri"),
        ("-x", "qemu:///system", "host"),
    ] {
        let (status, fault) = send(&site, &root, "PUT", &format!("/api/v1/hosts/{name}"), &json!({ "uri": uri })).await;
        assert_eq!((status, &fault["field"]), (422, &json!(field)), "{fault}");
    }
    let (status, fault) = send(&site, &root, "PUT", "/api/v1/hosts/demo", &add).await;
    assert!(status == 409 && fault["reason"].to_string().contains("command line"), "{fault}");
    assert_eq!(send(&site, &root, "DELETE", "/api/v1/hosts/none", &Value::Null).await.0, 404);
    let test = json!({ "uri": "qemu+tcp://127.0.0.1:1/system" });
    let (status, fault) = send(&site, &root, "POST", "/api/v1/host-tests", &test).await;
    assert!(status == 503 && !fault["reason"].to_string().is_empty(), "{fault}");
    let page = site.server.send("GET", "/account/hosts", &[("cookie", &root)], "").await;
    assert!(read(page).await.1.contains("Add host"));
    assert_eq!(site.server.send("GET", "/account/hosts", &[("cookie", &olga)], "").await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_host_that_is_added_is_watched_kept_and_can_be_removed_while_streams_follow() {
    let daemon = Daemon::start();
    daemon.guest("app");
    // The daemon of a test listens at a socket, which a browser may not name: it is stored by hand.
    let stored = json!([{ "name": "atlas", "uri": daemon.connect().split_once('=').expect("a name").1 }]);
    let prepare =
        |data: &std::path::Path| std::fs::write(data.join("hosts.json"), stored.to_string()).expect("written");
    let site = Site::prepared(&["--demo", "--auth", "on"], prepare).await;
    site.run(&["user", "add", "root", "--role", "admin", "--password-stdin"], PASSWORD).expect("made");
    let root = site.cookie("root").await;
    let inventory = async || send(&site, &root, "GET", "/api/v1/inventory", &Value::Null).await.1;
    let all = inventory().await;
    assert_eq!(all["hosts"]["atlas"]["managed"], true, "{}", all["hosts"]["atlas"]["connection"]);
    assert!(all["hosts"]["atlas"]["domains"].to_string().contains("\"app\""));
    let mut stream = site.server.stream("/events", &[("cookie", &root)]).await;
    stream.until("inventory").await;
    // Another URI: nobody answers there, and everyone hears of it.
    let other = json!({ "uri": "qemu+tcp://127.0.0.1:1/system" });
    let (status, fault) = send(&site, &root, "PUT", "/api/v1/hosts/atlas", &other).await;
    assert_eq!(status, 204, "{fault}");
    assert_eq!(send(&site, &root, "PUT", "/api/v1/hosts/atlas", &other).await.0, 204, "the same again");
    while stream.next().await.is_some() {}
    let mut stream = site.server.stream("/events", &[("cookie", &root)]).await;
    let now: Value = stream.until("inventory").await.data;
    assert_eq!(now["hosts"]["atlas"]["domains"], json!([]), "its machines are those of the other one");
    let (status, _) = send(&site, &root, "DELETE", "/api/v1/hosts/atlas", &Value::Null).await;
    assert_eq!(status, 204);
    while stream.next().await.is_some() {}
    assert!(inventory().await["hosts"]["atlas"].is_null());
    assert_eq!(std::fs::read_to_string(site.data.join("hosts.json")).expect("there").trim(), "[]");
    let (_, audit) = send(&site, &root, "GET", "/api/v1/audit", &Value::Null).await;
    for kind in ["hostChanged", "hostRemoved"] {
        assert!(audit.to_string().contains(kind), "{kind}: {audit}");
    }
}
