//! Shutting a guest down lasts until it is off: it was only asked.

use std::time::Duration;

use async_trait::async_trait;
use model::{
    DomainRef, DomainState, Fault, FaultKind, TaskState,
    command::{self, Verb},
    task::Progress,
};
use tokio::time::{sleep, timeout};

use super::Operation;
use crate::{
    backend::{Backend, perform::SOON},
    tasks::Record,
};

/// How long a guest may take after it was asked.
const LIMIT: Duration = Duration::from_secs(command::Shutdown::ABOUT.window as u64);

/// `shutdown`.
pub(super) struct Shutdown;

#[async_trait]
impl Operation for Shutdown {
    fn kind(&self) -> &'static str {
        command::Shutdown::ABOUT.kind
    }

    fn patience(&self) -> Duration {
        LIMIT
    }

    async fn go_on(&self, backend: &Backend, record: &Record) -> Result<(), Fault> {
        let id = DomainRef { host: record.intent.host.clone(), id: record.intent.target.unwrap_or_default() };
        let off = backend.feed.until(|inventory| match inventory.domain(&id) {
            Some(domain) => matches!(domain.state, DomainState::Stopped).then_some(()),
            None => Some(()),
        });
        tokio::pin!(off);
        if timeout(SOON, &mut off).await.is_ok() {
            return Ok(());
        }
        backend.tasks.progress(record, |task| {
            (task.state, task.cancellable) = (TaskState::Running, true);
            task.progress = Some(Progress { percent: None, text: "Waiting for the guest to shut down".into() });
        });
        let name = &record.intent.name;
        tokio::select! {
            () = &mut off => Ok(()),
            () = record.cancel.notified() => {
                let fault = Fault::new(FaultKind::Cancelled, format!("Nobody waits for {name} to shut down any more"));
                Err(fault.with_next("The guest was asked and may still do so"))
            }
            () = sleep(LIMIT) => {
                let fault = Fault::new(FaultKind::Refused, format!("{name} has not shut down within 5 minutes"));
                Err(fault.with_next("Its guest may ignore the request; look at its console, or force it off"))
            }
        }
    }
}
