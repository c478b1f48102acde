//! Pools, volumes and networks over HTTP: data, visibility, commands and forms.

mod support;

use serde_json::{Value, json};
use support::{Frame, Running, Stream, read, site::Site};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

/// An object by name in a list of the demonstration host.
async fn find(server: &Running, list: &str, name: &str) -> Value {
    let inventory = server.json("/api/v1/inventory").await;
    let all = inventory["hosts"]["demo"][list].as_array().expect("a list").clone();
    all.into_iter().find(|object| object["name"] == name).unwrap_or_else(|| panic!("{name} is there"))
}

async fn send(server: &Running, target: &Value, command: Value) -> (u16, Value) {
    let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": target, "command": command });
    server.post("/api/v1/commands", &request).await
}

/// The next matching event of a kind.
async fn next(stream: &mut Stream, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let Frame { data, .. } = stream.until(kind).await;
        if wanted(&data) {
            return data;
        }
    }
}

#[tokio::test]
async fn what_a_host_is_made_of_is_told_and_shown() {
    let server = Running::demo().await;
    let hardware = server.json("/api/v1/hosts/demo/hardware").await;
    assert_eq!((hardware["sockets"].as_u64(), hardware["iommu"].as_bool()), (Some(1), Some(false)));
    assert_eq!(hardware["devices"][0]["address"], "0000:01:00.0");
    let (status, page) = server.get("/hosts/demo").await;
    assert!(status == 200 && page.contains("NVIDIA GP104") && page.contains("off: for device passthrough"), "{page}");
    for path in ["/api/v1/hosts/none/hardware", "/hosts/none"] {
        assert_eq!(server.get(path).await.0, 404, "{path}");
    }
    let dead = ["--connect", "dead=qemu+unix:///system?socket=/nonexistent/libvirt-sock"];
    let server = Running::with(&dead).await;
    assert_eq!(server.get("/api/v1/hosts/dead/hardware").await.0, 503);
    let (status, page) = server.get("/hosts/dead").await;
    assert!(status == 200 && page.contains("Hardware details unavailable"), "{page}");
}

#[tokio::test]
async fn a_network_tells_its_definition_as_libvirt_keeps_it() {
    let server = Running::demo().await;
    let id = find(&server, "networks", "lab").await["id"].as_str().expect("text").to_owned();
    let (status, text) = server.get(&format!("/api/v1/networks/demo/{id}/definition")).await;
    assert!(status == 200 && text.starts_with("<network") && text.contains("<name>lab</name>"), "{text}");
    let page = server.get(&format!("/networks/demo/{id}")).await.1;
    assert!(page.contains("&lt;name&gt;lab&lt;/name&gt;"), "as text: {page}");
    let none = format!("/api/v1/networks/demo/{}/definition", Uuid::new_v4());
    assert_eq!(server.get(&none).await.0, 404);
}

#[tokio::test]
async fn a_pool_is_told_with_its_whole_new_state_and_the_command_that_caused_it() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events", &[]).await;
    stream.until("inventory").await;
    let pool = find(&server, "pools", "images").await;
    assert_eq!((pool["kind"].as_str(), pool["state"].as_str()), (Some("dir"), Some("running")));
    let (status, receipt) = send(&server, &pool["id"], json!({ "kind": "setPoolAutostart", "enabled": true })).await;
    assert_eq!(status, 202);
    let event = next(&mut stream, "storage-pool-changed", |_| true).await;
    for key in ["hostId", "poolId", "poolName", "action", "timestamp", "version", "pool"] {
        assert!(event.get(key).is_some(), "{key} is part of the schema");
    }
    assert_eq!((event["action"].as_str(), event["pool"]["autostart"].as_bool()), (Some("updated"), Some(true)));
    assert_eq!(event["cause"], receipt["requestId"]);
    let done = next(&mut stream, "task-completed", |task| task["taskId"] == receipt["taskId"]).await;
    assert_eq!((done["outcome"].as_str(), done["targetName"].as_str()), (Some("succeeded"), Some("images")));
    // The same version is in the inventory, and a command with an older one is a conflict.
    let now = find(&server, "pools", "images").await;
    assert_eq!(now["version"], event["version"]);
    let late = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": pool["id"],
        "command": { "kind": "refreshPool" }, "expectedVersion": pool["version"] });
    assert_eq!(server.post("/api/v1/commands", &late).await.1["fault"], "conflict");
}

#[tokio::test]
async fn volumes_are_listed_with_who_uses_them_and_each_change_says_so() {
    let server = Running::demo().await;
    let pool = find(&server, "pools", "images").await;
    let path = format!("/api/v1/pools/demo/{}/volumes", pool["id"].as_str().expect("text"));
    let volumes = server.json(&path).await["volumes"].as_array().expect("a list").clone();
    let web = volumes.iter().find(|volume| volume["name"] == "web-01.qcow2").expect("it is there");
    assert_eq!((web["capacityBytes"].as_u64(), web["usedBy"][0]["name"].as_str()), (Some(20 << 30), Some("web-01")));
    let mut stream = server.stream("/events?topics=volume-changed", &[]).await;
    stream.until("inventory").await;
    let volume = json!({ "name": "new.qcow2", "capacityBytes": 1 << 30, "format": "qcow2" });
    let (status, receipt) = send(&server, &pool["id"], json!({ "kind": "createVolume", "volume": volume })).await;
    assert_eq!(status, 202);
    let event = next(&mut stream, "volume-changed", |_| true).await;
    assert_eq!((event["volume"].as_str(), event["action"].as_str()), (Some("new.qcow2"), Some("created")));
    assert_eq!((event["cause"].clone(), event["poolName"].as_str()), (receipt["requestId"].clone(), Some("images")));
    assert!(server.get(&path).await.1.contains("new.qcow2"));
    // A volume in use cannot be deleted, and an invalid argument is reported with its field.
    let (status, fault) = send(&server, &pool["id"], json!({ "kind": "deleteVolume", "name": "web-01.qcow2" })).await;
    assert!(status == 409 && fault["reason"].as_str().expect("text").contains("web-01"), "{fault}");
    let bad = json!({ "name": "../x", "capacityBytes": 1, "format": "qcow2" });
    let (status, fault) = send(&server, &pool["id"], json!({ "kind": "createVolume", "volume": bad })).await;
    assert!(status == 422 && fault["reason"].as_str().expect("text").starts_with("name:"), "{fault}");
    let (status, fault) = send(&server, &pool["id"], json!({ "kind": "resizeVolume", "name": "new.qcow2" })).await;
    assert!(status == 422 && fault["reason"].as_str().expect("text").contains("capacityBytes"), "{fault}");
    let nowhere = format!("/api/v1/pools/demo/{}/volumes", Uuid::new_v4());
    assert_eq!(server.get(&nowhere).await.0, 404);
    // An operation unsupported by the test driver is refused in advance.
    let grow = json!({ "kind": "resizeVolume", "name": "new.qcow2", "capacityBytes": 2_u64 << 30 });
    let (status, fault) = send(&server, &pool["id"], grow).await;
    assert!(status == 409 && fault["reason"].as_str().expect("text").contains("test driver"), "{fault}");
}

#[tokio::test]
async fn a_network_comes_and_goes_and_the_same_request_makes_no_second_one() {
    let server = Running::demo().await;
    let mut stream = server.stream("/events?topics=network-changed", &[]).await;
    stream.until("inventory").await;
    let id = Uuid::new_v4();
    let network = json!({ "name": "guests", "mode": "isolated", "ipv4": "192.168.77.1/24" });
    let define = json!({ "kind": "defineNetwork", "network": network, "autostart": false });
    let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": id, "command": define });
    let first = server.post("/api/v1/commands", &request).await;
    assert_eq!(first.0, 202, "{first:?}");
    assert_eq!(server.post("/api/v1/commands", &request).await, first);
    let event = next(&mut stream, "network-changed", |event| event["network"]["active"] == true).await;
    assert_eq!((event["networkName"].as_str(), event["networkId"].clone()), (Some("guests"), json!(id)));
    let same_name = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": Uuid::new_v4(), "command": define });
    assert_eq!(server.post("/api/v1/commands", &same_name).await.0, 422, "the subnet is taken, too");
    assert_eq!(send(&server, &json!(id), json!({ "kind": "deleteNetwork" })).await.0, 202);
    let gone = next(&mut stream, "network-changed", |event| event["action"] == "deleted").await;
    assert_eq!(gone["network"], Value::Null);
    assert_eq!(send(&server, &json!(id), json!({ "kind": "startNetwork" })).await.0, 404);
    assert_eq!(server.get(&format!("/api/v1/networks/demo/{id}/leases")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sees_some_machines_sees_neither_storage_nor_networks() {
    let site = Site::new().await;
    let pool = find(&site.server, "pools", "images").await["id"].clone();
    let network = find(&site.server, "networks", "default").await["id"].clone();
    let token = |name: &str, words: &[&str]| {
        site.run(&[&["token", "create", name, "--role", "operator"], words].concat(), "").expect("made")
    };
    site.add("root", "admin").await;
    let (some, all) = (token("some", &["--tag", "web"]), token("all", &["--host", "demo"]));
    let ask = async |token: &str, method: &str, path: &str, body: String| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        read(site.server.send(method, path, &headers, body).await).await
    };
    // Defining storage reaches all files of the host, so an operator may not.
    let spec = json!({ "name": "keys", "kind": "dir", "path": "/srv/keys" });
    let define = json!({ "kind": "definePool", "pool": spec, "build": true, "autostart": false });
    let admin = site.run(&["token", "create", "admin", "--role", "admin"], "").expect("made");
    for (command, as_admin) in [
        (define, 202),
        // In use and active: these errors no longer concern permissions.
        (json!({ "kind": "deletePool", "content": true }), 409),
        (json!({ "kind": "buildPool" }), 409),
    ] {
        let target = if as_admin == 202 { json!(Uuid::new_v4()) } else { pool.clone() };
        let request = json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": target, "command": command });
        assert_eq!(ask(&all, "POST", "/api/v1/commands", request.to_string()).await.0, 403, "{command}");
        assert_eq!(ask(&admin, "POST", "/api/v1/commands", request.to_string()).await.0, as_admin, "{command}");
    }
    let volumes = format!("/api/v1/pools/demo/{}/volumes", pool.as_str().expect("text"));
    let leases = format!("/api/v1/networks/demo/{}/leases", network.as_str().expect("text"));
    assert_eq!(ask(&all, "GET", &volumes, String::new()).await.0, 200);
    let inventory = ask(&some, "GET", "/api/v1/inventory", String::new()).await.1;
    assert!(inventory.contains("\"pools\":[]") && inventory.contains("\"networks\":[]"));
    for path in [&volumes, &leases] {
        assert_eq!(ask(&some, "GET", path, String::new()).await.0, 404, "{path}");
    }
    let refresh =
        json!({ "requestId": Uuid::new_v4(), "host": "demo", "target": pool, "command": { "kind": "refreshPool" } });
    assert_eq!(ask(&some, "POST", "/api/v1/commands", refresh.to_string()).await.0, 404);
    for path in ["/storage", "/networks"] {
        let empty = "Nothing in your scope";
        assert!(ask(&some, "GET", path, String::new()).await.1.contains(empty), "{path}");
        let (status, page) = ask(&all, "GET", path, String::new()).await;
        assert!(status == 200 && !page.contains(empty), "{path}");
    }
}

#[tokio::test]
async fn a_piece_of_an_upload_is_bounded() {
    let server = Running::demo().await;
    let (id, length) = (Uuid::new_v4(), (64 << 20) + 1);
    let head = format!(
        "PUT /api/v1/uploads/{id}?offset=0 HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n"
    );
    // It is refused by its declared length, before it is read.
    let mut large = TcpStream::connect(&server.address).await.expect("connects");
    large.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    large.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}
