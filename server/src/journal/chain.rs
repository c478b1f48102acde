//! The chain of records: each contains a hash over the previous one and its own text, so that a
//! changed, moved or removed record is detected.
//!
//! Anyone with write access to the file could write a new chain. Only a hash noted elsewhere
//! protects against that; `verify` accepts it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::storage;

/// A SHA-256 hash (FIPS 180-4).
pub(super) type Hash = [u8; 32];

/// The end of a chain: number and hash of its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Hash,
}

impl Head {
    /// Before the first record.
    const START: Self = Self { seq: 0, hash: [0; 32] };

    /// The head after another record.
    pub(super) fn after(self, body: &str) -> Self {
        let seq = self.seq + 1;
        let hash = Sha256::new().chain_update(self.hash).chain_update(seq.to_be_bytes()).chain_update(body).finalize();
        Self { seq, hash: hash.into() }
    }

    /// Reads a named head from the file.
    pub(super) fn read(connection: &Connection, name: &str) -> rusqlite::Result<Self> {
        let query = "SELECT seq, hash FROM heads WHERE name = ?";
        let head = connection.query_row(query, [name], |row| Ok(Self { seq: row.get(0)?, hash: row.get(1)? }));
        Ok(head.optional()?.unwrap_or(Self::START))
    }

    /// Writes a named head to the file.
    pub(super) fn write(self, connection: &Connection, name: &str) -> rusqlite::Result<()> {
        let query = "INSERT INTO heads(name, seq, hash) VALUES(?, ?, ?) \
                     ON CONFLICT(name) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
        connection.prepare_cached(query)?.execute((name, self.seq, self.hash))?;
        Ok(())
    }
}

/// The name of the head before the oldest existing record.
pub(super) const OLDEST: &str = "oldest";
/// The name of the head of the newest record.
pub(super) const NEWEST: &str = "newest";

/// Verifies the records after a head; returns the last head, or the error.
pub(super) fn check(connection: &Connection, from: Head) -> rusqlite::Result<Result<Head, String>> {
    check_until(connection, from, |_| {})
}

fn check_until(
    connection: &Connection,
    from: Head,
    mut seen: impl FnMut(Head),
) -> rusqlite::Result<Result<Head, String>> {
    let newest = Head::read(connection, NEWEST)?;
    let mut statement = connection.prepare("SELECT seq, body, hash FROM entries WHERE seq > ? ORDER BY seq")?;
    let mut rows = statement.query([from.seq])?;
    let mut head = from;
    while let Some(row) = rows.next()? {
        let (seq, hash): (u64, Hash) = (row.get(0)?, row.get(2)?);
        let next = head.after(row.get_ref(1)?.as_str()?);
        if seq != next.seq {
            return Ok(Err(format!("record {} is missing", next.seq)));
        }
        if hash != next.hash {
            return Ok(Err(format!("record {seq} was changed, or one before it")));
        }
        head = next;
        seen(head);
    }
    if head != newest {
        return Ok(Err(format!("the records after {} are missing", head.seq)));
    }
    Ok(Ok(head))
}

/// Runs `belvedere audit verify` on a file.
///
/// # Errors
/// One sentence with the cause and the number of the record.
pub(crate) fn verify(path: &Path, noted: Option<&str>) -> Result<String, String> {
    if !path.is_file() {
        return Err(format!("no journal at {}; set the data directory with --data", path.display()));
    }
    let unreadable = |error: rusqlite::Error| format!("cannot read {}: {error}", path.display());
    let connection = storage::open_to_read(path).map_err(unreadable)?;
    let oldest = Head::read(&connection, OLDEST).map_err(unreadable)?;
    let mut found = noted.is_none_or(|noted| hex::encode(oldest.hash) == noted);
    let checked = check_until(&connection, oldest, |head| {
        found |= noted.is_some_and(|noted| hex::encode(head.hash) == noted);
    });
    let head = checked.map_err(unreadable)?.map_err(|what| format!("{}: {what}", path.display()))?;
    if !found {
        return Err(format!("{}: no record has the noted hash, so the chain was rewritten", path.display()));
    }
    Ok(format!("{} records are intact; the hash of the last one is {}", head.seq - oldest.seq, hex::encode(head.hash)))
}
