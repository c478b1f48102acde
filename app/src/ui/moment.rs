//! Moments in time, as a person reads them: the server writes UTC, the page's own script
//! (`times.js`) turns it into the viewer's zone and keeps UTC for who points at it.
//!
//! How long ago something was is not its business; that is in `format`.

use std::ops::Range;

use leptos::prelude::*;

use crate::format;

/// How much of a moment is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Date and time to the second.
    Whole,
    /// The time of day, with seconds.
    Clock,
    /// The same without seconds.
    Hour,
    /// The day of the year and the time, without seconds.
    Day,
}

impl Cut {
    /// Which characters of a moment as `2026-11-28 21:03:07` are shown. The script is told the
    /// same, so that nothing has to agree.
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

/// A moment (Unix milliseconds).
pub(crate) fn moment(at: u64, shown: Cut) -> AnyView {
    following(move || at, shown)
}

/// A moment that changes.
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

/// Said beside moments of which the label does not tell the zone; with scripts it is the viewer's.
#[cfg(feature = "ssr")]
pub(crate) fn utc_note() -> AnyView {
    view! { <span class="plain-only">" (UTC)"</span> }.into_any()
}

/// A field for a moment with a label, such as the beginning of what is searched.
#[cfg(feature = "ssr")]
pub(crate) fn moment_field(label: &'static str, name: &'static str, at: Option<u64>) -> AnyView {
    // Such fields take no seconds and no zone.
    let value = at.map(|at| format::utc(at)[..16].to_owned());
    let at = at.map(|at| at.to_string()).unwrap_or_default();
    view! { <label>{label} {utc_note()} " " <input type="datetime-local" name=name value=value data-at=at/></label> }
        .into_any()
}
