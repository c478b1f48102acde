//! Who did what, and what happened: two readings of the journal.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_location;

use crate::{
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
            <a class="btn small" href=routes::AUDIT_EXPORT download="">"Export as JSON lines"</a>
        </div>
        <p class="hint muted">"Each record is on disk before anything is done, and chained to the one before it: \"belvedere audit verify\" shows whether one was changed or taken out."</p>
        {live(move || newer(store.appended.get() - first, "record was added", "records were added", use_location().pathname.get_untracked()))}
        {past(Part::Audit)}
    }
}

/// What happened.
#[component]
pub(crate) fn HistoryPage() -> impl IntoView {
    view! {
        <Title text="History"/>
        <div class="head"><h1>"History"</h1></div>
        <p class="hint muted">"What happened on all hosts in the last seven days, also while nobody looked. Reading it changes nothing."</p>
        {past(Part::History)}
    }
}
