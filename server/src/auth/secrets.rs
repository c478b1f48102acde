//! Passwords and other secrets: creation, hashing, comparison.

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};

use crate::journal::accounts::Hash;

/// Minimum password length.
const SHORTEST: usize = 12;
/// Maximum password length, to limit the cost of hashing.
pub(super) const LONGEST: usize = 256;

/// The hash checked for unknown accounts: of no known password, with the same cost, so that it
/// takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A new secret of 256 bits, as hexadecimal digits.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    hex::encode(bytes)
}

/// The hash of a secret.
pub(crate) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Hashes a new password.
///
/// # Errors
/// Why it is invalid.
pub(crate) fn hash_password(password: &str) -> Result<String, String> {
    if password.chars().count() < SHORTEST || password.len() > LONGEST {
        return Err(format!("the password must be {SHORTEST} to {LONGEST} characters"));
    }
    let hashed = Argon2::default().hash_password(password.as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| format!("cannot hash the password: {error}"))
}

/// Whether a password matches a hash. Without a hash it takes as long.
pub(super) fn verify(password: &str, kept: Option<&str>) -> bool {
    let right = PasswordHash::new(kept.unwrap_or(NOBODYS))
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
    kept.is_some() && right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checking_a_password_of_nobody_costs_as_much_as_any_other() {
        let kept = hash_password("correct horse battery").expect("hashed");
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(NOBODYS), cost(&kept));
        let lengths = |hash: &str| hash.split('$').skip(4).map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(NOBODYS), lengths(&kept));
        assert!(PasswordHash::new(NOBODYS).is_ok(), "it is not refused before the work begins");
    }

    #[test]
    fn only_the_password_itself_is_right() {
        let kept = hash_password("correct horse battery").expect("hashed");
        assert!(verify("correct horse battery", Some(&kept)));
        assert!(!verify("correct horse batterY", Some(&kept)) && !verify("", Some(&kept)));
        assert!(!verify("correct horse battery", None), "nobody has it");
    }
}
