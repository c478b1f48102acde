//! Finds the events that show the state of all machines at a moment.
//!
//! An event about a machine contains the whole machine, so its state is that of the last event
//! before the moment; without one, the first event after it contains the previous state. It reads a
//! few rows per machine, however long the log is.

use std::sync::LazyLock;

use model::{Event, event::Replay};
use rusqlite::{Connection, OptionalExtension};

use super::events::{COLUMNS, EventRow, row};

/// The SQL condition of a step.
static STEPS: LazyLock<String> = LazyLock::new(|| kinds(Replay::is_step));
/// The SQL condition of an event with the state of a machine.
static MACHINES: LazyLock<String> = LazyLock::new(|| kinds(Replay::tells_machine));

/// The SQL condition of such kinds.
fn kinds(of: fn(Replay) -> bool) -> String {
    let names = Event::ALL.iter().filter(|kind| of(kind.replay)).map(|kind| format!("'{}'", kind.name));
    format!("kind IN ({})", names.collect::<Vec<_>>().join(", "))
}

/// Number of bars of the timeline.
const BARS: u64 = 96;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// After the event with this number, or the last one before it.
    Event(u64),
    /// At this time, in Unix milliseconds.
    Time(u64),
    /// After all events.
    Latest,
}

/// The data of a moment.
#[derive(Debug)]
pub(crate) struct Traces {
    /// The last step until then.
    pub(crate) here: EventRow,
    /// The numbers of the first, previous, next and last step.
    pub(crate) steps: [Option<u64>; 4],
    /// For each machine the last event until then, or the first one after it.
    pub(crate) machines: Vec<EventRow>,
    /// Ends of equally long bars in Unix milliseconds, with their number of steps.
    pub(crate) bars: Vec<(u64, u64)>,
}

pub(super) fn traces(connection: &Connection, at: At) -> rusqlite::Result<Option<Traces>> {
    let step = |rest: &str, value: u64| -> rusqlite::Result<Option<EventRow>> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE {steps} AND {rest} LIMIT 1", steps = *STEPS);
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
    // Before the first step the state is unknown, so the first step is used.
    let here = found.unwrap_or_else(|| if at == At::Latest { last.clone() } else { first.clone() });
    let before = step("n < ? ORDER BY n DESC", here.n)?.map(|row| row.n);
    let after = step("n > ? ORDER BY n", here.n)?.map(|row| row.n);
    let machines = machines(connection, here.n)?;
    let bars = bars(connection, first.at, last.at)?;
    Ok(Some(Traces { steps: [Some(first.n), before, after, Some(last.n)], here, machines, bars }))
}

/// For each machine the event that contains its state after `n`.
fn machines(connection: &Connection, n: u64) -> rusqlite::Result<Vec<EventRow>> {
    // Iterates over machines through the index, however many events each has.
    let machines = "WITH RECURSIVE s(subject, host) AS (
            SELECT * FROM (SELECT subject, host FROM events WHERE subject > '' ORDER BY subject, host LIMIT 1)
            UNION ALL SELECT
                (SELECT e.subject FROM events e WHERE (e.subject, e.host) > (s.subject, s.host) ORDER BY e.subject, e.host LIMIT 1),
                (SELECT e.host FROM events e WHERE (e.subject, e.host) > (s.subject, s.host) ORDER BY e.subject, e.host LIMIT 1)
            FROM s WHERE s.subject IS NOT NULL
        ) SELECT subject, host FROM s WHERE subject IS NOT NULL";
    let machines: Vec<(String, String)> = connection
        .prepare_cached(machines)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let sql = |rest: &str| {
        format!(
            "SELECT {COLUMNS} FROM events WHERE subject = ? AND host = ? AND {machines} AND {rest} LIMIT 1",
            machines = *MACHINES
        )
    };
    let mut until = connection.prepare_cached(&sql("n <= ? ORDER BY n DESC"))?;
    let mut from = connection.prepare_cached(&sql("n > ? ORDER BY n"))?;
    let mut found = Vec::with_capacity(machines.len());
    for (subject, host) in machines {
        let before = until.query_row((&subject, &host, n), row).optional()?;
        let telling = if before.is_some() { before } else { from.query_row((&subject, &host, n), row).optional()? };
        found.extend(telling);
    }
    Ok(found)
}

/// The number of steps in each bar.
fn bars(connection: &Connection, from: u64, to: u64) -> rusqlite::Result<Vec<(u64, u64)>> {
    let width = to.saturating_sub(from) / BARS + 1;
    let sql = format!(
        "SELECT (at - ?1) / ?2, count(*) FROM events WHERE {steps} AND at BETWEEN ?1 AND ?3 GROUP BY 1",
        steps = *STEPS
    );
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::journal::Journal;

    fn event(at: u64, kind: &str, host: &str, subject: u128) -> EventRow {
        EventRow {
            n: 0,
            at,
            cursor: String::new(),
            kind: kind.into(),
            host: Some(host.parse().expect("a name")),
            subject: Some(Uuid::from_u128(subject)),
            data: "{}".into(),
        }
    }

    #[tokio::test]
    async fn each_machine_of_each_host_is_found_as_it_was_left_or_will_be_found() {
        let folder = TempDir::new().expect("a folder");
        let journal = Journal::open(folder.path()).unwrap_or_else(|trouble| panic!("{trouble:?}"));
        assert!(journal.events.moment(At::Latest).await.expect("read").is_none(), "nothing has happened");
        let rows = vec![
            event(1_000, "vm-created", "a", 1),
            event(2_000, "vm-state-changed", "a", 1),
            event(3_000, "vm-updated", "a", 1),
            // The same UUID on another host, as after a migration.
            event(4_000, "vm-created", "b", 1),
            event(5_000, "vm-deleted", "a", 1),
            event(6_000, "vm-state-changed", "b", 2),
        ];
        journal.events.append(rows).await.expect("written");
        let at = async |at| {
            let traces = journal.events.moment(at).await.expect("read").expect("something happened");
            let machines = traces.machines.iter().map(|row| (row.host.clone().expect("a host").to_string(), row.n));
            (traces.here.n, traces.steps, machines.collect::<Vec<_>>())
        };
        let (here, steps, machines) = at(At::Latest).await;
        assert_eq!((here, steps), (6, [Some(1), Some(5), None, Some(6)]));
        assert_eq!(machines, [("a".to_owned(), 5), ("b".to_owned(), 4), ("b".to_owned(), 6)]);
        // Events that are not steps are skipped, and later ones contain the previous state.
        let (here, steps, machines) = at(At::Time(3_500)).await;
        assert_eq!((here, steps), (2, [Some(1), Some(1), Some(4), Some(6)]));
        assert_eq!(machines, [("a".to_owned(), 2), ("b".to_owned(), 4), ("b".to_owned(), 6)]);
        assert_eq!(at(At::Event(3)).await.0, 2);
        assert_eq!(at(At::Time(1)).await.0, 1, "before everything the first one is nearest");
        let bars = journal.events.moment(At::Latest).await.expect("read").expect("something happened").bars;
        assert_eq!((bars.len(), bars.iter().map(|bar| bar.1).sum::<u64>()), (96, 5));
    }
}
