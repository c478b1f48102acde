//! What must survive: who asked for what and what became of it, and what
//! happened on the hosts in the last days.
//!
//! ```text
//!              ┌─▶ audit.db    chained records, each on disk before it is answered
//!  DIR/lock ───┼─▶ events.db   the log of the stream, written some moments later
//!              └─▶ usage.db    what machines used, a minute at a time
//!  DIR/accounts.db             who may do what; others may write it, too
//! ```
//!
//! One thread writes each file and commits many wishes at once (group commit);
//! others read. It knows nothing of HTTP, of libvirt, or of what a command means.

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
    sync::{Arc, Mutex, PoisonError},
};

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

/// The file of chained records.
const AUDIT: &str = "audit.db";
/// The file of past events.
const EVENTS: &str = "events.db";
/// The file of what machines used.
const USAGE: &str = "usage.db";
/// The file of accounts, sessions and tokens.
const ACCOUNTS: &str = "accounts.db";
/// The file that says that somebody uses the folder.
const LOCK: &str = "lock";

/// The journal of a server.
pub(crate) struct Journal {
    /// Who did what.
    pub(crate) audit: Audit,
    /// What happened.
    pub(crate) events: Events,
    /// What machines used.
    pub(crate) usage: UsageFile,
    /// Who may do what.
    pub(crate) accounts: Accounts,
    _lock: Arc<Mutex<File>>,
}

/// A page of a list, and where the next one begins.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// What `after` gives the next ones; none at the end.
    pub(crate) next: Option<u64>,
}

/// A page of records.
pub(crate) type Records = Paged<AuditRecord>;

/// Why a journal could not be opened.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another server uses the folder.
    InUse(PathBuf),
    /// Something else; one sentence with the next step.
    Other(String),
}

impl Journal {
    /// Opens or makes the journal in a folder, for this process alone.
    ///
    /// # Errors
    /// When somebody else uses it, it is damaged, or it cannot be written.
    pub(crate) fn open(folder: &Path) -> Result<Self, Trouble> {
        let unusable = |error: io::Error| {
            Trouble::Other(format!(
                "cannot use {} for data: {error}; choose another folder with --data",
                folder.display()
            ))
        };
        own_folder(folder).map_err(unusable)?;
        let lock = match lock(folder) {
            Ok(lock) => Arc::new(Mutex::new(lock)),
            Err(TryLockError::WouldBlock) => return Err(Trouble::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        };
        // A file that cannot even be closed to others cannot be written, which is told below.
        [AUDIT, EVENTS, USAGE, ACCOUNTS].iter().for_each(|name| only_for_us(&folder.join(name)).unwrap_or_default());
        let (held, place) = (Arc::downgrade(&lock), folder.to_owned());
        let renew = move || held.upgrade().map_or(Ok(()), |held| renew(&held, &place).map_err(cannot_open));
        let audit = Audit::open(&folder.join(AUDIT), renew).map_err(Trouble::Other)?;
        let events = Events::open(&folder.join(EVENTS)).map_err(Trouble::Other)?;
        let usage = UsageFile::open(&folder.join(USAGE)).map_err(Trouble::Other)?;
        let accounts = Accounts::open(&folder.join(ACCOUNTS)).map_err(Trouble::Other)?;
        Ok(Self { audit, events, usage, accounts, _lock: lock })
    }

    /// Why nothing can be recorded now; none while it can.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.audit.trouble()
    }
}

/// Makes a folder if need be, which nobody else may look into.
///
/// # Errors
/// When it cannot be made, or closed to others.
pub(crate) fn own_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    match fs::set_permissions(folder, fs::Permissions::from_mode(mode & !0o077)) {
        // What cannot be written at all is told when it is written.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        closed => closed,
    }
}

/// Makes a folder this process's own as long as the file is open. Nobody else may open the file,
/// as whoever can read it could lock it.
fn lock(folder: &Path) -> Result<File, TryLockError> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(TryLockError::Error)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).ok();
    file.try_lock()?;
    Ok(file)
}

/// Locks the folder again where another disk lies now.
fn renew(held: &Mutex<File>, folder: &Path) -> io::Result<()> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Records name people and machines, so the files are nobody else's business.
/// SQLite gives the files beside them the same mode.
fn only_for_us(file: &Path) -> io::Result<()> {
    File::options().create(true).append(true).mode(0o600).open(file)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

/// Opens or makes the accounts of a folder, for `belvedere user` and its like.
///
/// # Errors
/// When it cannot be used; one sentence.
pub(crate) fn open_accounts(folder: &Path) -> Result<rusqlite::Connection, String> {
    let unusable = |error: io::Error| format!("cannot use {} for data: {error}", folder.display());
    own_folder(folder).map_err(unusable)?;
    only_for_us(&folder.join(ACCOUNTS)).map_err(unusable)?;
    accounts::open(&folder.join(ACCOUNTS))
}

/// Whether a server uses a folder.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Whether the accounts of a folder ask who somebody is, or cannot be read.
pub(crate) fn is_closed(folder: &Path) -> bool {
    let known =
        accounts::open(&folder.join(ACCOUNTS)).and_then(|file| accounts::any(&file).map_err(|error| error.to_string()));
    known.unwrap_or(true)
}

/// The file of records in a folder, for `belvedere audit`.
pub(crate) fn audit_file(folder: &Path) -> PathBuf {
    folder.join(AUDIT)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
