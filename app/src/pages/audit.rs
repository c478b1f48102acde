//! Audit records and events: two views of the journal.

use leptos::prelude::*;

use crate::{
    history::{Part, newer, past},
    routes::{self, Page},
    store::use_store,
    ui::{live::live, title::Title},
};

/// Audit records.
#[component]
pub(crate) fn AuditPage() -> impl IntoView {
    let store = use_store();
    let first = store.appended.get_untracked();
    view! {
        <Title text="Audit"/>
        <div class="head">
            <h1>"Audit"</h1>
            <span class="spacer"></span>
            <a class="btn small" href=routes::at(routes::AUDIT_EXPORT) download="">"Export as JSON Lines"</a>
        </div>
        <p class="hint muted">"Each record is written to disk before its command runs, and is hash-chained to the previous one. \"belvedere audit verify\" detects changed or removed records."</p>
        {live(move || newer(store.appended.get() - first, "new record", "new records", routes::at(routes::AUDIT)))}
        {past(Part::Audit)}
    }
}

/// The views of events: page, title, description.
const READINGS: [(Part, Page, &str, &str); 3] = [
    (Part::History, Page::History, "History", "Events on all hosts in the last 7 days."),
    (
        Part::Replay,
        Page::Replay,
        "Replay",
        "The state of every machine after each event of the last 7 days. Replay is read-only.",
    ),
    (
        Part::Errors,
        Page::Errors,
        "Error log",
        "Background errors of the last 7 days. Failed commands are listed under Tasks.",
    ),
];

/// Events, in one of three views.
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
            newer(fresh, "new error", "new errors", page.href())
        })}
        {past(part)}
    }
    .into_any()
}
