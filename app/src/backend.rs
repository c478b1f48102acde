//! What the interface may ask of the server while it renders, and what a
//! request brings with it. The server implements and provides it as context.

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
    AuditRecord, Command, DomainRef, DomainState, Fault, FaultKind, HostId, HostStats, ObjectRef, RequestId, Role,
    Scope, Task, Viewer, VmStats,
    inventory::Snapshot,
    query::{Answer, Listed, Question},
    stats::Usage,
    storage::User,
};

/// The server as pages see it. Commands do not go through here: they are
/// requests of their own.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Everything that is known, with the position it was read at.
    fn snapshot(&self) -> Snapshot;

    /// What running machines and hosts used when they were measured last.
    fn stats(&self) -> (Vec<VmStats>, Vec<HostStats>);

    /// What a running machine used in the last two minutes, the oldest first.
    fn recent(&self, id: &DomainRef) -> Vec<VmStats>;

    /// What a machine used in the time that the query of its page asks for; none when
    /// it asks for none.
    async fn usage(&self, id: &DomainRef, query: &str) -> Result<Option<Usage>, Fault>;

    /// How an answered request ended.
    fn done(&self, id: RequestId) -> Option<Done>;

    /// The answer to a question about an object; `ask` asks one of a kind.
    async fn ask(&self, on: &ObjectRef, question: Question) -> Result<Answer, Fault>;

    /// Who uses each pool.
    async fn users_of_pools(&self, one: Option<&DomainRef>) -> BTreeMap<DomainRef, Vec<User>>;

    /// A piece of the past; `query` is the address's, without the question mark.
    async fn past(&self, wish: &PastWish, query: &str) -> Result<Past, Fault>;

    /// What the server can be built with.
    fn features(&self) -> Vec<Feature>;

    /// What a page about accounts shows to somebody who may see it.
    async fn accounts(&self, wish: AccountsWish, visit: &Visit) -> Result<Accounts, Fault>;
}

/// The answer to a question of one kind.
///
/// # Errors
/// When there is no such object, it cannot be asked now, or libvirt does not answer.
pub async fn ask<Q: Listed>(backend: &dyn Backend, on: &ObjectRef, question: Q) -> Result<Q::Answer, Fault> {
    let answer = backend.ask(on, question.question()).await?;
    Q::answer(answer).ok_or_else(|| Fault::new(FaultKind::Internal, "A question was given the answer to another one"))
}

/// Something that a server can be built with.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// Whether this server was.
    pub built: bool,
    /// What it is called when the server is built.
    pub flag: &'static str,
}

/// Who looks at a page, and through which session.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Who.
    pub viewer: Viewer,
    /// What the session's secret is known by; none without one.
    pub session: Option<[u8; 32]>,
}

/// Which page about accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountsWish {
    /// One's own.
    Own,
    /// All accounts.
    Users,
    /// All tokens.
    Tokens,
    /// All sessions.
    Sessions,
}

/// What pages about accounts show.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// One's own account, or all of them.
    pub users: Vec<UserLine>,
    /// Tokens.
    pub tokens: Vec<TokenLine>,
    /// Sessions, one's own or all.
    pub sessions: Vec<SessionLine>,
    /// Whether a new password needs no old one.
    pub needs_no_password: bool,
}

/// An account as it is listed.
#[derive(Clone, Debug)]
pub struct UserLine {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it sees.
    pub scope: Scope,
    /// Whether it has a password, and is not logged in by links only.
    pub has_password: bool,
    /// How many recovery codes are left; none without a second factor.
    pub recovery_codes: Option<usize>,
    /// How many sessions it has.
    pub sessions: usize,
}

/// A token as it is listed.
#[derive(Clone, Debug)]
pub struct TokenLine {
    /// What records call it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it sees.
    pub scope: Scope,
    /// When it was made, in Unix milliseconds.
    pub created: u64,
    /// When it expires, in Unix milliseconds; none if never.
    pub expires: Option<u64>,
}

/// A session as it is listed.
#[derive(Clone, Debug)]
pub struct SessionLine {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// When it began, in Unix milliseconds.
    pub created: u64,
    /// When it was used last, in Unix milliseconds.
    pub seen: u64,
    /// From which network address it began.
    pub address: String,
    /// What the browser called itself.
    pub agent: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// Ranges of time that charts offer: the name in the address, the label, the length in
/// milliseconds.
pub use crate::past::RANGES;

/// Which piece of the past a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastWish {
    /// Tasks that have ended.
    Tasks,
    /// One task with its log and its parts.
    Task(RequestId),
    /// Who did what.
    Audit,
    /// What happened.
    History,
    /// The last events, for the overview.
    Recent,
    /// What went wrong.
    Errors,
    /// What happened, step by step.
    Replay,
    /// What was done with one machine and happened to it.
    Machine(DomainRef),
}

/// A piece of the past, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Tasks.
    pub tasks: Vec<Arc<Task>>,
    /// Records.
    pub records: Vec<AuditRecord>,
    /// Events.
    pub events: Vec<PastEvent>,
    /// A moment of the past; none while nothing was kept.
    pub moment: Option<Moment>,
    /// What `after` gives what lies further back; none at the end.
    pub next: Option<u64>,
    /// What the address asked for.
    pub wishes: BTreeMap<String, String>,
}

/// How everything was right after one event of the past.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The number of the event.
    pub n: u64,
    /// The event.
    pub event: PastEvent,
    /// The numbers of the first event, the one before, the one after, and the last.
    pub steps: [Option<u64>; 4],
    /// The machines as they were, by host and name.
    pub machines: Vec<Then>,
    /// How much happened when: equally long spans one after the other.
    pub bars: Vec<Bar>,
}

/// One machine as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Then {
    /// Which.
    pub id: DomainRef,
    /// Its name at that time.
    pub name: String,
    /// Its state; none when it is not known.
    pub state: Option<DomainState>,
    /// Since when nothing had changed, in Unix milliseconds, as far as it is known.
    pub since: Option<u64>,
    /// Whether the event was about it.
    pub changed: bool,
    /// Whether it is still there, so that its page can be opened.
    pub exists: bool,
}

/// How much happened in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its end, in Unix milliseconds.
    pub to: u64,
    /// Events in it.
    pub count: u64,
}

/// An event of the past.
#[derive(Clone, Debug)]
pub struct PastEvent {
    /// When it was published, in Unix milliseconds.
    pub at: u64,
    /// Its kind.
    pub kind: String,
    /// The host it was about.
    pub host: Option<HostId>,
    /// Its payload as JSON.
    pub data: String,
}

/// What a page has read before it is rendered; rendering itself never waits.
#[derive(Clone, Default)]
pub struct Loaded(Option<Arc<dyn Any + Send + Sync>>);

impl Loaded {
    /// What a page's own `load` has read.
    pub(crate) fn of<T: Send + Sync + 'static>(read: T) -> Self {
        Self(Some(Arc::new(read)))
    }
}

/// What the page that is rendered has read; none where it is rendered without.
pub(crate) fn loaded<T: Send + Sync + 'static>() -> Option<Arc<T>> {
    use_context::<Loaded>()?.0?.downcast().ok()
}

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The machine's name, or empty when it was not found.
    pub name: String,
    /// What was asked.
    pub command: Command,
    /// How it ended; none while it runs.
    pub outcome: Option<Result<(), Fault>>,
}

/// Addresses of the files that the build made; none of a file that is missing.
#[derive(Clone, Debug, Default)]
pub struct AssetNames {
    /// The script that loads the module.
    pub script: Option<String>,
    /// The WebAssembly module.
    pub module: Option<String>,
    /// The style sheet.
    pub style: Option<String>,
    /// Where all files of this build lie.
    pub folder: String,
}

/// A form that was refused, for the page on which it is drawn again.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What it asked for (`kind@target`).
    pub wish: String,
    /// Its fields as they were typed.
    pub fields: Vec<(String, String)>,
    /// Why it was refused.
    pub fault: Fault,
}

impl Refused {
    /// What was typed into a field.
    pub(crate) fn typed(&self, name: &str) -> Option<&str> {
        self.fields.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Makes the requests of one rendered page distinct from those of another.
#[derive(Clone, Debug, Default)]
pub struct FormToken(pub String);

/// What a page says of itself beside its text.
#[derive(Clone, Debug, Default)]
pub struct PageStatus(Arc<AtomicBool>);

impl PageStatus {
    /// What the page shows does not exist.
    pub(crate) fn not_found(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the page shows something that does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Light, dark, or what the system says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Theme {
    /// What the system says.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The choice that a `Cookie` header remembers.
    pub fn from_cookies(header: &str) -> Self {
        match header.split(';').find_map(|pair| pair.trim().strip_prefix("theme=")) {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
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
