//! Which requests have been seen, so that none has a second effect.
//!
//! It lives in memory and knows nothing of libvirt.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{CommandRequest, Fault, FaultKind, Receipt, RequestId};
use tokio::sync::watch;

/// Requests that are remembered at most; the oldest ended ones go first.
const MAX_REMEMBERED: usize = 20_000;
/// Requests that may run at the same time.
const MAX_RUNNING: usize = 2_000;

/// How a request ended; none while it runs.
pub(crate) type Outcome = Option<Result<(), Fault>>;

/// A request that was answered.
#[derive(Debug)]
pub(crate) struct Record {
    /// What was asked.
    pub(crate) request: CommandRequest,
    /// The target's name at that time.
    pub(crate) name: String,
    /// How it ended; a request that was refused ended before it began.
    pub(crate) outcome: watch::Sender<Outcome>,
    refused: bool,
}

#[derive(Default)]
struct Table {
    records: HashMap<RequestId, Arc<Record>>,
    order: VecDeque<RequestId>,
    running: usize,
}

/// The answered requests.
#[derive(Default)]
pub(crate) struct Requests {
    table: Mutex<Table>,
}

/// What to do with a request.
pub(crate) enum Admission {
    /// It is new: carry it out, then say how it ended.
    New(Arc<Record>),
    /// It was accepted before: the same receipt, no second effect.
    Again(Receipt),
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a request once. `check` says whether a new one is possible, and
    /// gives the target's name; it runs under the lock, so that of two equal
    /// requests at once exactly one is new.
    pub(crate) fn admit(
        &self,
        request: CommandRequest,
        check: impl FnOnce(&CommandRequest) -> Result<String, Fault>,
    ) -> Result<Admission, Fault> {
        let mut table = self.lock();
        let id = request.request_id;
        if let Some(known) = table.records.get(&id) {
            if known.request != request {
                let fault = Fault::new(FaultKind::Conflict, format!("The request id {id} was used for something else"));
                return Err(fault.with_next("Send every command with a new id"));
            }
            let outcome = known.outcome.borrow().clone();
            return match outcome {
                Some(Err(fault)) if known.refused => Err(fault),
                _ => Ok(Admission::Again(Receipt { request_id: id })),
            };
        }
        let name = match check(&request) {
            Ok(name) => name,
            Err(fault) => {
                let outcome = watch::Sender::new(Some(Err(fault.clone())));
                table.remember(Record { request, name: String::new(), outcome, refused: true });
                return Err(fault);
            }
        };
        if table.running >= MAX_RUNNING {
            return Err(
                Fault::new(FaultKind::Busy, "Too many commands run at the moment").with_next("Try again in a moment")
            );
        }
        table.running += 1;
        Ok(Admission::New(table.remember(Record { request, name, outcome: watch::Sender::new(None), refused: false })))
    }

    /// Says how an admitted request ended.
    pub(crate) fn ended(&self, record: &Record, result: Result<(), Fault>) {
        self.lock().running -= 1;
        record.outcome.send_replace(Some(result));
    }

    /// The answered request with that id.
    pub(crate) fn get(&self, id: RequestId) -> Option<Arc<Record>> {
        self.lock().records.get(&id).cloned()
    }
}

impl Table {
    /// Keeps a request, and forgets the oldest ones beyond the bound.
    fn remember(&mut self, record: Record) -> Arc<Record> {
        while self.order.len() >= MAX_REMEMBERED {
            let Some(oldest) = self.order.pop_front() else { break };
            self.records.remove(&oldest);
        }
        let (id, record) = (record.request.request_id, Arc::new(record));
        self.records.insert(id, record.clone());
        self.order.push_back(id);
        record
    }
}
