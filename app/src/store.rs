//! The browser's mirror of all hosts; the only source of live data for pages.
//!
//! Built from the snapshot in the page and then changed by events only. Pages have read access
//! only. On the server it holds the snapshot.

pub(crate) mod acts;

pub mod link;

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
    window::{Figures, PageData, Window},
};
use serde::{Deserialize, Serialize};

use self::acts::Acts;
use self::{
    rows::{Pending, Rows},
    shown::Turn,
};

/// The freshness of the page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Freshness {
    /// The page is rendered, the stream is not open yet.
    Connecting,
    /// All changes arrive.
    Live {
        /// Whether the log is polled, because the stream is blocked.
        polling: bool,
    },
    /// The connection is lost and is being restored.
    Lost {
        /// Since when, in Unix milliseconds.
        since: u64,
        /// Whether the server requires a new sign-in.
        signed_out: bool,
    },
}

/// The mirror. `Copy`; all copies share their state.
#[derive(Clone, Copy)]
pub(crate) struct Store {
    /// All machines.
    pub(crate) rows: Rows,
    /// The viewer of the page.
    viewer: StoredValue<Viewer>,
    hosts: RwSignal<Vec<Host>>,
    /// The latest usage of each host.
    pub(crate) loads: RwSignal<Vec<HostStats>>,
    freshness: RwSignal<Freshness>,
    cursor: RwSignal<Cursor>,
    /// The part of all machines that the page has; none when it mirrors all of them.
    pub(crate) window: RwSignal<Option<Arc<Window>>>,
    /// Figures over all machines.
    pub(crate) figures: Memo<Figures>,
    /// Machines that came into the window and are not shown yet.
    pub(crate) came: RwSignal<usize>,
    /// Running tasks and the last completed ones, oldest first.
    pub(crate) tasks: RwSignal<Vec<Arc<Task>>>,
    /// Audit records added since the page was rendered.
    pub(crate) appended: RwSignal<usize>,
    /// Changes on the hosts since the page was rendered.
    pub(crate) changed: RwSignal<u64>,
    /// Errors reported since the page was rendered.
    pub(crate) errors: RwSignal<usize>,
    /// The critical error that has not been dismissed yet.
    pub(crate) alarm: RwSignal<Option<Box<event::Error>>>,
    /// Statistics sweeps since the page was rendered.
    pub(crate) swept: RwSignal<usize>,
    /// Whether the usage before the page was rendered has been requested.
    #[cfg(feature = "hydrate")]
    looked_back: StoredValue<bool>,
    /// Why commands are refused at present.
    pub(crate) trouble: RwSignal<Option<Fault>>,
    /// Whether the server runs another version than this page.
    pub(crate) outdated: RwSignal<bool>,
    /// The time, updated every second; read it only where seconds are shown.
    pub(crate) second: RwSignal<u64>,
    /// The time, updated twice a minute.
    pub(crate) minute: RwSignal<u64>,
}

/// The id of the element with the initial data.
const INITIAL: &str = "initial";

/// The initial data in the page.
#[derive(Clone, Serialize, Deserialize)]
struct Initial {
    page: PageData,
    viewer: Viewer,
    now: u64,
}

impl Initial {
    /// Reads the initial data on the server.
    #[cfg(feature = "ssr")]
    fn read() -> Self {
        use std::time::{SystemTime, UNIX_EPOCH};
        let backend = expect_context::<Arc<dyn crate::backend::Backend>>();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis() as u64);
        let url = use_context::<leptos_router::location::RequestUrl>();
        let url = url.as_ref().map_or("", AsRef::as_ref);
        // The library puts a host in front.
        let address = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or(url);
        let mut page = backend.page(address);
        // A machine's page starts with its usage of the last minutes.
        if let Some(crate::routes::Page::Vm(id, crate::routes::Tab::Overview)) = crate::routes::Page::parse(address) {
            page.stats.splice(0..0, backend.recent(&id));
        }
        // Unknown viewers get the lowest role.
        let viewer = use_context().unwrap_or(Viewer {
            name: None,
            role: model::Role::Viewer,
            scope: Default::default(),
            open: false,
        });
        Self { page, viewer, now: now.unwrap_or_default() }
    }

    /// The initial data: from context on the server, from the page in the browser.
    #[cfg(feature = "ssr")]
    fn given() -> Self {
        expect_context()
    }

    #[cfg(not(feature = "ssr"))]
    fn given() -> Self {
        let Some(brought) = document().get_element_by_id(INITIAL) else { return Self::none() };
        let text = brought.text_content().unwrap_or_default();
        // Not read again, and up to half a megabyte.
        brought.remove();
        model::read::read(&text).unwrap_or_else(|error| {
            leptos::logging::error!("the initial data in the page cannot be read: {error}");
            Self::none()
        })
    }

    /// Used only if the page has no initial data, which the server never omits.
    #[cfg(not(feature = "ssr"))]
    fn none() -> Self {
        let cursor = Cursor { epoch: 0, seq: 0 };
        let snapshot = Snapshot { cursor, hosts: Default::default(), tasks: Vec::new(), trouble: None };
        let page = PageData { snapshot, window: None, stats: Vec::new(), hosts: Vec::new() };
        Self { page, viewer: Viewer::anybody(), now: 0 }
    }
}

/// Reads the initial data for this rendering and returns the element that carries it to the
/// browser. It is JSON in a data block, so it is not executed and is parsed only when needed.
#[cfg(feature = "ssr")]
pub(crate) fn begin() -> impl IntoView {
    let initial = Initial::read();
    // `<` is escaped, so nothing can close the element. Only texts contain it.
    let text = model::write::sparse(&initial).expect("names are the only keys").replace('<', "\\u003c");
    provide_context(initial);
    view! { <script type="application/json" id=INITIAL inner_html=text></script> }
}

/// Builds the store and provides it as context; in the browser this also starts the stream.
pub(crate) fn provide() {
    let Initial { page, viewer, now } = Initial::given();
    let (rows, window) = (Rows::new(), RwSignal::new(None::<Arc<Window>>));
    let figures = Memo::new(move |_| match window.get() {
        Some(window) => window.figures.clone(),
        None => rows.with(|rows| Figures::of(rows)),
    });
    let store = Store {
        rows,
        window,
        figures,
        viewer: StoredValue::new(viewer),
        hosts: RwSignal::new(Vec::new()),
        loads: RwSignal::new(Vec::new()),
        freshness: RwSignal::new(Freshness::Connecting),
        cursor: RwSignal::new(page.snapshot.cursor),
        came: RwSignal::new(0),
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
    store.turn_to(page);
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

    /// The freshness of the page.
    pub(crate) fn freshness(self) -> Signal<Freshness> {
        self.freshness.into()
    }

    /// Whether the connection is lost.
    pub(crate) fn is_lost(self) -> bool {
        matches!(self.freshness.get_untracked(), Freshness::Lost { .. })
    }

    /// The text of an empty list for an account with a restricted scope; `None` for an unrestricted
    /// one.
    pub(crate) fn outside_scope(self) -> Option<String> {
        let words = self.viewer.with_value(|viewer| (!viewer.scope.is_everything()).then(|| viewer.scope.words()))?;
        Some(format!("Your account's scope is {words}. An admin can change it under Accounts."))
    }

    /// The viewer of the page.
    pub(crate) fn viewer(self) -> Viewer {
        self.viewer.get_value()
    }

    /// Whether the viewer has a permission.
    ///
    /// # Errors
    /// The reason if not.
    pub(crate) fn may(self, permission: Permission) -> Result<(), Fault> {
        self.viewer.with_value(|viewer| viewer.role.may(permission))
    }

    /// Whether a command is possible now for the viewer.
    ///
    /// # Errors
    /// The reason if not.
    pub(crate) fn check(self, command: &DomainCommand, domain: &Domain, host: &Host) -> Result<(), Fault> {
        self.may(Permission::Operate)?;
        command.check_on(domain, host)
    }

    /// One host.
    pub(crate) fn host(self, id: &HostId) -> Option<Host> {
        self.hosts.with(|hosts| hosts.iter().find(|host| host.id == *id).cloned())
    }

    /// Shows what a page starts with.
    pub(crate) fn turn_to(self, page: PageData) {
        let PageData { snapshot, window, stats, hosts } = page;
        self.window.set(window);
        self.came.set(0);
        self.replace(&snapshot);
        // The stream may have been faster.
        let known = |stats: &VmStats| {
            let id = DomainRef { host: stats.host_id.clone()?, id: stats.vm_id };
            self.rows.get_untracked(&id)?.stats.with_untracked(|recent| recent.latest().map(|latest| latest.timestamp))
        };
        let fresh = |stats: &VmStats| known(stats).is_none_or(|known| known < stats.timestamp);
        self.measured(stats.into_iter().filter(fresh).collect());
        hosts.into_iter().for_each(|stats| self.host_measured(stats));
    }

    /// Replaces everything by a snapshot.
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
        // A server that has just started knows no machines of hosts it has not reached yet.
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

    /// Applies the usage of a statistics sweep.
    fn measured(self, all: Vec<VmStats>) {
        let fresh = all.into_iter().filter_map(|stats| {
            let row = self.rows.get_untracked(&DomainRef { host: stats.host_id.clone()?, id: stats.vm_id })?;
            // A machine that stopped meanwhile shows no usage.
            let runs = row.domain.with_untracked(|domain| domain.state == DomainState::Running);
            if runs { row.stats.change(|recent| recent.push(stats)) } else { None }
        });
        draw(fresh);
        self.swept.update(|count| *count += 1);
    }

    /// Requests, once, the usage before this page was rendered.
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

    /// Marks the row of a running task as pending, or removes the mark.
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

    /// Applies the change of an event; idempotent.
    fn take(self, change: Change) {
        if !matches!(change, Change::Task(_) | Change::Error(_) | Change::Appended | Change::Nothing) {
            self.changed.update(|count| *count += 1);
        }
        match change {
            Change::Set(host, domain) => self.set(DomainRef { host, id: domain.id }, domain),
            Change::Removed(host, id, version) => self.rows.remove(&DomainRef { host, id }, version),
            Change::Host(host) => {
                // A windowed page gets no events for the machines of a host that connects; it is read again.
                if host.connection.connected && self.window.with_untracked(Option::is_none) {
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
            // Not mirrored: pages that show these read them again.
            Change::Stale | Change::Pool(..) | Change::Network(..) | Change::Nothing => {}
        }
    }

    /// Whether the page has a part of all machines that is not about this one.
    pub(crate) fn is_elsewhere(self, id: &DomainRef) -> bool {
        self.window
            .with_untracked(|window| window.as_ref().is_some_and(|window| !window.view.contains(&id.to_string())))
    }

    /// Sets a machine. With a window, only its machines are mirrored; the stream may serve other
    /// tabs with other windows as well.
    fn set(self, id: DomainRef, domain: Arc<Domain>) {
        if self.window.with_untracked(Option::is_none) || self.rows.get_untracked(&id).is_some() {
            self.rows.set(id, domain);
        }
    }

    fn went_wrong(self, error: Box<event::Error>) {
        if error.is_about_the_journal() {
            self.trouble.set(error.trouble());
        }
        match error.severity {
            event::Severity::Critical => self.alarm.set(Some(error)),
            // The error is resolved, so its dialog is closed.
            event::Severity::Info => {
                self.alarm.update(|alarm| drop(alarm.take_if(|alarm| alarm.context == error.context)));
                return;
            }
            _ => {}
        }
        self.errors.update(|count| *count += 1);
    }
}

/// Reads what the next page starts with, if this tab has a part of all machines only.
pub(crate) async fn bring(address: &str) -> Option<PageData> {
    #[cfg(feature = "hydrate")]
    return feed::bring(address).await;
    #[cfg(not(feature = "hydrate"))]
    {
        let _ = address;
        None
    }
}

/// Shows the next page.
pub(crate) fn show(page: PageData) {
    #[cfg(feature = "hydrate")]
    feed::show(page);
    #[cfg(not(feature = "hydrate"))]
    drop(page);
}

/// Schedules updates for rendering; on the server there is nothing to schedule.
fn draw(turns: impl Iterator<Item = Turn>) {
    #[cfg(feature = "hydrate")]
    draw::soon(turns);
    #[cfg(not(feature = "hydrate"))]
    turns.for_each(drop);
}
