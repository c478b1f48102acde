//! Who did what, and what happened: two readings of the journal.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_location;

use crate::{
    layout::NotFound,
    past::{Part, newer, past},
    routes,
    store::use_store,
    ui::live::live,
};

/// Who did what.
#[component]
pub(crate) fn AuditPage() -> impl IntoView {
    let store = use_store();
    let first = store.appended.get_untracked();
    view! {
        <Title text="Audit"/>
        <div class="head">
            <h1>"Audit"</h1>
            <span class="spacer"></span>
            <a class="btn small" href=routes::at(routes::AUDIT_EXPORT) download="">"Export as JSON lines"</a>
        </div>
        <p class="hint muted">"Each record is on disk before anything is done, and chained to the one before it: \"belvedere audit verify\" shows whether one was changed or taken out."</p>
        {live(move || newer(store.appended.get() - first, "record was added", "records were added", use_location().pathname.get_untracked()))}
        {past(Part::Audit)}
    }
}

/// The readings of what happened: their addresses, titles, and what they are.
const READINGS: [(Part, &str, &str, &str); 3] = [
    (
        Part::History,
        routes::HISTORY,
        "History",
        "What happened on all hosts in the last seven days, also while nobody looked. Reading it changes nothing.",
    ),
    (
        Part::Replay,
        routes::REPLAY,
        "Replay",
        "Every machine as it was after each event of the last seven days. Stepping through it changes nothing.",
    ),
    (
        Part::Errors,
        routes::ERRORS,
        "Error log",
        "What went wrong in the background in the last seven days. What you asked for and did not work is under Tasks.",
    ),
];

/// What happened, in one of three readings.
#[component]
pub(crate) fn HistoryPage() -> impl IntoView {
    let store = use_store();
    let first = store.errors.get_untracked();
    let path = use_location().pathname.get_untracked();
    let Some((part, here, title, about)) =
        READINGS.into_iter().find(|reading| reading.1 == routes::inner(&path).trim_end_matches('/'))
    else {
        return view! { <NotFound/> }.into_any();
    };
    let tabs = READINGS.map(|(_, href, label, _)| {
        view! { <a href=routes::at(href) rel="external" aria-current=(href == here).then_some("page")>{label}</a> }
            .into_any()
    });
    view! {
        <Title text=title/>
        <div class="head"><h1>{title}</h1></div>
        <nav class="tabs" aria-label="History">{tabs.into_iter().collect_view()}</nav>
        <p class="hint muted">{about}</p>
        {live(move || {
            let fresh = if part == Part::Errors { store.errors.get() - first } else { 0 };
            newer(fresh, "error was added", "errors were added", routes::at(here))
        })}
        {past(part)}
    }
    .into_any()
}
