//! Who looks at the page, the way out, and the pages about accounts, which the server
//! draws: they are forms and lists that change only by what is done with them.

#[cfg(feature = "ssr")]
mod drawn;
#[cfg(feature = "ssr")]
pub(crate) use drawn::load;

use leptos::prelude::*;
use leptos_meta::Title;
use model::{Permission, Viewer};

use crate::{
    routes::{self, Page},
    store::use_store,
    ui::{icons::icon, served::served},
};

/// The pages: title, what they are.
const PAGES: [(Page, &str, &str); 4] = [
    (Page::Account, "Your account", "Password, second factor, and where you are logged in."),
    (Page::Users, "Accounts", "Who may log in, and what they may do."),
    (Page::Tokens, "Tokens", "What programs send as \"Authorization: Bearer\". Each is shown once, when it is made."),
    (
        Page::Sessions,
        "Sessions",
        "Who is logged in. A session ends after 8 hours without a request, and after 24 hours in any case.",
    ),
];

/// One of the pages about accounts.
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
    let drawn = drawn::draw(&page);
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

/// The account behind a button; without accounts a mark that says so.
#[component]
pub(crate) fn AccountMenu() -> impl IntoView {
    let Viewer { name, role, scope, open } = use_store().viewer();
    let Some(name) = name else {
        let (mark, why) = match open {
            true => (
                "Open to everyone",
                "Anyone who can reach this server has full access: it runs with --auth off, or shows the demonstration only",
            ),
            false => (
                "No accounts",
                "No accounts exist, so no one signs in by name. Create one: belvedere user add NAME --role admin",
            ),
        };
        return view! { <a class="tag" title=why href=routes::at(routes::USERS) rel="external">{mark}</a> }.into_any();
    };
    let label = format!("Account {name}");
    view! {
        <details class="menu account">
            <summary class="btn quiet" aria-label=label>{icon("user")}<span>{name}</span></summary>
            <ul>
                <li><small>"Role: " {role.name()}</small></li>
                {(!scope.is_everything()).then(|| view! { <li><small>"Sees: " {scope.words()}</small></li> }.into_any())}
                <li><a class="btn item" href=routes::at(routes::ACCOUNT) rel="external">"Your account"</a></li>
                {role.may(Permission::ManageAccounts).is_ok().then(|| view! { <li><a class="btn item" href=routes::at(routes::USERS) rel="external">"Accounts"</a></li> }.into_any())}
                <li><form method="post" action=routes::at(routes::LOG_OUT)><button class="btn item">"Log out"</button></form></li>
            </ul>
        </details>
    }
    .into_any()
}
