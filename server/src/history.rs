//! History queries of pages and API: data on disk, merged with current data in memory.

use std::{collections::BTreeMap, sync::Arc};

use app::backend::{Bar, HistoryRequest, Moment, Past, PastEvent, Then};
use model::{
    AuditRecord, DomainRef, DomainState, Event, Fault, HostId, Inventory, RequestId, Task,
    stats::{Bucket, Usage, UsagePoint},
};
use uuid::Uuid;

use crate::{
    Backend,
    journal::{At, EventRow, Paged, Query, Span, Traces, usage::WIDTHS},
    tasks::{now, task_of_record},
    usage_history::{HOUR, MINUTE},
};

/// Interval of readings, in milliseconds.
const READ_EVERY: u64 = 2_000;
/// Maximum points of an answer with the default resolution.
const MAX_POINTS: u64 = 2_200;
/// Default number of items per page.
const PAGE: u32 = 100;

/// Parses the fields of a query.
pub(crate) struct Parameters(pub(crate) BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Fault> {
        let wrong = |text: &str| Fault::invalid(name, &format!("\"{}\" is not a {what}", text.escape_debug()));
        self.text(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    pub(crate) fn moment(&self, name: &str) -> Result<Option<u64>, Fault> {
        let wrong = |text: &str| {
            let why = format!(
                "\"{}\" is not a time; expected one such as 2026-11-21T08:00, or Unix milliseconds",
                text.escape_debug()
            );
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

    /// The record query.
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
            // On disk an unfinished command has no outcome, whether it runs or waits.
            outcome: self.text("outcome").or(self.text("state")).map(|word| match word {
                "running" => "accepted".to_owned(),
                word => word.to_owned(),
            }),
            from: self.moment("from")?,
            to: self.moment("to")?,
            tasks: false,
        })
    }

    /// The event query.
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
            trouble: false,
            severity: self.text("severity").map(str::to_owned),
            backwards: self.text("order") == Some("newest"),
        })
    }

    /// The moment of a replay.
    fn at(&self) -> Result<At, Fault> {
        let event = self.parsed("n", "position")?.map(At::Event);
        Ok(event.or(self.moment("at")?.map(At::Time)).unwrap_or(At::Latest))
    }
}

/// The visibility of history for a viewer.
pub(crate) trait Visible: Send + Sync {
    /// Whether everything is visible.
    fn see_all(&self) -> bool;
    /// Whether a task is visible.
    fn see_task(&self, task: &Task) -> bool;
    /// Whether an event is visible.
    fn see_event(&self, kind: &str, data: &str) -> bool;
}

/// Rows read at a time for a limited scope.
const PIECE: u32 = 1_000;
/// Maximum reads per page.
const PIECES: usize = 20;

/// Fills a page with visible items. For a limited scope it reads on past hidden ones, so that
/// neither the number of rows nor the next page reveals them.
async fn seen<T, F: Future<Output = Result<Paged<T>, Fault>>>(
    eyes: &dyn Visible,
    (after, limit): (Option<u64>, u32),
    read: impl Fn(Option<u64>, u32) -> F,
    place: impl Fn(&T) -> u64,
    sees: impl Fn(&T) -> bool,
) -> Result<Paged<T>, Fault> {
    if eyes.see_all() {
        return read(after, limit).await;
    }
    let (mut items, mut after, limit): (Vec<T>, _, _) = (Vec::new(), after, limit.clamp(1, PIECE) as usize);
    for _ in 0..PIECES {
        let page = read(after, PIECE).await?;
        for item in page.items.into_iter().filter(&sees) {
            if items.len() == limit {
                let next = items.last().map(&place);
                return Ok(Paged { items, next });
            }
            items.push(item);
        }
        after = page.next;
        if after.is_none() {
            return Ok(Paged { items, next: None });
        }
    }
    Ok(Paged { items, next: after })
}

/// The tasks of a query, the newest first; unfinished ones with their current state.
pub(crate) async fn tasks(backend: &Backend, query: Query, eyes: &dyn Visible) -> Result<Paged<Arc<Task>>, Fault> {
    let read = |after, limit| backend.journal.audit.records(Query { tasks: true, after, limit, ..query.clone() });
    let sees = |record: &AuditRecord| task_of_record(record.clone()).is_some_and(|task| eyes.see_task(&task));
    let page = seen(eyes, (query.after, query.limit), read, |record| record.seq, sees).await?;
    let tasks = page.items.into_iter().filter_map(task_of_record).map(|task| match task.outcome {
        Some(_) => Arc::new(task),
        None => backend.live(task.task_id).unwrap_or_else(|| Arc::new(task)),
    });
    Ok(Paged { items: tasks.collect(), next: page.next })
}

/// The events of a query.
pub(crate) async fn events(backend: &Backend, span: Span, eyes: &dyn Visible) -> Result<Paged<EventRow>, Fault> {
    let read = |after, limit| backend.journal.events.read(Span { after, limit, ..span.clone() });
    let sees = |row: &EventRow| eyes.see_event(&row.kind, &row.data);
    seen(eyes, (span.after, span.limit), read, |row| row.n, sees).await
}

/// The data of a page; `query` is the URL's.
pub(crate) async fn for_page(
    backend: &Backend,
    wish: &HistoryRequest,
    query: &str,
    eyes: &dyn Visible,
) -> Result<Past, Fault> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query).map_err(|_| Fault::invalid("address", "invalid query"))?;
    let fields: BTreeMap<String, String> = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect();
    let asked = Parameters(fields.clone());
    let mut past = Past { wishes: fields, ..Past::default() };
    match wish {
        HistoryRequest::Tasks => {
            let page = tasks(backend, asked.query()?, eyes).await?;
            // Unfinished tasks are rendered live by the page.
            past.tasks = page.items.into_iter().filter(|task| task.outcome.is_some()).collect();
            past.next = page.next;
        }
        HistoryRequest::Task(id) => {
            past.tasks = vec![backend.task(*id).await?];
            past.records = parts(backend, *id).await?;
        }
        HistoryRequest::Audit => {
            let page = backend.records(asked.query()?).await?;
            (past.records, past.next) = (page.items, page.next);
        }
        HistoryRequest::History => {
            let page = events(backend, Span { backwards: true, ..asked.span()? }, eyes).await?;
            (past.events, past.next) = (page.items.into_iter().map(shown).collect(), page.next);
        }
        HistoryRequest::Recent => {
            let page = events(backend, Span { backwards: true, limit: 40, ..Span::default() }, eyes).await?;
            past.events = page.items.into_iter().map(shown).collect();
        }
        HistoryRequest::Errors => {
            let span = Span { trouble: true, backwards: true, ..asked.span()? };
            let page = events(backend, span, eyes).await?;
            (past.events, past.next) = (page.items.into_iter().map(shown).collect(), page.next);
        }
        HistoryRequest::Replay => {
            let traces = backend.journal.events.moment(asked.at()?).await?;
            past.moment = traces.map(|traces| moment(&backend.feed().snapshot().hosts, traces));
        }
        HistoryRequest::Machine(id) => {
            let (host, target) = (Some(id.host.clone()), Some(id.id));
            let query = Query { host: host.clone(), target, limit: PAGE, ..Query::default() };
            // Commands are in the records, with their sender.
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

/// The usage of a machine between two times. Readings are used if they reach back far enough, or
/// nothing older is on disk; otherwise the finest width that does, or buckets of `step` from the
/// widest one that is not wider.
pub(crate) async fn usage(
    backend: &Backend,
    id: DomainRef,
    (from, to): (u64, u64),
    step: Option<u64>,
) -> Result<Usage, Fault> {
    let (now, to) = (now(), to.max(from));
    // A start relative to now is slightly late.
    let reaches = |(width, kept): &(u64, u64)| from + width >= now.saturating_sub(width * kept);
    let many = |(width, _): &(u64, u64)| (to - from) / width <= MAX_POINTS;
    let on_disk =
        async |width: u64, to: u64| backend.journal.usage.read(id.clone(), width, from.saturating_sub(width), to).await;
    if step.is_none_or(|step| step < MINUTE) && from + HOUR + MINUTE >= now {
        let points = backend.history.readings(&id, from, to);
        let oldest = points.first().map_or(to, |point| point.timestamp);
        if oldest <= from + MINUTE || on_disk(MINUTE, oldest.saturating_sub(MINUTE)).await?.is_empty() {
            return Ok(Usage { step: READ_EVERY, from, to, points });
        }
    }
    let able: Vec<u64> = WIDTHS.iter().filter(|width| reaches(width) && many(width)).map(|(width, _)| *width).collect();
    let not_wider = able.iter().rev().find(|width| step.is_some_and(|step| **width <= step));
    let width = *not_wider.or(able.first()).unwrap_or(&WIDTHS[2].0);
    let step = step.unwrap_or(width).max(width).div_ceil(width) * width;
    let mut spans: BTreeMap<u64, Bucket> = BTreeMap::new();
    for (at, bucket) in on_disk(width, to).await? {
        spans.entry(at - at % step).or_default().merge(&bucket);
    }
    // Minutes not on disk yet are included.
    for (at, bucket) in backend.history.minutes(&id) {
        spans.entry(at - at % step).or_default().merge(&bucket);
    }
    let within = spans.into_iter().filter(|(at, _)| at + step > from && *at <= to);
    Ok(Usage { step, from, to, points: within.map(|(at, bucket)| UsagePoint::of(at, &bucket)).collect() })
}

/// Maximum points of a chart.
const CHART_POINTS: u64 = 365;

/// The usage for a machine's page: a range that ends now, or a range selected in a chart; none if
/// neither was requested.
pub(crate) async fn usage_for_page(backend: &Backend, id: &DomainRef, query: &str) -> Result<Option<Usage>, Fault> {
    let pairs: BTreeMap<String, String> =
        serde_urlencoded::from_str(query).map_err(|_| Fault::invalid("address", "invalid query"))?;
    let asked = Parameters(pairs);
    let now = now();
    let (from, to) = match (asked.text("range"), asked.moment("from")?) {
        (Some(range), _) => {
            let known = app::routes::RANGES.iter().find(|(name, ..)| *name == range);
            let (.., length) = known.ok_or_else(|| Fault::invalid("range", "unknown range"))?;
            (now.saturating_sub(*length), now)
        }
        (None, Some(from)) => (from, asked.moment("to")?.unwrap_or(now)),
        (None, None) => return Ok(None),
    };
    let step = (to.saturating_sub(from) > 2 * HOUR).then(|| (to - from) / CHART_POINTS);
    usage(backend, id.clone(), (from, to), step).await.map(Some)
}

/// The parts of a batch.
async fn parts(backend: &Backend, id: RequestId) -> Result<Vec<model::AuditRecord>, Fault> {
    let query = Query { parent: Some(id), limit: 1_000, ..Query::default() };
    Ok(backend.journal.audit.records(query).await?.items)
}

/// The state of everything at a moment. Machines without events have not changed, so their current
/// state is used.
fn moment(now: &Inventory, traces: Traces) -> Moment {
    let Traces { here, steps, machines, bars } = traces;
    let mut then: BTreeMap<DomainRef, Then> = now
        .domains()
        .map(|(host, domain)| {
            let id = DomainRef { host: host.host.id.clone(), id: domain.id };
            let (name, state) = (domain.name.clone(), Some(domain.state));
            (id.clone(), Then { id, name, state, since: None, changed: false, exists: true })
        })
        .collect();
    for row in machines {
        let Some(id) = row.host.clone().zip(row.subject).map(|(host, id)| DomainRef { host, id }) else { continue };
        let exists = then.remove(&id).is_some();
        let Some((name, state)) = told(&row, row.n <= here.n) else { continue };
        let since = (row.n <= here.n).then_some(row.at);
        then.insert(id.clone(), Then { id, name, state, since, changed: row.n == here.n, exists });
    }
    let mut machines: Vec<Then> = then.into_values().collect();
    machines.sort_by(|a, b| (&a.id.host, &a.name).cmp(&(&b.id.host, &b.name)));
    let bars = bars.into_iter().map(|(to, count)| Bar { to, count }).collect();
    Moment { n: here.n, event: shown(here), steps, machines, bars }
}

/// Name and state of a machine after or before an event; none if it did not exist.
fn told(row: &EventRow, after: bool) -> Option<(String, Option<DomainState>)> {
    let event = Event::parse(&row.kind, &row.data).ok()??;
    event.machine(after).map(|(name, state)| (name.to_owned(), state))
}

fn shown(row: EventRow) -> PastEvent {
    PastEvent { at: row.at, kind: row.kind, host: row.host, data: row.data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u64, kind: &str, more: &str) -> EventRow {
        let id = "00000000-0000-0000-0000-000000000007";
        let data = format!(r#"{{"hostId":"a","vmId":"{id}","vmName":"web","version":{n},"timestamp":{n},{more}}}"#);
        let (host, subject) = (Some("a".parse().expect("a host")), Some(id.parse().expect("an id")));
        EventRow { n, at: n * 1_000, cursor: String::new(), kind: kind.into(), host, subject, data }
    }

    fn traces(here: u64, machine: EventRow) -> Traces {
        Traces { here: row(here, "vm-deleted", r#""x":0"#), steps: [None; 4], machines: vec![machine], bars: vec![] }
    }

    #[test]
    fn a_machine_was_as_the_event_before_left_it_or_the_one_after_found_it() {
        let vm = serde_json::to_string(&model::Domain::default()).expect("JSON");
        let changed = row(5, "vm-state-changed", &format!(r#""oldState":"paused","newState":"running","vm":{vm}"#));
        let state = |here, row: &EventRow| {
            let then = moment(&Inventory::default(), traces(here, row.clone())).machines;
            then.first().map(|then| (then.state, then.since, then.changed))
        };
        assert_eq!(state(9, &changed), Some((Some(DomainState::Running), Some(5_000), false)));
        assert_eq!(state(5, &changed), Some((Some(DomainState::Running), Some(5_000), true)));
        assert_eq!(state(4, &changed), Some((Some(DomainState::Paused), None, false)));
        let gone = row(5, "vm-deleted", r#""x":0"#);
        assert_eq!(state(9, &gone), None);
        assert_eq!(state(4, &gone), Some((None, None, false)), "it was there, but how is not known");
        let made = row(5, "vm-created", &format!(r#""vm":{vm}"#));
        assert_eq!(state(4, &made), None);
        assert_eq!(state(6, &made).and_then(|(state, ..)| state), Some(model::Domain::default().state));
    }
}
