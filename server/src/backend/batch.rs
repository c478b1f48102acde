//! One command for many machines: a task with a subtask per machine, each with its own result.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use model::{
    AuditRecord, BatchRequest, CommandRequest, Fault, FaultKind, Origin, Receipt, RequestId, TaskState,
    task::{Outcome, Progress},
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Backend, named, no_host,
    perform::{Slot, span},
};
use crate::{
    journal::{Intent, Query, Settled},
    tasks::{Admission, Record, now},
};

/// Maximum machines per batch.
const MAX_TARGETS: usize = 1_000;
/// Machines that call libvirt at the same time; the daemon serves five calls per connection. A
/// machine that only waits for its guest does not count.
const AT_ONCE: usize = 4;

impl Backend {
    /// Accepts a batch or refuses it with the reason. Its parts run, some at a time.
    ///
    /// # Errors
    /// If the host is unknown, there are no or too many machines, the id was used for another
    /// command, or it cannot be recorded. A machine for which it is not possible is a failed part,
    /// not an error.
    pub async fn accept_batch(self: &Arc<Self>, request: BatchRequest, origin: Origin) -> Result<Receipt, Fault> {
        let mut targets = request.targets;
        targets.sort();
        targets.dedup();
        if targets.is_empty() || targets.len() > MAX_TARGETS {
            return Err(Fault::invalid("targets", "must be 1 to 1,000 machines"));
        }
        let refused = self.hosts.get(&request.host).is_none().then(|| no_host(&request.host));
        let intent = Intent {
            at: now(),
            request_id: request.request_id,
            parent: None,
            kind: request.command.kind().to_owned(),
            host: request.host,
            target: None,
            name: if targets.len() == 1 { "1 machine".into() } else { format!("{} machines", targets.len()) },
            targets,
            command: request.command.into(),
            origin: Origin { session: named(request.session), tab: named(request.tab), ..origin },
            refused,
        };
        let id = intent.request_id;
        if let Admission::New(record) = self.tasks.admit(intent).await? {
            let backend = self.clone();
            let span = span(&record.intent);
            tokio::spawn(async move { backend.run_batch(&record).await }.instrument(span));
        }
        Ok(Receipt::of(id))
    }

    async fn run_batch(self: &Arc<Self>, batch: &Arc<Record>) {
        let intent = &batch.intent;
        let total = intent.targets.len();
        self.tasks.progress(batch, |task| (task.state, task.cancellable) = (TaskState::Running, true));
        let (cancelled, slots) = (AtomicBool::new(false), Arc::new(Semaphore::new(AT_ONCE)));
        let part = async |target| {
            let slot = slots.clone().acquire_owned().await.ok();
            if !cancelled.load(Ordering::Relaxed) {
                self.run_part(batch, target, slot).await;
            }
        };
        let mut parts: FuturesUnordered<_> = intent.targets.iter().map(|target| part(*target)).collect();
        let mut done = 0;
        loop {
            tokio::select! {
                part = parts.next() => {
                    if part.is_none() {
                        break;
                    }
                    done += 1;
                    let percent = Some((done * 100 / total) as u8);
                    let text = format!("{done} of {total} done");
                    self.tasks.progress(batch, |task| task.progress = Some(Progress { percent, text }));
                }
                () = batch.cancel.notified() => {
                    cancelled.store(true, Ordering::Relaxed);
                    self.tasks.progress(batch, |task| {
                        task.cancellable = false;
                        task.note(now(), "Cancelled: machines not yet started are skipped");
                    });
                    let begun = intent.targets.iter().filter_map(|target| self.tasks.get(part_id(self.journal.audit.secret(), intent.request_id, *target)));
                    // All current and future waits are notified; calls of libvirt continue.
                    begun.for_each(|part| part.cancel.notify_one());
                }
            }
        }
        let cut = cancelled.load(Ordering::Relaxed).then_some(FaultKind::Cancelled);
        self.end_batch(batch, cut).await;
    }

    /// One machine of a batch, from intent to outcome.
    async fn run_part(self: &Arc<Self>, batch: &Record, target: Uuid, slot: Slot) {
        let whole = &batch.intent;
        let request = CommandRequest {
            request_id: part_id(self.journal.audit.secret(), whole.request_id, target),
            host: whole.host.clone(),
            target,
            command: whole.command.clone(),
            expected_version: None,
            session: whole.origin.session.clone(),
            tab: whole.origin.tab.clone(),
        };
        let used = self.check_use(&request).await;
        let (intent, domain) = self.intent(request, whole.origin.clone(), Some(whole.request_id), used);
        let agent = domain.map(|domain| domain.agent).unwrap_or_default();
        match self.tasks.admit(intent.clone()).await {
            Ok(Admission::New(record)) => {
                self.perform(&record, agent, slot).instrument(span(&record.intent)).await;
            }
            Ok(Admission::Again(_)) => {}
            // A refusal is the result of this part; the batch counts it from the journal.
            Err(fault) => self.tasks.refuse_part(&intent, fault),
        }
    }

    /// Summarises the parts of a batch that ended or was cancelled.
    pub(super) async fn end_batch(&self, batch: &Record, cut: Option<FaultKind>) {
        let query = Query { parent: Some(batch.intent.request_id), limit: MAX_TARGETS as u32, ..Query::default() };
        let (outcome, fault) = match self.journal.audit.records(query).await {
            Ok(parts) => sum(&batch.intent, &parts.items, cut),
            Err(fault) => (TaskState::Unknown, Some(fault)),
        };
        self.tasks.end(batch, outcome, fault, Settled::Seen).await;
    }
}

/// The result of a batch. A part that could not be recorded or was not started has no record.
fn sum(batch: &Intent, parts: &[AuditRecord], cut: Option<FaultKind>) -> (TaskState, Option<Fault>) {
    let count = |outcome: Outcome| parts.iter().filter(|part| part.outcome == outcome).count();
    let (total, good, unknown) = (batch.targets.len(), count(Outcome::Succeeded), count(Outcome::Unknown));
    if good == total {
        return (TaskState::Succeeded, None);
    }
    let but = match (total.saturating_sub(parts.len()), cut) {
        (0, _) => String::new(),
        (left, Some(FaultKind::Interrupted)) => format!("; Belvedere stopped before {left} of them were started"),
        (left, Some(_)) => format!("; {left} were skipped"),
        (left, None) => format!("; {left} could not be recorded and were skipped"),
    };
    let reason = format!("{}: {good} of {total} machines succeeded{but}", batch.command.label());
    let kind = cut.filter(|_| !but.is_empty()).unwrap_or(FaultKind::Refused);
    let next = if kind == FaultKind::Interrupted {
        "See the result of each machine in the task, and repeat the command for the rest if needed"
    } else {
        "See the result of each machine in the task"
    };
    let state = if total - good == unknown { TaskState::Unknown } else { TaskState::Failed };
    (state, Some(Fault::new(kind, reason).with_next(next)))
}

/// The id of a part, derived from the batch, so that a repeated batch has no second effect. It
/// cannot be guessed or used by others.
fn part_id(secret: &[u8], batch: RequestId, target: Uuid) -> RequestId {
    let mut digest = Sha256::new();
    digest.update(secret);
    digest.update(batch.0.as_bytes());
    digest.update(target.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    RequestId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
