//! One command for many machines: a task whose parts are tasks of their own, so
//! that each has its own result.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use model::{BatchRequest, CommandRequest, Fault, FaultKind, Origin, Receipt, RequestId, TaskState, task::Progress};
use uuid::Uuid;

use super::{Backend, named, no_host};
use crate::{
    journal::{Intent, Query, Settled},
    tasks::{Admission, Record, now},
};

/// Machines in one batch.
const MAX_TARGETS: usize = 1_000;
/// Parts that run at the same time; the daemon serves five calls of a connection.
const AT_ONCE: usize = 4;

impl Backend {
    /// Accepts a batch, or says why not. Its parts run on, some at a time.
    ///
    /// # Errors
    /// When the host is unknown, there are no or too many machines, the id was used
    /// for another wish, or it cannot be recorded. A machine for which it is not
    /// possible is a part that failed, not an error.
    pub async fn accept_batch(self: &Arc<Self>, request: BatchRequest, origin: Origin) -> Result<Receipt, Fault> {
        let mut targets = request.targets;
        targets.sort();
        targets.dedup();
        if targets.is_empty() || targets.len() > MAX_TARGETS {
            return Err(Fault::invalid("targets", "a batch is for 1 to 1,000 machines"));
        }
        let refused = (!self.hosts.contains_key(&request.host)).then(|| no_host(&request.host));
        let intent = Intent {
            at: now(),
            request_id: request.request_id,
            parent: None,
            kind: request.command.kind().to_owned(),
            host: request.host,
            target: None,
            name: if targets.len() == 1 { "1 machine".into() } else { format!("{} machines", targets.len()) },
            targets,
            command: request.command,
            origin: Origin { session: named(request.session), tab: named(request.tab), ..origin },
            refused,
        };
        let id = intent.request_id;
        if let Admission::New(record) = self.tasks.admit(intent).await? {
            let backend = self.clone();
            tokio::spawn(async move { backend.run_batch(&record).await });
        }
        Ok(Receipt::of(id))
    }

    async fn run_batch(self: &Arc<Self>, batch: &Arc<Record>) {
        let intent = &batch.intent;
        let total = intent.targets.len();
        self.tasks.progress(batch, |task| (task.state, task.cancellable) = (TaskState::Running, total > AT_ONCE));
        let cancelled = std::sync::atomic::AtomicBool::new(false);
        let parts = stream::iter(intent.targets.clone()).map(|target| {
            let cancelled = &cancelled;
            async move {
                if !cancelled.load(std::sync::atomic::Ordering::Relaxed) {
                    self.run_part(batch, target).await;
                }
            }
        });
        let mut parts = parts.buffer_unordered(AT_ONCE);
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
                    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
                    self.tasks.progress(batch, |task| {
                        task.cancellable = false;
                        task.note(now(), "Cancelled: parts that had not begun are left out");
                    });
                }
            }
        }
        self.end_batch(batch).await;
    }

    /// One machine of a batch, from its own intent to its own outcome.
    async fn run_part(self: &Arc<Self>, batch: &Record, target: Uuid) {
        let whole = &batch.intent;
        let request = CommandRequest {
            request_id: part_id(whole.request_id, target),
            host: whole.host.clone(),
            target,
            command: whole.command.clone(),
            expected_version: None,
            session: whole.origin.session.clone(),
            tab: whole.origin.tab.clone(),
        };
        let (intent, domain) = self.intent(request, whole.origin.clone(), Some(whole.request_id));
        let agent = domain.map(|domain| domain.agent).unwrap_or_default();
        match self.tasks.admit(intent.clone()).await {
            Ok(Admission::New(record)) => self.perform(&record, agent).await,
            Ok(Admission::Again(_)) => {}
            // A refusal is the result of this part; the batch counts it from the journal.
            Err(fault) => self.tasks.refuse_part(&intent, fault),
        }
    }

    /// Sums up the parts of a batch that has ended.
    pub(super) async fn end_batch(&self, batch: &Record) {
        let intent = &batch.intent;
        let query = Query { parent: Some(intent.request_id), limit: MAX_TARGETS as u32, ..Query::default() };
        let (outcome, fault) = match self.journal.audit.records(query).await {
            Ok(parts) => {
                let good = parts.items.iter().filter(|part| part.outcome == "succeeded").count();
                let unknown = parts.items.iter().filter(|part| part.outcome == "unknown").count();
                let (total, label) = (intent.targets.len(), intent.command.label());
                match (total - good, unknown) {
                    (0, _) => (TaskState::Succeeded, None),
                    (bad, unknown) => {
                        let left = total.saturating_sub(parts.items.len());
                        let but = if left > 0 { format!("; {left} had not begun") } else { String::new() };
                        let reason = format!("{label}: {good} of {total} machines succeeded{but}");
                        let kind = if left > 0 { FaultKind::Cancelled } else { FaultKind::Refused };
                        let fault = Fault::new(kind, reason).with_next("See the result of each machine in the task");
                        (if bad == unknown { TaskState::Unknown } else { TaskState::Failed }, Some(fault))
                    }
                }
            }
            Err(fault) => (TaskState::Unknown, Some(fault)),
        };
        self.tasks.end(batch, outcome, fault, Settled::Seen).await;
    }
}

/// The id of a part: the same batch always makes the same ones, so that a batch
/// that comes twice has each effect once.
fn part_id(batch: RequestId, target: Uuid) -> RequestId {
    RequestId(Uuid::new_v5(&batch.0, target.as_bytes()))
}
