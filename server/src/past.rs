//! The past as pages and programs read it: what is on disk, with what is known
//! of it in memory laid over it.

use std::{collections::BTreeMap, sync::Arc};

use app::backend::{Past, PastEvent, PastWish};
use model::{Fault, HostId, RequestId, Task};
use uuid::Uuid;

use crate::{
    Backend,
    journal::{EventRow, Paged, Query, Span},
    tasks::task_of_record,
};

/// Items of a page when nobody says how many.
const PAGE: u32 = 100;

/// Reads the fields of a query.
pub(crate) struct Wishes(pub(crate) BTreeMap<String, String>);

impl Wishes {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Fault> {
        let wrong = |text: &str| Fault::invalid(name, &format!("\"{}\" is no {what}", text.escape_debug()));
        self.text(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    fn moment(&self, name: &str) -> Result<Option<u64>, Fault> {
        let wrong = |text: &str| {
            let why =
                format!("\"{}\" is no time; it looks like 2026-11-21T08:00 or Unix milliseconds", text.escape_debug());
            Fault::invalid(name, &why)
        };
        self.text(name).map(|text| app::format::parse_utc(text).ok_or_else(|| wrong(text))).transpose()
    }

    fn host(&self) -> Result<Option<HostId>, Fault> {
        self.parsed("host", "host name")
    }

    fn limit(&self) -> Result<u32, Fault> {
        Ok(self.parsed("limit", "number")?.unwrap_or(PAGE))
    }

    /// Which records are meant.
    pub(crate) fn query(&self) -> Result<Query, Fault> {
        Ok(Query {
            after: self.parsed("after", "position")?,
            limit: self.limit()?,
            text: self.text("q").unwrap_or_default().to_owned(),
            request: self.parsed("requestId", "UUID")?,
            parent: self.parsed("parent", "UUID")?,
            host: self.host()?,
            target: self.parsed("target", "UUID")?,
            kind: self.text("kind").map(str::to_owned),
            // On disk what is under way has no outcome yet, whether it runs or waits.
            outcome: self.text("outcome").or(self.text("state")).map(|word| match word {
                "running" => "accepted".to_owned(),
                word => word.to_owned(),
            }),
            from: self.moment("from")?,
            to: self.moment("to")?,
            tasks: false,
        })
    }

    /// Which events are meant.
    pub(crate) fn span(&self) -> Result<Span, Fault> {
        Ok(Span {
            after: self.parsed("after", "position")?,
            limit: self.limit()?,
            from: self.moment("from")?,
            to: self.moment("to")?,
            host: self.host()?,
            subject: self.parsed::<Uuid>("target", "UUID")?,
            kinds: self
                .text("topics")
                .map(|topics| topics.split(',').map(|topic| topic.trim().to_owned()).collect())
                .unwrap_or_default(),
            backwards: self.text("order") == Some("newest"),
        })
    }
}

/// The tasks that are wanted, the newest first; those under way as they are now.
pub(crate) async fn tasks(backend: &Backend, query: Query) -> Result<Paged<Arc<Task>>, Fault> {
    let page = backend.journal.audit.records(Query { tasks: true, ..query }).await?;
    let tasks = page.items.into_iter().filter_map(task_of_record).map(|task| match task.outcome {
        Some(_) => Arc::new(task),
        None => backend.live(task.task_id).unwrap_or_else(|| Arc::new(task)),
    });
    Ok(Paged { items: tasks.collect(), next: page.next })
}

/// What a page shows; `query` is the address's.
pub(crate) async fn for_page(backend: &Backend, wish: &PastWish, query: &str) -> Result<Past, Fault> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query).map_err(|_| Fault::invalid("address", "it cannot be read"))?;
    let fields: BTreeMap<String, String> = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
    let asked = Wishes(fields.clone());
    let mut past = Past { wishes: fields, ..Past::default() };
    match wish {
        PastWish::Tasks => {
            let page = tasks(backend, asked.query()?).await?;
            // What is under way is drawn by the page itself, live.
            past.tasks = page.items.into_iter().filter(|task| task.outcome.is_some()).collect();
            past.next = page.next;
        }
        PastWish::Task(id) => {
            past.tasks = vec![backend.task(*id).await?];
            past.records = parts(backend, *id).await?;
        }
        PastWish::Audit => {
            let page = backend.journal.audit.records(asked.query()?).await?;
            (past.records, past.next) = (page.items, page.next);
        }
        PastWish::History => {
            let page = backend.journal.events.read(Span { backwards: true, ..asked.span()? }).await?;
            (past.events, past.next) = (page.items.into_iter().map(shown).collect(), page.next);
        }
        PastWish::Machine(id) => {
            let (host, target) = (Some(id.host.clone()), Some(id.id));
            let query = Query { host: host.clone(), target, limit: PAGE, ..Query::default() };
            // What was done stands in the records already, with who did it.
            let kinds =
                model::Event::KINDS.iter().filter(|kind| !kind.starts_with("task-") && !kind.starts_with("audit-"));
            let kinds = kinds.map(|kind| (*kind).to_owned()).collect();
            let span = Span { host, subject: target, limit: PAGE, kinds, backwards: true, ..Span::default() };
            let (records, events) =
                (backend.journal.audit.records(query).await?, backend.journal.events.read(span).await?);
            past.records = records.items;
            past.events = events.items.into_iter().map(shown).collect();
        }
    }
    Ok(past)
}

/// The parts of a batch.
async fn parts(backend: &Backend, id: RequestId) -> Result<Vec<model::AuditRecord>, Fault> {
    let query = Query { parent: Some(id), limit: 1_000, ..Query::default() };
    Ok(backend.journal.audit.records(query).await?.items)
}

fn shown(row: EventRow) -> PastEvent {
    PastEvent { at: row.at, kind: row.kind, host: row.host, data: row.data }
}
