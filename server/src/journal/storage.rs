//! Opens SQLite files and puts what goes wrong with them into words.

use std::{path::Path, time::Duration};

use model::{Fault, FaultKind};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Marks our files (`PRAGMA application_id`).
const APPLICATION: i32 = 0x0062_6c76;
/// The layout of most files; a newer one is not touched.
pub(super) const VERSION: i32 = 1;
/// Larger files are not checked as a whole at every start.
const CHECKED_BYTES: u64 = 256 << 20;

/// Opens a file for writing; makes it if it is missing, and never one that is
/// something else, damaged, or newer than this version.
pub(super) fn open(path: &Path, layout: &str, durable: bool) -> Result<Connection, String> {
    open_version(path, (layout, VERSION), durable)
}

/// The same for a file whose layout has a version of its own.
pub(super) fn open_version(path: &Path, (layout, newest): (&str, i32), durable: bool) -> Result<Connection, String> {
    let damaged = |why: String| {
        format!(
            "{} is damaged or no journal of Belvedere ({why}); nothing was changed: put a copy of it back, \
             or move it away and start again to begin a new one",
            path.display()
        )
    };
    let connection = Connection::open(path).map_err(|error| {
        format!("cannot open {}: {error}; make it writable or choose another folder with --data", path.display())
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
            "{} was written by a newer Belvedere; start that one, or choose another folder with --data",
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

/// Opens a file that is there, and never makes one: a disk that is not mounted looks
/// like an empty folder.
fn open_again(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a file for writing whose disk went away and may have come back.
pub(super) fn open_to_write(path: &Path, durable: bool) -> rusqlite::Result<Connection> {
    let connection = open_again(path)?;
    connection.execute_batch(&format!("PRAGMA synchronous = {}", synchronous(durable)))?;
    Ok(connection)
}

/// Opens a second connection that only reads.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_again(path)?;
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

fn synchronous(durable: bool) -> &'static str {
    if durable { "FULL" } else { "NORMAL" }
}

/// Whether an error may mean that the open file is not the one at its path any more,
/// as after a disk was mounted anew.
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
    // Half a MiB of pages each, so that the journal never makes the server large.
    connection.execute_batch("PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY")
}

/// The one value of a query's only row.
pub(super) fn one<T: rusqlite::types::FromSql>(connection: &Connection, query: &str) -> rusqlite::Result<T> {
    connection.query_row(query, [], |row| row.get(0))
}

/// What is told to whoever wanted something recorded.
pub(super) fn fault(error: &rusqlite::Error, path: &Path) -> Fault {
    let file = path.display();
    let (reason, next) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            format!("The disk that holds Belvedere's journal is full ({file}), so no command is carried out"),
            "Free some space there; it goes on by itself",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            format!("Belvedere's journal cannot be written ({file}), so no command is carried out"),
            "Make its folder writable; it goes on by itself",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            format!("Belvedere's journal is damaged ({file}), so no command is carried out"),
            "Stop Belvedere, look with \"belvedere audit verify\", and put a copy back",
        ),
        _ => (
            format!("Belvedere's journal cannot be written ({file}: {error}), so no command is carried out"),
            "Look at that disk; it goes on by itself once it can be written",
        ),
    };
    Fault::new(FaultKind::InsufficientStorage, reason).with_next(next)
}
