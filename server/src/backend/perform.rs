//! One accepted command from its first call of libvirt to its recorded end.
//!
//! A command whose end nobody saw is never run again: the machine itself is
//! looked at until it shows whether the command had its effect.

use std::time::{Duration, Instant};

use model::{
    Command, DomainCommand, DomainRef, DomainState, Fault, FaultKind, PoolCommand, TaskState, domain::Agent,
    task::Progress,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tracing::{Span, field::Empty};

use super::Backend;
use crate::{
    failpoint,
    journal::{Intent, Settled},
    tasks::{Record, now},
};

/// How long a guest may take to shut down after it was asked.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(300);
/// A command that takes longer is told to be running.
const SOON: Duration = Duration::from_millis(250);
/// How often libvirt is asked how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// A machine that does not show the effect after this long will not.
const EVIDENCE_WITHIN: Duration = Duration::from_secs(20);

/// What waits for its guest.
const SHUTDOWN: Command = Command::Domain(DomainCommand::Shutdown {});

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
        // The server's own work, whose calls of libvirt come later.
        if matches!(intent.command, Command::Pool(PoolCommand::FetchVolume { .. })) {
            drop(slot);
            return self.fetch(record).await.map_or_else(failed, |()| End {
                outcome: TaskState::Succeeded,
                fault: None,
                settled: Settled::Seen,
            });
        }
        let call = hypervisor.run(intent.request_id, target, &intent.name, agent, intent.command.clone());
        let result = self.accompany(record, call).await;
        // Waiting for a guest or for evidence holds up nobody.
        drop(slot);
        failpoint::reach("after-libvirt");
        match result {
            Ok(()) => self.follow_up(record).await,
            // It may have frozen all the same.
            Err(fault)
                if matches!(intent.command, Command::Domain(DomainCommand::FreezeFileSystems { .. }))
                    && fault.kind != FaultKind::Refused =>
            {
                self.thaw(record).await;
                failed(fault)
            }
            // Nobody knows whether libvirt did it, so the machine is asked.
            Err(fault) if fault.kind == FaultKind::TimedOut || is_lost(&fault) => {
                self.tasks.progress(record, |task| {
                    task.state = TaskState::Unknown;
                    task.note(now(), fault.sentence());
                });
                self.settle(record).await
            }
            Err(fault) => failed(fault),
        }
    }

    /// What remains to be done when libvirt has done its part.
    async fn follow_up(&self, record: &Record) -> End {
        match record.intent.command {
            Command::Domain(DomainCommand::Shutdown {}) => return self.wait_until_off(record).await,
            Command::Domain(DomainCommand::FreezeFileSystems { seconds }) => self.hold_frozen(record, seconds).await,
            Command::Domain(DomainCommand::ThawFileSystems {}) => self.end_freezes(record.target().as_ref()),
            Command::Pool(PoolCommand::UploadVolume { .. }) => {
                if let Err(fault) = self.take_content(record).await {
                    return failed(fault);
                }
            }
            _ => {}
        }
        End { outcome: TaskState::Succeeded, fault: None, settled: Settled::Seen }
    }

    /// Waits for libvirt, and tells how far it is when that takes longer.
    async fn accompany(&self, record: &Record, call: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
        tokio::pin!(call);
        if let Ok(result) = timeout(SOON, &mut call).await {
            return result;
        }
        let intent = &record.intent;
        let job = matches!(intent.command, Command::Domain(DomainCommand::Save {}));
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

    /// Waits until a machine whose guest was asked to shut down is off.
    async fn wait_until_off(&self, record: &Record) -> End {
        let id = DomainRef { host: record.intent.host.clone(), id: record.intent.target.unwrap_or_default() };
        let off = self.feed.until(|inventory| match inventory.domain(&id) {
            Some(domain) => matches!(domain.state, DomainState::Stopped).then_some(()),
            None => Some(()),
        });
        tokio::pin!(off);
        if timeout(SOON, &mut off).await.is_ok() {
            return End { outcome: TaskState::Succeeded, fault: None, settled: Settled::Seen };
        }
        self.tasks.progress(record, |task| {
            (task.state, task.cancellable) = (TaskState::Running, true);
            task.progress = Some(Progress { percent: None, text: "Waiting for the guest to shut down".into() });
        });
        let name = &record.intent.name;
        tokio::select! {
            () = &mut off => End { outcome: TaskState::Succeeded, fault: None, settled: Settled::Seen },
            () = record.cancel.notified() => {
                let fault = Fault::new(FaultKind::Cancelled, format!("Nobody waits for {name} to shut down any more"));
                failed(fault.with_next("The guest was asked and may still do so"))
            }
            () = sleep(SHUTDOWN_LIMIT) => {
                let fault = Fault::new(FaultKind::Refused, format!("{name} has not shut down within 5 minutes"));
                failed(fault.with_next("Its guest may ignore the request; look at its console, or force it off"))
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
        if let Some(ended) = self.take_up_content(record).await {
            let outcome = if ended.is_ok() { TaskState::Succeeded } else { TaskState::Failed };
            return End { outcome, fault: ended.err(), settled: Settled::Later };
        }
        hypervisor.settled().await;
        if matches!(intent.command, Command::Domain(DomainCommand::FreezeFileSystems { .. })) {
            self.tasks.progress(record, |task| task.note(now(), "It may still be frozen, and is thawed"));
            self.thaw(record).await;
            let reason = format!("{} was interrupted; {} is thawed now", self.title(record), intent.name);
            let fault = Fault::new(FaultKind::Interrupted, reason).with_next("A copy made meanwhile may not be whole");
            return End { outcome: TaskState::Failed, fault: Some(fault), settled: Settled::Later };
        }
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
                let within = if intent.command == SHUTDOWN { SHUTDOWN_LIMIT } else { EVIDENCE_WITHIN };
                let later = self.feed.until(|inventory| {
                    let host = inventory.hosts.get(&id.host)?;
                    (intent.command.evidence(host, id.id) == Some(true)).then_some(())
                });
                Some(timeout(within, later).await.is_ok())
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

    fn title(&self, record: &Record) -> String {
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
