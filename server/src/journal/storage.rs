//! Opens SQLite files and translates their errors.

use std::{path::Path, time::Duration};

use model::{Fault, FaultKind};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// The id of our files (`PRAGMA application_id`).
const APPLICATION: i32 = 0x0062_6c76;
/// The version of most files; newer ones are refused.
pub(super) const VERSION: i32 = 1;
/// Larger files are not fully checked at every start.
const CHECKED_BYTES: u64 = 256 << 20;

/// Opens or creates a file for writing; refuses foreign, corrupt and newer files.
pub(super) fn open(path: &Path, layout: &str, durable: bool) -> Result<Connection, String> {
    open_version(path, (layout, VERSION), durable)
}

/// Opens or creates a file with a specific version.
pub(super) fn open_version(path: &Path, (layout, newest): (&str, i32), durable: bool) -> Result<Connection, String> {
    let damaged = |why: String| {
        format!(
            "{} is corrupt or not a journal of Belvedere ({why}); nothing was changed: restore a backup, \
             or move it away and restart to create a new one",
            path.display()
        )
    };
    let connection = Connection::open(path).map_err(|error| {
        format!(
            "cannot open {}: {error}; make it writable or choose another data directory with --data",
            path.display()
        )
    })?;
    let said = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => damaged(error.to_string()),
        _ => format!("cannot use {}: {}", path.display(), fault(&error, path).sentence()),
    };
    prepare(&connection).map_err(said)?;
    let tables: i64 = one(&connection, "SELECT count(*) FROM sqlite_schema").map_err(said)?;
    let (application, version): (i32, i32) = (
        one(&connection, "PRAGMA application_id").map_err(said)?,
        one(&connection, "PRAGMA user_version").map_err(said)?,
    );
    if tables > 0 && application != APPLICATION {
        return Err(damaged("it belongs to another program".into()));
    }
    if version > newest {
        return Err(format!(
            "{} was written by a newer version of Belvedere; use that version, or choose another data directory with --data",
            path.display()
        ));
    }
    if path.metadata().is_ok_and(|file| file.len() < CHECKED_BYTES) {
        let verdict: String = one(&connection, "PRAGMA quick_check(1)").map_err(said)?;
        if verdict != "ok" {
            return Err(damaged(verdict.lines().next().unwrap_or_default().to_owned()));
        }
    }
    let synchronous = synchronous(durable);
    let set_up = format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA application_id = {APPLICATION}; \
         PRAGMA user_version = {newest}; {layout}"
    );
    connection.execute_batch(&set_up).map_err(said)?;
    Ok(connection)
}

/// Opens an existing file, and never creates one: an unmounted disk looks like an empty directory.
fn open_again(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Reopens a file for writing after its disk was lost.
pub(super) fn open_to_write(path: &Path, durable: bool) -> rusqlite::Result<Connection> {
    let connection = open_again(path)?;
    connection.execute_batch(&format!("PRAGMA synchronous = {}", synchronous(durable)))?;
    Ok(connection)
}

/// Opens a second, read-only connection.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_again(path)?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

fn synchronous(durable: bool) -> &'static str {
    if durable { "FULL" } else { "NORMAL" }
}

/// Whether an error may mean that the open file is no longer the one at its path, as after a
/// remount.
pub(super) fn is_lost(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    // Half a MiB of pages each, to limit memory.
    connection.execute_batch("PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY")
}

/// The single value of a query.
pub(super) fn one<T: rusqlite::types::FromSql>(connection: &Connection, query: &str) -> rusqlite::Result<T> {
    connection.query_row(query, [], |row| row.get(0))
}

/// The fault of a failed write.
pub(super) fn fault(error: &rusqlite::Error, path: &Path) -> Fault {
    let file = path.display();
    let (reason, next) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            format!("The disk of the journal is full ({file}), so no command is accepted"),
            "Free some space; Belvedere resumes automatically",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            format!("The journal cannot be written ({file}), so no command is accepted"),
            "Make its directory writable; Belvedere resumes automatically",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            format!("The journal is corrupt ({file}), so no command is accepted"),
            "Stop Belvedere, run \"belvedere audit verify\" and restore a backup",
        ),
        _ => (
            format!("The journal cannot be written ({file}: {error}), so no command is accepted"),
            "Check the disk; Belvedere resumes automatically",
        ),
    };
    Fault::new(FaultKind::InsufficientStorage, reason).with_next(next)
}
