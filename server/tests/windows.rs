//! More machines than a browser mirrors: pages and streams of a part of them, with figures over all.

mod support;

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};
use support::Running;

/// Machines of the host; the first third is off.
const MACHINES: usize = 2_400;

/// A host of libvirt's test driver with many machines: `web-0` to `web-2399`, each tenth tagged.
fn many(folder: &Path) -> String {
    let mut node = String::from("<node>\n");
    for number in 0..MACHINES {
        let state = if number < MACHINES / 3 { 5 } else { 1 };
        let tags = if number % 10 == 0 {
            "<metadata><b:tags xmlns:b='urn:belvedere:tags:1'><b:tag>tenth</b:tag></b:tags></metadata>"
        } else {
            ""
        };
        writeln!(
            node,
            "<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>web-{number}</name>\
             <uuid>00000000-0000-4000-8000-{number:012}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>{tags}\
             <os><type>hvm</type></os><test:runstate>{state}</test:runstate></domain>"
        )
        .expect("text");
    }
    node.push_str("</node>\n");
    let file = folder.join("many.xml");
    std::fs::write(&file, node).expect("written");
    format!("many=test://{}", file.display())
}

fn names(page: &Value) -> Vec<String> {
    let domains = page["snapshot"]["hosts"]["many"]["domains"].as_array().expect("machines");
    domains.iter().map(|domain| domain["name"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_brings_its_machines_and_figures_over_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Running::with(&["--connect", &many(folder.path())]).await;
    let view = |of: &str| format!("/api/v1/view?of={}", app::routes::escape(of));

    let list = server.json(&view("/vms")).await;
    let window = &list["window"];
    assert_eq!(names(&list).len(), 30, "{list}");
    assert_eq!((&window["counts"]["all"], &window["still"]), (&json!(MACHINES), &json!(true)));
    let host = &window["figures"]["hosts"][0];
    assert_eq!((&host["host"], host["states"].as_array().map(Vec::len)), (&json!("many"), Some(7)), "{host}");
    assert_eq!(host["states"][0].as_u64(), Some((MACHINES - MACHINES / 3) as u64), "{host}");

    let last = server.json(&view("/vms?sort=-name&page=80")).await;
    assert_eq!(last["window"]["machines"].as_array().map(Vec::len), Some(30), "{last}");
    assert!(names(&last).contains(&"web-0".to_owned()), "{last}");
    let found = server.json(&view("/vms?q=web-17&state=stopped")).await;
    assert_eq!(names(&found).len(), 11, "web-17 and web-170 to web-179: {found}");

    let tagged = server.json(&view("/vms?tag=tenth")).await;
    assert_eq!(tagged["window"]["counts"]["all"], json!(MACHINES / 10), "{tagged}");
    assert_eq!(window["counts"]["tags"], json!([["tenth", MACHINES / 10]]), "of all: {window}");

    let one = "00000000-0000-4000-8000-000000000042";
    let page = server.json(&view(&format!("/vms/many/{one}/devices"))).await;
    assert_eq!(names(&page), ["web-42"]);
    assert!(names(&server.json(&view("/hosts")).await).is_empty());

    // The page itself: its rows, and not the others.
    let (status, html) = server.get("/vms").await;
    assert_eq!((status, html.matches("name=\"select\"").count()), (200, 30));
    assert!(html.contains("1 to 30 of 2400 machines") && !html.contains("web-2399"));
    assert!(html.len() < 250_000, "{} bytes, before compression", html.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_page_brings_what_happens_to_its_machines_and_figures_of_all_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Running::with(&["--connect", &many(folder.path())]).await;
    let path = format!("/events?view={}", app::routes::escape("/vms?q=web-17&state=stopped"));
    let mut stream = server.stream(&path, &[]).await;
    let inventory = stream.until("inventory").await;
    let machines = inventory.data["hosts"]["many"]["domains"].as_array().expect("machines").len();
    assert_eq!(machines, 11, "the machines of the page");
    let window = stream.until("window").await.data;
    let running = |window: &Value| window["figures"]["hosts"][0]["states"][0].as_u64().expect("a number");
    let (before, ids) = (running(&window), window["machines"].as_array().expect("machines").len());
    assert_eq!((ids, window["view"].as_str()), (11, Some("/vms?q=web-17&state=stopped")), "{window}");

    let start = |number: usize| {
        json!({ "requestId": uuid::Uuid::new_v4(), "host": "many", "command": { "kind": "start" },
            "target": format!("00000000-0000-4000-8000-{number:012}") })
    };
    // One that the page does not show, then one that it shows.
    for number in [3, 171] {
        let (status, answer) = server.post("/api/v1/commands", &start(number)).await;
        assert_eq!(status, 202, "{answer}");
    }
    let (mut changed, mut told) = (Vec::new(), 0);
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    while changed.is_empty() || told < before + 2 {
        let next = tokio::time::timeout_at(until, stream.next()).await;
        let frame = next.unwrap_or_else(|_| panic!("{changed:?}, {told}, {before} before")).expect("it goes on");
        match &*frame.kind {
            "vm-state-changed" => changed.push(frame.data["vmName"].as_str().expect("text").to_owned()),
            "window" => told = running(&frame.data),
            _ => {}
        }
    }
    assert_eq!((changed, told), (vec!["web-171".to_owned()], before + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_machines_come_whole_and_their_stream_too_whatever_page_asks() {
    let server = Running::demo().await;
    let page = server.json("/api/v1/view?of=/hosts").await;
    assert!(page["window"].is_null(), "{page}");
    let all = server.json("/api/v1/inventory").await["hosts"]["demo"]["domains"].as_array().map(Vec::len);
    assert_eq!(page["snapshot"]["hosts"]["demo"]["domains"].as_array().map(Vec::len), all);
    // A tab from before reads everything as its window names nothing.
    let mut stream = server.stream("/events?view=/vms", &[]).await;
    let window = stream.until("window").await.data;
    assert_eq!((&window["machines"], &window["view"]), (&json!([]), &json!("/vms")), "{window}");
    let (status, fault) = server.get("/api/v1/view").await;
    assert_eq!(status, 422, "{fault}");
}
