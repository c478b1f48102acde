//! All requests, so that none has a second effect, and their progress.
//!
//! ```text
//!            check fails            the server stops in between
//!  request ─┬────────▶ refused     ┌────────────▶ Unknown ─┐ evidence of the
//!           │ intent on disk       │                       ▼ machine
//!           └─▶ Accepted ─▶ Running ─▶ outcome on disk ─▶ Succeeded, Failed, Unknown
//! ```
//!
//! The journal decides whether a request is new; requests in memory are those that a client may
//! wait for. It does not depend on libvirt.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Mutex, MutexGuard};

use model::{
    AuditRecord, Command, Event, Fault, FaultKind, ObjectRef, Receipt, RequestId, Task, TaskState,
    event::AuditAppended,
    task::{LogLine, Outcome, Progress},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::{
    failpoint,
    feed::Feed,
    journal::{Admitted, Intent, Journal, Said, Settled, Stored},
    limits,
};

/// Maximum requests in memory; the oldest ended ones are dropped first, and stay in the journal.
const MAX_KEPT: usize = 2_000;
/// Maximum memory of ended requests in bytes.
const MAX_KEPT_BYTES: usize = 16 << 20;
/// Maximum memory of all requests; beyond it none is accepted until some have ended.
const MAX_BYTES: usize = 64 << 20;
/// Maximum requests in progress.
const MAX_RUNNING: usize = 2_000;
/// Maximum requests in progress of one account once half of all slots are in use, so that one
/// account leaves slots to others.
const MAX_SHARE: usize = MAX_RUNNING / 4;
/// Pause before an outcome that could not be written is retried.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

/// One request.
#[derive(Debug)]
pub(crate) struct Record {
    /// The intent.
    pub(crate) intent: Intent,
    /// Its current task.
    pub(crate) task: watch::Sender<Arc<Task>>,
    /// Notified to cancel it.
    pub(crate) cancel: Notify,
    /// Whether it was accepted; none while it is being written.
    taken: watch::Sender<Option<Result<(), Fault>>>,
    /// Approximate memory in bytes.
    size: usize,
}

impl Record {
    fn new(intent: Intent) -> Self {
        let task = watch::Sender::new(Arc::new(task_of(&intent)));
        let size = intent.size();
        Self { intent, task, cancel: Notify::new(), taken: watch::Sender::new(None), size }
    }

    /// Its target; none for a batch.
    pub(crate) fn target(&self) -> Option<ObjectRef> {
        let Intent { host, target, kind, .. } = &self.intent;
        Some(ObjectRef::new(Command::object_of(kind), host, (*target)?))
    }

    /// Whether it has neither ended nor been refused.
    fn is_open(&self) -> bool {
        self.task.borrow().outcome.is_none() && self.refusal().is_none()
    }

    /// Whether it was accepted and has not ended.
    fn is_under_way(&self) -> bool {
        self.task.borrow().outcome.is_none() && matches!(*self.taken.borrow(), Some(Ok(())))
    }

    /// Why it was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        self.taken.borrow().clone().and_then(Result::err)
    }
}

#[derive(Default)]
struct Table {
    records: HashMap<RequestId, Arc<Record>>,
    order: VecDeque<RequestId>,
    /// The memory of all records in bytes.
    bytes: usize,
    running: usize,
    stopping: bool,
}

/// The result of admitting a request.
pub(crate) enum Admission {
    /// It is new and stored: run it, then `end` it.
    New(Arc<Record>),
    /// It was accepted before: the same receipt, no second effect.
    Again(Receipt),
}

/// All requests.
pub(crate) struct Tasks {
    journal: Arc<Journal>,
    feed: Arc<Feed>,
    table: Mutex<Table>,
    /// The number of requests in progress.
    running: watch::Sender<usize>,
}

impl Tasks {
    pub(crate) fn new(journal: Arc<Journal>, feed: Arc<Feed>) -> Self {
        Self { journal, feed, table: Mutex::default(), running: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// Admits a request once, however often and however concurrently it arrives.
    ///
    /// # Errors
    /// The intent's own refusal; `Conflict` if its id was used for another command;
    /// `InsufficientStorage` if it cannot be written; `Busy` if too many are running.
    pub(crate) async fn admit(self: &Arc<Self>, intent: Intent) -> Result<Admission, Fault> {
        let id = intent.request_id;
        let intent = if intent.refused.is_some() { intent.shortened() } else { intent };
        let mine = {
            let mut table = self.lock();
            match table.records.get(&id) {
                Some(known) => Err(known.clone()),
                None if table.stopping => return Err(stopping()),
                None if table.running >= MAX_RUNNING || table.bytes >= MAX_BYTES => return Err(busy()),
                None if table.has_its_share(&intent) => return Err(share_taken()),
                None => Ok(table.keep(Record::new(intent.clone()))),
            }
        };
        match mine {
            Err(known) => again(&known, &intent).await,
            Ok(record) => {
                // If the caller is cancelled, the write continues.
                let tasks = self.clone();
                let taking = tokio::spawn(async move { tasks.take(record).await });
                taking.await.unwrap_or_else(|_| Err(Fault::new(FaultKind::Internal, "Internal error")))
            }
        }
    }

    /// Stores a new request, or finds it on disk.
    async fn take(&self, record: Arc<Record>) -> Result<Admission, Fault> {
        let intent = &record.intent;
        let refusal = intent.refused.clone();
        failpoint::reach("before-intent");
        // A refused request for a missing object is not stored, except in a batch.
        let known_only =
            intent.parent.is_none() && refusal.as_ref().is_some_and(|fault| fault.kind == FaultKind::NotFound);
        let written = if known_only {
            let stored = self.journal.audit.stored(intent.request_id).await;
            stored.map(|stored| stored.map(|stored| Admitted::Known(Box::new(stored))))
        } else {
            self.journal.audit.admit(intent.clone()).await.map(Some)
        };
        failpoint::reach("after-intent");
        match (written, refusal) {
            (Ok(Some(Admitted::Known(stored))), _) => {
                self.lock().forget(intent.request_id);
                let known = self.lock().keep(known(*stored));
                record.taken.send_replace(known.taken.borrow().clone());
                again(&known, intent).await
            }
            (Ok(Some(Admitted::New(written))), None) => {
                let running = {
                    let mut table = self.lock();
                    table.running += 1;
                    table.running
                };
                self.running.send_replace(running);
                record.taken.send_replace(Some(Ok(())));
                self.feed.publish(vec![Event::TaskCreated(record.task.borrow().clone()), appended(*written)]);
                Ok(Admission::New(record))
            }
            (written, refusal) => {
                if let Ok(Some(Admitted::New(written))) = &written {
                    self.feed.publish(vec![appended(AuditRecord::clone(written))]);
                } else {
                    // Nothing was written, so the id may be used again.
                    self.lock().forget(intent.request_id);
                }
                let fault = refusal.or(written.err()).unwrap_or_else(stopping);
                record.taken.send_replace(Some(Err(fault.clone())));
                Err(fault)
            }
        }
    }

    /// Resumes a request of an earlier process without an observed end.
    pub(crate) fn resume(&self, stored: Stored) -> Arc<Record> {
        let record = Record::new(*stored.intent);
        record.taken.send_replace(Some(Ok(())));
        let mut task = task_of(&record.intent);
        (task.state, task.timestamp) = (TaskState::Unknown, now());
        task.note(now(), "Belvedere was restarted; the result is unknown");
        let task = Arc::new(task);
        record.task.send_replace(task.clone());
        let mut table = self.lock();
        table.running += 1;
        let (record, running) = (table.keep(record), table.running);
        drop(table);
        self.running.send_replace(running);
        self.feed.publish(vec![Event::TaskCreated(without_log(&task))]);
        record
    }

    /// Updates the progress of a request.
    pub(crate) fn progress(&self, record: &Record, change: impl FnOnce(&mut Task)) {
        let mut changed = false;
        record.task.send_if_modified(|task| {
            let mut next = Task::clone(task);
            change(&mut next);
            changed = next != **task && next.outcome.is_none();
            if changed {
                next.timestamp = now();
                next.duration_ms = next.timestamp.saturating_sub(next.created_at);
                *task = Arc::new(next);
            }
            changed
        });
        if changed {
            self.feed.publish(vec![Event::TaskProgress(without_log(&record.task.borrow()))]);
        }
    }

    /// Ends a request: first on disk, then as an event.
    pub(crate) async fn end(&self, record: &Record, outcome: TaskState, fault: Option<Fault>, settled: Settled) {
        let mut task = Task::clone(&record.task.borrow());
        task.end(outcome, fault, now());
        let log: Vec<LogLine> = task.log.clone();
        let said =
            Said { at: task.timestamp, request_id: task.task_id, outcome, fault: task.fault.clone(), settled, log };
        failpoint::reach("before-outcome");
        let written = loop {
            match self.journal.audit.ended(said.clone()).await {
                Ok(written) => break written,
                // With a closed journal the next process reports it.
                Err(fault) if fault.kind == FaultKind::Interrupted => return,
                Err(_) => sleep(WRITE_AGAIN).await,
            }
        };
        failpoint::reach("after-outcome");
        let task = Arc::new(task);
        let mut events = vec![Event::TaskCompleted(without_log(&task))];
        events.extend(written.map(appended));
        self.feed.publish(events);
        record.task.send_replace(task);
        let running = {
            let mut table = self.lock();
            table.running -= 1;
            table.running
        };
        self.running.send_replace(running);
    }

    /// Publishes a refused part of a batch, so that each part has a result.
    pub(crate) fn refuse_part(&self, intent: &Intent, fault: Fault) {
        let mut task = task_of(intent);
        task.end(TaskState::Failed, Some(fault), now());
        self.feed.publish(vec![Event::TaskCompleted(Arc::new(task))]);
    }

    /// The request with an id, if in memory.
    pub(crate) fn get(&self, id: RequestId) -> Option<Arc<Record>> {
        self.lock().records.get(&id).cloned()
    }

    /// The unfinished requests of a kind for a machine, pool or network.
    pub(crate) fn under_way(&self, target: &ObjectRef, kind: &str) -> Vec<Arc<Record>> {
        let mut all = self.open();
        all.retain(|record| record.intent.kind == kind && record.target().as_ref() == Some(target));
        all
    }

    /// The unfinished requests.
    pub(crate) fn open(&self) -> Vec<Arc<Record>> {
        self.lock().records.values().filter(|record| record.is_under_way()).cloned().collect()
    }

    /// The current task of a request, from memory or disk.
    ///
    /// # Errors
    /// `NotFound` if there is no such request.
    pub(crate) async fn find(&self, id: RequestId) -> Result<Arc<Task>, Fault> {
        if let Some(record) = self.get(id) {
            return Ok(record.task.borrow().clone());
        }
        let stored = self.journal.audit.stored(id).await?;
        let stored = stored.filter(|stored| stored.intent.refused.is_none());
        let stored = stored.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("Task {id} does not exist")))?;
        Ok(known(stored).task.borrow().clone())
    }

    /// Waits until a request has ended, at most `limit`.
    pub(crate) async fn wait(&self, id: RequestId, limit: Duration) {
        if let Some(record) = self.get(id).filter(|record| record.refusal().is_none()) {
            let mut task = record.task.subscribe();
            // The result is read by the caller.
            timeout(limit, task.wait_for(|task| task.outcome.is_some())).await.ok();
        }
    }

    /// Accepts no more requests, waits for running ones, and stores those that do not end in time,
    /// for the next process to settle. Requests in `goes_on` are not waited for.
    pub(crate) async fn drain(&self, limit: Duration, goes_on: impl Fn(&Record) -> bool) {
        self.lock().stopping = true;
        let mut running = self.running.subscribe();
        let ended = |_: &usize| {
            let table = self.lock();
            !table.records.values().any(|record| record.is_under_way() && !goes_on(record))
        };
        // Requests that did not end are stored below.
        timeout(limit, running.wait_for(ended)).await.ok();
        let left: Vec<Arc<Record>> = {
            let table = self.lock();
            table.records.values().filter(|record| record.is_under_way()).cloned().collect()
        };
        for record in left {
            tracing::warn!(request.id = %record.intent.request_id, kind = record.intent.kind, "stopped before the result is known");
            let reason = format!("Belvedere stopped before the result for {} was known", record.intent.name);
            let said = Said {
                at: now(),
                request_id: record.intent.request_id,
                outcome: TaskState::Unknown,
                fault: Some(Fault::new(FaultKind::Interrupted, reason)),
                settled: Settled::Open,
                log: Vec::new(),
            };
            if let Err(fault) = self.journal.audit.ended(said).await {
                tracing::error!(reason = fault.reason, "cannot write a record");
            }
        }
    }
}

/// The answer to a known request.
async fn again(known: &Record, intent: &Intent) -> Result<Admission, Fault> {
    let id = intent.request_id;
    if known.intent.origin.who != intent.origin.who {
        let fault = Fault::new(FaultKind::Conflict, format!("The request id {id} was used by another account"));
        return Err(fault.with_next("Send every command with a new id"));
    }
    if !known.intent.same_wish(intent) {
        let fault = Fault::new(FaultKind::Conflict, format!("The request id {id} was used for another command"));
        return Err(fault.with_next("Send every command with a new id"));
    }
    let mut taken = known.taken.subscribe();
    let taken = taken.wait_for(Option::is_some).await.map(|taken| taken.clone());
    match taken {
        Ok(Some(Err(fault))) => Err(fault),
        Ok(_) => Ok(Admission::Again(Receipt::of(id))),
        Err(_) => Err(stopping()),
    }
}

/// A request that was only in the journal.
fn known(stored: Stored) -> Record {
    let Stored { intent, said } = stored;
    let taken = intent.refused.clone().map_or(Ok(()), Err);
    let record = Record::new(*intent);
    record.taken.send_replace(Some(taken));
    if let Some(said) = said {
        record.task.send_modify(|task| {
            let task = Arc::make_mut(task);
            task.end(said.outcome, said.fault, said.at);
            task.log = said.log;
        });
    }
    record
}

/// The task of a new request.
fn task_of(intent: &Intent) -> Task {
    Task {
        task_id: intent.request_id,
        parent: intent.parent,
        host_id: intent.host.clone(),
        kind: intent.kind.clone(),
        target: intent.target,
        target_name: intent.name.clone(),
        state: TaskState::Accepted,
        outcome: None,
        fault: None,
        progress: None,
        cancellable: false,
        who: intent.origin.who.clone(),
        source: intent.origin.source,
        created_at: intent.at,
        duration_ms: 0,
        timestamp: intent.at,
        log: Vec::new(),
    }
}

/// A record of the journal as a task, without log.
pub(crate) fn task_of_record(record: AuditRecord) -> Option<Task> {
    let state = match record.outcome {
        Outcome::Succeeded => TaskState::Succeeded,
        Outcome::Failed => TaskState::Failed,
        Outcome::Unknown => TaskState::Unknown,
        Outcome::Accepted | Outcome::Running | Outcome::Refused => TaskState::Accepted,
    };
    let outcome = record.ended_at.map(|_| state);
    Some(Task {
        task_id: record.request_id?,
        parent: record.parent,
        host_id: record.host_id?,
        kind: record.kind,
        target: record.target,
        target_name: record.target_name,
        state,
        outcome,
        fault: record.fault,
        progress: None::<Progress>,
        cancellable: false,
        who: record.origin.who,
        source: record.origin.source,
        created_at: record.timestamp,
        duration_ms: record.ended_at.map_or(0, |ended| ended.saturating_sub(record.timestamp)),
        timestamp: record.ended_at.unwrap_or(record.timestamp),
        log: Vec::new(),
    })
}

/// The form for events; the log is read with the task.
fn without_log(task: &Arc<Task>) -> Arc<Task> {
    if task.log.is_empty() { task.clone() } else { Arc::new(Task { log: Vec::new(), ..Task::clone(task) }) }
}

/// The event of a stored record.
pub(crate) fn appended(record: AuditRecord) -> Event {
    Event::AuditAppended(AuditAppended {
        host_id: record.host_id.clone(),
        record: Some(Box::new(record)),
        timestamp: now(),
    })
}

fn busy() -> Fault {
    Fault::new(FaultKind::Busy, "Too many commands are running").with_next("Try again in a moment")
}

fn share_taken() -> Fault {
    Fault::new(FaultKind::TooMany, "Too many of your commands are running")
        .with_next("Try again after some have finished")
}

fn stopping() -> Fault {
    Fault::new(FaultKind::Busy, "Belvedere is stopping").with_next("Try again once it runs")
}

/// The wall clock in Unix milliseconds; for display, not for ordering.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or_default()
}

impl Table {
    /// Whether an account has used its share of slots.
    fn has_its_share(&self, intent: &Intent) -> bool {
        let who = limits::account(&intent.origin);
        let of_account = |record: &&Arc<Record>| record.is_open() && limits::account(&record.intent.origin) == who;
        self.running > MAX_RUNNING / 2 && self.records.values().filter(of_account).count() >= MAX_SHARE
    }

    /// Keeps a request, and drops the oldest ended ones beyond the limits.
    fn keep(&mut self, record: Record) -> Arc<Record> {
        let mut tries = self.order.len();
        while tries > 0 && (self.order.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES) {
            tries -= 1;
            let Some(oldest) = self.order.pop_front() else { break };
            if self.records.get(&oldest).is_some_and(|record| record.is_open()) {
                self.order.push_back(oldest);
            } else {
                self.remove(&oldest);
            }
        }
        let (id, record) = (record.intent.request_id, Arc::new(record));
        self.remove(&id);
        self.bytes += record.size;
        self.records.insert(id, record.clone());
        self.order.push_back(id);
        record
    }

    fn remove(&mut self, id: &RequestId) {
        if let Some(record) = self.records.remove(id) {
            self.bytes -= record.size;
        }
    }

    fn forget(&mut self, id: RequestId) {
        self.remove(&id);
        self.order.retain(|known| *known != id);
    }
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
