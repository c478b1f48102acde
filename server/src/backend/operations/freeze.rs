//! Frozen file systems are always thawed: at the time limit, on request, when the server stops, and
//! by the next server if this one was killed. Freezing itself is in `hypervisor`.

use std::time::Duration;

use async_trait::async_trait;
use model::{
    Command, DomainCommand, DomainRef, Event, Fault, FaultKind, ObjectRef, TaskState,
    command::{FreezeFileSystems, ThawFileSystems, Verb},
    event,
    task::Progress,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::{AtStop, Operation};
use crate::{
    backend::Backend,
    tasks::{Record, now},
};

/// Pauses between attempts to thaw; the last one repeats.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// `freezeFileSystems`.
pub(super) struct Freeze;

#[async_trait]
impl Operation for Freeze {
    fn kind(&self) -> &'static str {
        FreezeFileSystems::ABOUT.kind
    }

    async fn go_on(&self, backend: &Backend, record: &Record) -> Result<(), Fault> {
        if let Command::Domain(DomainCommand::FreezeFileSystems(freeze)) = &record.intent.command {
            backend.hold_frozen(record, freeze.seconds).await;
        }
        Ok(())
    }

    async fn undo(&self, backend: &Backend, record: &Record, fault: &Fault) -> bool {
        // File systems may be frozen nevertheless.
        let may_be_frozen = fault.kind != FaultKind::Refused;
        if may_be_frozen {
            backend.thaw(record).await;
        }
        may_be_frozen
    }

    async fn recover(&self, backend: &Backend, record: &Record) -> Option<Result<(), Fault>> {
        let intent = &record.intent;
        backend.hosts.get(&intent.host)?.settled().await;
        backend.tasks.progress(record, |task| task.note(now(), "File systems may still be frozen; thawing"));
        backend.thaw(record).await;
        let reason = format!("{} was interrupted; {} is thawed now", backend.title(record), intent.name);
        let fault = Fault::new(FaultKind::Interrupted, reason);
        Some(Err(fault.with_next("A backup made meanwhile may be inconsistent")))
    }

    fn at_stop(&self) -> AtStop {
        AtStop::Cancel
    }

    /// A second freeze is refused, because the end of the first one would end it.
    fn admits(&self, backend: &Backend, target: &ObjectRef, command: &Command, name: &str) -> Result<(), Fault> {
        let again = command.kind() == self.kind();
        match again && !backend.tasks.under_way(target, self.kind()).is_empty() {
            true => Err(Fault::denied(format!("{name} is already frozen")).with_next("Thaw it first")),
            false => Ok(()),
        }
    }
}

/// Ends freezes of a machine now.
pub(super) fn end(backend: &Backend, target: &ObjectRef) {
    backend.tasks.under_way(target, Freeze.kind()).iter().for_each(|record| record.cancel.notify_one());
}

impl Backend {
    /// Waits for the end of a successful freeze, and thaws.
    async fn hold_frozen(&self, record: &Record, seconds: u32) {
        let began = Instant::now();
        let end = began + Duration::from_secs(seconds.into());
        let tell = || {
            let past = began.elapsed().as_secs_f64() / f64::from(seconds);
            let left = end.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
            let text = format!("Frozen; thaws in {left} s or when cancelled");
            self.tasks.progress(record, |task| {
                (task.state, task.cancellable) = (TaskState::Running, true);
                task.progress = Some(Progress { percent: Some((past * 100.0).min(100.0) as u8), text });
            });
        };
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let off = self.until_off(record);
        tokio::pin!(off);
        loop {
            tokio::select! {
                _ = ticks.tick() => tell(),
                () = sleep_until(end) => break,
                () = record.cancel.notified() => {
                    self.tasks.progress(record, |task| task.note(now(), "Thaw requested before the time limit"));
                    break;
                }
                () = &mut off => return,
            }
        }
        self.thaw(record).await;
    }

    /// Thaws repeatedly until it succeeds or the machine is off.
    async fn thaw(&self, record: &Record) {
        let (intent, mut said) = (&record.intent, None);
        let (Some(hypervisor), Some(target)) = (self.hosts.get(&intent.host), intent.target) else { return };
        let off = self.until_off(record);
        tokio::pin!(off);
        for n in 0_usize.. {
            let command = DomainCommand::ThawFileSystems(ThawFileSystems {}).into();
            let agent = model::domain::Agent::Connected;
            let Err(fault) = hypervisor.run(intent.request_id, target, &intent.name, agent, command).await else {
                return;
            };
            let why = fault.sentence();
            if said.as_ref() != Some(&why) {
                tracing::warn!(host = %intent.host, domain.name = intent.name, reason = fault.reason, "cannot thaw");
                let message = format!("{} may still be frozen: {why} Belvedere retries automatically.", intent.name);
                let host = Some(intent.host.clone());
                let error = event::Error::of_background(host, "thaw file systems", message.clone(), now());
                self.feed.publish(vec![Event::Error(error)]);
                self.tasks.progress(record, |task| {
                    task.note(now(), message);
                    task.progress = Some(Progress { percent: None, text: "Thawing".into() });
                });
                said = Some(why);
            }
            tokio::select! {
                () = sleep(AGAIN[n.min(AGAIN.len() - 1)]) => {}
                () = &mut off => return,
            }
        }
    }

    /// Waits until the machine of a request is known to be off or removed.
    async fn until_off(&self, record: &Record) {
        let id = DomainRef { host: record.intent.host.clone(), id: record.intent.target.unwrap_or_default() };
        self.feed
            .until(move |inventory| {
                let host = inventory.hosts.get(&id.host).filter(|host| host.host.connection.connected)?;
                match host.domains.get(&id.id) {
                    Some(domain) => (!domain.state.is_active()).then_some(()),
                    None => Some(()),
                }
            })
            .await;
    }
}
