//! Many clients, slow clients, and a jumping clock: no client is affected and nothing is lost.
//!
//! These tests take long and need separate processes, so `make test` runs them with `--ignored`.

mod support;

use std::{fs, sync::Arc, time::Duration};

use futures_util::future::join_all;
use model::{
    Domain, DomainState, Event, event,
    inventory::{Stamp, diff_domain},
};
use serde_json::{Value, json};
use support::{
    Running, Stream,
    process::Process,
    raw::{Raw, follow},
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while; make test runs it"]
async fn slow_and_stopped_readers_delay_nobody_and_lose_nothing() {
    const EVENTS: u64 = 3_000;
    let server = Running::demo().await;
    let address = server.address.clone();
    let position = server.backend.feed().cursor();
    let open = (0..100).map(|_| Raw::open(&address, Some(position.to_string())));
    let mut all = join_all(open).await;
    for raw in &mut all {
        raw.read(4 << 10).await.expect("the head of the answer");
    }
    let stopped: Vec<Raw> = all.drain(..5).collect();
    let slow: Vec<Raw> = all.drain(..10).collect();
    let last = position.seq + EVENTS;

    let at = |raw: Raw, pace| {
        let address = address.clone();
        tokio::spawn(async move { follow(raw, &address, last, pace).await })
    };
    let slow: Vec<_> = slow.into_iter().map(|raw| at(raw, Some((8 << 10, Duration::from_millis(20))))).collect();
    let fast: Vec<_> = all.into_iter().map(|raw| at(raw, None)).collect();
    // Five hundred events per second, each with a whole machine.
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for n in 0..EVENTS / 10 {
        ticks.tick().await;
        let events = (0..10).map(|m| {
            let message = format!("{n}-{m} {}", "x".repeat(1_500));
            Event::Error(event::Error::of_background(None, "load", message, 0))
        });
        server.backend.feed().publish(events.collect());
    }
    let fast = timeout(Duration::from_secs(20), join_all(fast)).await.expect("the fast ones are through");
    for raw in fast {
        let raw = raw.expect("no panic");
        assert!(raw.resets == 0 && raw.is_dense(), "none was closed and none lost anything");
        assert!(raw.seen.len() as u64 >= EVENTS);
    }
    let slow = timeout(Duration::from_secs(120), join_all(slow)).await.expect("the slow ones get there");
    for raw in slow {
        let raw = raw.expect("no panic");
        assert!(raw.is_dense(), "a gap without a word: {:?}", raw.resets);
    }
    for raw in stopped {
        // It was closed meanwhile; on reconnect it gets the rest or starts over.
        let raw = timeout(Duration::from_secs(60), follow(raw, &address, last, None)).await.expect("it comes back");
        assert!(raw.is_dense());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while; make test runs it"]
async fn five_thousand_events_a_second_of_a_thousand_machines_reach_a_hundred_readers_without_a_silent_gap() {
    const EVENTS: u64 = 15_000;
    const MACHINES: u64 = 1_000;
    let server = Running::demo().await;
    let address = server.address.clone();
    let host = "demo".parse().expect("a name");
    let mut machines: Vec<Arc<Domain>> = (0..MACHINES)
        .map(|n| {
            let (id, name) = (Uuid::from_u128(u128::from(n) + 1), format!("vm-{n}"));
            Arc::new(Domain { id, name, state: DomainState::Running, version: 1, ..Domain::default() })
        })
        .collect();
    let made = machines.iter().flat_map(|machine| diff_domain(&host, None, Some(machine), Stamp::default()));
    server.backend.feed().publish(made.collect());
    let position = server.backend.feed().cursor();
    let all = join_all((0..100).map(|_| Raw::open(&address, Some(position.to_string())))).await;
    let last = position.seq + EVENTS;
    let readers = all.into_iter().map(|raw| {
        let address = address.clone();
        tokio::spawn(async move { follow(raw, &address, last, None).await })
    });
    let readers: Vec<_> = readers.collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for n in 0..EVENTS / 100 {
        ticks.tick().await;
        let first = (n * 100 % MACHINES) as usize;
        let events = machines[first..first + 100].iter_mut().flat_map(|machine| {
            let paused = machine.state == DomainState::Paused;
            let state = if paused { DomainState::Running } else { DomainState::Paused };
            let next = Arc::new(Domain { state, version: machine.version + 1, ..(**machine).clone() });
            let had = std::mem::replace(machine, next.clone());
            diff_domain(&host, Some(&had), Some(&next), Stamp::default())
        });
        server.backend.feed().publish(events.collect());
    }
    let readers = timeout(Duration::from_secs(120), join_all(readers)).await.expect("all get there");
    // The host's own events are numbered in between.
    let last = server.backend.feed().cursor().seq;
    for raw in readers {
        let rest = follow(raw.expect("no panic"), &address, last, None);
        let raw = timeout(Duration::from_secs(20), rest).await.expect("the rest comes");
        // A client that is too far behind starts over, and misses nothing after that.
        assert!(raw.is_dense() && raw.last() >= last, "{} resets, {} of {last}", raw.resets, raw.last());
        for machine in &machines {
            let told = raw.states.get(&machine.name).map(String::as_str);
            assert_eq!(told, Some(machine.state.key()), "{}", machine.name);
        }
    }
}

/// The number of open files of a process.
fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("readable").count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while; make test runs it"]
async fn ten_thousand_streams_that_drop_at_once_come_back_and_leave_nothing_behind() {
    const STREAMS: usize = 10_000;
    rlimit::increase_nofile_limit(STREAMS as u64 * 2).expect("enough files");
    let data = TempDir::new().expect("a folder");
    let arguments = ["--demo", "--data", data.path().to_str().expect("text")];
    let mut server = Process::at("127.0.0.1:0", &arguments, &[]).await;
    let address = server.address.clone();
    let (_, inventory) = server.json("GET", "/api/v1/inventory", &Value::Null).await.expect("answers");
    let cursor = inventory["cursor"].as_str().expect("text").to_owned();
    let before = files(server.pid());
    let greet = async |all: &mut [Raw]| {
        let greeted = all.iter_mut().map(|raw| async {
            while raw.bookmarks == 0 && raw.seen.is_empty() {
                raw.read(64 << 10).await.expect("goes on");
            }
        });
        timeout(Duration::from_secs(60), join_all(greeted)).await.expect("each is greeted");
    };
    let open = async |ids: &[Option<String>]| {
        let mut all = Vec::new();
        // Fewer at a time than the listen backlog.
        for some in ids.chunks(500) {
            let mut some = join_all(some.iter().map(|id| Raw::open(&address, id.clone()))).await;
            greet(&mut some).await;
            all.extend(some);
        }
        all
    };
    let all_from_now_on = vec![Some(cursor); STREAMS];

    // The clients disconnect all at once.
    let all = open(&all_from_now_on).await;
    assert!(files(server.pid()) + 5 > before + STREAMS, "{before} and then {}", files(server.pid()));
    drop(all);
    let began = Instant::now();
    while files(server.pid()) > before + 50 {
        assert!(began.elapsed() < Duration::from_secs(30), "{} files are still open", files(server.pid()) - before);
        sleep(Duration::from_millis(50)).await;
    }

    // The server stops, and each client reconnects to the next one.
    let all = open(&all_from_now_on).await;
    server.signal("-KILL");
    server.ended().await;
    let server = Process::at(&address, &arguments, &[]).await;
    let ids: Vec<Option<String>> = all.into_iter().map(|raw| raw.id).collect();
    let back = open(&ids).await;
    assert!(back.iter().all(|raw| raw.resets == 1), "each starts over");
    let began = Instant::now();
    let (status, _) = server.json("GET", "/healthz", &Value::Null).await.expect("answers");
    assert_eq!(status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "and all else goes on");
}

/// The path of libfaketime on Debian and others.
const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs libfaketime; make test runs it"]
async fn a_clock_that_jumps_by_a_day_changes_labels_only() {
    let library = FAKETIME.into_iter().find(|path| fs::exists(path).expect("readable")).expect("libfaketime");
    let folder = TempDir::new().expect("a folder");
    let (clock, data) = (folder.path().join("clock"), folder.path().join("data"));
    fs::write(&clock, "+0").expect("written");
    let environment = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("text")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let arguments = ["--demo", "--data", data.to_str().expect("text")];
    let server = Process::at("127.0.0.1:0", &arguments, &environment).await;
    let (_, inventory) = server.json("GET", "/api/v1/inventory", &Value::Null).await.expect("answers");
    let domains = inventory["hosts"]["demo"]["domains"].as_array().expect("a list");
    let id = domains.iter().find(|domain| domain["name"] == "web-01").expect("it exists")["id"].clone();
    let mut stream = server.stream("/events").await;
    stream.until("inventory").await;
    let mut times = Vec::new();
    // A day ahead, back again, and a day behind.
    for (offset, kind) in [("+0", "pause"), ("+86400", "resume"), ("+0", "pause"), ("-86400", "resume")] {
        fs::write(&clock, offset).expect("written");
        let request =
            json!({ "requestId": uuid::Uuid::new_v4(), "host": "demo", "target": id, "command": { "kind": kind } });
        let (status, answer) = server.json("POST", "/api/v1/commands", &request).await.expect("answers");
        assert_eq!(status, 202, "{offset}: {answer}");
        let event = changed(&mut stream).await;
        assert_eq!(event["cause"], request["requestId"], "{offset}");
        times.push(event["timestamp"].as_u64().expect("a time") / 1_000);
        let task = server.ended_task(request["requestId"].as_str().expect("text")).await;
        assert_eq!(task["outcome"], "succeeded", "{offset}");
        // The same request has the same id at any time.
        let again = server.json("POST", "/api/v1/commands", &request).await.expect("answers");
        assert_eq!(again, (202, answer), "{offset}");
    }
    let day = 86_400;
    assert!(times[1] - times[0] >= day && times[0] - times[3] >= day - 60, "the clock did jump: {times:?}");
    // Streams use a monotonic clock: the next bookmark is on time and none was closed.
    stream.until("bookmark").await;
    let (_, past) = server.json("GET", "/api/v1/events?topics=vm-state-changed", &Value::Null).await.expect("answers");
    let states: Vec<_> =
        past["events"].as_array().expect("a list").iter().map(|event| &event["data"]["newState"]).collect();
    assert_eq!(states, ["paused", "running", "paused", "running"], "the order is that of the log");
    let (_, audit) = server.json("GET", "/api/v1/audit", &Value::Null).await.expect("answers");
    assert_eq!(audit["records"].as_array().expect("a list").len(), 5, "nothing was forgotten: {audit}");
}

async fn changed(stream: &mut Stream) -> Value {
    stream.until("vm-state-changed").await.data
}
