//! Runs user actions: asks for confirmation where something can be lost, sends the command, marks
//! its row as pending and reports the result.
//!
//! Nothing here changes a machine in the store; its state changes only by events. How a command
//! reaches the server is in `send`.

mod send;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use leptos::prelude::*;
use model::{
    Command, Domain, DomainCommand, DomainRef, Fault, FaultKind, HostId, Permission, RequestId, event::Change,
};

use self::send::HostRequest;
pub(crate) use self::send::new_id;
#[cfg(feature = "hydrate")]
pub(crate) use self::send::{Answer, Sent, begin_upload, form};
use super::{Store, rows::Pending};
use crate::format;

/// A confirmation that is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// The command to confirm.
    pub(crate) command: DomainCommand,
    /// The target machines.
    pub(crate) targets: Vec<(DomainRef, Arc<Domain>)>,
}

impl Question {
    /// The consequence to display.
    pub(crate) fn why(&self) -> &'static str {
        // With one target, the dialog opens only for commands that also confirm several.
        self.command.asks(self.targets.len().max(2)).unwrap_or_default()
    }

    /// The text to type before confirming, if any.
    pub(crate) fn typed(&self) -> Option<String> {
        Command::from(self.command.clone()).typed("", self.targets.len())
    }
}

/// The result of one command, or its progress.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    /// Waiting for the connection to the server.
    Held,
    /// Running.
    Not,
    /// Succeeded, with the duration in milliseconds.
    Well(u64),
    /// Failed.
    Badly(Fault),
}

impl Ended {
    /// A number that differs with the progress of a notice's items, so that it is rendered again.
    pub(crate) fn rank(&self) -> usize {
        match self {
            Self::Well(_) | Self::Badly(_) => 0,
            Self::Not => 1,
            Self::Held => 10_000,
        }
    }
}

/// A notice about an action of this tab.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Identifies the notice.
    pub(crate) id: u64,
    /// The action, for example "Start".
    pub(crate) title: String,
    /// The command, if it was one.
    pub(crate) command: Option<DomainCommand>,
    /// Each machine with its result.
    pub(crate) items: Vec<Item>,
}

/// One machine of a notice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The request; all machines of a batch share one.
    pub(crate) request: RequestId,
    /// The machine, if any.
    pub(crate) target: Option<DomainRef>,
    /// The machine's name, or the whole text of a notice that is about no machine.
    pub(crate) name: String,
    /// The text for success, for example "is paused".
    pub(crate) done: String,
    /// The result.
    pub(crate) ended: Ended,
}

/// The actions of this tab. `Copy`; all copies share their state.
#[derive(Clone, Copy)]
pub(crate) struct Acts {
    store: Store,
    /// The open confirmation.
    pub(crate) question: RwSignal<Option<Question>>,
    /// The notices, newest last.
    pub(crate) notices: RwSignal<Vec<Notice>>,
    /// Running requests of this tab, with their rows.
    running: StoredValue<HashMap<RequestId, Vec<DomainRef>>>,
    /// Requests that wait for the server, with the time they were held, in milliseconds.
    held: StoredValue<Vec<(f64, HostRequest)>>,
    next: StoredValue<u64>,
}

/// How long a notice without failures is shown, in milliseconds.
#[cfg(feature = "hydrate")]
const NOTICE_FOR: u32 = 6_000;

impl Acts {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            question: RwSignal::new(None),
            notices: RwSignal::new(Vec::new()),
            running: StoredValue::new(HashMap::new()),
            held: StoredValue::new(Vec::new()),
            next: StoredValue::new(0),
        }
    }

    /// Runs a command on machines, after confirmation where something can be lost.
    pub(crate) fn ask(self, command: DomainCommand, targets: Vec<DomainRef>) {
        if let Err(fault) = self.store.may(Permission::Operate) {
            self.tell(command.label(), fault.sentence(), false);
            return;
        }
        if command.asks(targets.len()).is_none() {
            self.run(&command, &targets);
            return;
        }
        self.confirm(command, targets);
    }

    /// Runs a command on machines, always after confirmation: keys are easily pressed by mistake.
    pub(crate) fn confirm(self, command: DomainCommand, targets: Vec<DomainRef>) {
        let known = targets.into_iter().filter_map(|id| {
            let domain = self.store.rows.get_untracked(&id)?.domain.get_untracked();
            Some((id, domain))
        });
        self.question.set(Some(Question { command, targets: known.collect() }));
    }

    /// Sends a command to each machine and shows one notice for all of them. The machines of a host
    /// are sent as one batch.
    pub(crate) fn run(self, command: &DomainCommand, targets: &[DomainRef]) {
        let mut hosts: BTreeMap<HostId, Vec<DomainRef>> = BTreeMap::new();
        for id in targets.iter().filter(|id| self.store.rows.get_untracked(id).is_some()) {
            hosts.entry(id.host.clone()).or_default().push(id.clone());
        }
        let mut items = Vec::new();
        let mut wishes = Vec::new();
        for (host, targets) in hosts {
            let request = new_id();
            for id in &targets {
                let Some(row) = self.store.rows.get_untracked(id) else { continue };
                row.pending.set(Some(Pending { request, kind: command.kind().to_owned() }));
                let name = row.domain.with_untracked(|domain| domain.name.clone());
                items.push(Item {
                    request,
                    target: Some(id.clone()),
                    name,
                    done: command.done().to_owned(),
                    ended: Ended::Not,
                });
            }
            wishes.push(HostRequest::new(request, host, &targets, command));
            self.running.update_value(|running| {
                running.insert(request, targets);
            });
        }
        self.show(command.label().to_owned(), Some(command.clone()), items);
        if self.store.is_lost() {
            self.hold(command, wishes);
        } else {
            self.send(wishes);
        }
    }

    /// Handles a command while the server is unreachable: a harmless one is held and shown as
    /// waiting, any other is refused, because the state may be different by then.
    fn hold(self, command: &DomainCommand, wishes: Vec<HostRequest>) {
        if !command.about().harmless {
            let fault = Fault::denied(format!("{} was not sent: the Belvedere server is unreachable", command.label()))
                .with_next("Try again when the page is live");
            wishes.iter().for_each(|wish| self.end(wish.id(), None, Ended::Badly(fault.clone())));
            return;
        }
        for wish in &wishes {
            self.retell(wish.id(), &None, &Ended::Held);
        }
        self.held.update_value(|held| held.extend(wishes.into_iter().map(|wish| (now(), wish))));
    }

    /// Sends held commands once the server is reachable, and fails those held too long. Runs every
    /// second and when the connection returns.
    pub(crate) fn look_after_held(self) {
        let lost = self.store.is_lost();
        let (late, kept) = self
            .held
            .try_update_value(|held| {
                std::mem::take(held).into_iter().partition::<Vec<_>, _>(|(at, _)| now() - at > HELD_FOR)
            })
            .unwrap_or_default();
        for (_, wish) in late {
            let fault = Fault::new(FaultKind::Unreachable, "Not sent: the Belvedere server was unreachable for 1 min");
            self.end(wish.id(), None, Ended::Badly(fault.with_next("Try again if it is still needed")));
        }
        // A server that has just started may not have connected to the host yet.
        let reached =
            |wish: &HostRequest| untrack(|| self.store.host(wish.host())).is_some_and(|host| host.connection.connected);
        let (sent, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(_, wish)| !lost && reached(wish));
        self.held.update_value(|held| held.extend(kept));
        for (_, wish) in sent {
            self.retell(wish.id(), &None, &Ended::Not);
            self.send(vec![wish]);
        }
    }

    /// Marks the rows of held commands as pending again, after a full reload of the inventory.
    #[cfg(feature = "hydrate")]
    pub(crate) fn mark_held(self) {
        let held: Vec<(RequestId, &'static str)> =
            self.held.with_value(|held| held.iter().map(|(_, wish)| (wish.id(), wish.kind())).collect());
        for (request, kind) in held {
            let ids = self.running.with_value(|running| running.get(&request).cloned()).unwrap_or_default();
            for row in ids.iter().filter_map(|id| self.store.rows.get_untracked(id)) {
                row.pending.set(Some(Pending { request, kind: kind.to_owned() }));
            }
        }
    }

    /// Cancels the held command of a notice.
    pub(crate) fn give_up(self, request: RequestId) {
        let waits = self.held.try_update_value(|held| {
            let before = held.len();
            held.retain(|(_, wish)| wish.id() != request);
            held.len() < before
        });
        if waits == Some(true) {
            let fault = Fault::new(FaultKind::Cancelled, "Cancelled before it was sent");
            self.end(request, None, Ended::Badly(fault));
        }
    }

    #[cfg(feature = "hydrate")]
    fn send(self, wishes: Vec<HostRequest>) {
        for wish in wishes {
            leptos::task::spawn_local(async move {
                if let Err(fault) = wish.send().await {
                    self.end(wish.id(), None, Ended::Badly(fault));
                }
            });
        }
    }

    #[cfg(not(feature = "hydrate"))]
    fn send(self, _: Vec<HostRequest>) {}

    /// Checks whether an event completes an action of this tab, or reports an error to show.
    pub(crate) fn happened(self, change: &Change) {
        match change {
            Change::Task(task) if task.outcome.is_some() => {
                let ended = task.fault.clone().map_or(Ended::Well(task.duration_ms), Ended::Badly);
                let part = task.target.map(|id| DomainRef { host: task.host_id.clone(), id });
                match (task.parent, part) {
                    (Some(batch), Some(part)) => self.end(batch, Some(part), ended),
                    _ => self.end(task.task_id, None, ended),
                }
            }
            // The journal has its own banner.
            Change::Error(error) if !error.is_about_the_journal() => self.tell("Error", error.message.clone(), true),
            _ => {}
        }
    }

    /// Completes a request: for one of its machines, or for all that remain.
    fn end(self, request: RequestId, part: Option<DomainRef>, ended: Ended) {
        let done = self.running.try_update_value(|running| match &part {
            Some(part) => running.get_mut(&request).map(|left| {
                left.retain(|id| id != part);
                vec![part.clone()]
            }),
            None => running.remove(&request),
        });
        let Some(done) = done.flatten() else { return };
        for row in done.iter().filter_map(|id| self.store.rows.get_untracked(id)) {
            if row.pending.with_untracked(|pending| pending.as_ref().is_some_and(|pending| pending.request == request))
            {
                row.pending.set(None);
            }
        }
        self.retell(request, &part, &ended);
        self.expire();
    }

    /// Updates the notices of a request that is still open.
    fn retell(self, request: RequestId, part: &Option<DomainRef>, ended: &Ended) {
        self.notices.update(|notices| {
            let items = notices.iter_mut().flat_map(|notice| &mut notice.items);
            let open = items.filter(|item| item.request == request && matches!(item.ended, Ended::Not | Ended::Held));
            let meant = open.filter(|item| part.is_none() || item.target == *part);
            meant.for_each(|item| item.ended = ended.clone());
        });
    }

    /// Follows the requests that a form of the page has sent.
    #[cfg(feature = "hydrate")]
    pub(crate) fn follow(self, requests: &[RequestId], label: String, done: String, name: &str) {
        let item = |request: &RequestId| {
            let (name, done) = (name.to_owned(), done.clone());
            Item { request: *request, target: None, name, done, ended: Ended::Not }
        };
        self.running.update_value(|running| running.extend(requests.iter().map(|request| (*request, Vec::new()))));
        self.show(label, None, requests.iter().map(item).collect());
        // A request may have completed before the response arrived.
        let ended = self.store.tasks.get_untracked();
        for task in ended.iter().filter(|task| requests.contains(&task.task_id)) {
            self.happened(&Change::Task(task.clone()));
        }
    }

    /// Waits up to 10 s for requests to complete. Returns the fault of one that failed, or `None`
    /// if they are still running.
    #[cfg(feature = "hydrate")]
    pub(crate) async fn ended(self, requests: &[RequestId]) -> Option<Result<(), Fault>> {
        for _ in 0..100 {
            let (ended, fault) = self.store.tasks.with_untracked(|tasks| {
                let ours = tasks.iter().filter(|task| requests.contains(&task.task_id) && task.outcome.is_some());
                let ended: Vec<_> = ours.collect();
                (ended.len() == requests.len(), ended.iter().find_map(|task| task.fault.clone()))
            });
            if let Some(fault) = fault {
                return Some(Err(fault));
            }
            if ended {
                return Some(Ok(()));
            }
            gloo_timers::future::TimeoutFuture::new(100).await;
        }
        None
    }

    /// Shows a notice that is about no command.
    pub(crate) fn tell(self, title: &str, text: String, bad: bool) {
        // A fault adds the full stop itself.
        let reason = text.strip_suffix('.').unwrap_or(&text);
        let ended = if bad { Ended::Badly(Fault::new(FaultKind::Refused, reason)) } else { Ended::Well(0) };
        let item = Item {
            request: RequestId(uuid::Uuid::nil()),
            target: None,
            name: if bad { String::new() } else { text },
            done: String::new(),
            ended,
        };
        self.show(title.to_owned(), None, vec![item]);
        self.expire();
    }

    fn show(self, title: String, command: Option<DomainCommand>, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let id = self.next.try_update_value(|next| {
            *next += 1;
            *next
        });
        let notice = Notice { id: id.unwrap_or_default(), title, command, items };
        self.notices.update(|notices| {
            notices.push(notice);
            // Old notices are dropped; failures are in the log.
            let surplus = notices.len().saturating_sub(5);
            notices.drain(..surplus);
        });
    }

    /// Runs the failed part of a notice again.
    pub(crate) fn again(self, notice: &Notice) {
        let failed = notice.items.iter().filter(|item| matches!(item.ended, Ended::Badly(_)));
        let targets = failed.filter_map(|item| item.target.clone()).collect();
        if let Some(command) = notice.command.clone() {
            self.dismiss(notice.id);
            self.ask(command, targets);
        }
    }

    /// Removes a notice.
    pub(crate) fn dismiss(self, id: u64) {
        self.notices.update(|notices| notices.retain(|notice| notice.id != id));
    }

    /// Removes successful notices after `NOTICE_FOR`.
    fn expire(self) {
        #[cfg(feature = "hydrate")]
        {
            let well = |notice: &Notice| notice.items.iter().all(|item| matches!(item.ended, Ended::Well(_)));
            let ids = self.notices.with_untracked(|notices| {
                notices.iter().filter(|notice| well(notice)).map(|notice| notice.id).collect::<Vec<_>>()
            });
            for id in ids {
                gloo_timers::callback::Timeout::new(NOTICE_FOR, move || self.dismiss(id)).forget();
            }
        }
    }
}

impl Item {
    /// The text to display.
    pub(crate) fn sentence(&self) -> String {
        match &self.ended {
            Ended::Not => self.name.clone(),
            Ended::Held => format!("{} is waiting for the Belvedere server, up to 1 min", self.name),
            Ended::Well(0) if self.done.is_empty() => self.name.clone(),
            Ended::Well(took) => format!("{} {} ({})", self.name, self.done, format::took(*took)),
            Ended::Badly(fault) => fault.sentence(),
        }
    }
}

/// How long a harmless command waits for the server, in milliseconds.
const HELD_FOR: f64 = 60_000.0;

/// Milliseconds on a monotonic clock.
fn now() -> f64 {
    #[cfg(feature = "hydrate")]
    return window().performance().map_or(0.0, |clock| clock.now());
    #[cfg(not(feature = "hydrate"))]
    0.0
}
