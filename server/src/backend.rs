//! Runs requests of the interface: check, record, run, report the result. It owns the hosts and
//! connects HTTP with libvirt.

mod batch;
pub(crate) mod console;
pub(crate) mod fetcher;
mod host;
pub(crate) mod hosts;
pub(crate) mod operations;
mod perform;
mod recent;
mod storage;
mod watch;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

use app::backend::{Accounts, AccountsRequest, Done, Visit};
use hypervisor::{HostConfig, LastStates, Sink};
use model::{
    Command, CommandRequest, Domain, DomainRef, Event, Fault, FaultKind, HostId, HostInventory, HostStats, NoteKind,
    ObjectRef, Origin, Receipt, RequestId, Task, VmStats,
    query::{Answer, Question},
    stats::{LATEST, Sweep, Usage},
};
use tokio::{task::JoinSet, time::timeout};
use tracing::Instrument;
use uuid::Uuid;

use self::{
    console::Consoles,
    fetcher::Fetcher,
    host::Host,
    hosts::Hosts,
    operations::{AtStop, upload::Uploads},
    recent::Recent,
};
use crate::{
    auth,
    feed::{Feed, Filter},
    history,
    journal::{Intent, Journal, Note, accounts},
    limits::{self, Places, Rate, Turns},
    tasks::{Admission, Record, Tasks, now},
    usage_history::History,
    windows::Windows,
};

/// The hosts, the feed, the requests, and the journal.
pub struct Backend {
    feed: Arc<Feed>,
    pub(crate) hosts: Hosts,
    tasks: Arc<Tasks>,
    pub(crate) journal: Arc<Journal>,
    /// Recent usage of machines.
    pub(crate) history: Arc<History>,
    /// Recent answers, by object, query and state of the host.
    answers: Recent<(ObjectRef, Question, u64), Answer>,
    /// Uploads waiting for content.
    pub(crate) uploads: Uploads,
    /// Downloads files for volumes.
    fetcher: Fetcher,
    /// Open consoles.
    pub(crate) consoles: Arc<Consoles>,
    /// The command rate limit per account.
    commands: Rate,
    /// Concurrent volume transfers per account and host.
    pub(crate) contents: Places,
    /// Windows of pages over many machines.
    pub(crate) windows: Windows,
    /// Streams per account.
    pub(crate) streams: Places,
    /// Journal queries, serialised per account.
    pub(crate) questions: Turns,
    /// Background tasks until the server stops.
    beside: Mutex<JoinSet<()>>,
}

/// The burst of commands per account, and commands per second after that. A batch counts once more
/// for every ten machines.
const COMMANDS_AT_ONCE: u32 = 300;
const COMMANDS_PER_SECOND: u32 = 30;
/// Machines of a batch that count as one more command.
const PARTS_OF_ONE: usize = 10;
/// Concurrent volume transfers per account and host: libvirt's connection for them has four slots,
/// and one is left for others.
const CONTENTS_OF_ONE: usize = 3;
/// Streams per account: one per browser or program.
const STREAMS_OF_ONE: usize = 200;

/// Passes a host's events to the feed, its statistics also to the history, and its raw images to
/// the journal.
struct ToFeed(Arc<Feed>, Arc<History>, Weak<Journal>);

impl Sink for ToFeed {
    fn publish(&self, events: Vec<Event>) {
        self.0.publish(events);
    }

    fn wants(&self, kind: &str) -> bool {
        self.0.wants(kind)
    }

    fn measured(&self, host: &HostId, sweep: Sweep) {
        let [machines, itself] = LATEST;
        // An empty list is published as well: nothing runs any more.
        self.0.tell(machines, host, &serde_json::to_string(&sweep.machines).expect("names are the only keys"));
        match &sweep.host {
            Some(stats) => self.0.tell(itself, host, &serde_json::to_string(stats).expect("names are the only keys")),
            None => self.0.untell(itself, host),
        }
        self.1.measured(host, sweep);
    }

    fn watched(&self, host: &HostId) -> Vec<Uuid> {
        self.0.watched(host)
    }

    fn last_states(&self, host: HostId, ids: Vec<Uuid>) -> LastStates {
        let journal = self.2.upgrade();
        Box::pin(async move {
            let Some(journal) = journal else { return HashMap::new() };
            // Errors of the journal are reported elsewhere.
            journal.events.last_states(host, ids).await.unwrap_or_default()
        })
    }

    fn raw_images(&self, host: &HostId) -> Vec<String> {
        self.2.upgrade().map(|journal| journal.audit.raw_images(host)).unwrap_or_default()
    }

    fn note_raw_images(&self, host: &HostId, images: Vec<String>, raw: bool) {
        // A closed journal accepts nothing.
        if let Some(journal) = self.2.upgrade() {
            journal.audit.note_raw_images(host, images, raw);
        }
    }
}

impl Backend {
    pub(crate) fn start(
        feed: Arc<Feed>,
        hosts: Vec<HostConfig>,
        more: (HostConfig, Option<PathBuf>),
        journal: Arc<Journal>,
        fetcher: Fetcher,
    ) -> Arc<Self> {
        let history = Arc::new(History::default());
        let sink: Arc<dyn Sink> = Arc::new(ToFeed(feed.clone(), history.clone(), Arc::downgrade(&journal)));
        let hosts = Hosts::start(hosts, more, sink);
        let tasks = Arc::new(Tasks::new(journal.clone(), feed.clone()));
        let backend = Arc::new(Self {
            feed,
            hosts,
            tasks,
            journal,
            history,
            answers: Recent::default(),
            uploads: Uploads::default(),
            fetcher,
            consoles: Arc::default(),
            commands: Rate::new(COMMANDS_AT_ONCE, COMMANDS_PER_SECOND),
            contents: Places::new(CONTENTS_OF_ONE),
            streams: Places::new(STREAMS_OF_ONE),
            questions: Turns::default(),
            windows: Windows::default(),
            beside: Mutex::default(),
        });
        let mut beside = watch::start(&backend);
        beside.spawn(Feed::clone(&backend.feed).beat());
        *backend.beside.lock() = beside;
        backend
    }

    /// Whether a sender may send another command.
    ///
    /// # Errors
    /// `TooMany`.
    pub(crate) fn may_send(&self, origin: &Origin) -> Result<(), Fault> {
        self.commands.take(&limits::account(origin), 1)
    }

    /// Whether a batch may have so many machines: each is recorded, at a lower cost than a command.
    ///
    /// # Errors
    /// `TooMany`.
    pub(crate) fn may_send_parts(&self, origin: &Origin, parts: usize) -> Result<(), Fault> {
        let count = u32::try_from(parts.saturating_sub(1) / PARTS_OF_ONE).unwrap_or(u32::MAX);
        self.commands.take(&limits::account(origin), count)
    }

    /// The event feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Stops in order: no new commands, outcomes on disk.
    pub(crate) async fn stop(&self, limit: Duration) {
        for record in self.tasks.open() {
            if operations::of(&record.intent.command).at_stop() == AtStop::Cancel {
                record.cancel.notify_one();
            }
        }
        let goes_on = |record: &Record| operations::of(&record.intent.command).at_stop() == AtStop::GoOn;
        self.tasks.drain(limit, goes_on).await;
        watch::last(self).await;
        self.beside.lock().abort_all();
    }

    /// The hosts whose first listing has neither finished nor failed.
    pub fn unsettled(&self) -> Vec<HostId> {
        self.hosts.all().iter().filter(|(_, host)| !host.is_settled()).map(|(id, _)| id.clone()).collect()
    }

    /// Waits until every host's first listing has finished or failed.
    pub async fn settled(&self) {
        for host in self.hosts.all().values() {
            host.settled().await;
        }
    }

    /// Tries to connect to a host now.
    ///
    /// # Errors
    /// `NotFound` if there is no such host.
    pub fn reconnect(&self, id: &HostId) -> Result<(), Fault> {
        self.hosts.get(id).ok_or_else(|| no_host(id))?.reconnect();
        Ok(())
    }

    /// Tries to connect to a host now, and waits until the attempt has ended, at most `limit`.
    ///
    /// # Errors
    /// `NotFound` if there is no such host.
    pub async fn reconnect_and_wait(&self, id: &HostId, limit: Duration) -> Result<(), Fault> {
        let connection = || self.feed.snapshot().hosts.hosts.get(id).map(|host| host.host.connection.clone());
        let before = connection();
        let filter = Filter { hosts: [id.clone()].into(), ..Filter::default() };
        let reader = self.feed.subscribe(Some(self.feed.cursor()), filter);
        self.reconnect(id)?;
        let Some(mut reader) = reader else { return Ok(()) };
        // The page shows the result.
        let changed = async { while connection() == before && reader.next().await.is_some() {} };
        timeout(limit, changed).await.ok();
        Ok(())
    }

    /// Checks whether the journal can be written again.
    ///
    /// # Errors
    /// `InsufficientStorage` if it cannot.
    pub async fn check_journal(&self) -> Result<(), Fault> {
        if self.journal.trouble().borrow().is_none() {
            return Ok(());
        }
        self.journal.audit.note(now(), NoteKind::JournalWorksAgain, String::new()).await
    }

    /// Accepts a command or refuses it with the reason. It continues to run; the result is an
    /// event.
    ///
    /// # Errors
    /// If the target is unknown, the command is not possible now, its id was used for another
    /// command, or it cannot be recorded.
    pub async fn accept(self: &Arc<Self>, request: CommandRequest, origin: Origin) -> Result<Receipt, Fault> {
        let used = self.check_use(&request).await;
        let (intent, domain) = self.intent(request, origin, None, used);
        let id = intent.request_id;
        match self.tasks.admit(intent).await? {
            Admission::Again(receipt) => Ok(receipt),
            Admission::New(record) => {
                let backend = self.clone();
                let agent = domain.map(|domain| domain.agent).unwrap_or_default();
                // Part of the request, which ends before it.
                let span = perform::span(&record.intent);
                tokio::spawn(async move { backend.perform(&record, agent, None).await }.instrument(span));
                Ok(Receipt::of(id))
            }
        }
    }

    /// The record of a request, with the reason of a refusal. `used` is the result of the use
    /// check.
    fn intent(
        &self,
        request: CommandRequest,
        origin: Origin,
        parent: Option<RequestId>,
        used: Result<(), Fault>,
    ) -> (Intent, Option<Arc<Domain>>) {
        let hosts = self.feed.snapshot().hosts;
        let host = hosts.hosts.get(&request.host).ok_or_else(|| no_host(&request.host));
        let name = host.as_ref().ok().and_then(|host| request.command.target_name(host, request.target));
        let check = |host: &HostInventory| {
            request.command.check(host, request.target, request.expected_version)?;
            let known = matches!(request.command, Command::Domain(_))
                || self.hosts.get(&request.host).is_some_and(|host| host.is_listed());
            if !known {
                let reason = format!("The pools and networks of {} have not been read yet", request.host);
                return Err(Fault::denied(reason).with_next("Try again in a moment"));
            }
            let (target, name) = (request.object(), name.as_deref().unwrap_or_default());
            operations::ALL.iter().try_for_each(|one| one.admits(self, &target, &request.command, name))?;
            self.is_within_limit(&request.command, &origin)
        };
        // General reasons are reported before uses.
        let refused = host.and_then(|host| check(host)).and(used).err();
        let domain = request.object().domain().and_then(|id| hosts.domain(&id).cloned());
        let CommandRequest { request_id, host, target, command, session, tab, .. } = request;
        let intent = Intent {
            at: now(),
            request_id,
            parent,
            kind: command.kind().to_owned(),
            host,
            target: Some(target),
            targets: Vec::new(),
            name: name.unwrap_or_default(),
            command,
            origin: Origin { session: named(session), tab: named(tab), ..origin },
            refused,
        };
        (intent, domain)
    }

    /// Whether an account may begin one more operation of this kind.
    ///
    /// # Errors
    /// `TooMany`.
    fn is_within_limit(&self, command: &Command, origin: &Origin) -> Result<(), Fault> {
        let most = operations::of(command).most_of_one();
        if most == usize::MAX {
            return Ok(());
        }
        let own = |record: &Arc<Record>| record.intent.kind == command.kind() && record.intent.origin.who == origin.who;
        if self.tasks.open().iter().filter(|record| own(record)).count() < most {
            return Ok(());
        }
        let reason = format!("You already have {most} tasks in progress: {}", command.label());
        Err(Fault::new(FaultKind::TooMany, reason).with_next("Wait until one has ended, or cancel one"))
    }

    /// Cancels a task. The result is an event.
    ///
    /// # Errors
    /// `NotFound` if there is no such task, `Denied` if it cannot be cancelled.
    pub async fn cancel(&self, id: RequestId) -> Result<(), Fault> {
        let task = self.tasks.find(id).await?;
        let name = format!("{} of {}", task.label(), task.target_name);
        match self.tasks.get(id).filter(|_| task.outcome.is_none()) {
            Some(record) if task.cancellable => {
                record.cancel.notify_one();
                Ok(())
            }
            Some(_) => Err(Fault::denied(format!("{name} cannot be cancelled: libvirt cannot interrupt it"))),
            None => Err(Fault::denied(format!("{name} has already finished"))),
        }
    }

    /// One task with its log.
    ///
    /// # Errors
    /// `NotFound` if there is no such task.
    pub async fn task(&self, id: RequestId) -> Result<Arc<Task>, Fault> {
        self.tasks.find(id).await
    }

    /// Waits until an accepted request has ended, at most `limit`.
    pub async fn wait(&self, id: RequestId, limit: Duration) {
        self.tasks.wait(id, limit).await;
    }

    /// The domain XML with passwords. The access is recorded before.
    ///
    /// # Errors
    /// If the machine does not exist, libvirt fails, or the access cannot be recorded.
    pub(crate) async fn definition_with_secrets(&self, id: &DomainRef, origin: &Origin) -> Result<String, Fault> {
        let (host, name) = self.machine(id)?;
        let note = Note::of(NoteKind::PasswordsRead, &format!("{name} on {}", id.host), origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await?;
        host.definition_with_secrets(id.id, &name).await
    }

    /// The host of a machine, and its name.
    fn machine(&self, id: &DomainRef) -> Result<(Arc<dyn Host>, String), Fault> {
        let name = self.feed.snapshot().hosts.domain(id).map(|domain| domain.name.clone());
        let name = name.ok_or_else(|| ObjectRef::from(id).missing())?;
        Ok((self.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?, name))
    }

    /// The current task of a request, for lists from disk.
    pub(crate) fn live(&self, id: RequestId) -> Option<Arc<Task>> {
        self.tasks.get(id).map(|record| record.task.borrow().clone())
    }
}

/// Data for pages; `visibility` decides the visibility.
impl Backend {
    /// The latest statistics of running machines and hosts.
    pub(crate) fn stats(&self) -> (Vec<VmStats>, Vec<HostStats>) {
        self.history.latest()
    }

    /// The statistics of a running machine in the last two minutes, the oldest first.
    pub(crate) fn recent(&self, id: &DomainRef) -> Vec<VmStats> {
        const RECENT: u64 = 120_000;
        let points = self.history.readings(id, now().saturating_sub(RECENT), now());
        points
            .iter()
            .map(|point| VmStats { host_id: Some(id.host.clone()), vm_id: id.id, ..VmStats::from(point) })
            .collect()
    }

    /// The usage of a machine in the range of its page's query.
    ///
    /// # Errors
    /// If the query is invalid, or the history cannot be read.
    pub(crate) async fn usage(&self, id: &DomainRef, query: &str) -> Result<Option<Usage>, Fault> {
        history::usage_for_page(self, id, query).await
    }

    /// The result of a request.
    pub(crate) fn done(&self, id: RequestId) -> Option<Done> {
        let record = self.tasks.get(id)?;
        let task = record.task.borrow().clone();
        let outcome = match (record.refusal(), task.outcome, &task.fault) {
            (Some(fault), ..) => Some(Err(fault)),
            (None, None, _) => None,
            (None, Some(_), None) => Some(Ok(())),
            (None, Some(_), Some(fault)) => Some(Err(fault.clone())),
        };
        Some(Done { name: record.intent.name.clone(), command: record.intent.command.clone(), outcome })
    }

    /// The answer to a query about an object.
    ///
    /// # Errors
    /// If the object does not exist, the query is not possible now, or libvirt fails.
    pub(crate) async fn ask(&self, on: &ObjectRef, question: Question) -> Result<Answer, Fault> {
        let hosts = self.feed.snapshot().hosts;
        let known = hosts.hosts.get(&on.host).filter(|known| known.name_of(on.kind, on.id).is_some());
        let (known, host) = known.zip(self.hosts.get(&on.host)).ok_or_else(|| on.missing())?;
        question.check(known, on.id)?;
        if let Some(answer) = question.known(known, on.id) {
            return Ok(answer);
        }
        let ask = || host.ask(known, on, question.clone());
        if !question.about().kept {
            return ask().await;
        }
        self.answers.get(&(on.clone(), question.clone(), host.generation()), ask).await
    }

    /// The data of an account page.
    ///
    /// # Errors
    /// If the accounts cannot be read.
    pub(crate) async fn accounts(&self, wish: AccountsRequest, visit: &Visit) -> Result<Accounts, Fault> {
        let visit = visit.clone();
        self.journal.accounts.read(move |connection| auth::listed(connection, wish, &visit)).await
    }
}

fn no_host(id: &HostId) -> Fault {
    ObjectRef::host(id).missing()
}

/// Maximum length of a browser's session or tab id.
const MAX_NAME: usize = 64;

/// A session or tab id, if valid.
fn named(text: Option<String>) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.filter(|text| !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(plain))
}
