//! What was done and what happened, as the server draws it from the journal.
//!
//! The past does not change, so these parts are drawn once, on the server, and
//! the browser leaves them as they came: they cost it neither code nor data. What
//! has been added since is offered as a link.

#[cfg(feature = "ssr")]
mod drawn;

#[cfg(feature = "ssr")]
mod replay;

#[cfg(feature = "ssr")]
mod words;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::drawn::{load, time};
use crate::ui::served::served;

/// Ranges of time that charts offer: the name in the address, the label, the length in
/// milliseconds.
pub const RANGES: [(&str, &str, u64); 5] = [
    ("5m", "5 min", 300_000),
    ("1h", "1 h", 3_600_000),
    ("24h", "24 h", 86_400_000),
    ("14d", "14 d", 1_209_600_000),
    ("1y", "1 y", 31_536_000_000),
];

/// A part of a page that is drawn from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Tasks that have ended.
    Tasks,
    /// One task with its log and its parts.
    Task,
    /// Who did what.
    Audit,
    /// What happened.
    History,
    /// The last events, for the overview.
    Recent,
    /// What went wrong.
    Errors,
    /// What happened, step by step.
    Replay,
    /// What was done with one machine and happened to it.
    Machine,
}

/// The part of the past that the address of the page asks for.
pub(crate) fn past(part: Part) -> AnyView {
    #[cfg(feature = "ssr")]
    return served(drawn::draw(part));
    #[cfg(not(feature = "ssr"))]
    {
        let _ = part;
        served(())
    }
}

/// The way to what was added since the page was drawn.
pub(crate) fn newer(count: usize, one: &str, many: &str, href: String) -> AnyView {
    let words = match count {
        0 => return ().into_any(),
        1 => format!("1 {one} since this was drawn."),
        _ => format!("{count} {many} since this was drawn."),
    };
    view! { <p class="banner">{words} <a class="btn small" href=href rel="external">"Show"</a></p> }.into_any()
}
