//! The dialog for critical errors, with details and a retry. A later event from the server closes
//! it.

use leptos::prelude::*;

use crate::{
    routes,
    store::use_store,
    ui::{
        moment::{Cut, moment},
        overlay::Dialog,
    },
};

/// The dialog; closed while there is no critical error.
#[component]
pub(crate) fn Alarm() -> impl IntoView {
    let store = use_store();
    // Why the last retry failed; empty before the first one.
    let again = RwSignal::new(String::new());
    let open = Signal::derive(move || store.alarm.with(Option::is_some));
    let close = move || {
        store.alarm.set(None);
        again.set(String::new());
    };
    let told = move || {
        let error = store.alarm.get()?;
        let of = error.host_id.map(|host| format!(" on {host}")).unwrap_or_default();
        let what = error.context.unwrap_or_default();
        Some(view! { <p>{error.message}</p><p class="muted">{moment(error.timestamp, Cut::Whole)} " · " {what} {of}</p> }.into_any())
    };
    let retriable = move || store.trouble.with(Option::is_some);
    view! {
        <Dialog open=open on_close=close labelled_by="alarm">
            <h2 id="alarm">"Action required"</h2>
            {told}
            <p role="alert">{again}</p>
            <div class="buttons">
                <a class="btn" href=routes::at(routes::ERRORS) rel="external">"Error log"</a>
                {move || retriable().then(|| view! { <button class="btn" on:click=move |_| check(again)>"Try again"</button> }.into_any())}
                <button class="btn primary" autofocus on:click=move |_| close()>"Close"</button>
            </div>
        </Dialog>
    }
}

/// Asks the server to check whether its journal is writable. Success arrives as an event, failure
/// is shown here.
fn check(again: RwSignal<String>) {
    again.set("Trying again…".into());
    #[cfg(feature = "hydrate")]
    leptos::task::spawn_local(async move {
        use crate::api::no_answer;
        let fault = match gloo_net::http::Request::post(&routes::at(routes::API_JOURNAL)).send().await {
            Ok(response) if response.ok() => return again.set(String::new()),
            Ok(response) => crate::api::fault(&response.text().await.unwrap_or_default()),
            Err(_) => no_answer(),
        };
        again.set(fault.sentence());
    });
}
