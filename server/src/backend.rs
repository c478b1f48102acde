//! Carries out what the interface asks: admit once, check, run, tell how it
//! ended. It owns the hosts and stands between HTTP and libvirt.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use app::backend::{Backend as Interface, Done};
use async_trait::async_trait;
use hypervisor::{HostConfig, Hypervisor, Sink};
use model::{
    CommandRequest, DomainRef, Event, Fault, FaultKind, HostId, Receipt, RequestId, domain::Agent,
    event::TaskCompleted, inventory::Snapshot,
};
use tokio::time::timeout;

use crate::{
    feed::{Feed, Filter},
    requests::{Admission, Record, Requests},
};

/// The hosts, the feed, and the requests.
pub struct Backend {
    feed: Arc<Feed>,
    hosts: BTreeMap<HostId, Hypervisor>,
    requests: Requests,
}

/// Hands a host's events to the feed.
struct ToFeed(Arc<Feed>);

impl Sink for ToFeed {
    fn publish(&self, events: Vec<Event>) {
        self.0.publish(events);
    }
}

impl Backend {
    pub(crate) fn start(feed: Arc<Feed>, hosts: Vec<HostConfig>) -> Self {
        let sink: Arc<dyn Sink> = Arc::new(ToFeed(feed.clone()));
        tokio::spawn(Feed::clone(&feed).beat());
        let hosts = hosts.into_iter().map(|config| (config.id.clone(), Hypervisor::start(config, sink.clone())));
        Self { feed, hosts: hosts.collect(), requests: Requests::default() }
    }

    /// The log of events.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The hosts whose first listing has neither finished nor failed.
    pub fn unsettled(&self) -> Vec<&HostId> {
        self.hosts.iter().filter(|(_, host)| !host.is_settled()).map(|(id, _)| id).collect()
    }

    /// Waits until every host's first listing has finished or failed.
    pub async fn settled(&self) {
        for host in self.hosts.values() {
            host.settled().await;
        }
    }

    /// Tries to connect to a host now.
    ///
    /// # Errors
    /// `NotFound` when there is no such host.
    pub fn reconnect(&self, id: &HostId) -> Result<(), Fault> {
        self.hosts.get(id).ok_or_else(|| no_host(id))?.reconnect();
        Ok(())
    }

    /// The same, and waits until the attempt has ended, but not longer than `limit`.
    ///
    /// # Errors
    /// `NotFound` when there is no such host.
    pub async fn reconnect_and_wait(&self, id: &HostId, limit: Duration) -> Result<(), Fault> {
        let connection = || self.feed.snapshot().hosts.hosts.get(id).map(|host| host.host.connection.clone());
        let before = connection();
        let filter = Filter { hosts: [id.clone()].into(), ..Filter::default() };
        let reader = self.feed.subscribe(Some(self.feed.cursor()), filter);
        self.reconnect(id)?;
        let Some(mut reader) = reader else { return Ok(()) };
        // How it ended is shown by the page, whether in time or not.
        let changed = async { while connection() == before && reader.next().await.is_some() {} };
        timeout(limit, changed).await.ok();
        Ok(())
    }

    /// Accepts a command, or says why not. It runs on; how it ends is an event.
    ///
    /// # Errors
    /// When the target is unknown, the command is not possible now, or its id
    /// was used for another wish.
    pub fn accept(self: &Arc<Self>, request: CommandRequest) -> Result<Receipt, Fault> {
        let receipt = Receipt { request_id: request.request_id };
        let mut agent = Agent::Absent;
        let admission = self.requests.admit(request, |request| {
            let snapshot = self.feed.snapshot();
            let host = snapshot.hosts.hosts.get(&request.host).ok_or_else(|| no_host(&request.host))?;
            let domain = host.domains.get(&request.target).ok_or_else(|| {
                Fault::new(
                    FaultKind::NotFound,
                    format!("{} has no machine with the UUID {}", request.host, request.target),
                )
                .with_next("It may have been deleted; look at the list")
            })?;
            request.command.check(domain, &host.host)?;
            agent = domain.agent;
            Ok(domain.name.clone())
        })?;
        match admission {
            Admission::Again(receipt) => Ok(receipt),
            Admission::New(record) => {
                let backend = self.clone();
                tokio::spawn(async move { backend.carry_out(&record, agent).await });
                Ok(receipt)
            }
        }
    }

    async fn carry_out(&self, record: &Record, agent: Agent) {
        let CommandRequest { request_id, host, target, command } = &record.request;
        let began = Instant::now();
        let result = match self.hosts.get(host) {
            Some(hypervisor) => hypervisor.run(*request_id, *target, &record.name, agent, command.clone()).await,
            None => Err(no_host(host)),
        };
        let duration_ms = began.elapsed().as_millis() as u64;
        let outcome = if result.is_ok() { "succeeded" } else { "failed" };
        let reason = result.as_ref().err().map(|fault| fault.reason.as_str()).unwrap_or_default();
        tracing::info!(
            %host, domain.id = %target, domain.name = record.name, command = command.kind(), request.id = %request_id,
            outcome, duration_ms, reason, "command ended"
        );
        let completed = Event::TaskCompleted(TaskCompleted {
            host_id: host.clone(),
            task_id: *request_id,
            kind: command.kind().to_owned(),
            target: *target,
            target_name: record.name.clone(),
            fault: result.as_ref().err().cloned(),
            duration_ms,
            timestamp: now(),
        });
        self.feed.publish(vec![completed]);
        self.requests.ended(record, result);
    }

    /// Waits until an accepted request has ended, but not longer than `limit`.
    pub async fn wait(&self, id: RequestId, limit: Duration) {
        if let Some(record) = self.requests.get(id) {
            let mut outcome = record.outcome.subscribe();
            // Whether it ended in time is read where the result is shown.
            timeout(limit, outcome.wait_for(Option::is_some)).await.ok();
        }
    }
}

#[async_trait]
impl Interface for Backend {
    fn snapshot(&self) -> Snapshot {
        self.feed.snapshot()
    }

    fn done(&self, id: RequestId) -> Option<Done> {
        let record = self.requests.get(id)?;
        let outcome = record.outcome.borrow().clone();
        Some(Done { name: record.name.clone(), command: record.request.command.clone(), outcome })
    }

    async fn definition(&self, id: &DomainRef) -> Result<String, Fault> {
        let snapshot = self.feed.snapshot();
        let name = snapshot.hosts.domain(id).map(|domain| domain.name.clone());
        let name = name.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("There is no machine {id}")))?;
        self.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?.definition(id.id, &name).await
    }
}

fn no_host(id: &HostId) -> Fault {
    Fault::new(FaultKind::NotFound, format!("There is no host {id}")).with_next("See the list of hosts")
}

/// The wall clock in Unix milliseconds; a label, never an order.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64).unwrap_or_default()
}
