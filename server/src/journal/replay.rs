//! Finds in the log of events what shows how everything was at a moment.
//!
//! An event about a machine carries the whole machine, so its state at a moment is
//! that of the last event before; where there is none, the first one after it tells
//! what was before. It reads a handful of rows for each machine, however long the
//! log is.

use rusqlite::{Connection, OptionalExtension};

use super::events::{COLUMNS, EventRow, row};

/// What counts as a step: what people see happen.
const STEPS: &str = "kind IN ('vm-state-changed', 'vm-created', 'vm-deleted', 'connection-status-changed', 'error')";
/// What carries a machine, or says that it is gone.
const MACHINES: &str = "kind IN ('vm-state-changed', 'vm-created', 'vm-deleted', 'vm-updated')";
/// Into how many spans the whole time is cut.
const BARS: u64 = 96;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// Right after the event with this number, or the one before it.
    Event(u64),
    /// At this time, in Unix milliseconds.
    Time(u64),
    /// After everything.
    Latest,
}

/// What is left of a moment.
#[derive(Debug)]
pub(crate) struct Traces {
    /// The last step until then.
    pub(crate) here: EventRow,
    /// The numbers of the first step, the one before, the one after, and the last.
    pub(crate) steps: [Option<u64>; 4],
    /// For each machine the last event until then, or the first one after it.
    pub(crate) machines: Vec<EventRow>,
    /// Ends of equally long spans in Unix milliseconds, with the steps in each.
    pub(crate) bars: Vec<(u64, u64)>,
}

pub(super) fn traces(connection: &Connection, at: At) -> rusqlite::Result<Option<Traces>> {
    let step = |rest: &str, value: u64| -> rusqlite::Result<Option<EventRow>> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE {STEPS} AND {rest} LIMIT 1");
        connection.prepare_cached(&sql)?.query_row([value], row).optional()
    };
    let first = step("n >= ? ORDER BY n", 0)?;
    let last = step("n >= ? ORDER BY n DESC", 0)?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    let found = match at {
        At::Event(n) => step("n <= ? ORDER BY n DESC", n)?,
        At::Time(at) => step("at <= ? ORDER BY at DESC, n DESC", at)?,
        At::Latest => None,
    };
    // Before the first step nothing is known, and it is the nearest.
    let here = found.unwrap_or_else(|| if at == At::Latest { last.clone() } else { first.clone() });
    let before = step("n < ? ORDER BY n DESC", here.n)?.map(|row| row.n);
    let after = step("n > ? ORDER BY n", here.n)?.map(|row| row.n);
    let machines = machines(connection, here.n)?;
    let bars = bars(connection, first.at, last.at)?;
    Ok(Some(Traces { steps: [Some(first.n), before, after, Some(last.n)], here, machines, bars }))
}

/// For each machine that is mentioned the event that tells how it was after `n`.
fn machines(connection: &Connection, n: u64) -> rusqlite::Result<Vec<EventRow>> {
    // Steps from one subject to the next through the index, however many events each has.
    let subjects = "WITH RECURSIVE s(x) AS (
            SELECT min(subject) FROM events
            UNION ALL SELECT (SELECT min(subject) FROM events WHERE subject > x) FROM s WHERE x IS NOT NULL
        ) SELECT x FROM s WHERE x IS NOT NULL";
    let subjects: Vec<String> =
        connection.prepare_cached(subjects)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let sql = |rest: &str| format!("SELECT {COLUMNS} FROM events WHERE subject = ? AND {MACHINES} AND {rest} LIMIT 1");
    let mut until = connection.prepare_cached(&sql("n <= ? ORDER BY n DESC"))?;
    let mut from = connection.prepare_cached(&sql("n > ? ORDER BY n"))?;
    let mut found = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let before = until.query_row((&subject, n), row).optional()?;
        let telling = if before.is_some() { before } else { from.query_row((&subject, n), row).optional()? };
        found.extend(telling);
    }
    Ok(found)
}

/// How many steps there were in each span of the whole time.
fn bars(connection: &Connection, from: u64, to: u64) -> rusqlite::Result<Vec<(u64, u64)>> {
    let width = to.saturating_sub(from) / BARS + 1;
    let sql = format!("SELECT (at - ?1) / ?2, count(*) FROM events WHERE {STEPS} AND at BETWEEN ?1 AND ?3 GROUP BY 1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut bars: Vec<(u64, u64)> = (1..=BARS).map(|n| (from + n * width, 0)).collect();
    let mut counted = statement.query([from, width, to])?;
    while let Some(row) = counted.next()? {
        let (span, count): (usize, u64) = (row.get(0)?, row.get(1)?);
        if let Some(bar) = bars.get_mut(span) {
            bar.1 = count;
        }
    }
    Ok(bars)
}
