//! Who looks at the page, and the way out.

use leptos::prelude::*;
use model::Viewer;

use crate::{routes, store::use_store, ui::icons::icon};

/// The account behind a button; without accounts a mark that says so.
#[component]
pub(crate) fn AccountMenu() -> impl IntoView {
    let Viewer { name, role } = use_store().viewer();
    let Some(name) = name else {
        let why =
            "Whoever reaches this server may do everything. Make an account: belvedere user add NAME --role admin";
        return view! { <span class="tag" title=why>"No accounts"</span> }.into_any();
    };
    let label = format!("Account {name}");
    view! {
        <details class="menu account">
            <summary class="btn quiet" aria-label=label>{icon("user")}<span>{name}</span></summary>
            <ul>
                <li><small>"Role: " {role.name()}</small></li>
                <li><form method="post" action=routes::LOG_OUT><button class="btn item">"Log out"</button></form></li>
            </ul>
        </details>
    }
    .into_any()
}
