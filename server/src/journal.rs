//! The persistent data: audit records, events of the last days, and usage statistics.
//!
//! ```text
//!              ┌─▶ audit.db    chained records, each on disk before it is answered
//!  DIR/lock ───┼─▶ events.db   the event log, written with a delay
//!              └─▶ usage.db    usage statistics, per minute
//!  DIR/accounts.db             accounts; also written by the command line
//! ```
//!
//! One thread writes each file in group commits; others read. It is independent of HTTP, of
//! libvirt, and of the meaning of commands.

pub(crate) mod accounts;
mod audit;
mod chain;
mod events;
mod replay;
mod storage;
pub(crate) mod usage;
mod worker;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use model::{AuditRecord, Fault};
use tokio::sync::watch;

use self::{accounts::Accounts, audit::Audit, events::Events};
pub(crate) use self::{
    audit::{Admitted, Intent, Note, Query, Reached, Said, Settled, Stored},
    chain::verify,
    events::{EventRow, Span},
    replay::{At, Traces},
    usage::UsageFile,
};

/// The file of audit records.
const AUDIT: &str = "audit.db";
/// The file of past events.
const EVENTS: &str = "events.db";
/// The file of usage statistics.
const USAGE: &str = "usage.db";
/// The file of accounts, sessions and tokens.
const ACCOUNTS: &str = "accounts.db";
/// The lock file of the data directory.
const LOCK: &str = "lock";

/// The journal of a server.
pub(crate) struct Journal {
    /// Audit records.
    pub(crate) audit: Audit,
    /// Past events.
    pub(crate) events: Events,
    /// Usage statistics.
    pub(crate) usage: UsageFile,
    /// Accounts.
    pub(crate) accounts: Accounts,
    _lock: Arc<Mutex<File>>,
}

/// A page of a list, and the start of the next one.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The `after` value of the next page; none at the end.
    pub(crate) next: Option<u64>,
}

/// A page of records.
pub(crate) type Records = Paged<AuditRecord>;

/// Why a journal could not be opened.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another server uses the directory.
    InUse(PathBuf),
    /// Another error; one sentence with the next step.
    Other(String),
}

impl Journal {
    /// Opens or creates the journal in a directory, for this process alone.
    ///
    /// # Errors
    /// If another process uses it, it is corrupt, or it cannot be written.
    pub(crate) fn open(folder: &Path) -> Result<Self, Trouble> {
        let unusable = |error: io::Error| {
            Trouble::Other(format!(
                "cannot use data directory {}: {error}; choose another one with --data",
                folder.display()
            ))
        };
        own_folder(folder).map_err(unusable)?;
        let lock = match lock(folder) {
            Ok(lock) => Arc::new(Mutex::new(lock)),
            Err(TryLockError::WouldBlock) => return Err(Trouble::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        };
        // A file whose mode cannot be changed cannot be written either, which is reported below.
        [AUDIT, EVENTS, USAGE, ACCOUNTS].iter().for_each(|name| only_for_us(&folder.join(name)).unwrap_or_default());
        let (held, place) = (Arc::downgrade(&lock), folder.to_owned());
        let renew = move || held.upgrade().map_or(Ok(()), |held| renew(&held, &place).map_err(cannot_open));
        let audit = Audit::open(&folder.join(AUDIT), renew).map_err(Trouble::Other)?;
        let events = Events::open(&folder.join(EVENTS)).map_err(Trouble::Other)?;
        let usage = UsageFile::open(&folder.join(USAGE)).map_err(Trouble::Other)?;
        let accounts = Accounts::open(&folder.join(ACCOUNTS)).map_err(Trouble::Other)?;
        Ok(Self { audit, events, usage, accounts, _lock: lock })
    }

    /// Why nothing can be recorded now; none while it works.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.audit.trouble()
    }
}

/// Creates a directory if needed, accessible only to this account.
///
/// # Errors
/// If it cannot be created or protected.
pub(crate) fn own_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    match fs::set_permissions(folder, fs::Permissions::from_mode(mode & !0o077)) {
        // A read-only file system is reported when it is written.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        closed => closed,
    }
}

/// Locks a directory for this process while the file is open. No other account may open the file,
/// because any reader could lock it.
fn lock(folder: &Path) -> Result<File, TryLockError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(TryLockError::Error)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).ok();
    file.try_lock()?;
    Ok(file)
}

/// Locks the directory again after another disk was mounted.
fn renew(held: &Mutex<File>, folder: &Path) -> io::Result<()> {
    let mut held = held.lock();
    let (ours, there) = (held.metadata()?, fs::metadata(folder.join(LOCK))?);
    if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
        *held = lock(folder)?;
    }
    Ok(())
}

fn cannot_open(error: io::Error) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

/// Records contain names of accounts and machines, so the files are private. SQLite creates its
/// additional files with the same mode.
fn only_for_us(file: &Path) -> io::Result<()> {
    File::options().create(true).append(true).mode(0o600).open(file)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

/// Opens or creates the accounts of a directory, for `belvedere user` and similar commands.
///
/// # Errors
/// If it cannot be used; one sentence.
pub(crate) fn open_accounts(folder: &Path) -> Result<rusqlite::Connection, String> {
    let unusable = |error: io::Error| format!("cannot use data directory {}: {error}", folder.display());
    own_folder(folder).map_err(unusable)?;
    only_for_us(&folder.join(ACCOUNTS)).map_err(unusable)?;
    accounts::open(&folder.join(ACCOUNTS))
}

/// Whether a server uses a directory.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Whether the accounts of a directory require sign-in, or cannot be read.
pub(crate) fn is_closed(folder: &Path) -> bool {
    let known =
        accounts::open(&folder.join(ACCOUNTS)).and_then(|file| accounts::any(&file).map_err(|error| error.to_string()));
    known.unwrap_or(true)
}

/// The record file of a directory, for `belvedere audit`.
pub(crate) fn audit_file(folder: &Path) -> PathBuf {
    folder.join(AUDIT)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
