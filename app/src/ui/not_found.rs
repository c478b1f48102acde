//! What stands at an address of nothing.

use leptos::prelude::*;

use super::title::Title;
use crate::routes;

/// The page for an unknown address.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    answer_not_found();
    view! {
        <Title text="Not found"/>
        <div class="empty">
            <h1>"Page not found"</h1>
            <p>"The address may be outdated. "<a href=routes::at(routes::VMS)>"See all virtual machines"</a>"."</p>
        </div>
    }
}

/// Sets the HTTP status to 404.
pub(crate) fn answer_not_found() {
    #[cfg(feature = "ssr")]
    if let Some(answer) = use_context::<crate::backend::PageStatus>() {
        answer.not_found();
    }
}
