//! Places at which tests let the process die, to see that nothing is lost and
//! nothing happens twice. A release has none of them.

/// Ends the process at once when the environment variable `BELVEDERE_FAILPOINT`
/// names this place, as a crash or a power cut would.
#[cfg(debug_assertions)]
pub(crate) fn reach(place: &str) {
    use std::sync::OnceLock;
    static WISH: OnceLock<Option<String>> = OnceLock::new();
    let wish = WISH.get_or_init(|| std::env::var("BELVEDERE_FAILPOINT").ok());
    if wish.as_deref() == Some(place) {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_: &str) {}
