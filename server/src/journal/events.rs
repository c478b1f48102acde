//! The events of the last days.
//!
//! They are written with a delay, which a crash can lose. Reading executes nothing.

use std::{collections::HashMap, path::Path};

use model::{DomainState, Event, Fault, HostId};
use rusqlite::{Connection, OptionalExtension, Transaction, params_from_iter, types::Value};
use uuid::Uuid;

use super::{
    Paged,
    replay::{self, At, Traces},
    storage,
    worker::{self, Reader, Writer},
};

const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS events(
        n INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        cursor TEXT NOT NULL,
        kind TEXT NOT NULL,
        host TEXT,
        subject TEXT,
        data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS times ON events(at);
    DROP INDEX IF EXISTS subjects;
    CREATE INDEX IF NOT EXISTS places ON events(subject, host, n);
    CREATE INDEX IF NOT EXISTS hosts ON events(host, n);
    CREATE INDEX IF NOT EXISTS kinds ON events(kind, n);
";

/// The columns of a row.
pub(super) const COLUMNS: &str = "n, at, cursor, kind, host, subject, data";
/// Maximum size of the file; then the oldest events are removed.
const MAX_BYTES: u64 = 512 << 20;

/// A past event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventRow {
    /// Its number in the file.
    pub(crate) n: u64,
    /// Publication time in Unix milliseconds.
    pub(crate) at: u64,
    /// Its stream position at that time.
    pub(crate) cursor: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its host.
    pub(crate) host: Option<HostId>,
    /// Its machine.
    pub(crate) subject: Option<Uuid>,
    /// Its payload as JSON.
    pub(crate) data: String,
}

/// A query for events, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span {
    /// Only events after this one.
    pub(crate) after: Option<u64>,
    /// The maximum number.
    pub(crate) limit: u32,
    /// Start, in Unix milliseconds.
    pub(crate) from: Option<u64>,
    /// End, in Unix milliseconds.
    pub(crate) to: Option<u64>,
    /// Only of this host.
    pub(crate) host: Option<HostId>,
    /// Only of this machine.
    pub(crate) subject: Option<Uuid>,
    /// Only of these kinds; none means all.
    pub(crate) kinds: Vec<String>,
    /// Only errors and lost connections.
    pub(crate) trouble: bool,
    /// Only errors of this severity; a lost connection counts as error.
    pub(crate) severity: Option<String>,
    /// The newest first.
    pub(crate) backwards: bool,
}

impl Span {
    fn limit(&self) -> u32 {
        self.limit.clamp(1, 5_000)
    }

    /// The SQL with its values. It selects one more than requested, to detect a next page.
    fn sql(&self) -> (String, Vec<Value>) {
        let mut sql = format!("SELECT {COLUMNS} FROM events WHERE 1");
        let mut values: Vec<Value> = Vec::new();
        let mut and = |condition: &str, value: Option<Value>| {
            if let Some(value) = value {
                sql.push_str(" AND ");
                sql.push_str(condition);
                values.push(value);
            }
        };
        let number =
            |number: Option<u64>| number.map(|number| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
        and(if self.backwards { "n < ?" } else { "n > ?" }, number(self.after));
        // The most selective index is used: the plus prevents SQLite from using others.
        let place = self.subject.is_some() || self.host.is_some();
        let narrow = place || self.trouble || !self.kinds.is_empty();
        and(if narrow { "+at >= ?" } else { "at >= ?" }, number(self.from));
        and(if narrow { "+at <= ?" } else { "at <= ?" }, number(self.to));
        and("host = ?", self.host.as_ref().map(|host| host.to_string().into()));
        and("subject = ?", self.subject.map(|id| id.to_string().into()));
        if !self.kinds.is_empty() {
            let marks = vec!["?"; self.kinds.len()].join(", ");
            let kind = if place { "+kind" } else { "kind" };
            sql.push_str(&format!(" AND {kind} IN ({marks})"));
            values.extend(self.kinds.iter().cloned().map(Value::from));
        }
        if self.trouble {
            let kind = if place { "+kind" } else { "kind" };
            sql.push_str(&format!(
                " AND {kind} IN ('error', 'connection-status-changed') AND (kind = 'error' OR {IS_LOST})"
            ));
        }
        if let Some(severity) = &self.severity {
            sql.push_str(&format!(" AND CASE WHEN {IS_LOST} THEN 'error' ELSE data ->> '$.severity' END = ?"));
            values.push(severity.clone().into());
        }
        sql.push_str(if self.backwards { " ORDER BY n DESC LIMIT ?" } else { " ORDER BY n LIMIT ?" });
        values.push(Value::Integer(i64::from(self.limit()) + 1));
        (sql, values)
    }
}

/// The past events.
pub(crate) struct Events {
    writer: Writer,
    reader: Reader,
}

impl Events {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let connection = storage::open(path, LAYOUT, false)?;
        let (writer, reader) = worker::start("events", connection, path, false, || Ok(()))?;
        Ok(Self { writer, reader })
    }

    /// Writes events; the file assigns their numbers.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn append(&self, rows: Vec<EventRow>) -> Result<(), Fault> {
        let bytes = rows.iter().map(|row| row.data.len()).sum();
        self.writer.write_sized(bytes, move |transaction| append(transaction, &rows)).await
    }

    /// Removes events from before a time, in Unix milliseconds, and the oldest ones if the file is
    /// too large.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn forget(&self, before: u64) -> Result<(), Fault> {
        self.writer.write(move |transaction| forget(transaction, before)).await
    }

    /// The events of a query.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn read(&self, span: Span) -> Result<Paged<EventRow>, Fault> {
        self.reader.ask(move |connection| read(connection, &span)).await
    }

    /// The last state change of each of these machines, and its time; without machines that have no
    /// events.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn last_states(
        &self,
        host: HostId,
        ids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, (DomainState, u64)>, Fault> {
        self.reader.ask(move |connection| last_states(connection, &host, &ids)).await
    }

    /// The events needed to show the state at a moment; none without events.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn moment(&self, at: At) -> Result<Option<Traces>, Fault> {
        self.reader.ask(move |connection| replay::traces(connection, at)).await
    }
}

fn append(transaction: &Transaction<'_>, rows: &[EventRow]) -> rusqlite::Result<()> {
    let query = "INSERT INTO events(at, cursor, kind, host, subject, data) VALUES(?, ?, ?, ?, ?, ?)";
    let mut insert = transaction.prepare_cached(query)?;
    for row in rows {
        let (host, subject) = (row.host.as_ref().map(HostId::as_str), row.subject.map(|id| id.to_string()));
        insert.execute((row.at, &row.cursor, &row.kind, host, subject, &row.data))?;
    }
    Ok(())
}

fn forget(transaction: &Transaction<'_>, before: u64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM events WHERE at < ?", [before])?;
    let count = |pragma| storage::one::<u64>(transaction, pragma);
    let used = count("PRAGMA page_count")? - count("PRAGMA freelist_count")?;
    if used * count("PRAGMA page_size")? > MAX_BYTES {
        transaction.execute("DELETE FROM events WHERE n <= (SELECT min(n) + (max(n) - min(n)) / 8 FROM events)", [])?;
    }
    Ok(())
}

/// The SQL condition of a lost connection.
const IS_LOST: &str = "kind = 'connection-status-changed' AND data ->> '$.connected' = 0";

fn read(connection: &Connection, span: &Span) -> rusqlite::Result<Paged<EventRow>> {
    let (sql, values) = span.sql();
    let limit = i64::from(span.limit());
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), row)?;
    let mut items = rows.collect::<Result<Vec<_>, _>>()?;
    let more = items.len() as i64 > limit;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|row| row.n);
    Ok(Paged { items, next })
}

fn last_states(
    connection: &Connection,
    host: &HostId,
    ids: &[Uuid],
) -> rusqlite::Result<HashMap<Uuid, (DomainState, u64)>> {
    let query = format!(
        "SELECT {COLUMNS} FROM events WHERE subject = ? AND host = ? AND kind = 'vm-state-changed' ORDER BY n DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let mut states = HashMap::new();
    for id in ids {
        let last = statement.query_row((id.to_string(), host.as_str()), row).optional()?;
        let event = last.and_then(|last| Event::parse(&last.kind, &last.data).ok().flatten());
        if let Some(Event::VmStateChanged(event)) = event {
            states.insert(*id, (event.new_state, event.timestamp));
        }
    }
    Ok(states)
}

/// Reads a row with `COLUMNS`.
pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<EventRow> {
    let (host, subject): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    Ok(EventRow {
        n: row.get(0)?,
        at: row.get(1)?,
        cursor: row.get(2)?,
        kind: row.get(3)?,
        host: host.and_then(|host| host.parse().ok()),
        subject: subject.and_then(|id| id.parse().ok()),
        data: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(span: &Span) -> String {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(LAYOUT).expect("laid out");
        let (sql, values) = span.sql();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("is SQL");
        let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).expect("runs");
        steps.collect::<Result<Vec<_>, _>>().expect("read").join("; ")
    }

    #[test]
    fn what_pages_ask_for_is_found_by_an_index() {
        let host: Option<HostId> = Some("atlas".parse().expect("a name"));
        let kinds = || vec!["vm-created".to_owned(), "vm-deleted".to_owned()];
        for (span, index) in [
            (Span { subject: Some(Uuid::nil()), host: host.clone(), kinds: kinds(), ..Span::default() }, "places"),
            (Span { subject: Some(Uuid::nil()), from: Some(1), ..Span::default() }, "places"),
            (Span { host: host.clone(), kinds: kinds(), backwards: true, ..Span::default() }, "hosts"),
            (Span { host, from: Some(1), ..Span::default() }, "hosts"),
            (Span { kinds: kinds(), backwards: true, ..Span::default() }, "kinds"),
            (Span { trouble: true, backwards: true, ..Span::default() }, "kinds"),
        ] {
            let plan = plan(&span);
            assert!(plan.contains(&format!("SEARCH events USING INDEX {index} ")), "{span:?}: {plan}");
        }
        let plan = plan(&Span { backwards: true, ..Span::default() });
        assert_eq!(plan, "SCAN events", "from its end on");
    }
}
