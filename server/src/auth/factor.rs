//! Second factor codes (RFC 6238), and recovery codes.

use totp_rs::{Algorithm, Builder, Totp};

use super::secrets::{hash, secret};
use crate::journal::accounts::Hash;

/// Length of a secret in bytes, as expected by apps for SHA-1.
const SECRET: usize = 20;
/// Length of a step in seconds.
const STEP: u64 = 30;
/// Recovery codes per account.
const RECOVERY: usize = 10;

/// A new secret.
pub(super) fn new_secret() -> Vec<u8> {
    let mut bytes = vec![0; SECRET];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    bytes
}

fn totp(secret: &[u8], user: &str) -> Option<Totp> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(STEP)
        .with_secret(secret.to_vec())
        .with_account_name(user)
        .with_issuer(Some("Belvedere"))
        .build()
        .ok()
}

/// The time step of a code; adjacent steps are accepted, because clocks differ.
pub(super) fn step(secret: &[u8], code: &str, now: u64) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    totp(secret, "code")?.check(&code, now / 1_000)
}

/// The secret for apps: a URL for a QR code, and letters to type.
pub(super) fn shown(secret: &[u8], user: &str) -> Option<(String, String)> {
    let address = totp(secret, user)?.to_url().ok()?;
    let letters = address.split_once("secret=")?.1.split('&').next()?.to_owned();
    Some((address, letters))
}

/// New recovery codes, and their hashes.
pub(super) fn recovery_codes() -> (Vec<String>, Vec<Hash>) {
    let codes: Vec<String> = (0..RECOVERY)
        .map(|_| {
            let text = secret();
            format!("{}-{}-{}", &text[..5], &text[5..10], &text[10..15])
        })
        .collect();
    let hashes = codes.iter().map(|code| recovery_hash(code)).collect();
    (codes, hashes)
}

/// The hash of a recovery code, however it was typed.
pub(super) fn recovery_hash(code: &str) -> Hash {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    hash(&plain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B: the last six digits at these times.
        let secret = b"12345678901234567890";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(step(secret, code, seconds * 1_000), Some(seconds / STEP), "{code}");
        }
        assert_eq!(step(secret, "287 082", 59_000), Some(1));
        assert_eq!(step(secret, "287082", 89_000), Some(1), "a neighbour, and it says which");
        for wrong in ["287083", "", "28708", "ab2870", "287082287082"] {
            assert_eq!(step(secret, wrong, 59_000), None, "{wrong}");
        }
        assert_eq!(step(secret, "287082", 150_000), None, "too old");
    }

    #[test]
    fn a_secret_can_be_scanned_and_typed() {
        let (address, letters) = shown(b"12345678901234567890", "jane@example.org").expect("shown");
        assert!(
            address.starts_with("otpauth://totp/Belvedere:jane") && address.contains("issuer=Belvedere"),
            "{address}"
        );
        assert_eq!(letters, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_typed() {
        let (codes, hashes) = recovery_codes();
        assert_eq!((codes.len(), hashes.len()), (RECOVERY, RECOVERY));
        assert_eq!(recovery_hash(&codes[0].to_uppercase().replace('-', " ")), hashes[0]);
        assert_ne!(hashes[0], hashes[1]);
    }
}
