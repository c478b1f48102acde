//! Points at which tests crash the process, to verify that nothing is lost or repeated. Release
//! builds have none.

/// Exits immediately if the environment variable `BELVEDERE_FAILPOINT` names this point, like a
/// crash or power failure; `point:3` means the third time it is reached.
#[cfg(debug_assertions)]
pub(crate) fn reach(place: &str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    };
    static WISH: OnceLock<Option<(String, usize)>> = OnceLock::new();
    static REACHED: AtomicUsize = AtomicUsize::new(0);
    let wish = WISH.get_or_init(|| {
        let wish = std::env::var("BELVEDERE_FAILPOINT").ok()?;
        let (place, time) = wish.split_once(':').unwrap_or((&wish, "1"));
        Some((place.to_owned(), time.parse().ok()?))
    });
    let Some((_, time)) = wish.as_ref().filter(|(wished, _)| wished == place) else { return };
    if REACHED.fetch_add(1, Ordering::Relaxed) + 1 == *time {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_: &str) {}
