//! The guarantees of the log, tested as a value without a network.

use std::time::Duration;

use model::{Domain, DomainState, Host, Link, event::Severity, inventory::diff_domain};
use proptest::prelude::*;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

fn host(id: &str) -> HostInventory {
    let host =
        Host { id: id.parse().expect("a name"), connection: Link::default(), info: None, demo: false, managed: false };
    HostInventory::of(host)
}

fn feed() -> Feed {
    Feed::new([host("atlas"), host("borea")])
}

fn created(host: &str, number: u128) -> Vec<Event> {
    let domain = Domain { id: Uuid::from_u128(number), name: format!("vm-{number}"), version: 1, ..Domain::default() };
    diff_domain(&host.parse().expect("a name"), None, Some(&Arc::new(domain)), Default::default())
}

fn problem(host: &str, text: &str) -> Vec<Event> {
    let host_id = Some(host.parse().expect("a name"));
    let error =
        model::event::Error { host_id, message: text.into(), severity: Severity::Info, context: None, timestamp: 0 };
    vec![Event::Error(error)]
}

/// Frames of a chunk as (id, kind).
fn frames(chunk: &Bytes) -> Vec<(Cursor, String)> {
    let text = std::str::from_utf8(chunk).expect("text");
    let parts = text.split_terminator("\n\n").filter(|frame| frame.starts_with("id: "));
    parts
        .map(|frame| {
            let lines: Vec<&str> = frame.lines().collect();
            assert_eq!(lines.len(), 3, "a frame has three lines: {frame:?}");
            (lines[0][4..].parse().expect("an id"), lines[1][7..].to_owned())
        })
        .collect()
}

async fn next(reader: &mut Reader) -> Vec<(Cursor, String)> {
    let chunk = timeout(Duration::from_secs(60), reader.next()).await.expect("in time").expect("goes on");
    frames(&chunk)
}

#[tokio::test(start_paused = true)]
async fn without_a_position_a_reader_begins_with_the_inventory() {
    let feed = feed();
    feed.publish(created("atlas", 1));
    for cursor in [None, Some(Cursor { epoch: 1, seq: 0 }), Some(Cursor { epoch: feed.cursor().epoch, seq: 99 })] {
        let mut reader = feed.subscribe(cursor, Filter::default()).expect("room");
        assert_eq!(next(&mut reader).await, [(feed.cursor(), "inventory".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_resumes_after_its_position_without_gap_or_duplicate() {
    let feed = feed();
    (1..=5).for_each(|n| feed.publish(created("atlas", n)));
    let cursor = Cursor { seq: 2, ..feed.cursor() };
    let mut reader = feed.subscribe(Some(cursor), Filter::default()).expect("room");
    let mut seen: Vec<u64> = next(&mut reader).await.iter().map(|(id, _)| id.seq).collect();
    feed.publish(created("atlas", 6));
    seen.extend(next(&mut reader).await.iter().map(|(id, _)| id.seq));
    assert_eq!(seen, [3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_subscribing_and_reading_is_not_lost() {
    let feed = feed();
    let mut reader = feed.subscribe(None, Filter::default()).expect("room");
    feed.publish(created("atlas", 1));
    assert_eq!(next(&mut reader).await[0].1, "inventory");
    assert_eq!(next(&mut reader).await, [(feed.cursor(), "vm-created".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn only_the_wanted_kinds_and_hosts_arrive() {
    let feed = feed();
    let filter = Filter {
        topics: ["error".to_owned()].into(),
        hosts: ["borea".parse().expect("a name")].into(),
        ..Filter::default()
    };
    let mut reader = feed.subscribe(Some(feed.cursor()), filter).expect("room");
    assert_eq!(next(&mut reader).await[0].1, "bookmark");
    feed.publish(created("borea", 1));
    feed.publish(problem("atlas", "not this"));
    feed.publish(problem("borea", "this"));
    assert_eq!(next(&mut reader).await, [(feed.cursor(), "error".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_reader_gets_a_bookmark_with_the_position_at_least_every_15_s() {
    let feed = feed();
    tokio::spawn(feed.clone().beat());
    let mut reader = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    assert_eq!(next(&mut reader).await[0].1, "bookmark");
    feed.publish(created("atlas", 1));
    assert_eq!(next(&mut reader).await[0].1, "vm-created");
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(next(&mut reader).await, [(feed.cursor(), "bookmark".to_owned())]);
        assert!(asked.elapsed() <= Duration::from_secs(15));
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_travels_as_one_chunk() {
    let feed = feed();
    let mut reader = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    next(&mut reader).await;
    for n in 1..=100 {
        feed.publish(created("atlas", n));
    }
    assert_eq!(next(&mut reader).await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_reader_more_than_a_mebibyte_behind_is_closed_and_starts_over() {
    let feed = feed();
    let mut reader = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    next(&mut reader).await;
    let before = feed.cursor();
    let text = "x".repeat(1024);
    (0..1200).for_each(|_| feed.publish(problem("atlas", &text)));
    assert!(reader.next().await.is_none(), "it is closed");
    let mut again = feed.subscribe(Some(before), Filter::default()).expect("room");
    assert_eq!(next(&mut again).await[0].1, "inventory", "a partial replay would be a lie");
}

#[tokio::test(start_paused = true)]
async fn readers_are_told_to_come_back_when_the_server_stops() {
    let feed = feed();
    let mut reader = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    next(&mut reader).await;
    feed.drain();
    let last = reader.next().await.expect("a farewell");
    assert!(last.starts_with(b"retry: "));
    assert!(reader.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn readers_leave_one_after_the_other_and_miss_nothing_until_they_do() {
    let feed = feed();
    let mut readers: Vec<_> =
        (0..200).map(|_| feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room")).collect();
    for reader in &mut readers {
        next(reader).await;
    }
    feed.drain();
    feed.publish(created("atlas", 1));
    let began = Instant::now();
    let ends = readers.into_iter().map(|mut reader| async move {
        assert_eq!(next(&mut reader).await[0].1, "vm-created");
        assert!(reader.next().await.expect("a farewell").starts_with(b"retry: "));
        assert!(reader.next().await.is_none());
        began.elapsed().as_millis() / 100
    });
    let slices: BTreeSet<u128> = futures_util::future::join_all(ends).await.into_iter().collect();
    assert!(slices.len() >= 8 && slices.iter().all(|slice| *slice <= 10), "{slices:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_after_an_hour_or_little_more_and_resumes() {
    let feed = feed();
    tokio::spawn(feed.clone().beat());
    let mut reader = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    let (began, mut last) = (Instant::now(), Bytes::new());
    while let Some(chunk) = reader.next().await {
        last = chunk;
    }
    let minutes = began.elapsed().as_secs() / 60;
    assert!((60..=75).contains(&minutes) && last.starts_with(b"retry: "), "{minutes} min, {last:?}");
    let mut again = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    assert_eq!(next(&mut again).await[0].1, "bookmark", "nothing was missed");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_begins_anew_learns_at_once_which_server_it_has() {
    let feed = feed();
    let mut reader = feed.subscribe(None, Filter::default()).expect("room");
    assert_eq!(next(&mut reader).await[0].1, "inventory");
    let chunk = reader.next().await.expect("goes on");
    assert!(std::str::from_utf8(&chunk).expect("text").contains(concat!("{\"server\":\"", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test(start_paused = true)]
async fn one_answer_holds_what_there_is_and_comes_when_there_is_something() {
    let feed = feed();
    let ask = async |since: Option<Cursor>, seconds| {
        let reader = feed.subscribe(since, Filter::default()).expect("room");
        let kinds = frames(&reader.once(Duration::from_secs(seconds)).await);
        kinds.into_iter().map(|(id, kind)| (id.seq, kind)).collect::<Vec<_>>()
    };
    let named = |seq: u64, kind: &str| (seq, kind.to_owned());
    assert_eq!(ask(None, 20).await, [named(0, "inventory"), named(0, "bookmark")]);
    let start = feed.cursor();
    let began = Instant::now();
    assert_eq!(ask(Some(start), 20).await, [named(0, "bookmark")]);
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    assert_eq!(ask(Some(start), 0).await, [named(0, "bookmark")]);
    let (answer, ()) = tokio::join!(ask(Some(start), 20), async { feed.publish(created("atlas", 1)) });
    assert_eq!(answer, [named(1, "vm-created"), named(1, "bookmark")]);
    let text = "x".repeat(1024);
    (0..1200).for_each(|_| feed.publish(problem("atlas", &text)));
    assert_eq!(ask(Some(start), 20).await[0].1, "inventory", "a partial replay would be a lie");
}

#[test]
fn a_kind_is_wanted_while_some_reader_takes_it() {
    let feed = feed();
    let some = || Filter { topics: ["error".to_owned()].into(), ..Filter::default() };
    assert!(!feed.wants("error"));
    let (one, two) = (feed.subscribe(None, some()), feed.subscribe(None, some()));
    assert!(feed.wants("error") && !feed.wants("vm-updated"));
    drop(one);
    assert!(feed.wants("error"));
    let all = feed.subscribe(None, Filter::default());
    assert!(feed.wants("vm-updated"));
    drop((two, all));
    assert!(!feed.wants("error") && !feed.wants("vm-updated"));
}

#[test]
fn the_number_of_readers_is_bounded_and_given_back() {
    let feed = feed();
    let readers: Vec<_> = (0..MAX_READERS).map(|_| feed.subscribe(None, Filter::default()).expect("room")).collect();
    assert!(feed.subscribe(None, Filter::default()).is_none());
    drop(readers);
    assert_eq!(feed.readers(), 0);
    assert!(feed.subscribe(None, Filter::default()).is_some());
}

#[test]
fn memory_of_the_log_is_bounded() {
    let feed = feed();
    for _ in 0..BOUNDS.events + 10 {
        feed.publish(problem("atlas", "x"));
    }
    assert_eq!(feed.shared.lock().log.follow(10).map(Iterator::count), Some(BOUNDS.events));
    assert!(feed.shared.lock().log.follow(5).is_none(), "what is forgotten is known to be");
    assert!(feed.shared.lock().log.follow(11).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Readers that connect, disconnect and resume at any time see every event once, in order, and
    /// end with the server's inventory.
    #[test]
    fn every_reader_sees_everything_after_its_position_once(steps in prop::collection::vec((0_u8..4, 0_u128..8), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async move {
            let feed = feed();
            let mut position = feed.cursor();
            let mut reader = feed.subscribe(Some(position), Filter::default()).expect("room");
            for (step, number) in steps {
                match step {
                    0 | 1 => feed.publish(created("atlas", number)),
                    2 => feed.publish(vec![state(number)]),
                    _ => {
                        // The stream drops here and resumes by the last id.
                        reader = feed.subscribe(Some(position), Filter::default()).expect("room");
                    }
                }
                while position != feed.cursor() {
                    for (id, kind) in next(&mut reader).await {
                        if kind == "bookmark" {
                            assert_eq!(id, position);
                        } else {
                            assert_eq!(id.seq, position.seq + 1, "{kind}");
                            position = id;
                        }
                    }
                }
            }
        });
    }
}

fn state(number: u128) -> Event {
    let with = |state, version| Arc::new(Domain { id: Uuid::from_u128(number), state, version, ..Domain::default() });
    let (old, new) = (with(DomainState::Running, 1), with(DomainState::Paused, 2));
    diff_domain(&"atlas".parse().expect("a name"), Some(&old), Some(&new), Default::default()).remove(0)
}

#[tokio::test(start_paused = true)]
async fn of_what_has_no_place_in_the_log_a_slow_reader_gets_the_latest_only() {
    let feed = feed();
    let atlas = "atlas".parse().expect("a name");
    let watch = ["atlas/00000000-0000-0000-0000-000000000007".parse().expect("a machine")].into();
    let filter = Filter { watch, ..Filter::default() };
    let mut reader = feed.subscribe(Some(feed.cursor()), filter).expect("room");
    let elsewhere = Filter { hosts: ["borea".parse().expect("a name")].into(), ..Filter::default() };
    let mut elsewhere = feed.subscribe(Some(feed.cursor()), elsewhere).expect("room");
    assert_eq!(feed.watched(&atlas), [Uuid::from_u128(7)]);
    assert_eq!(next(&mut reader).await[0].1, "bookmark");
    assert_eq!(next(&mut elsewhere).await[0].1, "bookmark");
    for n in 0..1_000 {
        feed.tell("vm-stats-updated", &atlas, &format!("[{n}]"));
    }
    feed.publish(created("borea", 1));
    let text = async |reader: &mut Reader| {
        let chunk = timeout(Duration::from_secs(60), reader.next()).await.expect("in time").expect("goes on");
        String::from_utf8(chunk.to_vec()).expect("text")
    };
    let both = text(&mut reader).await;
    assert!(both.starts_with("id: ") && both.contains("event: vm-created"), "{both}");
    assert!(both.ends_with("\n\nevent: vm-stats-updated\ndata: [999]\n\n"), "it has no id: {both}");
    assert!(!text(&mut elsewhere).await.contains("vm-stats-updated"), "it is of another host");
    // A later reader gets the latest value immediately, and none gets it twice.
    let mut late = feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    assert!(text(&mut late).await.contains("[999]"));
    feed.publish(created("borea", 2));
    assert!(!text(&mut reader).await.contains("[999]"));
    drop(reader);
    assert!(feed.watched(&atlas).is_empty(), "nobody looks any more");
}

#[tokio::test(start_paused = true)]
async fn who_asks_answer_by_answer_waits_for_the_next_telling_and_does_not_spin() {
    let feed = feed();
    let atlas = "atlas".parse().expect("a name");
    feed.tell("vm-stats-updated", &atlas, "[1]");
    let reader = || feed.subscribe(Some(feed.cursor()), Filter::default()).expect("room");
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
    assert!(text(reader().once(Duration::ZERO).await).contains("[1]"), "the first answer has what there is");
    let (began, again) = (Instant::now(), feed.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        again.tell("vm-stats-updated", &"atlas".parse().expect("a name"), "[2]");
    });
    let answer = text(reader().once(Duration::from_secs(20)).await);
    assert!(answer.contains("[2]") && began.elapsed() >= Duration::from_secs(2), "{answer}");
}
