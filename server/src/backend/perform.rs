//! One accepted command from its first libvirt call to its recorded outcome.
//!
//! It keeps the order common to all commands; long-running ones are separate files (`operations`).
//! A command whose end was not observed is never repeated: its object is checked until it shows the
//! effect.

use std::time::{Duration, Instant};

use model::{Command, DomainRef, Fault, FaultKind, TaskState, domain::Agent};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tracing::{Span, field::Empty};

use super::{Backend, operations};
use crate::{
    failpoint,
    journal::{Intent, Settled},
    tasks::{Record, now},
};

/// A command that takes longer is reported as running.
pub(super) const SOON: Duration = Duration::from_millis(250);
/// Interval of progress queries.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// A slot for libvirt calls of a batch, released once the call has ended.
pub(super) type Slot = Option<OwnedSemaphorePermit>;

/// The outcome of a command, and how it was determined.
struct End {
    outcome: TaskState,
    fault: Option<Fault>,
    settled: Settled,
}

impl Backend {
    /// Runs a new request and returns its outcome.
    pub(super) async fn perform(&self, record: &Record, agent: Agent, slot: Slot) {
        let intent = &record.intent;
        let began = Instant::now();
        let End { outcome, fault, settled } = self.run(record, agent, slot).await;
        let reason = fault.as_ref().map(|fault| fault.reason.clone()).unwrap_or_default();
        tracing::info!(
            host = %intent.host, domain.id = ?intent.target, domain.name = intent.name, command = intent.kind,
            request.id = %intent.request_id, outcome = outcome.key(), duration_ms = began.elapsed().as_millis() as u64,
            reason, "command ended"
        );
        let span = Span::current();
        span.record("outcome", outcome.key());
        if fault.is_some() {
            span.record("otel.status_code", "ERROR");
        }
        self.tasks.end(record, outcome, fault, settled).await;
        failpoint::reach("after-publish");
    }

    async fn run(&self, record: &Record, agent: Agent, slot: Slot) -> End {
        let intent = &record.intent;
        let (Some(hypervisor), Some(target)) = (self.hosts.get(&intent.host), intent.target) else {
            return failed(super::no_host(&intent.host));
        };
        failpoint::reach("before-libvirt");
        let operation = operations::of(&intent.command);
        if !operation.calls_libvirt() {
            drop(slot);
            return seen(operation.go_on(self, record).await);
        }
        let call = hypervisor.run(intent.request_id, target, &intent.name, agent, intent.command.clone());
        let result = self.accompany(record, call).await;
        // Waiting for a guest or for evidence must not block others.
        drop(slot);
        failpoint::reach("after-libvirt");
        let Err(fault) = result else { return seen(operation.go_on(self, record).await) };
        let undone = operation.undo(self, record, &fault).await;
        // libvirt's result is unknown, so the object is checked.
        if !undone && (fault.kind == FaultKind::TimedOut || is_lost(&fault)) {
            self.tasks.progress(record, |task| {
                task.state = TaskState::Unknown;
                task.note(now(), fault.sentence());
            });
            return self.settle(record).await;
        }
        failed(fault)
    }

    /// Waits for libvirt, and reports progress if it takes longer.
    async fn accompany(&self, record: &Record, call: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
        tokio::pin!(call);
        if let Ok(result) = timeout(SOON, &mut call).await {
            return result;
        }
        let intent = &record.intent;
        let job = operations::of(&intent.command).is_job();
        self.tasks.progress(record, |task| (task.state, task.cancellable) = (TaskState::Running, job));
        let (Some(hypervisor), Some(target)) = (self.hosts.get(&intent.host), intent.target) else {
            return call.await;
        };
        let mut cancelled = false;
        loop {
            tokio::select! {
                result = &mut call => {
                    return match result {
                        Err(_) if cancelled => Err(Fault::new(FaultKind::Cancelled, format!("{} was cancelled", self.title(record)))),
                        result => result,
                    };
                }
                () = record.cancel.notified(), if job && !cancelled => {
                    cancelled = true;
                    let asked = hypervisor.abort_job(target, &intent.name).await;
                    self.tasks.progress(record, |task| match &asked {
                        Ok(()) => task.note(now(), "Cancellation requested"),
                        Err(fault) => task.note(now(), format!("Cancellation failed: {}", fault.sentence())),
                    });
                }
                () = sleep(PROGRESS_EVERY), if job => {
                    // A job without progress continues nevertheless.
                    if let Ok(Some(progress)) = hypervisor.job(target, &intent.name).await {
                        self.tasks.progress(record, |task| task.progress = Some(progress));
                    }
                }
            }
        }
    }

    /// Settles a request of an earlier process.
    pub(super) async fn settle_and_end(&self, record: &Record) {
        let End { outcome, fault, settled } = self.settle(record).await;
        tracing::info!(request.id = %record.intent.request_id, outcome = outcome.key(), "settled after a restart");
        self.tasks.end(record, outcome, fault, settled).await;
    }

    /// Determines from the object whether a command had its effect. It waits while the host is
    /// unreachable, and for effects that may still appear.
    async fn settle(&self, record: &Record) -> End {
        let intent = &record.intent;
        let id = DomainRef { host: intent.host.clone(), id: intent.target.unwrap_or_default() };
        let Some(hypervisor) = self.hosts.get(&intent.host) else {
            return unknown(record, "its host is no longer configured");
        };
        let operation = operations::of(&intent.command);
        if let Some(ended) = operation.recover(self, record).await {
            return End { settled: Settled::Later, ..seen(ended) };
        }
        hypervisor.settled().await;
        if !matches!(intent.command, Command::Domain(_)) {
            // An object that was not read yet is not removed.
            hypervisor.listed().await;
        }
        let evidence = self.feed.until(|inventory| {
            let host = inventory.hosts.get(&intent.host).filter(|host| host.host.connection.connected)?;
            Some(intent.command.evidence(host, id.id))
        });
        let first = evidence.await;
        let shown = match first {
            Some(false) => {
                let later = self.feed.until(|inventory| {
                    let host = inventory.hosts.get(&id.host)?;
                    (intent.command.evidence(host, id.id) == Some(true)).then_some(())
                });
                Some(timeout(operation.patience(), later).await.is_ok())
            }
            known => known,
        };
        match shown {
            Some(true) => End { outcome: TaskState::Succeeded, fault: None, settled: Settled::Later },
            Some(false) => {
                let reason = format!("{} was interrupted and had no effect on {}", self.title(record), intent.name);
                let fault = Fault::new(FaultKind::Interrupted, reason).with_next("Repeat it if needed");
                End { outcome: TaskState::Failed, fault: Some(fault), settled: Settled::Later }
            }
            None => unknown(record, "its result cannot be determined"),
        }
    }

    pub(super) fn title(&self, record: &Record) -> String {
        format!("{} of {}", record.intent.command.label(), record.intent.name)
    }
}

/// The trace span of a command; part of its request.
pub(super) fn span(intent: &Intent) -> Span {
    let target = intent.target.map(|id| id.to_string());
    tracing::info_span!(
        "command", otel.name = format_args!("command {}", intent.kind), request.id = %intent.request_id,
        host = %intent.host, domain.id = target, outcome = Empty, otel.status_code = Empty,
    )
}

/// The outcome of an observed end.
fn seen(result: Result<(), Fault>) -> End {
    result.map_or_else(failed, |()| End { outcome: TaskState::Succeeded, fault: None, settled: Settled::Seen })
}

fn failed(fault: Fault) -> End {
    End { outcome: TaskState::Failed, fault: Some(fault), settled: Settled::Seen }
}

fn unknown(record: &Record, why: &str) -> End {
    let reason = format!("{} of {} was interrupted, and {why}", record.intent.command.label(), record.intent.name);
    let fault = Fault::new(FaultKind::Interrupted, reason).with_next("Check the machine before you repeat it");
    End { outcome: TaskState::Unknown, fault: Some(fault), settled: Settled::Later }
}

/// Whether the connection was lost during a call, so that its effect is unknown.
fn is_lost(fault: &Fault) -> bool {
    fault.kind == FaultKind::Interrupted
}
