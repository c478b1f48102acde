//! What the interface asks of the server while rendering, and the context of a request. The server
//! implements the trait and provides it as context.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use leptos::prelude::use_context;
use model::{
    AuditRecord, Command, DomainRef, DomainState, Fault, FaultKind, HostId, ObjectRef, RequestId, Role, Scope, Task,
    Viewer, VmStats,
    inventory::Snapshot,
    query::{Answer, Listed, Question},
    stats::Usage,
    storage::VolumeUse,
    window::PageData,
};

/// The server as seen by pages. Commands do not go through here; they are requests of their own.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The whole inventory, with the cursor it was read at.
    fn snapshot(&self) -> Snapshot;

    /// What the page at an address starts with.
    fn page(&self, address: &str) -> PageData;

    /// Usage of a running machine in the last two minutes, oldest first.
    fn recent(&self, id: &DomainRef) -> Vec<VmStats>;

    /// Usage of a machine in the time range of the page's query; `None` if the query has no range.
    async fn usage(&self, id: &DomainRef, query: &str) -> Result<Option<Usage>, Fault>;

    /// The result of a request.
    fn done(&self, id: RequestId) -> Option<Done>;

    /// The answer to a query about an object; `ask` is the typed version.
    async fn ask(&self, on: &ObjectRef, question: Question) -> Result<Answer, Fault>;

    /// The users of each pool.
    async fn users_of_pools(&self, one: Option<&ObjectRef>) -> BTreeMap<ObjectRef, Vec<VolumeUse>>;

    /// A part of the journal; `query` is the query string without the question mark.
    async fn past(&self, wish: &HistoryRequest, query: &str) -> Result<Past, Fault>;

    /// The optional features of the server.
    fn features(&self) -> Vec<Feature>;

    /// The document of the interface for programs (OpenAPI).
    fn api(&self) -> &'static serde_json::Value;

    /// The data of an account page, for a viewer with permission.
    async fn accounts(&self, wish: AccountsRequest, visit: &Visit) -> Result<Accounts, Fault>;
}

/// The answer to a query of one type.
///
/// # Errors
/// When the object does not exist, cannot be queried now, or libvirt does not answer.
pub async fn ask<Q: Listed>(backend: &dyn Backend, on: &ObjectRef, question: Q) -> Result<Q::Answer, Fault> {
    let answer = backend.ask(on, question.question()).await?;
    Q::answer(answer).ok_or_else(|| Fault::new(FaultKind::Internal, "The answer does not match the question"))
}

/// An optional feature of the server.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// The name to display.
    pub name: &'static str,
    /// Whether this server was built with it.
    pub built: bool,
    /// The name of the build flag.
    pub flag: &'static str,
}

/// The viewer of a page and their session.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The viewer.
    pub viewer: Viewer,
    /// The hash of the session's secret; `None` without a session.
    pub session: Option<[u8; 32]>,
}

/// An account page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountsRequest {
    /// The viewer's own account.
    Own,
    /// All accounts.
    Users,
    /// All tokens.
    Tokens,
    /// All sessions.
    Sessions,
}

/// The data of an account page.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// The viewer's account, or all accounts.
    pub users: Vec<UserLine>,
    /// Tokens.
    pub tokens: Vec<TokenLine>,
    /// The viewer's sessions, or all sessions.
    pub sessions: Vec<SessionLine>,
    /// Whether the password can be changed without the current one.
    pub needs_no_password: bool,
}

/// An account in a list.
#[derive(Clone, Debug)]
pub struct UserLine {
    /// Name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Scope.
    pub scope: Scope,
    /// Whether it has a password; without one it signs in with links only.
    pub has_password: bool,
    /// Recovery codes left; `None` without a second factor.
    pub recovery_codes: Option<usize>,
    /// Number of sessions.
    pub sessions: usize,
}

/// A token in a list.
#[derive(Clone, Debug)]
pub struct TokenLine {
    /// Name, as in audit records.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Scope.
    pub scope: Scope,
    /// Time of creation, in Unix milliseconds.
    pub created: u64,
    /// Expiry, in Unix milliseconds; `None` if it does not expire.
    pub expires: Option<u64>,
}

/// A session in a list.
#[derive(Clone, Debug)]
pub struct SessionLine {
    /// Id.
    pub id: i64,
    /// Account name.
    pub user: String,
    /// Time of sign-in, in Unix milliseconds.
    pub created: u64,
    /// Time of last use, in Unix milliseconds.
    pub seen: u64,
    /// IP address at sign-in.
    pub address: String,
    /// User agent of the browser.
    pub agent: String,
    /// Whether it is the session of this request.
    pub current: bool,
}

/// The part of the journal that a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryRequest {
    /// Completed tasks.
    Tasks,
    /// One task with its log and parts.
    Task(RequestId),
    /// Audit records.
    Audit,
    /// Events.
    History,
    /// The latest events, for the overview.
    Recent,
    /// Errors.
    Errors,
    /// The replay of events.
    Replay,
    /// Commands and events of one machine.
    Machine(DomainRef),
}

/// A part of the journal, newest first.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Tasks.
    pub tasks: Vec<Arc<Task>>,
    /// Audit records.
    pub records: Vec<AuditRecord>,
    /// Events.
    pub events: Vec<PastEvent>,
    /// The moment of a replay; `None` without events.
    pub moment: Option<Moment>,
    /// The `after` parameter for the next older part; `None` at the end.
    pub next: Option<u64>,
    /// The parameters of the query.
    pub wishes: BTreeMap<String, String>,
}

/// The state of all machines right after one event.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Number of the event.
    pub n: u64,
    /// The event.
    pub event: PastEvent,
    /// Numbers of the first, previous, next and last event.
    pub steps: [Option<u64>; 4],
    /// The machines at that time, by host and name.
    pub machines: Vec<Then>,
    /// Event counts in consecutive time spans of equal length.
    pub bars: Vec<Bar>,
}

/// A machine at a moment of the past.
#[derive(Clone, Debug, PartialEq)]
pub struct Then {
    /// The machine.
    pub id: DomainRef,
    /// Its name at that time.
    pub name: String,
    /// Its state; `None` if unknown.
    pub state: Option<DomainState>,
    /// Unix milliseconds of its last change before, if known.
    pub since: Option<u64>,
    /// Whether the event was about it.
    pub changed: bool,
    /// Whether it still exists, so that its page can be opened.
    pub exists: bool,
}

/// Number of events in a time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// End of the span, in Unix milliseconds.
    pub to: u64,
    /// Number of events.
    pub count: u64,
}

/// An event from the journal.
#[derive(Clone, Debug)]
pub struct PastEvent {
    /// Time of publication, in Unix milliseconds.
    pub at: u64,
    /// Kind.
    pub kind: String,
    /// Host, if it is about one.
    pub host: Option<HostId>,
    /// Payload as JSON.
    pub data: String,
}

/// Data that a page has read before it is rendered; rendering itself never waits.
#[derive(Clone, Default)]
pub struct Loaded(Option<Arc<dyn Any + Send + Sync>>);

impl Loaded {
    /// Data read by a page's `load`.
    pub(crate) fn of<T: Send + Sync + 'static>(read: T) -> Self {
        Self(Some(Arc::new(read)))
    }
}

/// Data that the rendered page has read; `None` if it has read nothing.
pub(crate) fn loaded<T: Send + Sync + 'static>() -> Option<Arc<T>> {
    use_context::<Loaded>()?.0?.downcast().ok()
}

/// The result of a request.
#[derive(Clone, Debug)]
pub struct Done {
    /// Name of the machine; empty if it was not found.
    pub name: String,
    /// The command.
    pub command: Command,
    /// The result; `None` while the command runs.
    pub outcome: Option<Result<(), Fault>>,
}

/// URLs of the build's files; `None` for a missing file.
#[derive(Clone, Debug, Default)]
pub struct AssetNames {
    /// The script that loads the module.
    pub script: Option<String>,
    /// The WebAssembly module.
    pub module: Option<String>,
    /// The style sheet.
    pub style: Option<String>,
    /// The directory of all files of this build.
    pub folder: String,
}

/// A refused form, for the page that renders it again.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The command and its target (`kind@target`).
    pub wish: String,
    /// The values entered.
    pub fields: Vec<(String, String)>,
    /// Why it was refused.
    pub fault: Fault,
}

impl Refused {
    /// The value entered into a field.
    pub(crate) fn typed(&self, name: &str) -> Option<&str> {
        self.fields.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Makes the requests of one rendered page distinct from those of another.
#[derive(Clone, Debug, Default)]
pub struct FormToken(pub String);

/// The HTTP status of a page.
#[derive(Clone, Debug, Default)]
pub struct PageStatus(Arc<AtomicBool>);

impl PageStatus {
    /// Reports that the object of the page does not exist.
    pub(crate) fn not_found(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the object of the page does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Colour theme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Theme {
    /// As set in the browser or the system.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The theme of a name; automatic if there is none of this name.
    pub fn of(name: &str) -> Self {
        match name {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::Auto,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}
