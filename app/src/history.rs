//! Tasks, audit, history and replay, rendered by the server from the journal.
//!
//! The past does not change, so these parts are rendered once, on the server. The browser needs
//! neither code nor data for them. Newer entries are offered as a link.

#[cfg(feature = "ssr")]
mod server_view;

#[cfg(feature = "ssr")]
mod replay;

#[cfg(feature = "ssr")]
mod words;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::{load, time};
use crate::ui::served::served;

/// A part of a page that is rendered from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Completed tasks.
    Tasks,
    /// One task with its log and parts.
    Task,
    /// Audit records.
    Audit,
    /// Events.
    History,
    /// The latest events, for the overview.
    Recent,
    /// Errors.
    Errors,
    /// The replay of events.
    Replay,
    /// Commands and events of one machine.
    Machine,
}

/// The part of the journal that the page's query selects.
pub(crate) fn past(part: Part) -> AnyView {
    #[cfg(feature = "ssr")]
    return served(server_view::draw(part));
    #[cfg(not(feature = "ssr"))]
    {
        let _ = part;
        served(())
    }
}

/// The link to entries newer than the page; nothing if there are none.
pub(crate) fn newer(count: usize, one: &str, many: &str, href: String) -> AnyView {
    let words = match count {
        0 => return ().into_any(),
        1 => format!("1 {one} since this page was loaded."),
        _ => format!("{count} {many} since this page was loaded."),
    };
    view! { <p class="banner">{words} <a class="btn small" href=href rel="external">"Show"</a></p> }.into_any()
}
