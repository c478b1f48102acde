//! The audit records: requests and their outcomes.
//!
//! An intent is on disk before anything is done, and its outcome before it is reported. The unique
//! index over intents decides whether a request is new, across restarts.

mod query;
mod raw_images;
mod shortened;
mod uploads;

use std::{collections::HashSet, path::Path};

use parking_lot::Mutex;

use model::{
    AuditRecord, Command, Fault, HostId, NoteKind, Origin, RequestId, TaskState,
    task::{LogLine, Outcome},
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params_from_iter};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use self::{query::Query, uploads::Reached};
use self::{
    raw_images::RawImages,
    shortened::{cut, shortened},
};
use super::{
    Paged, Records,
    chain::{self, Hash, Head, NEWEST, OLDEST},
    storage,
    worker::{self, Reader, Writer},
};
use crate::tasks::now;

const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS entries(
        seq INTEGER PRIMARY KEY,
        body TEXT NOT NULL,
        hash BLOB NOT NULL,
        entry TEXT AS (json_extract(body, '$.entry')) VIRTUAL,
        at INTEGER AS (json_extract(body, '$.at')) VIRTUAL,
        request TEXT AS (json_extract(body, '$.requestId')) VIRTUAL,
        parent TEXT AS (json_extract(body, '$.parent')) VIRTUAL,
        host TEXT AS (json_extract(body, '$.host')) VIRTUAL,
        target TEXT AS (json_extract(body, '$.target')) VIRTUAL,
        name TEXT AS (json_extract(body, '$.name')) VIRTUAL,
        kind TEXT AS (json_extract(body, '$.kind')) VIRTUAL,
        outcome TEXT AS (json_extract(body, '$.outcome')) VIRTUAL
    ) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS intents ON entries(request) WHERE entry = 'intent';
    CREATE INDEX IF NOT EXISTS outcomes ON entries(request, seq) WHERE entry = 'outcome';
    CREATE INDEX IF NOT EXISTS targets ON entries(target, seq) WHERE entry = 'intent';
    CREATE INDEX IF NOT EXISTS children ON entries(parent, seq) WHERE entry = 'intent';
    CREATE INDEX IF NOT EXISTS times ON entries(at);
    CREATE INDEX IF NOT EXISTS kinds ON entries(kind, seq) WHERE entry != 'outcome';
    CREATE INDEX IF NOT EXISTS hosts ON entries(host, seq) WHERE entry != 'outcome';
    CREATE TABLE IF NOT EXISTS secrets(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS heads(name TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
";

/// Records verified at every start.
const CHECKED: u64 = 2_000;
/// Records per chunk of an export.
const EXPORTED: u64 = 1_000;

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Intent {
    /// Time in Unix milliseconds.
    pub(crate) at: u64,
    /// The request.
    pub(crate) request_id: RequestId,
    /// The batch that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<RequestId>,
    /// The command's kind.
    pub(crate) kind: String,
    /// The host.
    pub(crate) host: HostId,
    /// The machine; none for a batch.
    pub(crate) target: Option<Uuid>,
    /// The machines of a batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Uuid>,
    /// The machine's name, or the number of machines.
    pub(crate) name: String,
    /// The command.
    pub(crate) command: Command,
    /// The sender.
    #[serde(flatten)]
    pub(crate) origin: Origin,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<Fault>,
}

impl Intent {
    /// Whether two requests are equal, regardless of sender and name.
    pub(crate) fn same_wish(&self, other: &Self) -> bool {
        // A refused request is stored shortened.
        let short = self.refused.is_some() || other.refused.is_some();
        let command = |intent: &Self| if short { shortened(&intent.command) } else { intent.command.clone() };
        let wish = |intent: &Self| (intent.host.clone(), intent.target, intent.targets.clone(), command(intent));
        wish(self) == wish(other)
    }

    /// Approximate size in memory and on disk, in bytes.
    pub(crate) fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |text| text.len())
    }

    /// The stored form of a refused request, which can be repeated without limit: at most a
    /// kilobyte.
    pub(crate) fn shortened(mut self) -> Self {
        self.command = shortened(&self.command);
        self.name = cut(&self.name, 80);
        self.targets.truncate(4);
        if let Some(fault) = &mut self.refused {
            fault.reason = cut(&fault.reason, 200);
            fault.next = fault.next.as_deref().map(|next| cut(next, 120));
        }
        self
    }
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Said {
    /// Time in Unix milliseconds.
    pub(crate) at: u64,
    /// The request.
    pub(crate) request_id: RequestId,
    /// Result.
    pub(crate) outcome: TaskState,
    /// The cause of a failure.
    pub(crate) fault: Option<Fault>,
    /// How it was determined.
    pub(crate) settled: Settled,
    /// The task's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<LogLine>,
}

/// How an outcome was determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Settled {
    /// The server observed the end.
    Seen,
    /// The server stopped before the end; the next one checks it.
    Open,
    /// A later server determined it from the state of the machine.
    Later,
}

/// An event besides commands: of the server itself, or a change of accounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    /// Time in Unix milliseconds.
    pub(crate) at: u64,
    /// Its kind.
    pub(crate) kind: String,
    /// Its object.
    pub(crate) name: String,
    /// The sender; none for the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<Fault>,
    /// Its id in the accounts file, to avoid duplicates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Note {
    /// A note about an action of a sender.
    pub(crate) fn of(kind: NoteKind, name: &str, origin: Origin) -> Self {
        Self { at: now(), kind: kind.key().into(), name: name.to_owned(), origin: Some(origin), ..Self::default() }
    }
}

/// A record in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "camelCase")]
enum Entry {
    Intent(Box<Intent>),
    Outcome(Said),
    Server(Note),
}

/// A stored request.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The request.
    pub(crate) intent: Box<Intent>,
    /// Its outcome, if known.
    pub(crate) said: Option<Said>,
}

/// The result of admitting a request.
#[derive(Clone, Debug)]
pub(crate) enum Admitted {
    /// It is new and stored as this record; a refused one is thereby complete.
    New(Box<AuditRecord>),
    /// It exists already.
    Known(Box<Stored>),
}

/// The audit records.
pub(crate) struct Audit {
    writer: Writer,
    reader: Reader,
    raw_images: Mutex<RawImages>,
    /// A secret of this journal, kept across restarts.
    secret: Vec<u8>,
}

impl Audit {
    /// `renew` runs before the file is reopened after its disk was lost.
    pub(super) fn open(
        path: &Path,
        renew: impl FnMut() -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<Self, String> {
        let connection = storage::open(path, &[LAYOUT, uploads::LAYOUT, raw_images::LAYOUT].concat(), true)?;
        let checked = check_end(&connection).map_err(|error| storage::fault(&error, path).sentence())?;
        checked.map_err(|what| {
            format!(
                "{}: {what}; nothing was changed: run \"belvedere audit verify\", then restore a backup, \
                 or move the file away and restart to create a new one",
                path.display()
            )
        })?;
        let raw_images = raw_images::read(&connection).map_err(|error| storage::fault(&error, path).sentence())?;
        let secret = own_secret(&connection).map_err(|error| storage::fault(&error, path).sentence())?;
        let (writer, reader) = worker::start("audit", connection, path, true, renew)?;
        Ok(Self { writer, reader, raw_images: Mutex::new(raw_images), secret })
    }

    /// A secret of this journal, for ids that cannot be guessed.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Runs SQL on the writing connection.
    #[cfg(test)]
    pub(super) async fn meddle(&self, sql: &'static str) -> Result<(), Fault> {
        self.writer.write(move |transaction| transaction.execute_batch(sql)).await
    }

    pub(super) fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.writer.trouble()
    }

    /// Stores an intent, unless its request exists.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn admit(&self, intent: Intent) -> Result<Admitted, Fault> {
        self.writer.write_sized(intent.size(), move |transaction| admit(transaction, &intent)).await
    }

    /// Stores an outcome; returns the complete record.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn ended(&self, said: Said) -> Result<Option<AuditRecord>, Fault> {
        let query = Query { request: Some(said.request_id), limit: 1, ..Query::default() };
        let entry = Entry::Outcome(said);
        let write = move |transaction: &Transaction<'_>| {
            append(transaction, &entry)?;
            Ok(records(transaction, &query)?.items.pop())
        };
        self.writer.write(write).await
    }

    /// Records an event of the server.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn note(&self, at: u64, kind: NoteKind, name: String) -> Result<(), Fault> {
        let entry = Entry::Server(Note { at, kind: kind.key().into(), name, ..Note::default() });
        self.writer.write(move |transaction| append(transaction, &entry).map(drop)).await
    }

    /// Records notes from the accounts file, each once; returns the records.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn take_notes(&self, notes: Vec<(String, String)>) -> Result<Vec<AuditRecord>, Fault> {
        self.writer.write(move |transaction| take_notes(transaction, &notes)).await
    }

    /// Removes records from before a time, in Unix milliseconds, and records that.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(crate) async fn forget(&self, before: u64, now: u64) -> Result<u64, Fault> {
        self.writer.write(move |transaction| forget(transaction, before, now)).await
    }

    /// The records of a query.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn records(&self, query: Query) -> Result<Records, Fault> {
        self.reader.ask(move |connection| records(connection, &query)).await
    }

    /// The stored request with an id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn stored(&self, id: RequestId) -> Result<Option<Stored>, Fault> {
        self.reader.ask(move |connection| stored(connection, id)).await
    }

    /// Requests without an observed end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn open_ends(&self) -> Result<Vec<Stored>, Fault> {
        self.reader.ask(open_ends).await
    }

    /// A part of the chain as JSON lines, the oldest record first, and the start of the next part;
    /// none at the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn export(&self, after: u64) -> Result<Option<(String, u64)>, Fault> {
        self.reader.ask(move |connection| export(connection, after)).await
    }
}

/// The secret of the file, created if missing.
fn own_secret(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
    let mut fresh = vec![0; 32];
    getrandom::fill(&mut fresh).expect("the operating system gives random numbers");
    connection.execute("INSERT OR IGNORE INTO secrets(name, value) VALUES('parts', ?)", [fresh])?;
    connection.query_row("SELECT value FROM secrets WHERE name = 'parts'", [], |row| row.get(0))
}

/// Verifies the last records of the chain.
fn check_end(connection: &Connection) -> rusqlite::Result<Result<Head, String>> {
    let (oldest, newest) = (Head::read(connection, OLDEST)?, Head::read(connection, NEWEST)?);
    let from = newest.seq.saturating_sub(CHECKED);
    let known: Option<Hash> =
        connection.query_row("SELECT hash FROM entries WHERE seq = ?", [from], |row| row.get(0)).optional()?;
    let from = known.filter(|_| from > oldest.seq).map_or(oldest, |hash| Head { seq: from, hash });
    chain::check(connection, from)
}

fn append(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<u64> {
    let body = serde_json::to_string(entry).expect("records have string keys only");
    let head = Head::read(transaction, NEWEST)?.after(&body);
    let query = "INSERT INTO entries(seq, body, hash) VALUES(?, ?, ?)";
    transaction.prepare_cached(query)?.execute((head.seq, body, head.hash))?;
    head.write(transaction, NEWEST)?;
    Ok(head.seq)
}

fn admit(transaction: &Transaction<'_>, intent: &Intent) -> rusqlite::Result<Admitted> {
    if let Some(stored) = stored(transaction, intent.request_id)? {
        return Ok(Admitted::Known(Box::new(stored)));
    }
    let seq = append(transaction, &Entry::Intent(Box::new(intent.clone())))?;
    Ok(Admitted::New(Box::new(record(seq, intent.clone(), None))))
}

fn take_notes(transaction: &Transaction<'_>, notes: &[(String, String)]) -> rusqlite::Result<Vec<AuditRecord>> {
    // A note that was recorded but not removed is among the last records.
    let from = Head::read(transaction, NEWEST)?.seq.saturating_sub(CHECKED);
    let query = "SELECT json_extract(body, '$.note') FROM entries WHERE seq > ? AND entry = 'server'
        AND json_extract(body, '$.note') IS NOT NULL";
    let mut statement = transaction.prepare_cached(query)?;
    let known = statement.query_map([from], |row| row.get(0))?.collect::<Result<HashSet<String>, _>>()?;
    let fresh = notes.iter().filter(|(id, _)| !known.contains(id)).map(|(id, body)| {
        let note = serde_json::from_str(body).unwrap_or_else(|_| unreadable(0, body));
        let note = Note { note: Some(id.clone()), ..note };
        let seq = append(transaction, &Entry::Server(note.clone()))?;
        Ok(own_record(seq, note))
    });
    fresh.collect()
}

/// Removes only from the start, so that the rest remains a chain: after a wrong clock records are
/// kept longer, never shorter.
fn forget(transaction: &Transaction<'_>, before: u64, now: u64) -> rusqlite::Result<u64> {
    let query = "SELECT min(seq) FROM entries WHERE at >= ?";
    let keep: Option<u64> = transaction.query_row(query, [before], |row| row.get(0)).optional()?.flatten();
    let newest = Head::read(transaction, NEWEST)?;
    let last = keep.map_or(newest.seq, |keep| keep - 1);
    let query = "SELECT hash FROM entries WHERE seq = ?";
    let hash: Option<Hash> = transaction.query_row(query, [last], |row| row.get(0)).optional()?;
    let Some(hash) = hash else { return Ok(0) };
    let count = transaction.execute("DELETE FROM entries WHERE seq <= ?", [last])? as u64;
    Head { seq: last, hash }.write(transaction, OLDEST)?;
    let name = format!("{count} old records up to {last}");
    append(
        transaction,
        &Entry::Server(Note { at: now, kind: NoteKind::RecordsForgotten.key().into(), name, ..Note::default() }),
    )?;
    Ok(count)
}

/// The stored request with an id.
fn stored(connection: &Connection, id: RequestId) -> rusqlite::Result<Option<Stored>> {
    let query = "SELECT body FROM entries WHERE request = ? AND entry = 'intent'";
    let intent = connection.prepare_cached(query)?.query_row([id.to_string()], body).optional()?;
    let Some(Entry::Intent(intent)) = intent else { return Ok(None) };
    let query = "SELECT body FROM entries WHERE request = ? AND entry = 'outcome' ORDER BY seq DESC LIMIT 1";
    let said = connection.prepare_cached(query)?.query_row([id.to_string()], body).optional()?;
    let said = match said {
        Some(Entry::Outcome(said)) => Some(said),
        _ => None,
    };
    Ok(Some(Stored { intent, said }))
}

fn body(row: &Row<'_>) -> rusqlite::Result<Entry> {
    parse(row.get_ref(0)?.as_str()?)
}

/// An entry; one that this version does not understand hides no others.
fn parse(text: &str) -> rusqlite::Result<Entry> {
    let wrong = |error: serde_json::Error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    };
    serde_json::from_str(text).or_else(|_| {
        let at = serde_json::from_str::<serde_json::Value>(text).map_err(wrong)?["at"].as_u64().unwrap_or_default();
        Ok(Entry::Server(unreadable(at, text)))
    })
}

/// Content that another version wrote, unchanged.
fn unreadable(at: u64, text: &str) -> Note {
    Note { at, kind: "unreadable".into(), name: text.to_owned(), ..Note::default() }
}

fn open_ends(connection: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let query = "SELECT i.request FROM entries i WHERE i.entry = 'intent' \
                 AND json_extract(i.body, '$.refused') IS NULL \
                 AND NOT EXISTS (SELECT 1 FROM entries o WHERE o.request = i.request AND o.entry = 'outcome' \
                                 AND json_extract(o.body, '$.settled') != 'open') ORDER BY i.seq";
    let mut statement = connection.prepare(query)?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<HashSet<_>, _>>()?;
    let ids = ids.iter().filter_map(|id| id.parse().ok());
    ids.filter_map(|id| stored(connection, id).transpose()).collect()
}

/// The record of an intent for display.
fn record(seq: u64, intent: Intent, said: Option<Said>) -> AuditRecord {
    let outcome = match (&intent.refused, &said) {
        (Some(_), _) => Outcome::Refused,
        (None, Some(said)) => said.outcome.into(),
        (None, None) => Outcome::Accepted,
    };
    AuditRecord {
        seq,
        timestamp: intent.at,
        request_id: Some(intent.request_id),
        parent: intent.parent,
        kind: intent.kind,
        command: Some(intent.command),
        host_id: Some(intent.host),
        target: intent.target,
        target_name: intent.name,
        origin: intent.origin,
        outcome,
        fault: intent.refused.or_else(|| said.as_ref().and_then(|said| said.fault.clone())),
        ended_at: said.map(|said| said.at),
    }
}

fn own_record(seq: u64, note: Note) -> AuditRecord {
    let outcome = if note.fault.is_some() { Outcome::Failed } else { Outcome::Succeeded };
    AuditRecord {
        seq,
        timestamp: note.at,
        request_id: None,
        parent: None,
        kind: note.kind,
        command: None,
        host_id: None,
        target: None,
        target_name: note.name,
        origin: note.origin.unwrap_or_else(|| Origin { source: model::Source::Server, ..Origin::default() }),
        outcome,
        fault: note.fault,
        ended_at: Some(note.at),
    }
}

fn records(connection: &Connection, query: &Query) -> rusqlite::Result<Records> {
    let (sql, values) = query.sql();
    let limit = i64::from(query.limit());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: u64 = row.get(0)?;
        let said = match row.get_ref(2)?.as_str_or_null()? {
            Some(text) => match parse(text)? {
                Entry::Outcome(said) => Some(said),
                _ => None,
            },
            None => None,
        };
        match parse(row.get_ref(1)?.as_str()?)? {
            Entry::Intent(intent) => items.push(record(seq, *intent, said)),
            Entry::Server(own) => items.push(own_record(seq, own)),
            Entry::Outcome(_) => {}
        }
    }
    let more = items.len() as i64 > limit;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|record| record.seq);
    Ok(Paged { items, next })
}

fn export(connection: &Connection, after: u64) -> rusqlite::Result<Option<(String, u64)>> {
    let query = "SELECT seq, body, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query((after, EXPORTED))?;
    let (mut lines, mut last) = (String::new(), None);
    while let Some(row) = rows.next()? {
        let (seq, hash): (u64, Hash) = (row.get(0)?, row.get(2)?);
        // The text is sent exactly as in the file, so that its hash can be verified.
        let text = row.get_ref(1)?.as_str()?;
        lines.push_str(&format!("{{\"seq\":{seq},\"hash\":\"{}\",\"record\":{text}}}\n", hex::encode(hash)));
        last = Some(seq);
    }
    Ok(last.map(|last| (lines, last)))
}
