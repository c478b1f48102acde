//! Carries out what a person wants: asks first where something is lost, sends
//! the command, marks its row as pending, and tells how it ended.
//!
//! Nothing here changes a machine in the store; the truth comes as an event.

use std::{collections::HashMap, sync::Arc};

use leptos::prelude::*;
use model::{Command, CommandRequest, Domain, DomainRef, Event, Fault, FaultKind, RequestId};

use crate::{
    format,
    store::{Store, rows::Pending},
};

/// What a person is asked before something is lost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// What is to be done.
    pub(crate) command: Command,
    /// With which machines.
    pub(crate) targets: Vec<(DomainRef, Arc<Domain>)>,
}

/// How one command ended, or that it has not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    /// It runs.
    Not,
    /// It worked, after so many milliseconds.
    Well(u64),
    /// It did not.
    Badly(Fault),
}

/// Something a person is told about what they did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Distinguishes it from others.
    pub(crate) id: u64,
    /// What was done, as "Start".
    pub(crate) title: String,
    /// Each machine and how it ended there.
    pub(crate) items: Vec<Item>,
}

/// One machine of a notice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The request.
    pub(crate) request: RequestId,
    /// The machine's name, or the whole text of a notice that is about none.
    pub(crate) name: String,
    /// What is true of it once it worked.
    pub(crate) done: &'static str,
    /// How it ended.
    pub(crate) ended: Ended,
}

/// What a person has done and is asked; copies are cheap and all the same.
#[derive(Clone, Copy)]
pub(crate) struct Acts {
    store: Store,
    /// The question that is open.
    pub(crate) question: RwSignal<Option<Question>>,
    /// What is told, the newest last.
    pub(crate) notices: RwSignal<Vec<Notice>>,
    /// Requests of this tab that run, with their row.
    running: StoredValue<HashMap<RequestId, DomainRef>>,
    next: StoredValue<u64>,
}

/// How long a notice without failures stays, in milliseconds.
#[cfg(feature = "hydrate")]
const NOTICE_FOR: u32 = 6_000;

impl Acts {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            question: RwSignal::new(None),
            notices: RwSignal::new(Vec::new()),
            running: StoredValue::new(HashMap::new()),
            next: StoredValue::new(0),
        }
    }

    /// Does something with machines, after a question where something is lost.
    pub(crate) fn ask(self, command: Command, targets: Vec<DomainRef>) {
        if command.loses().is_none() {
            self.run(&command, &targets);
            return;
        }
        let known = targets.into_iter().filter_map(|id| {
            let domain = self.store.rows.get_untracked(&id)?.domain.get_untracked();
            Some((id, domain))
        });
        self.question.set(Some(Question { command, targets: known.collect() }));
    }

    /// Sends a command to each machine and shows one notice for all of them.
    pub(crate) fn run(self, command: &Command, targets: &[DomainRef]) {
        let mut items = Vec::new();
        let mut requests = Vec::new();
        for id in targets {
            let Some(row) = self.store.rows.get_untracked(id) else { continue };
            let request = CommandRequest::new(new_id(), id, command.clone());
            row.pending.set(Some(Pending { request: request.request_id, kind: command.kind() }));
            self.running.update_value(|running| {
                running.insert(request.request_id, id.clone());
            });
            let name = row.domain.with_untracked(|domain| domain.name.clone());
            items.push(Item { request: request.request_id, name, done: command.done(), ended: Ended::Not });
            requests.push(request);
        }
        self.show(command.label().to_owned(), items);
        self.send(requests);
    }

    #[cfg(feature = "hydrate")]
    fn send(self, requests: Vec<CommandRequest>) {
        for request in requests {
            leptos::task::spawn_local(async move {
                if let Err(fault) = send(&request).await {
                    self.end(request.request_id, Ended::Badly(fault));
                }
            });
        }
    }

    #[cfg(not(feature = "hydrate"))]
    fn send(self, _: Vec<CommandRequest>) {}

    /// Sees whether an event ends something that was done here, or tells
    /// something that a person here must know.
    pub(crate) fn happened(self, event: &Event) {
        match event {
            Event::TaskCompleted(task) => {
                let ended = task.fault.clone().map_or(Ended::Well(task.duration_ms), Ended::Badly);
                self.end(task.task_id, ended);
            }
            Event::Error(error) => self.tell("Problem", error.message.clone(), true),
            _ => {}
        }
    }

    fn end(self, request: RequestId, ended: Ended) {
        let Some(id) = self.running.try_update_value(|running| running.remove(&request)).flatten() else { return };
        if let Some(row) = self.store.rows.get_untracked(&id)
            && row.pending.with_untracked(|pending| pending.as_ref().is_some_and(|pending| pending.request == request))
        {
            row.pending.set(None);
        }
        self.notices.update(|notices| {
            let items = notices.iter_mut().flat_map(|notice| &mut notice.items);
            items.filter(|item| item.request == request).for_each(|item| item.ended = ended.clone());
        });
        self.expire();
    }

    /// Tells a sentence that is about no command.
    pub(crate) fn tell(self, title: &str, text: String, bad: bool) {
        let ended = if bad { Ended::Badly(Fault::new(FaultKind::Refused, text.clone())) } else { Ended::Well(0) };
        let item = Item {
            request: RequestId(uuid::Uuid::nil()),
            name: if bad { String::new() } else { text },
            done: "",
            ended,
        };
        self.show(title.to_owned(), vec![item]);
        self.expire();
    }

    fn show(self, title: String, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let id = self.next.try_update_value(|next| {
            *next += 1;
            *next
        });
        let notice = Notice { id: id.unwrap_or_default(), title, items };
        self.notices.update(|notices| {
            notices.push(notice);
            // Old ones give way; failures were seen or are in the log.
            let surplus = notices.len().saturating_sub(5);
            notices.drain(..surplus);
        });
    }

    /// Takes a notice away.
    pub(crate) fn dismiss(self, id: u64) {
        self.notices.update(|notices| notices.retain(|notice| notice.id != id));
    }

    /// Notices that ended well go on their own.
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
    /// What is told of it.
    pub(crate) fn sentence(&self) -> String {
        match &self.ended {
            Ended::Not => self.name.clone(),
            Ended::Well(0) if self.done.is_empty() => self.name.clone(),
            Ended::Well(took) => format!("{} {} ({})", self.name, self.done, format::took(*took)),
            Ended::Badly(fault) => fault.sentence(),
        }
    }
}

/// A request id that no one else makes (RFC 9562, version 4).
fn new_id() -> RequestId {
    let mut bytes = [0; 16];
    #[cfg(feature = "hydrate")]
    if let Ok(crypto) = window().crypto() {
        // `randomUUID` exists in secure contexts only, this everywhere.
        crypto.get_random_values_with_u8_array(&mut bytes).ok();
    }
    RequestId(uuid::Builder::from_random_bytes(std::mem::take(&mut bytes)).into_uuid())
}

/// Nobody answered a request.
pub(crate) fn no_answer() -> Fault {
    Fault::new(FaultKind::Unreachable, "Belvedere's server does not answer")
        .with_next("Try again once the page is live")
}

#[cfg(feature = "hydrate")]
async fn send(request: &CommandRequest) -> Result<(), Fault> {
    let sent = gloo_net::http::Request::post(crate::routes::API_COMMANDS).json(request).map_err(|_| no_answer())?;
    let response = sent.send().await.map_err(|_| no_answer())?;
    if response.ok() {
        return Ok(());
    }
    Err(response.json::<Fault>().await.unwrap_or_else(|_| no_answer()))
}
