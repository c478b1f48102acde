//! The guarantees of the journal, on real files.

use std::sync::Arc;

use model::{
    DomainCommand, DomainState, Event, FaultKind, HostId, NoteKind, Origin, RequestId, TaskState, command::Start,
};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

fn intent(number: u128, name: &str) -> Intent {
    Intent {
        at: 1_000 + number as u64,
        request_id: RequestId(Uuid::from_u128(number)),
        parent: None,
        kind: "start".into(),
        host: "atlas".parse().expect("a name"),
        target: Some(Uuid::from_u128(7)),
        targets: Vec::new(),
        name: name.into(),
        command: DomainCommand::Start(Start {}).into(),
        origin: Origin { address: Some("::1".into()), ..Origin::default() },
        refused: None,
    }
}

fn said(number: u128, outcome: TaskState, settled: Settled) -> Said {
    Said { at: 5_000, request_id: RequestId(Uuid::from_u128(number)), outcome, fault: None, settled, log: Vec::new() }
}

fn open(folder: &TempDir) -> Journal {
    Journal::open(folder.path()).unwrap_or_else(|trouble| panic!("{trouble:?}"))
}

/// Changes a file directly while it is not open.
fn tamper(folder: &TempDir, sql: &str) {
    Connection::open(folder.path().join(AUDIT)).expect("opens").execute_batch(sql).expect("changed");
}

#[tokio::test]
async fn a_request_is_new_once_and_a_later_process_still_knows_it() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    assert!(matches!(journal.audit.admit(intent(1, "web")).await, Ok(Admitted::New(_))));
    assert!(matches!(journal.audit.admit(intent(1, "web")).await, Ok(Admitted::Known(_))));
    journal.audit.ended(said(1, TaskState::Succeeded, Settled::Seen)).await.expect("written");
    drop(journal);
    let journal = open(&folder);
    let Ok(Admitted::Known(stored)) = journal.audit.admit(intent(1, "web")).await else { panic!("it is known") };
    assert!(stored.intent.same_wish(&intent(1, "another name")));
    assert_eq!(stored.said.map(|said| said.outcome), Some(TaskState::Succeeded));
}

#[tokio::test]
async fn many_writers_at_once_make_one_chain_in_which_nothing_is_missing() {
    let folder = TempDir::new().expect("a folder");
    let journal = std::sync::Arc::new(open(&folder));
    let writers = (0..500).map(|number| {
        let journal = journal.clone();
        tokio::spawn(async move {
            journal.audit.admit(intent(number, "web")).await.expect("written");
            journal.audit.ended(said(number, TaskState::Succeeded, Settled::Seen)).await.expect("written");
        })
    });
    futures_util::future::join_all(writers).await.into_iter().for_each(|done| done.expect("no panic"));
    let told = verify(&folder.path().join(AUDIT), None).expect("intact, also while it is open");
    assert!(told.starts_with("1000 records are intact"), "{told}");
}

#[tokio::test]
async fn a_record_that_was_changed_moved_or_taken_out_is_found() {
    let cases = [
        ("UPDATE entries SET body = replace(body, 'web-3', 'web-9') WHERE seq = 3", "record 3 was changed"),
        ("DELETE FROM entries WHERE seq = 4", "record 4 is missing"),
        ("DELETE FROM entries WHERE seq > 3", "the records after 3 are missing"),
        ("UPDATE entries SET hash = zeroblob(32) WHERE seq = 2", "record 2 was changed"),
        ("UPDATE entries SET seq = 99 WHERE seq = 5", "record 5 is missing"),
    ];
    for (sql, expected) in cases {
        let folder = TempDir::new().expect("a folder");
        let journal = open(&folder);
        for number in 1..=5 {
            journal.audit.admit(intent(number, &format!("web-{number}"))).await.expect("written");
        }
        drop(journal);
        let file = folder.path().join(AUDIT);
        let told = verify(&file, None).expect("intact");
        let noted = told.rsplit(' ').next().expect("a hash").to_owned();
        assert!(verify(&file, Some(&noted)).is_ok() && verify(&file, Some("00")).is_err());
        tamper(&folder, sql);
        let wrong = verify(&file, None).expect_err("it shows");
        assert!(wrong.contains(expected), "{wrong}");
        let Err(Trouble::Other(why)) = Journal::open(folder.path()) else { panic!("{sql}: it must not start") };
        assert!(why.contains(expected) && why.contains("restore a backup"), "{why}");
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_or_foreign_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    journal.audit.admit(intent(1, "web")).await.expect("written");
    drop(journal);
    let file = folder.path().join(AUDIT);
    tamper(&folder, "PRAGMA wal_checkpoint(TRUNCATE)");
    let good = std::fs::read(&file).expect("readable");
    let mut torn = good.clone();
    torn[4096..4196].fill(0xff);
    let foreign = {
        let other = TempDir::new().expect("a folder");
        let path = other.path().join("other.db");
        Connection::open(&path).expect("opens").execute_batch("CREATE TABLE t(x)").expect("made");
        std::fs::read(&path).expect("readable")
    };
    for bytes in [b"this is a letter, not a database. ".repeat(40), torn, foreign] {
        std::fs::write(&file, &bytes).expect("written");
        let Err(Trouble::Other(why)) = Journal::open(folder.path()) else { panic!("it must not start") };
        assert!(
            why.contains("audit.db") && why.contains("nothing was changed") && why.contains("restore a backup"),
            "{why}"
        );
        assert_eq!(std::fs::read(&file).expect("readable"), bytes, "it was not touched");
    }
    std::fs::write(&file, good).expect("written");
    open(&folder);
}

#[tokio::test]
async fn a_full_disk_refuses_at_every_write_and_goes_on_when_there_is_room() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    journal.audit.admit(intent(0, "web")).await.expect("there is room");
    journal.audit.meddle("PRAGMA max_page_count = 1").await.expect("meddling works");
    let mut refused = 0;
    let long = "x".repeat(3_000);
    for number in 1..=20 {
        match journal.audit.admit(intent(number, &long)).await {
            Err(fault) => {
                assert_eq!((fault.kind, fault.kind.status()), (FaultKind::InsufficientStorage, 507));
                assert!(
                    fault.sentence().contains("is full") && fault.sentence().contains("Free some space"),
                    "{fault:?}"
                );
                assert!(journal.trouble().borrow().is_some());
                refused += 1;
            }
            Ok(_) => assert_eq!(refused, 0, "once full it stays full"),
        }
        // Reading still works, and shows no part of refused writes.
        let all = journal.audit.records(Query { limit: 100, ..Query::default() }).await.expect("readable");
        assert_eq!(all.items.len() as u128, 1 + number - refused);
    }
    assert!(refused > 10, "{refused}");
    journal.audit.meddle("PRAGMA max_page_count = 1000000").await.expect("meddling works");
    assert!(matches!(journal.audit.admit(intent(20, &long)).await, Ok(Admitted::New(_))), "the same id may come again");
    assert!(journal.trouble().borrow().is_none());
    verify(&folder.path().join(AUDIT), None).expect("intact");
}

#[tokio::test]
async fn what_nobody_saw_the_end_of_is_found_by_the_next_process() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    for number in 1..=4 {
        journal.audit.admit(intent(number, "web")).await.expect("written");
    }
    let refused = Intent { refused: Some(Fault::denied("no")), ..intent(5, "web") };
    journal.audit.admit(refused).await.expect("written");
    journal.audit.ended(said(1, TaskState::Succeeded, Settled::Seen)).await.expect("written");
    journal.audit.ended(said(2, TaskState::Unknown, Settled::Open)).await.expect("written");
    journal.audit.ended(said(3, TaskState::Unknown, Settled::Open)).await.expect("written");
    journal.audit.ended(said(3, TaskState::Failed, Settled::Later)).await.expect("written");
    let mut open: Vec<_> =
        journal.audit.open_ends().await.expect("readable").iter().map(|s| s.intent.request_id.0.as_u128()).collect();
    open.sort();
    assert_eq!(open, [2, 4]);
}

#[tokio::test]
async fn records_are_found_by_text_target_outcome_and_time_and_come_in_pages() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    for number in 1..=9 {
        journal.audit.admit(intent(number, &format!("Web-{number}"))).await.expect("written");
    }
    journal
        .audit
        .admit(Intent { target: None, refused: Some(Fault::denied("no")), ..intent(10, "db") })
        .await
        .expect("written");
    journal.audit.ended(said(3, TaskState::Failed, Settled::Seen)).await.expect("written");
    journal.audit.note(9_000, NoteKind::ServerStarted, "1".into()).await.expect("written");
    let names = async |query: Query| {
        let records = journal.audit.records(Query { limit: query.limit.max(3), ..query }).await.expect("readable");
        (records.items.into_iter().map(|record| record.target_name).collect::<Vec<_>>(), records.next)
    };
    let base = Query { limit: 20, ..Query::default() };
    assert_eq!(names(Query { text: "web-4".into(), ..base.clone() }).await.0, ["Web-4"]);
    assert_eq!(names(Query { outcome: Some("failed".into()), ..base.clone() }).await.0, ["Web-3"]);
    assert_eq!(names(Query { outcome: Some("refused".into()), ..base.clone() }).await.0, ["db"]);
    assert_eq!(names(Query { from: Some(1_008), to: Some(1_009), ..base.clone() }).await.0, ["Web-9", "Web-8"]);
    assert_eq!(names(Query { target: Some(Uuid::from_u128(7)), ..base.clone() }).await.0.len(), 9);
    assert_eq!(names(Query { tasks: true, ..base.clone() }).await.0.len(), 9);
    assert_eq!(names(Query { kind: Some(NoteKind::ServerStarted.key().into()), ..base.clone() }).await.0, ["1"]);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = names(Query { after, limit: 4, ..Query::default() }).await;
        all.extend(page);
        after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!((all.len(), all[0].as_str(), all[10].as_str()), (11, "1", "Web-1"));
}

#[tokio::test]
async fn a_record_that_another_version_wrote_is_shown_and_hides_no_others() {
    let folder = TempDir::new().expect("made");
    let journal = open(&folder);
    for n in 1..=3 {
        assert!(matches!(journal.audit.admit(intent(n, "web")).await, Ok(Admitted::New(_))));
    }
    tamper(&folder, "UPDATE entries SET body = json_set(body, '$.command.kind', 'fly') WHERE seq = 2");
    let all = journal.audit.records(Query { limit: 10, ..Query::default() }).await.expect("read").items;
    let kinds: Vec<&str> = all.iter().map(|record| record.kind.as_str()).collect();
    assert_eq!(kinds, ["start", "unreadable", "start"]);
    assert!(all[1].target_name.contains("\"fly\"") && all[1].timestamp == 1_002, "{:?}", all[1]);
}

#[tokio::test]
async fn forgetting_old_records_leaves_a_chain_that_says_so() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    for number in 1..=10 {
        journal.audit.admit(intent(number, "web")).await.expect("written");
    }
    assert_eq!(journal.audit.forget(1_006, 2_000).await, Ok(5));
    assert_eq!(journal.audit.forget(1_006, 2_000).await, Ok(0));
    let told = verify(&folder.path().join(AUDIT), None).expect("intact");
    assert!(told.starts_with("6 records"), "{told}");
    let newest = journal.audit.records(Query { limit: 1, ..Query::default() }).await.expect("readable");
    assert_eq!(newest.items[0].kind, NoteKind::RecordsForgotten.key());
    drop(journal);
    open(&folder);
}

#[tokio::test]
async fn an_export_can_be_checked_by_anybody() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    for number in 1..=1_200 {
        journal.audit.admit(intent(number, "<b>\n")).await.expect("written");
    }
    let (mut lines, mut after) = (String::new(), 0);
    while let Some((piece, last)) = journal.audit.export(after).await.expect("readable") {
        (lines, after) = (lines + &piece, last);
    }
    let mut hash: [u8; 32] = [0; 32];
    assert_eq!(lines.lines().count(), 1_200);
    for line in lines.lines() {
        let (head, record) = line.split_once(",\"record\":").expect("a record");
        let seq: u64 = head["{\"seq\":".len()..].split(',').next().expect("a number").parse().expect("a number");
        let record = record.strip_suffix('}').expect("an object");
        let next = Sha256::new().chain_update(hash).chain_update(seq.to_be_bytes()).chain_update(record).finalize();
        assert!(head.contains(&format!("{next:x}")), "{line}");
        hash = next.into();
    }
}

#[tokio::test]
async fn past_events_are_read_by_time_machine_and_kind() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    let row = |at: u64, kind: &str, subject: u128| EventRow {
        n: 0,
        at,
        cursor: format!("0000000000000001-{at}"),
        kind: kind.into(),
        host: Some("atlas".parse().expect("a name")),
        subject: Some(Uuid::from_u128(subject)),
        data: "{}".into(),
    };
    let rows =
        (1..=10).map(|at| row(at, if at % 2 == 0 { "vm-updated" } else { "vm-state-changed" }, u128::from(at % 3)));
    journal.events.append(rows.collect()).await.expect("written");
    let times = async |span: Span| {
        let page = journal.events.read(span).await.expect("readable");
        (page.items.iter().map(|row| row.at).collect::<Vec<_>>(), page.next)
    };
    let base = Span { limit: 100, ..Span::default() };
    assert_eq!(times(Span { from: Some(3), to: Some(5), ..base.clone() }).await.0, [3, 4, 5]);
    assert_eq!(times(Span { subject: Some(Uuid::from_u128(0)), ..base.clone() }).await.0, [3, 6, 9]);
    assert_eq!(
        times(Span { kinds: vec!["vm-updated".into()], backwards: true, ..base.clone() }).await.0,
        [10, 8, 6, 4, 2]
    );
    let (first, next) = times(Span { limit: 6, ..Span::default() }).await;
    assert_eq!((first.len(), times(Span { after: next, ..base.clone() }).await.0), (6, vec![7, 8, 9, 10]));
    journal.events.forget(8).await.expect("written");
    assert_eq!(times(base).await.0, [8, 9, 10]);
}

#[tokio::test]
async fn the_state_that_a_machine_came_to_last_is_remembered_with_its_time() {
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    let host: HostId = "atlas".parse().expect("a name");
    let change = |at: u64, id: u128, new_state: DomainState| {
        let event = Event::VmStateChanged(model::event::VmStateChanged {
            host_id: host.clone(),
            vm_id: Uuid::from_u128(id),
            vm_name: "web".into(),
            old_state: DomainState::Stopped,
            new_state,
            vm: Arc::default(),
            version: 1,
            timestamp: at,
            cause: None,
            resync: false,
        });
        EventRow {
            n: 0,
            at,
            cursor: format!("0000000000000001-{at}"),
            kind: event.kind().into(),
            host: Some(host.clone()),
            subject: Some(Uuid::from_u128(id)),
            data: event.data(),
        }
    };
    let rows = [(1, 7, DomainState::Running), (2, 8, DomainState::Paused), (3, 7, DomainState::Stopped)];
    journal.events.append(rows.map(|(at, id, state)| change(at, id, state)).to_vec()).await.expect("written");
    let ids = [7, 8, 9].map(Uuid::from_u128).to_vec();
    let states = journal.events.last_states(host.clone(), ids.clone()).await.expect("read");
    let of = |id: u128| states.get(&Uuid::from_u128(id)).copied();
    assert_eq!((of(7), of(8)), (Some((DomainState::Stopped, 3)), Some((DomainState::Paused, 2))));
    assert_eq!(of(9), None);
    let elsewhere = journal.events.last_states("other".parse().expect("a name"), ids).await.expect("read");
    assert!(elsewhere.is_empty());
}

#[tokio::test]
async fn nobody_else_reads_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a folder");
    let journal = open(&folder);
    journal.audit.admit(intent(1, "web")).await.expect("written");
    for file in std::fs::read_dir(folder.path()).expect("readable").filter_map(Result::ok) {
        let mode = file.metadata().expect("readable").permissions().mode() & 0o777;
        let name = file.file_name().to_string_lossy().into_owned();
        assert!(mode == 0o600 || name == "lock", "{name}: {mode:o}");
    }
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder() {
    let folder = TempDir::new().expect("a folder");
    let first = open(&folder);
    assert!(matches!(Journal::open(folder.path()), Err(Trouble::InUse(_))));
    drop(first);
    open(&folder);
}

#[tokio::test]
async fn which_images_are_raw_is_known_to_the_next_process() {
    let folder = TempDir::new().expect("a folder");
    let (atlas, other) = ("atlas".parse().expect("a name"), "other".parse().expect("a name"));
    let journal = open(&folder);
    journal.audit.note_raw_images(&atlas, vec!["/srv/a".into(), "images/b".into()], true);
    journal.audit.note_raw_images(&atlas, vec!["/srv/a".into()], false);
    assert_eq!(journal.audit.raw_images(&atlas), ["images/b"]);
    // Earlier posts are on disk with this write.
    journal.audit.admit(intent(1, "web")).await.expect("written");
    drop(journal);
    let journal = open(&folder);
    assert_eq!(journal.audit.raw_images(&atlas), ["images/b"]);
    assert!(journal.audit.raw_images(&other).is_empty());
}
