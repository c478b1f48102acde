//! Second factors: the secret that codes are made from, and codes for when it is lost.

use rusqlite::{Connection, OptionalExtension};

use super::Hash;

/// What codes are checked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Factor {
    /// The shared secret.
    pub(crate) secret: Vec<u8>,
    /// The step of time whose code was used last; none before it is used again.
    pub(crate) step: u64,
}

/// The second factor of an account.
pub(crate) fn factor(connection: &Connection, user: &str) -> rusqlite::Result<Option<Factor>> {
    let query = "SELECT secret, step FROM factors WHERE user = ?";
    connection.query_row(query, [user], |row| Ok(Factor { secret: row.get(0)?, step: row.get(1)? })).optional()
}

/// Gives an account a second factor and the codes for when it is lost.
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

/// Takes the second factor of an account away; false when it has none.
pub(crate) fn unset_factor(connection: &Connection, user: &str) -> rusqlite::Result<bool> {
    connection.execute("DELETE FROM recovery WHERE user = ?", [user])?;
    Ok(connection.execute("DELETE FROM factors WHERE user = ?", [user])? > 0)
}

/// Uses a step of time up; false when its code or a later one was used before.
pub(crate) fn take_step(connection: &Connection, user: &str, step: u64) -> rusqlite::Result<bool> {
    let query = "UPDATE factors SET step = ?2 WHERE user = ?1 AND step < ?2";
    Ok(connection.execute(query, (user, step))? > 0)
}

/// Uses a recovery code up; false when there is no such code.
pub(crate) fn recover(connection: &Connection, user: &str, hash: &Hash) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM recovery WHERE user = ? AND hash = ?", (user, hash))? > 0)
}

/// How many recovery codes are left.
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
