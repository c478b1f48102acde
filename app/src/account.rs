//! The account menu, sign-out, and the account pages. The account pages are forms and lists
//! rendered by the server; they change only when a form is submitted.

#[cfg(feature = "ssr")]
mod server_view;
use leptos::prelude::*;
use model::{Permission, Viewer};
#[cfg(feature = "ssr")]
pub(crate) use server_view::load;

use crate::{
    routes::{self, Page},
    store::use_store,
    ui::{icons::icon, served::served, title::Title},
};

/// The pages: title and description.
const PAGES: [(Page, &str, &str); 4] = [
    (Page::Account, "Your account", "Your password, second factor and sessions."),
    (Page::Users, "Accounts", "User accounts with their roles and scopes."),
    (
        Page::Tokens,
        "Tokens",
        "API tokens, sent as \"Authorization: Bearer TOKEN\". A token is shown only once, when it is created.",
    ),
    (
        Page::Sessions,
        "Sessions",
        "Active sessions. A session expires after 8 hours without a request, and at the latest after 24 hours.",
    ),
];

/// One of the account pages.
#[component]
pub(crate) fn AccountPage(page: Page) -> impl IntoView {
    let (mut title, mut about) = ("", "");
    let store = use_store();
    let tabs = PAGES.map(|(one, label, words)| {
        let here = one == page;
        if here {
            (title, about) = (label, words);
        }
        let shown = store.may(one.permission()).is_ok();
        shown.then(|| {
            view! { <a href=one.href() rel="external" aria-current=here.then_some("page")>{label}</a> }.into_any()
        })
    });
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw(&page);
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    view! {
        <Title text=title/>
        <div class="head"><h1>{title}</h1></div>
        <nav class="tabs" aria-label="Accounts">{tabs.into_iter().flatten().collect_view()}</nav>
        <p class="about muted">{about}</p>
        {served(drawn)}
    }
    .into_any()
}

/// The account menu; a tag with the reason when nobody is signed in by name.
#[component]
pub(crate) fn AccountMenu() -> impl IntoView {
    let Viewer { name, role, scope, open } = use_store().viewer();
    let Some(name) = name else {
        let (mark, why) = match open {
            true => (
                "Open to everyone",
                "Anyone who can reach this server has full access. Cause: --auth off, or only the demo host is configured",
            ),
            false => ("No accounts", "No accounts exist yet. Create one: belvedere user add NAME --role admin"),
        };
        return view! { <a class="tag" title=why href=routes::at(routes::USERS) rel="external">{mark}</a> }.into_any();
    };
    let label = format!("Account {name}");
    view! {
        <details class="menu account">
            <summary class="btn quiet" aria-label=label>{icon("user")}<span>{name}</span></summary>
            <ul>
                <li><small>"Role: " {role.name()}</small></li>
                {(!scope.is_everything()).then(|| view! { <li><small>"Scope: " {scope.words()}</small></li> }.into_any())}
                <li><a class="btn item" href=routes::at(routes::ACCOUNT) rel="external">"Your account"</a></li>
                {role.may(Permission::ManageAccounts).is_ok().then(|| view! { <li><a class="btn item" href=routes::at(routes::USERS) rel="external">"Accounts"</a></li> }.into_any())}
                <li><form method="post" action=routes::at(routes::LOG_OUT)><button class="btn item">"Sign out"</button></form></li>
            </ul>
        </details>
    }
    .into_any()
}
