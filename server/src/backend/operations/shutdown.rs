//! A shutdown lasts until the guest is off.

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

/// Time limit for the guest.
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
                let fault = Fault::new(FaultKind::Cancelled, format!("Waiting for {name} to shut down was cancelled"));
                Err(fault.with_next("The guest received the request and may still shut down"))
            }
            () = sleep(LIMIT) => {
                let fault = Fault::new(FaultKind::Refused, format!("{name} did not shut down within 5 minutes"));
                Err(fault.with_next("The guest may ignore the request; check its console, or force it off"))
            }
        }
    }
}
