//! Accounts, sessions and tokens on disk. Secrets are stored as hashes, so that the file cannot be
//! used to sign in; the secret of a second factor is the exception, because it is needed to verify
//! codes. No decisions are made here.
//!
//! Each change is noted in the same transaction. The server moves the notes to the records, so
//! changes by the command line are recorded as well.

mod factors;
mod sessions;

use std::path::Path;

use model::{Fault, Role, Scope};
use rusqlite::{Connection, OptionalExtension, Row};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    audit::Note,
    storage,
    worker::{self, Reader, Writer},
};

pub(crate) use self::{
    factors::{Factor, factor, recover, recovery_left, set_factor, take_step, unset_factor},
    sessions::{
        ABSOLUTE, NewSession, Session, add_link, add_session, end_session, end_sessions, link, session, sessions,
        take_link, touch_session,
    },
};

const LAYOUT: &str = "
    CREATE TABLE IF NOT EXISTS users(
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        password TEXT,
        created INTEGER NOT NULL,
        scope TEXT NOT NULL DEFAULT '',
        subject TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS sessions(
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        created INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        address TEXT NOT NULL DEFAULT '',
        agent TEXT NOT NULL DEFAULT '',
        by_link INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE IF NOT EXISTS tokens(
        hash BLOB PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER,
        scope TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE IF NOT EXISTS closed(
        since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS links(
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,
        expires INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS factors(
        user TEXT PRIMARY KEY REFERENCES users(name) ON DELETE CASCADE,
        secret BLOB NOT NULL,
        step INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS recovery(
        hash BLOB PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE IF NOT EXISTS notes(
        id TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT;
";

/// The file version: the first one has neither scopes nor second factors, and must not open this
/// one as if there were none.
const VERSION: i32 = 2;
/// Columns missing in a file of the first version.
const LATER: [&str; 6] = [
    "ALTER TABLE users ADD COLUMN subject TEXT",
    "ALTER TABLE users ADD COLUMN scope TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE tokens ADD COLUMN scope TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sessions ADD COLUMN by_link INTEGER NOT NULL DEFAULT 0",
];

/// A start time later than now by more than this is the result of a wrong clock, in milliseconds.
const SKEW: u64 = 300_000;
/// Failures are noted while fewer notes than this are waiting for the records. More indicate a
/// lasting problem with the record file.
const MAX_FAILURES: u64 = 10_000;

/// The SHA-256 of a secret.
pub(crate) type Hash = [u8; 32];

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: String,
    /// Its role.
    pub(crate) role: Role,
    /// The Argon2 hash of the password; none for sign-in by link only.
    pub(crate) password: Option<String>,
    /// Its scope.
    pub(crate) scope: Scope,
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// Its name.
    pub(crate) name: String,
    /// Its role.
    pub(crate) role: Role,
    /// Creation time in Unix milliseconds.
    pub(crate) created: u64,
    /// Expiry in Unix milliseconds; none for no expiry.
    pub(crate) expires: Option<u64>,
    /// Its scope.
    pub(crate) scope: Scope,
}

/// The accounts file of a running server.
pub(crate) struct Accounts {
    writer: Writer,
    reader: Reader,
    /// Notified after each change by this process.
    pub(crate) changed: Notify,
}

impl Accounts {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let connection = open(path)?;
        let (writer, reader) = worker::start("accounts", connection, path, true, || Ok(()))?;
        Ok(Self { writer, reader, changed: Notify::new() })
    }

    /// Runs a read.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.reader.ask(read).await
    }

    /// Runs a change; it is on disk afterwards.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let written = self.writer.write(move |transaction| write(transaction)).await;
        self.changed.notify_one();
        written
    }
}

/// Opens or creates the file, even while a server uses it.
pub(crate) fn open(path: &Path) -> Result<Connection, String> {
    let connection = storage::open_version(path, (LAYOUT, VERSION), true)?;
    for later in LATER {
        match connection.execute_batch(later) {
            Err(error) if !error.to_string().contains("duplicate column") => {
                return Err(format!("cannot use {}: {error}", path.display()));
            }
            // The column exists already.
            _ => {}
        }
    }
    connection.execute_batch("PRAGMA foreign_keys = ON").map_err(|error| error.to_string())?;
    Ok(connection)
}

/// Adds a note for the records.
pub(crate) fn note(connection: &Connection, note: &Note) -> rusqlite::Result<()> {
    let body = serde_json::to_string(note).expect("records have string keys only");
    // Failed sign-ins are limited; changes are always recorded.
    let most = if note.fault.is_some() { MAX_FAILURES } else { u64::MAX >> 1 };
    let query = "INSERT INTO notes(id, body) SELECT ?, ? WHERE (SELECT count(*) FROM notes) < ?";
    connection.execute(query, (Uuid::new_v4().to_string(), body, most)).map(drop)
}

/// Notes waiting for the records, the oldest first.
pub(crate) fn notes(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let query = "SELECT id, body FROM notes ORDER BY rowid LIMIT 256";
    connection.prepare_cached(query)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Removes notes that were recorded.
pub(crate) fn forget_notes(connection: &Connection, ids: &[String]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM notes WHERE id = ?")?;
    ids.iter().try_for_each(|id| statement.execute([id]).map(drop))
}

/// Whether there ever was an account or token, so that sign-in is required: removing the last one
/// opens nothing.
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

/// Whether an account or token has this name; records do not distinguish them.
fn is_taken(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS(SELECT 1 FROM users WHERE name = ?1) OR EXISTS(SELECT 1 FROM tokens WHERE name = ?1)";
    connection.query_row(query, [name], |row| row.get(0))
}

/// Adds an account; false if the name is taken.
pub(crate) fn add_user(connection: &Connection, user: &User, now: u64) -> rusqlite::Result<bool> {
    close(connection, now)?;
    if is_taken(connection, &user.name)? {
        return Ok(false);
    }
    let added = connection.execute(
        "INSERT INTO users(name, role, password, created, scope) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (&user.name, user.role.name(), &user.password, now, user.scope.words()),
    )?;
    Ok(added > 0)
}

/// Removes an account with all its data; false if it does not exist.
pub(crate) fn remove_user(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    for table in ["sessions", "links", "factors", "recovery"] {
        connection.execute(&format!("DELETE FROM {table} WHERE user = ?"), [name])?;
    }
    Ok(connection.execute("DELETE FROM users WHERE name = ?", [name])? > 0)
}

/// Sets role and scope of an account.
pub(crate) fn set_role(connection: &Connection, name: &str, (role, scope): (Role, &Scope)) -> rusqlite::Result<bool> {
    let query = "UPDATE users SET role = ?, scope = ? WHERE name = ?";
    Ok(connection.execute(query, (role.name(), scope.words(), name))? > 0)
}

/// Sets the password of an account.
pub(crate) fn set_password(connection: &Connection, name: &str, hashed: &str) -> rusqlite::Result<bool> {
    Ok(connection.execute("UPDATE users SET password = ? WHERE name = ?", (hashed, name))? > 0)
}

/// Creates or updates an external account; none if the name belongs to another account.
pub(crate) fn put_known(
    connection: &Connection,
    (subject, name, role, scope): (&str, &str, Role, Option<&Scope>),
    now: u64,
) -> rusqlite::Result<Option<User>> {
    let query = "SELECT name FROM users WHERE subject = ?";
    let had: Option<String> = connection.query_row(query, [subject], |row| row.get(0)).optional()?;
    let name = match had {
        Some(had) => {
            // A scope set by an admin is kept if the external source defines none; admins have no
            // scope.
            let kept = user(connection, &had)?.map(|user| user.scope).filter(|_| role != Role::Admin);
            let kept = kept.unwrap_or_default();
            set_role(connection, &had, (role, scope.unwrap_or(&kept)))?;
            had
        }
        None => {
            let made = User { name: name.to_owned(), role, password: None, scope: scope.cloned().unwrap_or_default() };
            if !add_user(connection, &made, now)? {
                return Ok(None);
            }
            connection.execute("UPDATE users SET subject = ? WHERE name = ?", (subject, name))?;
            name.to_owned()
        }
    };
    user(connection, &name)
}

/// Whether there is another admin.
pub(crate) fn other_admin(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS(SELECT 1 FROM users WHERE role = 'admin' AND name != ?)";
    connection.query_row(query, [name], |row| row.get(0))
}

/// One account.
pub(crate) fn user(connection: &Connection, name: &str) -> rusqlite::Result<Option<User>> {
    let query = "SELECT name, role, password, scope FROM users WHERE name = ?";
    connection.query_row(query, [name], to_user).optional()
}

/// The external identity of an account; none for a local or missing account.
pub(crate) fn subject(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let query = "SELECT subject FROM users WHERE name = ?";
    connection.query_row(query, [name], |row| row.get(0)).optional().map(Option::flatten)
}

/// All accounts, by name.
pub(crate) fn users(connection: &Connection) -> rusqlite::Result<Vec<User>> {
    let query = "SELECT name, role, password, scope FROM users ORDER BY name";
    connection.prepare(query)?.query_map([], to_user)?.collect()
}

/// An unknown role of a newer version is the lowest one.
fn to_role(text: &str) -> Role {
    Role::from_name(text).unwrap_or_default()
}

/// An invalid scope is an error, so that the account cannot be used.
fn to_scope(text: &str) -> rusqlite::Result<Scope> {
    let wrong = |why: String| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, why.into());
    Scope::from_words(text).map_err(wrong)
}

fn to_user(row: &Row<'_>) -> rusqlite::Result<User> {
    let role = to_role(&row.get::<_, String>(1)?);
    Ok(User { name: row.get(0)?, role, password: row.get(2)?, scope: to_scope(&row.get::<_, String>(3)?)? })
}

/// Adds a token; false if the name is taken.
pub(crate) fn add_token(connection: &Connection, hash: &Hash, token: &Token) -> rusqlite::Result<bool> {
    close(connection, token.created)?;
    if is_taken(connection, &token.name)? {
        return Ok(false);
    }
    let added = connection.execute(
        "INSERT INTO tokens(hash, name, role, created, expires, scope) VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (hash, &token.name, token.role.name(), token.created, token.expires, token.scope.words()),
    )?;
    Ok(added > 0)
}

/// Removes a token; false if it does not exist.
pub(crate) fn remove_token(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM tokens WHERE name = ?", [name])? > 0)
}

/// A token that has not expired.
pub(crate) fn token(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<Token>> {
    let query = "SELECT name, role, created, expires, scope FROM tokens
        WHERE hash = ? AND (expires IS NULL OR expires > ?) AND created <= ?";
    connection.query_row(query, (hash, now, now + SKEW), to_token).optional()
}

/// All tokens, by name, including expired ones.
pub(crate) fn tokens(connection: &Connection) -> rusqlite::Result<Vec<Token>> {
    let query = "SELECT name, role, created, expires, scope FROM tokens ORDER BY name";
    connection.prepare(query)?.query_map([], to_token)?.collect()
}

fn to_token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role = to_role(&row.get::<_, String>(1)?);
    let scope = to_scope(&row.get::<_, String>(4)?)?;
    Ok(Token { name: row.get(0)?, role, created: row.get(2)?, expires: row.get(3)?, scope })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) const NOW: u64 = 1_000 * ABSOLUTE;

    pub(super) fn with_root() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let connection = open(&folder.path().join("accounts.db")).expect("opens");
        assert!(!any(&connection).expect("read"));
        let root = User { name: "root".into(), role: Role::Admin, password: None, scope: Scope::default() };
        assert!(add_user(&connection, &root, NOW).expect("written"));
        assert!(!add_user(&connection, &root, NOW).expect("written"), "the name is taken");
        assert!(any(&connection).expect("read"));
        (folder, connection)
    }

    #[test]
    fn a_token_works_until_it_expires_and_has_a_name_of_its_own() {
        let (_folder, connection) = with_root();
        let named = |name: &str| Token {
            name: name.into(),
            role: Role::Operator,
            created: NOW,
            expires: Some(NOW + 5),
            scope: Scope::from_words("atlas #web").expect("right"),
        };
        assert!(add_token(&connection, &[3; 32], &named("ci")).expect("written"));
        for taken in ["ci", "root"] {
            assert!(!add_token(&connection, &[4; 32], &named(taken)).expect("written"));
        }
        assert_eq!(token(&connection, &[3; 32], NOW).expect("read"), Some(named("ci")));
        assert_eq!(token(&connection, &[3; 32], NOW + 5).expect("read"), None);
        assert_eq!(tokens(&connection).expect("read").len(), 1, "it is still shown");
    }

    #[test]
    fn a_file_of_the_first_version_gains_what_it_lacks() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("accounts.db");
        let old = "CREATE TABLE sessions(hash BLOB PRIMARY KEY, user TEXT NOT NULL, created INTEGER NOT NULL, \
                   seen INTEGER NOT NULL) STRICT";
        drop(storage::open(&path, old, true).expect("made"));
        let connection = open(&path).expect("opens");
        let root = User { name: "root".into(), role: Role::Admin, password: None, scope: Scope::default() };
        add_user(&connection, &root, NOW).expect("written");
        add_session(&connection, &[1; 32], &NewSession { user: "root".into(), ..NewSession::default() }, NOW)
            .expect("written");
        assert!(session(&connection, &[1; 32], NOW).expect("read").is_some());
    }

    #[test]
    fn whom_a_provider_knows_keeps_the_account_and_takes_nobody_elses() {
        let (_folder, connection) = with_root();
        let put = |subject, name, role| put_known(&connection, (subject, name, role, None), NOW).expect("written");
        assert_eq!(put("id#1", "root", Role::Admin), None, "the name is somebody else's");
        let jane = put("id#1", "jane", Role::Viewer).expect("made");
        assert_eq!((jane.name.as_str(), jane.role), ("jane", Role::Viewer));
        let renamed = put("id#1", "jane.doe", Role::Operator).expect("known");
        assert_eq!((renamed.name.as_str(), renamed.role), ("jane", Role::Operator), "the subject counts");
        assert_eq!(put("id#2", "jane", Role::Admin), None);
        // A scope set by an admin is kept, unless the external source defines one.
        let web = Scope::from_words("atlas #web").expect("a scope");
        set_role(&connection, "jane", (Role::Operator, &web)).expect("written");
        assert_eq!(put("id#1", "jane", Role::Viewer).expect("known").scope, web);
        let db = Scope::from_words("#db").expect("a scope");
        let said = put_known(&connection, ("id#1", "jane", Role::Viewer, Some(&db)), NOW).expect("written");
        assert_eq!(said.expect("known").scope, db);
    }

    #[test]
    fn notes_wait_in_their_order_and_are_bounded() {
        let (_folder, connection) = with_root();
        for n in 0..3 {
            note(&connection, &Note { at: n, kind: model::NoteKind::LoggedIn.key().into(), ..Note::default() })
                .expect("written");
        }
        let waiting = notes(&connection).expect("read");
        assert!(waiting[0].1.contains("\"at\":0") && waiting[2].1.contains("\"at\":2"));
        forget_notes(&connection, &[waiting[0].0.clone()]).expect("written");
        assert_eq!(notes(&connection).expect("read").len(), 2);
    }
}
