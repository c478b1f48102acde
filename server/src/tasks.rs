//! Which requests there are, so that none has a second effect, and how each is
//! going.
//!
//! ```text
//!            check fails            the server stops in between
//!  request ─┬────────▶ refused     ┌────────────▶ Unknown ─┐ evidence of the
//!           │ intent on disk       │                       ▼ machine
//!           └─▶ Accepted ─▶ Running ─▶ outcome on disk ─▶ Succeeded, Failed, Unknown
//! ```
//!
//! The journal judges whether a request is new; what is kept here is the part of
//! it that somebody may wait for. It knows nothing of libvirt.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{
    AuditRecord, DomainRef, Event, Fault, FaultKind, Receipt, RequestId, Task, TaskState,
    event::AuditAppended,
    task::{LogLine, Progress},
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

/// Requests that are kept at most; the oldest ended ones go first, the journal
/// still knows them.
const MAX_KEPT: usize = 2_000;
/// What ended requests may take of the memory, in bytes.
const MAX_KEPT_BYTES: usize = 16 << 20;
/// What all requests may take of it; beyond, none is taken until some have ended.
const MAX_BYTES: usize = 64 << 20;
/// Requests that may be under way at the same time.
const MAX_RUNNING: usize = 2_000;
/// Requests of one account that may be under way once half of all places are taken, so that one
/// account leaves others theirs.
const MAX_SHARE: usize = MAX_RUNNING / 4;
/// Pause before an outcome that could not be written is tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

/// One request.
#[derive(Debug)]
pub(crate) struct Record {
    /// What was asked.
    pub(crate) intent: Intent,
    /// How it is going.
    pub(crate) task: watch::Sender<Arc<Task>>,
    /// Somebody wants it to end.
    pub(crate) cancel: Notify,
    /// Whether it was taken: none while that is being written.
    taken: watch::Sender<Option<Result<(), Fault>>>,
    /// About what it takes of the memory, in bytes.
    size: usize,
}

impl Record {
    fn new(intent: Intent) -> Self {
        let task = watch::Sender::new(Arc::new(task_of(&intent)));
        let size = intent.size();
        Self { intent, task, cancel: Notify::new(), taken: watch::Sender::new(None), size }
    }

    /// What it is about; none of a batch.
    pub(crate) fn target(&self) -> Option<DomainRef> {
        Some(DomainRef { host: self.intent.host.clone(), id: self.intent.target? })
    }

    /// Whether it has neither ended nor been refused.
    fn is_open(&self) -> bool {
        self.task.borrow().outcome.is_none() && self.refusal().is_none()
    }

    /// Whether it was taken and has not ended.
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
    /// What all records take, in bytes.
    bytes: usize,
    running: usize,
    stopping: bool,
}

/// What to do with a request.
pub(crate) enum Admission {
    /// It is new and on disk: carry it out, then `end` it.
    New(Arc<Record>),
    /// It was accepted before: the same receipt, no second effect.
    Again(Receipt),
}

/// All requests.
pub(crate) struct Tasks {
    journal: Arc<Journal>,
    feed: Arc<Feed>,
    table: Mutex<Table>,
    /// How many are under way.
    running: watch::Sender<usize>,
}

impl Tasks {
    pub(crate) fn new(journal: Arc<Journal>, feed: Arc<Feed>) -> Self {
        Self { journal, feed, table: Mutex::default(), running: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request once, however often and however close together it comes.
    ///
    /// # Errors
    /// The intent's own refusal; `Conflict` when its id was used for another wish;
    /// `InsufficientStorage` when it cannot be written; `Busy` when too many run.
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
                // Whoever asked may go away meanwhile; the writing goes on.
                let tasks = self.clone();
                let taking = tokio::spawn(async move { tasks.take(record).await });
                taking.await.unwrap_or_else(|_| Err(Fault::new(FaultKind::Internal, "Belvedere made a mistake")))
            }
        }
    }

    /// Puts a new request on disk, or learns that the disk knows it.
    async fn take(&self, record: Arc<Record>) -> Result<Admission, Fault> {
        let intent = &record.intent;
        let refusal = intent.refused.clone();
        failpoint::reach("before-intent");
        // What is about nothing that exists leaves no trace, but in a batch.
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
                    // Nothing was written, so the same id may come again.
                    self.lock().forget(intent.request_id);
                }
                let fault = refusal.or(written.err()).unwrap_or_else(stopping);
                record.taken.send_replace(Some(Err(fault.clone())));
                Err(fault)
            }
        }
    }

    /// Takes up a request of a former process whose end nobody saw.
    pub(crate) fn resume(&self, stored: Stored) -> Arc<Record> {
        let record = Record::new(*stored.intent);
        record.taken.send_replace(Some(Ok(())));
        let mut task = task_of(&record.intent);
        (task.state, task.timestamp) = (TaskState::Unknown, now());
        task.note(now(), "Belvedere was started again and does not know how this ended");
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

    /// Tells that a request got further.
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

    /// Says how a request ended, first on disk, then to everybody.
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
                // A journal that is gone with the process is told by the next one.
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

    /// Tells that a part of a batch was refused, so that each part has a result.
    pub(crate) fn refuse_part(&self, intent: &Intent, fault: Fault) {
        let mut task = task_of(intent);
        task.end(TaskState::Failed, Some(fault), now());
        self.feed.publish(vec![Event::TaskCompleted(Arc::new(task))]);
    }

    /// The request with that id, if it is kept here.
    pub(crate) fn get(&self, id: RequestId) -> Option<Arc<Record>> {
        self.lock().records.get(&id).cloned()
    }

    /// The requests of a kind about a machine, a pool or a network that have not ended.
    pub(crate) fn under_way(&self, target: &DomainRef, kind: &str) -> Vec<Arc<Record>> {
        let mut all = self.open();
        all.retain(|record| record.intent.kind == kind && record.target().as_ref() == Some(target));
        all
    }

    /// The requests that have not ended.
    pub(crate) fn open(&self) -> Vec<Arc<Record>> {
        self.lock().records.values().filter(|record| record.is_under_way()).cloned().collect()
    }

    /// How a request is going, wherever that is known.
    ///
    /// # Errors
    /// `NotFound` when there is no such request.
    pub(crate) async fn find(&self, id: RequestId) -> Result<Arc<Task>, Fault> {
        if let Some(record) = self.get(id) {
            return Ok(record.task.borrow().clone());
        }
        let stored = self.journal.audit.stored(id).await?;
        let stored = stored.filter(|stored| stored.intent.refused.is_none());
        let stored = stored.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("There is no task {id}")))?;
        Ok(known(stored).task.borrow().clone())
    }

    /// Waits until a request has ended, but not longer than `limit`.
    pub(crate) async fn wait(&self, id: RequestId, limit: Duration) {
        if let Some(record) = self.get(id).filter(|record| record.refusal().is_none()) {
            let mut task = record.task.subscribe();
            // Whether it ended in time is read where the result is shown.
            timeout(limit, task.wait_for(|task| task.outcome.is_some())).await.ok();
        }
    }

    /// Takes no more requests, waits for those under way, and writes down those
    /// that do not end in time, for the next process to settle. What `goes_on` there is not
    /// waited for.
    pub(crate) async fn drain(&self, limit: Duration, goes_on: impl Fn(&Record) -> bool) {
        self.lock().stopping = true;
        let mut running = self.running.subscribe();
        let ended = |_: &usize| {
            let table = self.lock();
            !table.records.values().any(|record| record.is_under_way() && !goes_on(record))
        };
        // What has not ended by then is written down below.
        timeout(limit, running.wait_for(ended)).await.ok();
        let left: Vec<Arc<Record>> = {
            let table = self.lock();
            table.records.values().filter(|record| record.is_under_way()).cloned().collect()
        };
        for record in left {
            tracing::warn!(request.id = %record.intent.request_id, kind = record.intent.kind, "stopped before its end is known");
            let reason = format!("Belvedere stopped before the end of this was known for {}", record.intent.name);
            let said = Said {
                at: now(),
                request_id: record.intent.request_id,
                outcome: TaskState::Unknown,
                fault: Some(Fault::new(FaultKind::Interrupted, reason)),
                settled: Settled::Open,
                log: Vec::new(),
            };
            if let Err(fault) = self.journal.audit.ended(said).await {
                tracing::error!(reason = fault.reason, "it could not be written down");
            }
        }
    }
}

/// Answers a request that is known already.
async fn again(known: &Record, intent: &Intent) -> Result<Admission, Fault> {
    let id = intent.request_id;
    if known.intent.origin.who != intent.origin.who {
        let fault = Fault::new(FaultKind::Conflict, format!("The request id {id} was used by somebody else"));
        return Err(fault.with_next("Send every command with a new id"));
    }
    if !known.intent.same_wish(intent) {
        let fault = Fault::new(FaultKind::Conflict, format!("The request id {id} was used for something else"));
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

/// A request that only the journal knew.
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

/// The task of a request that was just made.
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

/// A record of the journal as a task; it has no log.
pub(crate) fn task_of_record(record: AuditRecord) -> Option<Task> {
    let state = match record.outcome.as_str() {
        "succeeded" => TaskState::Succeeded,
        "failed" => TaskState::Failed,
        "unknown" => TaskState::Unknown,
        _ => TaskState::Accepted,
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

/// What travels in events; whoever wants the log reads the task.
fn without_log(task: &Arc<Task>) -> Arc<Task> {
    if task.log.is_empty() { task.clone() } else { Arc::new(Task { log: Vec::new(), ..Task::clone(task) }) }
}

/// What is told of a record that is on disk.
pub(crate) fn appended(record: AuditRecord) -> Event {
    Event::AuditAppended(AuditAppended {
        host_id: record.host_id.clone(),
        record: Some(Box::new(record)),
        timestamp: now(),
    })
}

fn busy() -> Fault {
    Fault::new(FaultKind::Busy, "Too many commands run at the moment").with_next("Try again in a moment")
}

fn share_taken() -> Fault {
    Fault::new(FaultKind::TooMany, "Too many of your commands run at the moment").with_next("Try again once some ended")
}

fn stopping() -> Fault {
    Fault::new(FaultKind::Busy, "Belvedere is stopping").with_next("Try again once it runs")
}

/// The wall clock in Unix milliseconds; a label, never an order.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or_default()
}

impl Table {
    /// Whether others need the place that a request would take.
    fn has_its_share(&self, intent: &Intent) -> bool {
        let who = limits::account(&intent.origin);
        let of_account = |record: &&Arc<Record>| record.is_open() && limits::account(&record.intent.origin) == who;
        self.running > MAX_RUNNING / 2 && self.records.values().filter(of_account).count() >= MAX_SHARE
    }

    /// Keeps a request, and forgets the oldest ended ones beyond the bounds.
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
