//! Accounts, sessions and tokens on disk. Secrets are kept as hashes only, so that
//! whoever reads the file cannot log in with it. It decides nothing.

use std::path::Path;

use model::{Fault, Role};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    storage,
    worker::{self, Reader, Writer},
};

const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS users(
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        password TEXT,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS sessions(
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        created INTEGER NOT NULL,
        seen INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS tokens(
        hash BLOB PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER
    ) STRICT;
    CREATE TABLE IF NOT EXISTS closed(
        since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS links(
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        expires INTEGER NOT NULL
    ) STRICT;
";

/// A session ends after so long without a request, in milliseconds.
pub(crate) const IDLE: u64 = 8 * 3_600_000;
/// A session ends so long after it began, in milliseconds.
pub(crate) const ABSOLUTE: u64 = 24 * 3_600_000;

/// What began later than now by more than this began by a clock that was wrong, in
/// milliseconds.
const SKEW: u64 = 300_000;

/// What a secret is known by: its SHA-256.
pub(crate) type Hash = [u8; 32];

/// Somebody with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// The password as Argon2 hashed it; none of one who logs in by link only.
    pub(crate) password: Option<String>,
}

/// The file of a server that runs.
pub(crate) struct Accounts {
    writer: Writer,
    reader: Reader,
}

impl Accounts {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let connection = open(path)?;
        let (writer, reader) = worker::start("accounts", connection, path, true, || Ok(()))?;
        Ok(Self { writer, reader })
    }

    /// Reads something.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.reader.ask(read).await
    }

    /// Changes something; it is on disk afterwards.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.writer.write(move |transaction| write(transaction)).await
    }
}

/// Opens or makes the file; also while a server uses it.
pub(crate) fn open(path: &Path) -> Result<Connection, String> {
    let connection = storage::open(path, LAYOUT, true)?;
    connection.execute_batch("PRAGMA foreign_keys = ON").map_err(|error| error.to_string())?;
    Ok(connection)
}

/// Whether there ever was an account or token, from which on everybody must say who they
/// are: taking the last one away opens nothing.
pub(crate) fn any(connection: &Connection) -> rusqlite::Result<bool> {
    storage::one(
        connection,
        "SELECT EXISTS(SELECT 1 FROM users) OR EXISTS(SELECT 1 FROM tokens) OR EXISTS(SELECT 1 FROM closed)",
    )
}

fn close(connection: &Connection, now: u64) -> rusqlite::Result<()> {
    let query = "INSERT INTO closed(since) SELECT ? WHERE NOT EXISTS(SELECT 1 FROM closed)";
    connection.execute(query, [now]).map(drop)
}

/// Whether an account or a token has this name; records name both alike.
fn is_taken(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS(SELECT 1 FROM users WHERE name = ?1) OR EXISTS(SELECT 1 FROM tokens WHERE name = ?1)";
    connection.query_row(query, [name], |row| row.get(0))
}

/// Adds an account; false when the name is taken.
pub(crate) fn add_user(connection: &Connection, user: &User, now: u64) -> rusqlite::Result<bool> {
    close(connection, now)?;
    if is_taken(connection, &user.name)? {
        return Ok(false);
    }
    let added = connection.execute(
        "INSERT INTO users(name, role, password, created) VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (&user.name, user.role.name(), &user.password, now),
    )?;
    Ok(added > 0)
}

/// Takes an account away with its sessions; false when there is none of that name.
pub(crate) fn remove_user(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.execute("DELETE FROM sessions WHERE user = ?", [name])?;
    connection.execute("DELETE FROM links WHERE user = ?", [name])?;
    Ok(connection.execute("DELETE FROM users WHERE name = ?", [name])? > 0)
}

/// One account.
pub(crate) fn user(connection: &Connection, name: &str) -> rusqlite::Result<Option<User>> {
    connection.query_row("SELECT name, role, password FROM users WHERE name = ?", [name], to_user).optional()
}

/// All accounts, by name.
pub(crate) fn users(connection: &Connection) -> rusqlite::Result<Vec<User>> {
    connection.prepare("SELECT name, role, password FROM users ORDER BY name")?.query_map([], to_user)?.collect()
}

fn to_user(row: &Row<'_>) -> rusqlite::Result<User> {
    // A role of a newer version is the least one here.
    let role = Role::from_name(&row.get::<_, String>(1)?).unwrap_or_default();
    Ok(User { name: row.get(0)?, role, password: row.get(2)? })
}

/// Begins a session, and forgets those that have ended.
pub(crate) fn add_session(connection: &Connection, hash: &Hash, user: &str, now: u64) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM sessions WHERE seen < ? OR created < ?",
        (now.saturating_sub(IDLE), now.saturating_sub(ABSOLUTE)),
    )?;
    let query = "INSERT INTO sessions(hash, user, created, seen) VALUES(?, ?, ?, ?)";
    connection.execute(query, (hash, user, now, now)).map(drop)
}

/// Whose session it is, and when it was seen last.
pub(crate) fn session(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<(User, u64)>> {
    let query = "SELECT name, role, password, seen FROM sessions JOIN users ON name = user
        WHERE hash = ?1 AND seen BETWEEN ?2 AND ?4 AND sessions.created BETWEEN ?3 AND ?4";
    let (idle, absolute) = (now.saturating_sub(IDLE), now.saturating_sub(ABSOLUTE));
    connection.query_row(query, (hash, idle, absolute, now + SKEW), |row| Ok((to_user(row)?, row.get(3)?))).optional()
}

/// Notes that a session was used.
pub(crate) fn touch_session(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<()> {
    connection.execute("UPDATE sessions SET seen = ? WHERE hash = ?", (now, hash)).map(drop)
}

/// Ends a session.
pub(crate) fn end_session(connection: &Connection, hash: &Hash) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM sessions WHERE hash = ?", [hash]).map(drop)
}

/// Adds a token; false when the name is taken.
pub(crate) fn add_token(
    connection: &Connection,
    hash: &Hash,
    (name, role, expires): (&str, Role, Option<u64>),
    now: u64,
) -> rusqlite::Result<bool> {
    close(connection, now)?;
    if is_taken(connection, name)? {
        return Ok(false);
    }
    let added = connection.execute(
        "INSERT INTO tokens(hash, name, role, created, expires) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (hash, name, role.name(), now, expires),
    )?;
    Ok(added > 0)
}

/// Takes a token away; false when there is none of that name.
pub(crate) fn remove_token(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM tokens WHERE name = ?", [name])? > 0)
}

/// The name and role of a token.
pub(crate) fn token(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<(String, Role)>> {
    let query = "SELECT name, role FROM tokens WHERE hash = ? AND (expires IS NULL OR expires > ?) AND created <= ?";
    let found = connection.query_row(query, (hash, now, now + SKEW), |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
    Ok(found.optional()?.map(|(name, role)| (name, Role::from_name(&role).unwrap_or_default())))
}

/// Adds a link that logs somebody in once; false when there is nobody of that name.
pub(crate) fn add_link(connection: &Connection, hash: &Hash, name: &str, expires: u64) -> rusqlite::Result<bool> {
    if user(connection, name)?.is_none() {
        return Ok(false);
    }
    connection.execute("INSERT INTO links(hash, user, expires) VALUES(?, ?, ?)", (hash, name, expires))?;
    Ok(true)
}

/// Whom a link logs in; none when it was used or is too old.
pub(crate) fn link(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<String>> {
    let query = "SELECT user FROM links WHERE hash = ? AND expires > ?";
    connection.query_row(query, (hash, now), |row| row.get(0)).optional()
}

/// Uses a link up.
pub(crate) fn take_link(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<String>> {
    let user = link(connection, hash, now)?;
    connection.execute("DELETE FROM links WHERE hash = ? OR expires <= ?", (hash, now))?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000 * ABSOLUTE;

    fn with_root() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let connection = open(&folder.path().join("accounts.db")).expect("opens");
        assert!(!any(&connection).expect("read"));
        let root = User { name: "root".into(), role: Role::Admin, password: None };
        assert!(add_user(&connection, &root, NOW).expect("written"));
        assert!(!add_user(&connection, &root, NOW).expect("written"), "the name is taken");
        assert!(any(&connection).expect("read"));
        (folder, connection)
    }

    #[test]
    fn a_session_ends_when_it_rests_when_it_is_old_and_with_its_account() {
        let (_folder, connection) = with_root();
        let hash = [7; 32];
        add_session(&connection, &hash, "root", NOW).expect("written");
        let lives = |at| session(&connection, &hash, at).expect("read").is_some();
        assert!(lives(NOW + IDLE) && !lives(NOW + IDLE + 1));
        for at in (NOW..NOW + ABSOLUTE).step_by(IDLE as usize / 2) {
            touch_session(&connection, &hash, at).expect("written");
        }
        assert!(lives(NOW + ABSOLUTE) && !lives(NOW + ABSOLUTE + 1));
        assert!(!lives(NOW - IDLE), "it would have begun later than now");
        assert!(remove_user(&connection, "root").expect("written"));
        assert!(!lives(NOW));
        assert!(any(&connection).expect("read"), "nothing is opened by that");
    }

    #[test]
    fn a_link_works_once_and_not_for_ever_and_a_token_until_it_expires() {
        let (_folder, connection) = with_root();
        assert!(!add_link(&connection, &[1; 32], "nobody", NOW + 5).expect("written"));
        for hash in [[1; 32], [2; 32]] {
            assert!(add_link(&connection, &hash, "root", NOW + 5).expect("written"));
        }
        assert_eq!(take_link(&connection, &[1; 32], NOW).expect("taken").as_deref(), Some("root"));
        assert_eq!(take_link(&connection, &[1; 32], NOW).expect("taken"), None);
        assert_eq!(link(&connection, &[2; 32], NOW + 5).expect("read"), None);
        assert!(add_token(&connection, &[3; 32], ("ci", Role::Operator, Some(NOW + 5)), NOW).expect("written"));
        for taken in ["ci", "root"] {
            assert!(!add_token(&connection, &[4; 32], (taken, Role::Admin, None), NOW).expect("written"));
        }
        assert_eq!(token(&connection, &[3; 32], NOW).expect("read"), Some(("ci".into(), Role::Operator)));
        assert_eq!(token(&connection, &[3; 32], NOW + 5).expect("read"), None);
    }
}
