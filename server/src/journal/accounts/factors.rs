//! Second factors and recovery codes.

use rusqlite::{Connection, OptionalExtension};

use super::Hash;

/// The data to verify codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Factor {
    /// The shared secret.
    pub(crate) secret: Vec<u8>,
    /// The time step of the last used code; smaller steps are refused.
    pub(crate) step: u64,
}

/// The second factor of an account.
pub(crate) fn factor(connection: &Connection, user: &str) -> rusqlite::Result<Option<Factor>> {
    let query = "SELECT secret, step FROM factors WHERE user = ?";
    connection.query_row(query, [user], |row| Ok(Factor { secret: row.get(0)?, step: row.get(1)? })).optional()
}

/// Sets the second factor and recovery codes of an account.
pub(crate) fn set_factor(
    connection: &Connection,
    user: &str,
    factor: &Factor,
    recovery: &[Hash],
) -> rusqlite::Result<()> {
    unset_factor(connection, user)?;
    let query = "INSERT INTO factors(user, secret, step) VALUES(?, ?, ?)";
    connection.execute(query, (user, &factor.secret, factor.step))?;
    let mut statement = connection.prepare("INSERT INTO recovery(hash, user) VALUES(?, ?)")?;
    recovery.iter().try_for_each(|hash| statement.execute((hash, user)).map(drop))
}

/// Removes the second factor of an account; false if it has none.
pub(crate) fn unset_factor(connection: &Connection, user: &str) -> rusqlite::Result<bool> {
    connection.execute("DELETE FROM recovery WHERE user = ?", [user])?;
    Ok(connection.execute("DELETE FROM factors WHERE user = ?", [user])? > 0)
}

/// Uses a time step; false if its code or a later one was used before.
pub(crate) fn take_step(connection: &Connection, user: &str, step: u64) -> rusqlite::Result<bool> {
    let query = "UPDATE factors SET step = ?2 WHERE user = ?1 AND step < ?2";
    Ok(connection.execute(query, (user, step))? > 0)
}

/// Uses a recovery code; false if it does not exist.
pub(crate) fn recover(connection: &Connection, user: &str, hash: &Hash) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM recovery WHERE user = ? AND hash = ?", (user, hash))? > 0)
}

/// The number of unused recovery codes.
pub(crate) fn recovery_left(connection: &Connection, user: &str) -> rusqlite::Result<usize> {
    connection.query_row("SELECT count(*) FROM recovery WHERE user = ?", [user], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::accounts::tests::with_root;

    #[test]
    fn a_code_and_a_recovery_code_work_once() {
        let (_folder, connection) = with_root();
        assert_eq!(factor(&connection, "root").expect("read"), None);
        let made = Factor { secret: vec![1, 2, 3], step: 10 };
        set_factor(&connection, "root", &made, &[[1; 32], [2; 32]]).expect("written");
        assert_eq!(factor(&connection, "root").expect("read"), Some(made));
        let take = |step| take_step(&connection, "root", step).expect("written");
        assert_eq!([10, 11, 11, 9].map(take), [false, true, false, false]);
        let recover = |n| recover(&connection, "root", &[n; 32]).expect("written");
        assert_eq!([1, 1, 3].map(recover), [true, false, false]);
        assert_eq!(recovery_left(&connection, "root").expect("read"), 1);
        assert!(unset_factor(&connection, "root").expect("written"));
        assert_eq!(recovery_left(&connection, "root").expect("read"), 0);
        assert!(!unset_factor(&connection, "root").expect("written"));
    }
}
