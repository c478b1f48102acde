//! The browser's mirror of all hosts; the only source of live data for pages.
//!
//! It is built from the snapshot in the page and then changed by events only.
//! Pages read it and cannot write it. On the server it holds the snapshot.

pub mod link;

pub mod refresh;

pub(crate) mod rows;

pub(crate) mod shown;

pub(crate) mod stats;

#[cfg(feature = "hydrate")]
mod draw;

#[cfg(feature = "hydrate")]
pub(crate) mod feed;

#[cfg(feature = "hydrate")]
pub(crate) mod hub;

#[cfg(feature = "hydrate")]
mod post;

use std::sync::Arc;

use leptos::prelude::*;
use model::{
    Cursor, Domain, DomainCommand, DomainRef, DomainState, Fault, Host, HostId, HostStats, Permission, Task, Viewer,
    VmStats,
    event::{self, Change},
    inventory::Snapshot,
};
use serde::{Deserialize, Serialize};

use self::{
    rows::{Pending, Rows},
    shown::Turn,
};
use crate::act::Acts;

/// How fresh the page is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Freshness {
    /// The page is drawn, the stream is not there yet.
    Connecting,
    /// Every change arrives.
    Live {
        /// Whether the log is read answer by answer, because the stream is held back.
        polling: bool,
    },
    /// The stream was lost then (Unix milliseconds) and is being restored.
    Lost {
        /// When.
        since: u64,
        /// Whether the server wants to know first who this is.
        signed_out: bool,
    },
}

/// The mirror. Copies are cheap and all the same.
#[derive(Clone, Copy)]
pub(crate) struct Store {
    /// All machines.
    pub(crate) rows: Rows,
    /// Who looks at the page.
    viewer: StoredValue<Viewer>,
    hosts: RwSignal<Vec<Host>>,
    /// What each host used when it was measured last.
    pub(crate) loads: RwSignal<Vec<HostStats>>,
    freshness: RwSignal<Freshness>,
    cursor: RwSignal<Cursor>,
    /// The tasks under way and the last ones that ended, the oldest first.
    pub(crate) tasks: RwSignal<Vec<Arc<Task>>>,
    /// How many records were added since the page was drawn.
    pub(crate) appended: RwSignal<usize>,
    /// How often anything on the hosts changed since the page was drawn.
    pub(crate) changed: RwSignal<u64>,
    /// How many errors were told since the page was drawn.
    pub(crate) errors: RwSignal<usize>,
    /// The critical error that nobody has taken note of yet.
    pub(crate) alarm: RwSignal<Option<Box<event::Error>>>,
    /// How often machines were measured since the page was drawn.
    pub(crate) swept: RwSignal<usize>,
    /// Whether it was asked what machines used before the page was drawn.
    #[cfg(feature = "hydrate")]
    looked_back: StoredValue<bool>,
    /// Why no command is carried out now.
    pub(crate) trouble: RwSignal<Option<Fault>>,
    /// Whether the server is of another version than this page.
    pub(crate) outdated: RwSignal<bool>,
    /// The time, every second; read it only where seconds are shown.
    pub(crate) second: RwSignal<u64>,
    /// The time, twice a minute.
    pub(crate) minute: RwSignal<u64>,
}

/// The element of the page that brings what the browser begins with.
const INITIAL: &str = "initial";

/// What the server puts into the page.
#[derive(Clone, Serialize, Deserialize)]
struct Initial {
    snapshot: Snapshot,
    stats: Vec<VmStats>,
    hosts: Vec<HostStats>,
    viewer: Viewer,
    now: u64,
}

impl Initial {
    /// What the server renders from.
    #[cfg(feature = "ssr")]
    fn read() -> Self {
        use std::time::{SystemTime, UNIX_EPOCH};
        let backend = expect_context::<Arc<dyn crate::backend::Backend>>();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64);
        let (mut stats, hosts) = backend.stats();
        // The page of a machine begins with what it used until now.
        let url = use_context::<leptos_router::location::RequestUrl>();
        if let Some(crate::routes::Page::Vm(id, crate::routes::Tab::Overview)) =
            url.and_then(|url| crate::routes::Page::parse(url.as_ref()))
        {
            stats.splice(0..0, backend.recent(&id));
        }
        // Whoever is not known sees what the least may.
        let viewer = use_context().unwrap_or(Viewer {
            name: None,
            role: model::Role::Viewer,
            scope: Default::default(),
            open: false,
        });
        let mut snapshot = backend.snapshot();
        // Pages that show them are drawn by the server.
        for host in Arc::make_mut(&mut snapshot.hosts).hosts.values_mut() {
            host.pools.clear();
            host.networks.clear();
        }
        Self { snapshot, stats, hosts, viewer, now: now.unwrap_or_default() }
    }

    /// The same, in the browser as the page brings it.
    #[cfg(feature = "ssr")]
    fn given() -> Self {
        expect_context()
    }

    #[cfg(not(feature = "ssr"))]
    fn given() -> Self {
        let Some(brought) = document().get_element_by_id(INITIAL) else { return Self::none() };
        let text = brought.text_content().unwrap_or_default();
        // Nobody reads it again, and it is half a megabyte.
        brought.remove();
        model::read::read(&text).unwrap_or_else(|error| {
            leptos::logging::error!("the page brought what cannot be read: {error}");
            Self::none()
        })
    }

    /// Used only when the page brought nothing, which the server never does.
    #[cfg(not(feature = "ssr"))]
    fn none() -> Self {
        let cursor = Cursor { epoch: 0, seq: 0 };
        let snapshot = Snapshot { cursor, hosts: Default::default(), tasks: Vec::new(), trouble: None };
        Self { snapshot, stats: Vec::new(), hosts: Vec::new(), viewer: Viewer::anybody(), now: 0 }
    }
}

/// Reads what the page begins with, for what is drawn now and, as the element that this gives, for
/// the browser: data that is no program, so that nothing has to be said in another language, and
/// that is not read before it is wanted.
#[cfg(feature = "ssr")]
pub(crate) fn begin() -> impl IntoView {
    let initial = Initial::read();
    // Nothing in it ends the element: what could begins with this, and only texts have it.
    let text = model::write::sparse(&initial).expect("names are the only keys").replace('<', "\\u003c");
    provide_context(initial);
    view! { <script type="application/json" id=INITIAL inner_html=text></script> }
}

/// Builds the store and provides it as context; in the browser the stream starts.
pub(crate) fn provide() {
    let Initial { snapshot, stats, hosts, viewer, now } = Initial::given();
    let store = Store {
        rows: Rows::new(),
        viewer: StoredValue::new(viewer),
        hosts: RwSignal::new(Vec::new()),
        loads: RwSignal::new(Vec::new()),
        freshness: RwSignal::new(Freshness::Connecting),
        cursor: RwSignal::new(snapshot.cursor),
        tasks: RwSignal::new(Vec::new()),
        appended: RwSignal::new(0),
        changed: RwSignal::new(0),
        errors: RwSignal::new(0),
        alarm: RwSignal::new(None),
        swept: RwSignal::new(0),
        #[cfg(feature = "hydrate")]
        looked_back: StoredValue::new(false),
        trouble: RwSignal::new(None),
        outdated: RwSignal::new(false),
        second: RwSignal::new(now),
        minute: RwSignal::new(now),
    };
    store.replace(&snapshot);
    store.measured(stats);
    hosts.into_iter().for_each(|stats| store.host_measured(stats));
    provide_context(store);
    let acts = Acts::new(store);
    provide_context(acts);
    #[cfg(feature = "hydrate")]
    Effect::new(move || feed::start(store, acts));
}

/// The store of this page.
pub(crate) fn use_store() -> Store {
    expect_context()
}

impl Store {
    /// All hosts, by name.
    pub(crate) fn hosts(self) -> Signal<Vec<Host>> {
        self.hosts.into()
    }

    /// How fresh the page is.
    pub(crate) fn freshness(self) -> Signal<Freshness> {
        self.freshness.into()
    }

    /// Whether the stream was lost and is being restored.
    pub(crate) fn is_lost(self) -> bool {
        matches!(self.freshness.get_untracked(), Freshness::Lost { .. })
    }

    /// The text of an empty list for an account with a restricted scope; none for an unrestricted one.
    pub(crate) fn outside_scope(self) -> Option<String> {
        let words = self.viewer.with_value(|viewer| (!viewer.scope.is_everything()).then(|| viewer.scope.words()))?;
        Some(format!("Your account's scope is {words}. An admin can change it under Accounts."))
    }

    /// Who looks at the page.
    pub(crate) fn viewer(self) -> Viewer {
        self.viewer.get_value()
    }

    /// Whether who looks may do something.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn may(self, permission: Permission) -> Result<(), Fault> {
        self.viewer.with_value(|viewer| viewer.role.may(permission))
    }

    /// Whether a command is possible now for who looks.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(self, command: &DomainCommand, domain: &Domain, host: &Host) -> Result<(), Fault> {
        self.may(Permission::Operate)?;
        command.check_on(domain, host)
    }

    /// One host.
    pub(crate) fn host(self, id: &HostId) -> Option<Host> {
        self.hosts.with(|hosts| hosts.iter().find(|host| host.id == *id).cloned())
    }

    /// Takes a snapshot for everything that is known.
    fn replace(self, snapshot: &Snapshot) {
        let hosts = snapshot.hosts.hosts.values().map(|host| host.host.clone()).collect();
        if self.hosts.with_untracked(|had| *had != hosts) {
            self.hosts.set(hosts);
        }
        let machines = snapshot.hosts.hosts.values().flat_map(|host| {
            host.domains
                .values()
                .map(|domain| (DomainRef { host: host.host.id.clone(), id: domain.id }, domain.clone()))
        });
        // A server that has just started has read nothing of a host that does not answer yet.
        let unread = snapshot.hosts.hosts.values().map(|host| &host.host).filter(|host| host.info.is_none());
        self.rows.replace(machines, &unread.map(|host| &host.id).collect::<Vec<_>>());
        snapshot.tasks.iter().for_each(|task| self.mark(task));
        if self.tasks.with_untracked(|had| *had != snapshot.tasks) {
            self.tasks.set(snapshot.tasks.clone());
        }
        if self.trouble.with_untracked(|had| *had != snapshot.trouble) {
            self.trouble.set(snapshot.trouble.clone());
        }
        self.cursor.set(snapshot.cursor);
    }

    /// Takes what a sweep found.
    fn measured(self, all: Vec<VmStats>) {
        let fresh = all.into_iter().filter_map(|stats| {
            let row = self.rows.get_untracked(&DomainRef { host: stats.host_id.clone()?, id: stats.vm_id })?;
            // What stopped meanwhile shows nothing any more.
            let runs = row.domain.with_untracked(|domain| domain.state == DomainState::Running);
            if runs { row.stats.change(|recent| recent.push(stats)) } else { None }
        });
        draw(fresh);
        self.swept.update(|count| *count += 1);
    }

    /// Asks once what machines used before this page was drawn.
    #[cfg(feature = "hydrate")]
    pub(crate) fn look_back(self) {
        #[derive(Deserialize)]
        struct Trends {
            vms: Vec<model::stats::Trend>,
        }
        if self.looked_back.try_update_value(|looked| std::mem::replace(looked, true)) != Some(false) {
            return;
        }
        leptos::task::spawn_local(async move {
            let Ok(answer) = gloo_net::http::Request::get(&crate::routes::at(crate::routes::API_STATS)).send().await
            else {
                return;
            };
            let Ok(Trends { vms }) = crate::api::answered(answer).await else { return };
            draw(vms.into_iter().filter_map(|trend| {
                let row = self.rows.get_untracked(&DomainRef { host: trend.host_id.clone()?, id: trend.vm_id })?;
                row.stats.change(|recent| recent.begin_with(trend.points()))
            }));
        });
    }

    fn host_measured(self, stats: HostStats) {
        self.loads.update(|loads| {
            loads.retain(|known| known.host_id != stats.host_id);
            loads.push(stats);
        });
    }

    /// Shows on its row that a task is under way, or not any more.
    fn mark(self, task: &Task) {
        let Some(id) = task.target.map(|id| DomainRef { host: task.host_id.clone(), id }) else { return };
        let Some(row) = self.rows.get_untracked(&id) else { return };
        let marked = row.pending.with_untracked(|pending| pending.as_ref().map(|pending| pending.request));
        match task.outcome {
            None if marked != Some(task.task_id) => {
                row.pending.set(Some(Pending { request: task.task_id, kind: task.kind.clone() }));
            }
            Some(_) if marked == Some(task.task_id) => row.pending.set(None),
            _ => {}
        }
    }

    /// Takes the change that an event tells; once or twice is the same.
    fn take(self, change: Change) {
        if !matches!(change, Change::Task(_) | Change::Error(_) | Change::Appended | Change::Nothing) {
            self.changed.update(|count| *count += 1);
        }
        match change {
            Change::Set(host, domain) => self.rows.set(DomainRef { host, id: domain.id }, domain),
            Change::Removed(host, id, version) => self.rows.remove(&DomainRef { host, id }, version),
            Change::Host(host) => {
                if host.connection.connected {
                    self.rows.host_read(&host.id);
                }
                self.hosts.update(|hosts| match hosts.iter_mut().find(|known| known.id == host.id) {
                    Some(known) => *known = *host,
                    None => hosts.push(*host),
                });
            }
            Change::Task(task) => {
                self.mark(&task);
                self.tasks.update(|tasks| model::task::remember(tasks, &task));
            }
            Change::Error(error) => self.went_wrong(error),
            Change::Appended => self.appended.update(|count| *count += 1),
            // What is not mirrored is read again by the pages that show it.
            Change::Stale | Change::Pool(..) | Change::Network(..) | Change::Nothing => {}
        }
    }

    fn went_wrong(self, error: Box<event::Error>) {
        if error.is_about_the_journal() {
            self.trouble.set(error.trouble());
        }
        match error.severity {
            event::Severity::Critical => self.alarm.set(Some(error)),
            // What was wrong works again, so nobody needs to read that it did not.
            event::Severity::Info => {
                self.alarm.update(|alarm| drop(alarm.take_if(|alarm| alarm.context == error.context)));
                return;
            }
            _ => {}
        }
        self.errors.update(|count| *count += 1);
    }
}

/// Lets changes be drawn; on the server nothing is drawn yet when they come.
fn draw(turns: impl Iterator<Item = Turn>) {
    #[cfg(feature = "hydrate")]
    draw::soon(turns);
    #[cfg(not(feature = "hydrate"))]
    turns.for_each(drop);
}
