//! Browser sessions, and sign-in links.

use rusqlite::{Connection, OptionalExtension};

use super::{Hash, SKEW, User, to_user, user};

/// Inactivity limit of a session, in milliseconds.
pub(crate) const IDLE: u64 = 8 * 3_600_000;
/// Maximum duration of a session, in milliseconds.
pub(crate) const ABSOLUTE: u64 = 24 * 3_600_000;

/// The data of a new session.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewSession {
    /// Its account.
    pub(crate) user: String,
    /// The client address.
    pub(crate) address: String,
    /// The user agent.
    pub(crate) agent: String,
    /// Whether it was started by a link, so that a new password needs no old one.
    pub(crate) by_link: bool,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// Its ID, which is not secret.
    pub(crate) id: i64,
    /// Its account.
    pub(crate) user: String,
    /// Start in Unix milliseconds.
    pub(crate) created: u64,
    /// Last use in Unix milliseconds.
    pub(crate) seen: u64,
    /// The client address at its start.
    pub(crate) address: String,
    /// The user agent.
    pub(crate) agent: String,
    /// Whether it was started by a link.
    pub(crate) by_link: bool,
    /// The hash of its secret.
    pub(crate) hash: Hash,
}

/// Starts a session, and removes ended ones.
pub(crate) fn add_session(connection: &Connection, hash: &Hash, new: &NewSession, now: u64) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM sessions WHERE seen < ? OR created < ?",
        (now.saturating_sub(IDLE), now.saturating_sub(ABSOLUTE)),
    )?;
    let query = "INSERT INTO sessions(hash, user, created, seen, address, agent, by_link) VALUES(?, ?, ?, ?, ?, ?, ?)";
    connection.execute(query, (hash, &new.user, now, now, &new.address, &new.agent, new.by_link)).map(drop)
}

/// The account of a session, and its last use.
pub(crate) fn session(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<(User, u64)>> {
    let query = "SELECT name, role, password, scope, seen FROM sessions JOIN users ON name = user
        WHERE hash = ?1 AND seen BETWEEN ?2 AND ?4 AND sessions.created BETWEEN ?3 AND ?4";
    let (idle, absolute) = (now.saturating_sub(IDLE), now.saturating_sub(ABSOLUTE));
    connection.query_row(query, (hash, idle, absolute, now + SKEW), |row| Ok((to_user(row)?, row.get(4)?))).optional()
}

/// The active sessions of an account, or of all; the latest first.
pub(crate) fn sessions(connection: &Connection, of: Option<&str>, now: u64) -> rusqlite::Result<Vec<Session>> {
    let query = "SELECT rowid, user, created, seen, address, agent, by_link, hash FROM sessions
        WHERE seen >= ? AND created >= ? AND (?3 IS NULL OR user = ?3) ORDER BY seen DESC";
    let (idle, absolute) = (now.saturating_sub(IDLE), now.saturating_sub(ABSOLUTE));
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map((idle, absolute, of), |row| {
        Ok(Session {
            id: row.get(0)?,
            user: row.get(1)?,
            created: row.get(2)?,
            seen: row.get(3)?,
            address: row.get(4)?,
            agent: row.get(5)?,
            by_link: row.get(6)?,
            hash: row.get(7)?,
        })
    })?;
    rows.collect()
}

/// Updates the last use of a session.
pub(crate) fn touch_session(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<()> {
    connection.execute("UPDATE sessions SET seen = ? WHERE hash = ?", (now, hash)).map(drop)
}

/// Ends a session; false if it had ended.
pub(crate) fn end_session(connection: &Connection, hash: &Hash) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM sessions WHERE hash = ?", [hash])? > 0)
}

/// Ends all sessions of an account except one, and its links.
pub(crate) fn end_sessions(connection: &Connection, user: &str, but: Option<&Hash>) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM links WHERE user = ?", [user])?;
    connection.execute("DELETE FROM sessions WHERE user = ?1 AND (?2 IS NULL OR hash != ?2)", (user, but))
}

/// Adds a sign-in link; false if the account does not exist.
pub(crate) fn add_link(connection: &Connection, hash: &Hash, name: &str, expires: u64) -> rusqlite::Result<bool> {
    if user(connection, name)?.is_none() {
        return Ok(false);
    }
    connection.execute("INSERT INTO links(hash, user, expires) VALUES(?, ?, ?)", (hash, name, expires))?;
    Ok(true)
}

/// The account of a link; none if used or expired.
pub(crate) fn link(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<String>> {
    let query = "SELECT user FROM links WHERE hash = ? AND expires > ?";
    connection.query_row(query, (hash, now), |row| row.get(0)).optional()
}

/// Uses a link.
pub(crate) fn take_link(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<String>> {
    let user = link(connection, hash, now)?;
    connection.execute("DELETE FROM links WHERE hash = ? OR expires <= ?", (hash, now))?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::accounts::{
        any, remove_user,
        tests::{NOW, with_root},
    };

    fn of_root() -> NewSession {
        NewSession { user: "root".into(), address: "192.0.2.7".into(), ..NewSession::default() }
    }

    #[test]
    fn a_session_ends_when_it_rests_when_it_is_old_and_with_its_account() {
        let (_folder, connection) = with_root();
        let hash = [7; 32];
        add_session(&connection, &hash, &of_root(), NOW).expect("written");
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
    fn sessions_are_listed_without_those_that_have_ended_and_all_but_one_can_be_ended() {
        let (_folder, connection) = with_root();
        for n in 1..=3 {
            add_session(&connection, &[n; 32], &of_root(), NOW + u64::from(n)).expect("written");
        }
        let ids =
            |of, at| sessions(&connection, of, at).expect("read").iter().map(|known| known.hash[0]).collect::<Vec<_>>();
        assert_eq!(ids(Some("root"), NOW), [3, 2, 1]);
        assert_eq!(ids(None, NOW + 2 + IDLE), [3, 2]);
        assert!(ids(Some("jane"), NOW).is_empty());
        assert_eq!(end_sessions(&connection, "root", Some(&[2; 32])).expect("written"), 2);
        assert_eq!(ids(None, NOW), [2]);
        assert!(
            end_session(&connection, &[2; 32]).expect("written")
                && !end_session(&connection, &[2; 32]).expect("written")
        );
    }

    #[test]
    fn a_link_works_once_and_not_for_ever() {
        let (_folder, connection) = with_root();
        assert!(!add_link(&connection, &[1; 32], "nobody", NOW + 5).expect("written"));
        for hash in [[1; 32], [2; 32]] {
            assert!(add_link(&connection, &hash, "root", NOW + 5).expect("written"));
        }
        assert_eq!(take_link(&connection, &[1; 32], NOW).expect("taken").as_deref(), Some("root"));
        assert_eq!(take_link(&connection, &[1; 32], NOW).expect("taken"), None);
        assert_eq!(link(&connection, &[2; 32], NOW + 5).expect("read"), None);
    }
}
