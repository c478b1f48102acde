//! Times for display: the server writes UTC, and `times.js` converts it to the viewer's time zone
//! with UTC on hover.
//!
//! Durations are in `format`.

use std::ops::Range;

use leptos::prelude::*;

use crate::format;

/// The format of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Date and time to the second.
    Whole,
    /// Time of day, with seconds.
    Clock,
    /// Time of day, without seconds.
    Hour,
    /// Month, day and time, without seconds.
    Day,
}

impl Cut {
    /// The range of characters of `2026-11-28 21:03:07` to show. It is passed to the script, so
    /// there is one definition.
    fn range(self) -> Range<usize> {
        match self {
            Self::Whole => 0..19,
            Self::Clock => 11..19,
            Self::Hour => 11..16,
            Self::Day => 5..16,
        }
    }

    fn utc(self, at: u64) -> String {
        format::utc(at).replace('T', " ")[self.range()].to_owned()
    }
}

/// A time (Unix milliseconds).
pub(crate) fn moment(at: u64, shown: Cut) -> AnyView {
    following(move || at, shown)
}

/// A time that changes.
pub(crate) fn following(at: impl Fn() -> u64 + Copy + Send + Sync + 'static, shown: Cut) -> AnyView {
    let Range { start, end } = shown.range();
    let first = untrack(at);
    view! {
        <time datetime=format::utc(first)>
            <local-time data-cut=format!("{start}-{end}") data-at=move || at().to_string()>{shown.utc(first)}</local-time>
        </time>
    }
    .into_any()
}

/// "(UTC)" beside times without a zone, for pages without JavaScript.
#[cfg(feature = "ssr")]
pub(crate) fn utc_note() -> AnyView {
    view! { <span class="plain-only">" (UTC)"</span> }.into_any()
}

/// A date and time field with a label.
#[cfg(feature = "ssr")]
pub(crate) fn moment_field(label: &'static str, name: &'static str, at: Option<u64>) -> AnyView {
    // Such fields take neither seconds nor a zone.
    let value = at.map(|at| format::utc(at)[..16].to_owned());
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    view! { <label>{label} {utc_note()} " " <input type="datetime-local" name=name value=value data-at=at/></label> }
        .into_any()
}
