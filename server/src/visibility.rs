//! The view of one viewer: pages, API and commands use it, so that lists and their objects have the
//! same visibility.
//!
//! Invisible objects are reported as not found. The stream is filtered by `feed::filter`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use app::backend::{Accounts, AccountsRequest, Backend as Interface, Done, Feature, HistoryRequest, Past, Visit};
use async_trait::async_trait;
use model::{
    Command, DomainRef, Event, Fault, FaultKind, HostId, Inventory, ObjectKind, ObjectRef, Origin, Permission,
    RequestId, Task, Viewer, VmStats,
    event::Change,
    inventory::Snapshot,
    query::{Answer, Question},
    stats::{Trend, Usage},
    storage::VolumeUse,
    window::{PageData, Window},
};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::{
    Backend,
    history::{self, Visible},
    http, limits, windows,
};

/// The backend with the visibility of a viewer.
#[derive(Clone)]
pub(crate) struct Sight {
    pub(crate) backend: Arc<Backend>,
    viewer: Viewer,
}

impl Sight {
    pub(crate) fn new(backend: Arc<Backend>, viewer: Viewer) -> Self {
        Self { backend, viewer }
    }

    /// The key of this viewer for limits.
    pub(crate) fn account(&self) -> String {
        limits::account(&Origin { who: self.viewer.name.clone(), ..Origin::default() })
    }

    /// A turn for journal queries: those of one account are serialised.
    ///
    /// # Errors
    /// `TooMany` if the earlier ones take too long.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.backend.questions.wait(&self.account()).await
    }

    /// The viewer, for the stream; none with an unlimited scope.
    pub(crate) fn narrowed(&self) -> Option<Viewer> {
        (!self.viewer.scope.is_everything()).then(|| self.viewer.clone())
    }

    /// The window of the page at an address over the visible machines; none when a browser mirrors
    /// all of them. One that is not older than `age` will do.
    pub(crate) fn window(&self, address: &str, seen: &Seen, age: Duration) -> Option<(u64, Arc<Window>)> {
        let Self { backend, viewer } = self;
        let seen = windows::Seen { whole: &seen.whole, snapshot: &seen.snapshot, scope: &viewer.scope };
        backend.windows.of(address, &seen, &backend.history, age)
    }

    /// The visible machines, beside all of them.
    pub(crate) fn seen(&self) -> Seen {
        let mut snapshot = self.backend.feed().snapshot();
        let whole = snapshot.hosts.clone();
        self.viewer.narrow(&mut snapshot);
        Seen { whole, snapshot }
    }

    /// Whether a machine exists and is visible.
    fn sees(&self, hosts: &Inventory, id: &DomainRef) -> bool {
        hosts.domain(id).is_some_and(|domain| self.viewer.scope.sees(&id.host, &domain.tags))
    }

    /// Whether a machine exists and is visible; false without a host.
    fn sees_of(&self, hosts: &Inventory, host: Option<HostId>, id: Uuid) -> bool {
        host.is_some_and(|host| self.sees(hosts, &DomainRef { host, id }))
    }

    /// Whether an object is visible: a machine by its tags, other objects only with a scope of the
    /// whole host.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn object(&self, on: &ObjectRef) -> Result<(), Fault> {
        let scope = &self.viewer.scope;
        let seen = match on.kind {
            ObjectKind::Domain => {
                let id = DomainRef { host: on.host.clone(), id: on.id };
                scope.is_everything() || self.sees(&self.backend.feed().snapshot().hosts, &id)
            }
            ObjectKind::Pool | ObjectKind::Network => scope.sees_all_of(&on.host),
            ObjectKind::Host => scope.sees_host(&on.host),
        };
        if seen { Ok(()) } else { Err(on.missing()) }
    }

    /// Whether a machine is visible.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn machine(&self, id: &DomainRef) -> Result<(), Fault> {
        self.object(&id.into())
    }

    /// Whether the target of a command is visible, and the command allowed.
    ///
    /// # Errors
    /// `NotFound`, or `NotAllowed`.
    pub(crate) fn target(&self, command: &Command, on: &ObjectRef) -> Result<(), Fault> {
        self.viewer.role.may(command.permission())?;
        self.object(on)
    }

    /// Whether a host is visible.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn host(&self, id: &HostId) -> Result<(), Fault> {
        self.object(&ObjectRef::host(id))
    }

    fn sees_task(&self, hosts: &Inventory, task: &Task) -> bool {
        self.viewer.sees_task(task, |id| self.sees(hosts, id))
    }

    /// One task with its log.
    ///
    /// # Errors
    /// `NotFound` if it does not exist or is not visible.
    pub(crate) async fn task(&self, id: RequestId) -> Result<Arc<Task>, Fault> {
        let task = self.backend.task(id).await?;
        if self.narrowed().is_none() || self.sees_task(&self.backend.feed().snapshot().hosts, &task) {
            return Ok(task);
        }
        Err(Fault::new(FaultKind::NotFound, format!("Task {id} does not exist")))
    }

    /// The visibility of history: data about currently visible machines.
    pub(crate) fn eyes(&self) -> Now {
        Now { hosts: self.backend.feed().snapshot().hosts, sight: self.clone() }
    }

    fn sees_event(&self, hosts: &Inventory, event: &Event) -> bool {
        let Some(host) = event.host() else { return true };
        if !self.viewer.scope.sees_host(host) {
            return false;
        }
        match event.change() {
            _ if self.viewer.scope.tags.is_empty() => true,
            Change::Set(host, domain) => self.sees(hosts, &DomainRef { host, id: domain.id }),
            Change::Task(task) => self.sees_task(hosts, &task),
            Change::Host(_) => true,
            // The tags of removed machines are unknown; errors and records contain machine names.
            Change::Removed(..) | Change::Error(_) | Change::Appended => false,
            // So do pools and networks.
            Change::Pool(..) | Change::Network(..) | Change::Stale | Change::Nothing => false,
        }
    }

    /// The visible trends.
    pub(crate) fn trends(&self, mut trends: Vec<Trend>) -> Vec<Trend> {
        if self.narrowed().is_some() {
            let hosts = self.backend.feed().snapshot().hosts;
            trends.retain(|trend| self.sees_of(&hosts, trend.host_id.clone(), trend.vm_id));
        }
        trends
    }
}

/// What a viewer sees of all machines at a moment.
pub(crate) struct Seen {
    whole: Arc<Inventory>,
    pub(crate) snapshot: Snapshot,
}

/// The visibility at a moment.
pub(crate) struct Now {
    sight: Sight,
    hosts: Arc<Inventory>,
}

impl Visible for Now {
    fn see_all(&self) -> bool {
        self.sight.narrowed().is_none()
    }

    fn see_task(&self, task: &Task) -> bool {
        self.sight.sees_task(&self.hosts, task)
    }

    fn see_event(&self, kind: &str, data: &str) -> bool {
        // Gaps are visible to everyone.
        kind == "gap"
            || Event::parse(kind, data).ok().flatten().is_some_and(|event| self.sight.sees_event(&self.hosts, &event))
    }
}

#[async_trait]
impl Interface for Sight {
    fn snapshot(&self) -> Snapshot {
        self.seen().snapshot
    }

    fn page(&self, address: &str) -> PageData {
        let seen = self.seen();
        let window = self.window(address, &seen, Duration::ZERO).map(|(_, window)| window);
        let snapshot = seen.snapshot;
        let (stats, mut hosts) = match &window {
            Some(window) => {
                let ids: Vec<&DomainRef> = window.machines.iter().map(|member| &member.id).collect();
                self.backend.history.latest_of(&ids)
            }
            None => {
                let (mut machines, hosts) = self.backend.stats();
                if self.narrowed().is_some() {
                    machines.retain(|stats| self.sees_of(&snapshot.hosts, stats.host_id.clone(), stats.vm_id));
                }
                (machines, hosts)
            }
        };
        hosts.retain(|stats| self.viewer.scope.sees_host(&stats.host_id));
        for load in hosts.iter_mut().filter(|load| !self.viewer.scope.sees_all_of(&load.host_id)) {
            load.storage.clear();
        }
        let snapshot = match &window {
            Some(window) => snapshot.only(window.machines.iter().map(|member| &member.id)),
            None => snapshot.bare(),
        };
        PageData { snapshot, window, stats, hosts }
    }

    fn recent(&self, id: &DomainRef) -> Vec<VmStats> {
        self.machine(id).map(|()| self.backend.recent(id)).unwrap_or_default()
    }

    async fn usage(&self, id: &DomainRef, query: &str) -> Result<Option<Usage>, Fault> {
        self.machine(id)?;
        let _turn = self.turn().await?;
        self.backend.usage(id, query).await
    }

    fn done(&self, id: RequestId) -> Option<Done> {
        let task = self.backend.live(id)?;
        let seen = self.narrowed().is_none() || self.sees_task(&self.backend.feed().snapshot().hosts, &task);
        seen.then(|| self.backend.done(id)).flatten()
    }

    async fn ask(&self, on: &ObjectRef, question: Question) -> Result<Answer, Fault> {
        self.viewer.role.may(question.about().permission)?;
        self.object(on)?;
        let mut answer = self.backend.ask(on, question).await?;
        if !self.viewer.scope.sees_all_of(&on.host) {
            let hosts = self.backend.feed().snapshot().hosts;
            answer.narrow(&|vm| self.sees(&hosts, &DomainRef { host: on.host.clone(), id: vm }));
        }
        Ok(answer)
    }

    async fn users_of_pools(&self, one: Option<&ObjectRef>) -> BTreeMap<ObjectRef, Vec<VolumeUse>> {
        let sees = |pool: &ObjectRef| self.viewer.scope.sees_all_of(&pool.host);
        self.backend.users_of_pools(|pool| sees(pool) && one.is_none_or(|one| one == pool)).await
    }

    async fn past(&self, wish: &HistoryRequest, query: &str) -> Result<Past, Fault> {
        match wish {
            HistoryRequest::Machine(id) => self.machine(id)?,
            HistoryRequest::Task(id) => drop(self.task(*id).await?),
            HistoryRequest::Audit => self.viewer.role.may(Permission::ReadAudit)?,
            HistoryRequest::Replay if self.narrowed().is_some() => {
                let fault = Fault::new(FaultKind::NotAllowed, "Replay covers all machines, but your scope is limited");
                return Err(fault.with_next("Use the history instead"));
            }
            _ => {}
        }
        let eyes = self.eyes();
        let _turn = self.turn().await?;
        let mut past = history::for_page(&self.backend, wish, query, &eyes).await?;
        if self.viewer.role.may(Permission::ReadAudit).is_err() {
            // Client addresses are only for readers of the audit log.
            for record in &mut past.records {
                (record.origin.address, record.origin.session, record.origin.tab) = (None, None, None);
            }
        }
        if !eyes.see_all() {
            // Tasks were filtered above; a machine's page also reads events of removed objects.
            past.events.retain(|event| eyes.see_event(&event.kind, &event.data));
            past.records
                .retain(|record| record.target.is_some_and(|id| self.sees_of(&eyes.hosts, record.host_id.clone(), id)));
        }
        Ok(past)
    }

    fn features(&self) -> Vec<Feature> {
        let feature = |name, flag, built| Feature { name, built, flag };
        vec![
            feature("OpenID Connect", "oidc", cfg!(feature = "oidc")),
            feature("PAM", "pam", cfg!(feature = "pam")),
            feature("OpenTelemetry", "otel", cfg!(feature = "otel")),
        ]
    }

    fn api(&self) -> &'static serde_json::Value {
        http::document(http::openapi::Version::V32)
    }

    async fn accounts(&self, wish: AccountsRequest, visit: &Visit) -> Result<Accounts, Fault> {
        let needed = if wish == AccountsRequest::Own { Permission::OwnAccount } else { Permission::ManageAccounts };
        self.viewer.role.may(needed)?;
        self.backend.accounts(wish, visit).await
    }
}
