//! One accepted command from its first call of libvirt to its recorded end.
//!
//! It keeps the order that all commands share; what lasts is a file of its own (`operations`). A
//! command whose end nobody saw is never run again: the machine itself is looked at until it shows
//! whether the command had its effect.

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

/// A command that takes longer is told to be running.
pub(super) const SOON: Duration = Duration::from_millis(250);
/// How often libvirt is asked how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// The right to call libvirt for a batch, given back once the call has ended.
pub(super) type Slot = Option<OwnedSemaphorePermit>;

/// How a command ended, and who saw it.
struct End {
    outcome: TaskState,
    fault: Option<Fault>,
    settled: Settled,
}

impl Backend {
    /// Carries a new request out and says how it ended.
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
        // Waiting for a guest or for evidence holds up nobody.
        drop(slot);
        failpoint::reach("after-libvirt");
        let Err(fault) = result else { return seen(operation.go_on(self, record).await) };
        let undone = operation.undo(self, record, &fault).await;
        // Whether libvirt did it is not known, so the object is asked.
        if !undone && (fault.kind == FaultKind::TimedOut || is_lost(&fault)) {
            self.tasks.progress(record, |task| {
                task.state = TaskState::Unknown;
                task.note(now(), fault.sentence());
            });
            return self.settle(record).await;
        }
        failed(fault)
    }

    /// Waits for libvirt, and tells how far it is when that takes longer.
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
                        Ok(()) => task.note(now(), "libvirt was asked to cancel it"),
                        Err(fault) => task.note(now(), format!("It could not be cancelled: {}", fault.sentence())),
                    });
                }
                () = sleep(PROGRESS_EVERY), if job => {
                    // A job that tells nothing goes on all the same.
                    if let Ok(Some(progress)) = hypervisor.job(target, &intent.name).await {
                        self.tasks.progress(record, |task| task.progress = Some(progress));
                    }
                }
            }
        }
    }

    /// Settles a request of a former process.
    pub(super) async fn settle_and_end(&self, record: &Record) {
        let End { outcome, fault, settled } = self.settle(record).await;
        tracing::info!(request.id = %record.intent.request_id, outcome = outcome.key(), "settled after a restart");
        self.tasks.end(record, outcome, fault, settled).await;
    }

    /// Judges by the machine whether a command had its effect. It waits as long as
    /// the host is away, and a while for an effect that may still come.
    async fn settle(&self, record: &Record) -> End {
        let intent = &record.intent;
        let id = DomainRef { host: intent.host.clone(), id: intent.target.unwrap_or_default() };
        let Some(hypervisor) = self.hosts.get(&intent.host) else {
            return unknown(record, "its host is not configured any more");
        };
        let operation = operations::of(&intent.command);
        if let Some(ended) = operation.recover(self, record).await {
            return End { settled: Settled::Later, ..seen(ended) };
        }
        hypervisor.settled().await;
        if !matches!(intent.command, Command::Domain(_)) {
            // What was not read is not gone.
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
                let reason =
                    format!("{} was interrupted, and {} shows no effect of it", self.title(record), intent.name);
                let fault = Fault::new(FaultKind::Interrupted, reason).with_next("Do it again if it is still wanted");
                End { outcome: TaskState::Failed, fault: Some(fault), settled: Settled::Later }
            }
            None => unknown(record, "nothing shows whether it had an effect"),
        }
    }

    pub(super) fn title(&self, record: &Record) -> String {
        format!("{} of {}", record.intent.command.label(), record.intent.name)
    }
}

/// What a command takes, for traces; part of the request that asked for it.
pub(super) fn span(intent: &Intent) -> Span {
    let target = intent.target.map(|id| id.to_string());
    tracing::info_span!(
        "command", otel.name = format_args!("command {}", intent.kind), request.id = %intent.request_id,
        host = %intent.host, domain.id = target, outcome = Empty, otel.status_code = Empty,
    )
}

/// How something ended that the server has seen.
fn seen(result: Result<(), Fault>) -> End {
    result.map_or_else(failed, |()| End { outcome: TaskState::Succeeded, fault: None, settled: Settled::Seen })
}

fn failed(fault: Fault) -> End {
    End { outcome: TaskState::Failed, fault: Some(fault), settled: Settled::Seen }
}

fn unknown(record: &Record, why: &str) -> End {
    let reason = format!("{} of {} was interrupted, and {why}", record.intent.command.label(), record.intent.name);
    let fault = Fault::new(FaultKind::Interrupted, reason).with_next("Look at the machine before you do it again");
    End { outcome: TaskState::Unknown, fault: Some(fault), settled: Settled::Later }
}

/// Whether the link was lost under a call, so that its effect is not known.
fn is_lost(fault: &Fault) -> bool {
    fault.kind == FaultKind::Interrupted
}
