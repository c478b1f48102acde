//! Who did what, and what happened: two readings of the journal.

use leptos::prelude::*;
use leptos_meta::Title;

use crate::{
    past::{Part, newer, past},
    routes::{self, Page},
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
        {live(move || newer(store.appended.get() - first, "record was added", "records were added", routes::at(routes::AUDIT)))}
        {past(Part::Audit)}
    }
}

/// The readings of what happened: their addresses, titles, and what they are.
const READINGS: [(Part, Page, &str, &str); 3] = [
    (
        Part::History,
        Page::History,
        "History",
        "What happened on all hosts in the last seven days, also while nobody looked. Reading it changes nothing.",
    ),
    (
        Part::Replay,
        Page::Replay,
        "Replay",
        "Every machine as it was after each event of the last seven days. Stepping through it changes nothing.",
    ),
    (
        Part::Errors,
        Page::Errors,
        "Error log",
        "What went wrong in the background in the last seven days. What you asked for and did not work is under Tasks.",
    ),
];

/// What happened, in one of three readings.
#[component]
pub(crate) fn HistoryPage(page: Page) -> impl IntoView {
    let store = use_store();
    let first = store.errors.get_untracked();
    let mut shown = (Part::History, "", "");
    let tabs = READINGS.map(|(part, one, label, about)| {
        let here = one == page;
        if here {
            shown = (part, label, about);
        }
        view! { <a href=one.href() rel="external" aria-current=here.then_some("page")>{label}</a> }.into_any()
    });
    let (part, title, about) = shown;
    view! {
        <Title text=title/>
        <div class="head"><h1>{title}</h1></div>
        <nav class="tabs" aria-label="History">{tabs.into_iter().collect_view()}</nav>
        <p class="hint muted">{about}</p>
        {live(move || {
            let fresh = if part == Part::Errors { store.errors.get() - first } else { 0 };
            newer(fresh, "error was added", "errors were added", page.href())
        })}
        {past(part)}
    }
    .into_any()
}
