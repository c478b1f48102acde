//! Scopes over HTTP: invisible objects are hidden in lists, details, commands and the stream.

mod support;

use serde_json::{Value, json};
use support::{Stream, read, site::Site};
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

/// A client with a token.
struct Client<'a> {
    site: &'a Site,
    bearer: String,
}

impl<'a> Client<'a> {
    fn new(site: &'a Site, name: &str, words: &[&str]) -> Self {
        let token = site.run(&[&["token", "create", name], words].concat(), "").expect("made");
        Self { site, bearer: format!("Bearer {token}") }
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let headers = [("authorization", self.bearer.as_str()), ("content-type", "application/json")];
        let body = if method == "GET" { String::new() } else { body.to_string() };
        read(self.site.server.send(method, path, &headers, body).await).await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.ask("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn status(&self, path: &str) -> u16 {
        self.ask("GET", path, &Value::Null).await.0
    }

    /// Names and UUIDs of all machines.
    async fn machines(&self) -> Vec<(String, String)> {
        let inventory = self.json("/api/v1/inventory").await;
        let hosts = inventory["hosts"].as_object().expect("hosts").values();
        let domains = hosts.flat_map(|host| host["domains"].as_array().expect("a list"));
        let text = |domain: &Value, key: &str| domain[key].as_str().expect("text").to_owned();
        domains.map(|domain| (text(domain, "name"), text(domain, "id"))).collect()
    }

    async fn command(&self, target: &str, command: Value) -> (u16, Uuid) {
        let id = Uuid::new_v4();
        let request = json!({ "requestId": id, "host": "demo", "target": target, "command": command });
        (self.ask("POST", "/api/v1/commands", &request).await.0, id)
    }

    async fn stream(&self) -> Stream {
        self.stream_from("").await
    }

    /// The stream from a position.
    async fn stream_from(&self, id: &str) -> Stream {
        let path = if id.is_empty() { "/events".to_owned() } else { format!("/events?since={id}") };
        let answer = self.site.server.send("GET", &path, &[("authorization", &self.bearer)], "").await;
        assert_eq!(answer.status(), 200);
        Stream { body: answer.into_body(), text: String::new() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_sight_is_not_there() {
    let site = Site::new().await;
    let all = Client::new(&site, "all", &["--role", "operator"]);
    let some = Client::new(&site, "some", &["--role", "operator", "--tag", "web"]);
    let none = Client::new(&site, "none", &["--role", "viewer", "--host", "elsewhere"]);
    let (every, seen) = (all.machines().await, some.machines().await);
    assert!(!seen.is_empty() && seen.len() < every.len(), "{seen:?}");
    assert!(none.machines().await.is_empty());
    let hidden = every.iter().find(|known| !seen.contains(known)).expect("one is hidden");
    let visible = &seen[0];
    for (client, id, expected) in
        [(&all, &hidden.1, 200), (&some, &visible.1, 200), (&some, &hidden.1, 404), (&none, &visible.1, 404)]
    {
        for path in [
            format!("/api/v1/stats/demo/{id}"),
            format!("/api/v1/domains/demo/{id}/definition"),
            format!("/vms/demo/{id}"),
        ] {
            assert_eq!(client.status(&path).await, expected, "{path}");
        }
    }
    assert_eq!(some.command(&hidden.1, json!({ "kind": "pause" })).await.0, 404);
    let batch = |id: &str| json!({ "requestId": Uuid::new_v4(), "host": "demo", "targets": [id, visible.1], "command": { "kind": "pause" } });
    assert_eq!(some.ask("POST", "/api/v1/batches", &batch(&hidden.1)).await.0, 404);
    let form = [("authorization", some.bearer.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let body = format!("token={}&do=pause@demo/{}", Uuid::new_v4(), hidden.1);
    assert_eq!(site.server.send("POST", "/commands", &form, body).await.status(), 404);
    assert_eq!(none.ask("POST", "/api/v1/hosts/demo/reconnect", &json!({})).await.0, 403, "viewers change nothing");
    // Pages, statistics and history contain no trace of it.
    let (status, task) = all.command(&hidden.1, json!({ "kind": "setTitle", "title": "hush" })).await;
    assert_eq!(status, 202);
    for path in ["/vms", "/", "/tasks", "/history", "/api/v1/tasks", "/api/v1/events", "/api/v1/stats"] {
        let (status, text) = some.ask("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}");
        assert!(
            !text.contains(&hidden.0) && !text.contains(&hidden.1) && !text.contains("hush"),
            "{path} tells of {}",
            hidden.0
        );
    }
    for path in [format!("/api/v1/tasks/{task}"), format!("/tasks/{task}")] {
        assert_eq!((all.status(&path).await, some.status(&path).await), (200, 404), "{path}");
    }
    // Data about all machines requires an unlimited scope.
    assert_eq!((all.status("/metrics").await, some.status("/metrics").await), (200, 403));
    let (_, replay) = some.ask("GET", "/history/replay", &Value::Null).await;
    assert!(replay.contains("your scope is limited") && !replay.contains(&hidden.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_gets_a_tag_appears_in_the_stream_and_leaves_it_without() {
    let site = Site::new().await;
    let all = Client::new(&site, "all", &["--role", "operator"]);
    let some = Client::new(&site, "some", &["--role", "viewer", "--tag", "mine"]);
    let (name, id) = all.machines().await.into_iter().find(|(name, _)| name == "web-01").expect("it exists");
    let mut stream = some.stream().await;
    let inventory = stream.until("inventory").await.data;
    assert!(!inventory.to_string().contains(&name), "{inventory}");
    let tagged = async |tags: &[&str]| {
        assert_eq!(all.command(&id, json!({ "kind": "setTags", "tags": tags })).await.0, 202);
    };
    assert_eq!(all.command(&id, json!({ "kind": "pause" })).await.0, 202);
    tagged(&["mine"]).await;
    let appeared = stream.until("vm-created").await.data;
    assert_eq!((appeared["vmName"].as_str(), appeared["vm"]["state"].as_str()), (Some("web-01"), Some("paused")));
    assert_eq!(all.command(&id, json!({ "kind": "resume" })).await.0, 202);
    let changed = stream.until("vm-state-changed").await.data;
    assert_eq!(changed["newState"], "running");
    tagged(&["other"]).await;
    let gone = stream.until("vm-deleted").await.data;
    assert_eq!((gone["vmId"].as_str(), gone["vmName"].as_str()), (Some(id.as_str()), Some("")));
    assert!(some.machines().await.is_empty());
    assert!(all.machines().await.iter().any(|(known, _)| *known == name), "it is there all the same");
    // Invisible events were not sent.
    assert!(!stream.text.contains("\"oldState\":\"running\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_has_no_scope_and_a_scope_is_checked() {
    let site = Site::new().await;
    let made = |words: &[&str]| site.run(&[&["token", "create", "t"], words].concat(), "");
    assert!(made(&["--role", "admin", "--tag", "web"]).expect_err("refused").contains("an admin sees everything"));
    assert!(made(&["--role", "viewer", "--host", "a/b"]).is_err());
    site.run(&["user", "add", "jane", "--role", "viewer", "--host", "demo", "--tag", "web"], "").expect("made");
    assert!(site.run(&["user", "list"], "").expect("listed").contains("jane\tviewer\tdemo #web"));
    assert!(site.run(&["user", "set", "jane", "--role", "admin", "--tag", "web"], "").is_err());
    site.run(&["user", "set", "jane", "--role", "operator"], "").expect("set");
    assert!(site.run(&["user", "list"], "").expect("listed").ends_with("jane\toperator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_stream_goes_on_where_it_was_and_a_position_fits_its_scope_only() {
    let site = Site::new().await;
    let all = Client::new(&site, "all", &["--role", "operator"]);
    let some = Client::new(&site, "some", &["--role", "operator", "--tag", "mine"]);
    let other = Client::new(&site, "other", &["--role", "viewer", "--tag", "web"]);
    let (_, id) = all.machines().await.into_iter().find(|(name, _)| name == "web-01").expect("it exists");
    let tagged = async |tags: &[&str]| {
        assert_eq!(all.command(&id, json!({ "kind": "setTags", "tags": tags })).await.0, 202);
    };
    let mut stream = some.stream().await;
    let position = stream.until("inventory").await.id;
    // It entered the scope, changed and left it while disconnected.
    tagged(&["mine"]).await;
    let appeared = stream.until("vm-created").await.id;
    tagged(&["gone"]).await;
    stream.until("vm-deleted").await;
    drop(stream);
    let mut again = some.stream_from(&position).await;
    let about_it = async |stream: &mut Stream| loop {
        let kind = stream.next().await.expect("more").kind;
        // Its tasks are sent while it is visible.
        if !kind.starts_with("task-") {
            return kind;
        }
    };
    assert_eq!(
        [about_it(&mut again).await, about_it(&mut again).await],
        ["vm-created", "vm-deleted"],
        "from before it came"
    );
    let mut later = some.stream_from(&appeared).await;
    assert_eq!(about_it(&mut later).await, "vm-deleted", "from where it was in sight");
    for (client, id) in [(&all, &position), (&other, &position)] {
        assert_eq!(client.stream_from(id).await.next().await.expect("more").kind, "inventory", "of another scope");
    }
    // A poll at the end of the log waits, and sends no inventory.
    let (_, inventory) = some.ask("GET", "/events?poll=0", &Value::Null).await;
    let end = inventory.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("a position").to_owned();
    let (_, poll) = some.ask("GET", &format!("/events?poll=1&since={end}"), &Value::Null).await;
    assert!(poll.contains("event: bookmark") && !poll.contains("event: inventory"), "{poll}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_told_how_ones_own_command_ends_that_takes_the_machine_out_of_sight() {
    let site = Site::new().await;
    let all = Client::new(&site, "all", &["--role", "operator"]);
    let some = Client::new(&site, "some", &["--role", "operator", "--tag", "web"]);
    let (_, id) = some.machines().await.into_iter().next().expect("one is seen");
    let mut stream = some.stream().await;
    stream.until("inventory").await;
    let (status, request) = some.command(&id, json!({ "kind": "setTags", "tags": ["other"] })).await;
    assert_eq!(status, 202);
    let ended = stream.until("task-completed").await.data;
    assert_eq!(
        (ended["taskId"].as_str(), ended["outcome"].as_str()),
        (Some(request.to_string().as_str()), Some("succeeded"))
    );
    assert_eq!(some.status(&format!("/api/v1/tasks/{request}")).await, 200, "it is one's own");
    assert_eq!(some.status(&format!("/api/v1/stats/demo/{id}")).await, 404);
    // Later actions by others are hidden, and no next page reveals them.
    for n in 0..3 {
        assert_eq!(all.command(&id, json!({ "kind": "setTitle", "title": format!("hush {n}") })).await.0, 202);
    }
    for path in ["/api/v1/tasks?limit=1&kind=setTitle", "/api/v1/events?limit=1&topics=vm-updated&order=newest"] {
        let began = Instant::now();
        // Events are stored with a delay.
        while all.json(path).await["next"].is_null() {
            assert!(began.elapsed() < Duration::from_secs(10), "there is more for who sees all: {path}");
            sleep(Duration::from_millis(50)).await;
        }
        let answer = some.json(path).await;
        assert!(answer["next"].is_null() && !answer.to_string().contains("hush"), "{path}: {answer}");
    }
}
