//! Background tasks: reporting the state of the journal, storing events, removing old ones, and
//! settling requests of an earlier process.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{Event, Fault, FaultKind, HostId, NoteKind, event};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

use super::Backend;
use crate::{
    feed::Past,
    journal::{EventRow, Journal, Query, Records, Stored, accounts},
    tasks::{appended, now},
};

/// Maximum delay of storing events, which are written in batches.
const LOG_AFTER: Duration = Duration::from_millis(200);
/// Events per batch.
const LOG_BATCH: usize = 256;
/// Pause after a failed write.
const LOG_AGAIN: Duration = Duration::from_secs(1);
/// Kinds that are stored elsewhere or soon outdated.
const NOT_LOGGED: [&str; 2] = ["task-progress", "audit-appended"];
/// Interval of checks for completed minutes.
const KEEP_USAGE_EVERY: Duration = Duration::from_secs(15);
/// Interval of checks for account changes by the command line.
const NOTES_EVERY: Duration = Duration::from_secs(2);
/// Interval of removing old events and records.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Retention of events, in milliseconds.
const KEEP_EVENTS: u64 = 7 * 24 * 3_600_000;
/// Retention of records, in milliseconds.
const KEEP_RECORDS: u64 = 400 * 24 * 3_600_000;
/// Time limit for writing the last events at stop.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Starts all background tasks.
pub(super) fn start(backend: &Arc<Backend>) -> JoinSet<()> {
    let mut beside = JoinSet::new();
    beside.spawn(tell_trouble(backend.clone()));
    beside.spawn(keep_events(backend.clone()));
    beside.spawn(keep_usage(backend.clone()));
    beside.spawn(forget(backend.clone()));
    beside.spawn(keep_notes(backend.clone()));
    beside.spawn(settle_open_ends(backend.clone()));
    beside
}

/// Reports when the journal cannot be written, and when it can again.
async fn tell_trouble(backend: Arc<Backend>) {
    let mut trouble = backend.journal.trouble();
    while trouble.changed().await.is_ok() {
        let now_wrong = trouble.borrow_and_update().clone();
        let error = event::Error::of_journal(now_wrong.as_ref(), now());
        backend.feed.publish(vec![Event::Error(error)]);
        while now_wrong.is_some() && trouble.borrow().is_some() {
            // A small record shows that the journal is writable again.
            let again = timeout(LOG_AGAIN, trouble.changed()).await;
            if again.is_err() && backend.check_journal().await.is_ok() {
                break;
            }
        }
    }
}

/// Stores events as a reader of the log: events that cannot be written wait in the log, and a gap
/// is stored as one.
async fn keep_events(backend: Arc<Backend>) {
    let (mut position, mut lost) = (0, Lost::default());
    loop {
        backend.feed.beyond(position).await;
        sleep(LOG_AFTER).await;
        // Accumulated events are written without pauses, in batches.
        loop {
            let before = position;
            position = write_from(&backend, &mut lost, position).await;
            if position - before < LOG_BATCH as u64 {
                break;
            }
        }
    }
}

/// The last stored connection error of each host. Attempts are stored only if their error differs.
#[derive(Clone, Default)]
struct Lost(HashMap<HostId, String>);

impl Lost {
    /// Whether an event is already stored, or soon outdated such as the space of a pool.
    fn is_known(&mut self, event: &Past) -> bool {
        if event.kind == "storage-pool-changed" {
            let told = Event::parse(event.kind, &event.data);
            return matches!(told, Ok(Some(Event::StoragePoolChanged(told)))
                if told.action == event::Action::Refreshed && told.cause.is_none());
        }
        let Some(host) = event.host.as_ref().filter(|_| event.kind == "connection-status-changed") else {
            return false;
        };
        let Ok(Some(Event::ConnectionStatusChanged(told))) = Event::parse(event.kind, &event.data) else {
            return false;
        };
        match told.error {
            Some(error) => self.0.insert(host.clone(), error.clone()) == Some(error),
            None => {
                self.0.remove(host);
                false
            }
        }
    }
}

/// Stores events after a position; returns the new position.
async fn write_from(backend: &Backend, lost: &mut Lost, position: u64) -> u64 {
    let Some(past) = backend.feed.past(position, LOG_BATCH) else {
        let cursor = backend.feed.cursor();
        let missed = cursor.seq - position;
        tracing::warn!(missed, "events are missing in the history: the disk was too slow");
        let message = format!(
            "{missed} events are missing in the history: they could not be written in time. Check the speed of the disk."
        );
        let error = event::Error::of_background(None, "keep the history", message, now());
        backend.feed.publish(vec![Event::Error(error)]);
        let gap = EventRow {
            n: 0,
            at: now(),
            cursor: cursor.to_string(),
            kind: "gap".into(),
            host: None,
            subject: None,
            data: format!("{{\"lost\":{missed},\"timestamp\":{}}}", now()),
        };
        backend.journal.events.append(vec![gap]).await.ok();
        // A reconnect may be among the missing events.
        *lost = Lost::default();
        return cursor.seq;
    };
    let next = position + past.len() as u64;
    let mut known = lost.clone();
    let kept = past.into_iter().filter(|event| !NOT_LOGGED.contains(&event.kind) && !known.is_known(event));
    let rows: Vec<EventRow> = kept.map(row).collect();
    if !rows.is_empty() && backend.journal.events.append(rows).await.is_err() {
        sleep(LOG_AGAIN).await;
        return position;
    }
    *lost = known;
    next
}

fn row(event: Past) -> EventRow {
    EventRow {
        n: 0,
        at: event.at,
        cursor: event.cursor.to_string(),
        kind: event.kind.into(),
        host: event.host,
        subject: event.subject,
        data: event.data,
    }
}

/// Records the stop; nothing is written afterwards.
pub(super) async fn last(backend: &Backend) {
    // The last events are being written and get the time they need.
    let write = async {
        write_usage(backend, true).await;
        move_notes(backend).await.ok();
        sleep(LOG_AFTER * 2).await;
        backend.journal.audit.note(now(), NoteKind::ServerStopped, env!("CARGO_PKG_VERSION").into()).await.ok();
    };
    timeout(LAST_WRITE, write).await.ok();
}

/// Stores usage, each minute once it is complete.
async fn keep_usage(backend: Arc<Backend>) {
    let mut ticks = interval(KEEP_USAGE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        write_usage(&backend, false).await;
    }
}

async fn write_usage(backend: &Backend, all: bool) {
    let minutes = backend.history.take_minutes(now(), all);
    if !minutes.is_empty() && backend.journal.usage.add(minutes.clone()).await.is_err() {
        backend.history.put_back(minutes);
    }
}

/// Records account changes: by this server immediately, by the command line soon.
async fn keep_notes(backend: Arc<Backend>) {
    loop {
        if move_notes(&backend).await.is_err() {
            sleep(LOG_AGAIN).await;
            continue;
        }
        timeout(NOTES_EVERY, backend.journal.accounts.changed.notified()).await.ok();
    }
}

impl Backend {
    /// The audit records of a query, including notes that are still waiting to be recorded, so that a
    /// client sees the records of its own earlier requests.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn records(&self, query: Query) -> Result<Records, Fault> {
        self.note_everything().await;
        self.journal.audit.records(query).await
    }

    /// Records all pending notes. If that fails, `keep_notes` retries later.
    pub(crate) async fn note_everything(&self) {
        if let Err(fault) = move_notes(self).await {
            tracing::debug!(reason = fault.reason, "cannot record the pending notes");
        }
    }
}

/// Moves pending notes from the accounts file to the records. Duplicates after a crash are detected
/// by their id.
async fn move_notes(backend: &Backend) -> Result<(), Fault> {
    let Journal { accounts, audit, .. } = &*backend.journal;
    loop {
        let notes = accounts.read(accounts::notes).await?;
        if notes.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = notes.iter().map(|(id, _)| id.clone()).collect();
        let records = audit.take_notes(notes).await?;
        backend.feed.publish(records.into_iter().map(appended).collect());
        accounts.write(move |connection| accounts::forget_notes(connection, &ids)).await?;
    }
}

/// Removes data after its retention.
async fn forget(backend: Arc<Backend>) {
    let mut ticks = interval(FORGET_EVERY);
    let mut records = Instant::now();
    loop {
        ticks.tick().await;
        backend.journal.events.forget(now().saturating_sub(KEEP_EVENTS)).await.ok();
        if records <= Instant::now() {
            backend.journal.audit.forget(now().saturating_sub(KEEP_RECORDS), now()).await.ok();
            backend.journal.usage.forget(now()).await.ok();
            records = Instant::now() + Duration::from_secs(24 * 3600);
        }
    }
}

/// Settles requests left open by an earlier process.
async fn settle_open_ends(backend: Arc<Backend>) {
    backend.journal.audit.note(now(), NoteKind::ServerStarted, env!("CARGO_PKG_VERSION").into()).await.ok();
    let open = match backend.journal.audit.open_ends().await {
        Ok(open) => open,
        Err(fault) => {
            tracing::error!(reason = fault.reason, "cannot read the commands that were running before the start");
            return;
        }
    };
    let (batches, single): (Vec<Stored>, Vec<Stored>) =
        open.into_iter().partition(|stored| stored.intent.target.is_none());
    let mut settling = JoinSet::new();
    for stored in single {
        let (record, backend) = (backend.tasks.resume(stored), backend.clone());
        settling.spawn(async move { backend.settle_and_end(&record).await });
    }
    let batches: Vec<_> = batches.into_iter().map(|stored| backend.tasks.resume(stored)).collect();
    settling.join_all().await;
    for batch in batches {
        backend.end_batch(&batch, Some(FaultKind::Interrupted)).await;
    }
}

#[cfg(test)]
mod tests {
    use model::{Cursor, HostInventory, inventory::connection_event};

    use super::*;

    fn told(connected: bool, error: Option<&str>) -> Past {
        let id: HostId = "atlas".parse().expect("a name");
        let mut host = HostInventory::unread(id.clone(), "qemu+ssh://atlas/system".into(), false, 1).host;
        (host.connection.connected, host.connection.error) = (connected, error.map(str::to_owned));
        let event = connection_event(&host, 1);
        let (kind, data) = (event.kind(), event.data());
        Past { cursor: Cursor { epoch: 1, seq: 1 }, kind, host: Some(id), subject: None, at: 1, data }
    }

    #[test]
    fn an_attempt_that_fails_as_the_one_before_is_not_written_again() {
        let mut lost = Lost::default();
        let away = || told(false, Some("No route to host."));
        assert!(!lost.is_known(&away()) && lost.is_known(&away()) && lost.is_known(&away()));
        assert!(!lost.is_known(&told(false, Some("Connection refused."))), "another cause is news");
        assert!(!lost.is_known(&away()));
        assert!(!lost.is_known(&told(true, None)) && !lost.is_known(&away()), "so is what comes after it was there");
    }
}
