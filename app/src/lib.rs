//! The user interface and its contract with the server.
//!
//! The same components render on the server and hydrate in the browser. Data flows one way: events
//! from the server change the `store`, pages read it, and user actions leave through `store::acts`.
//! A module knows only those above it in the order below, in which they are read best.

#![allow(unreachable_pub, reason = "the component macro makes its functions public")]
#![cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "the browser's half is compiled on the server, too"))]

pub mod format;

pub mod refresh;

pub mod routes;

#[cfg(feature = "ssr")]
pub mod backend;

mod ui {
    //! Building blocks that know nothing of machines, hosts or the store.
    pub(crate) mod chart;
    pub(crate) mod controls;
    pub(crate) mod icons;
    pub(crate) mod live;
    pub(crate) mod moment;
    pub(crate) mod not_found;
    pub(crate) mod overlay;
    pub(crate) mod served;
    pub(crate) mod table;
    pub(crate) mod title;
}

#[cfg(feature = "ssr")]
pub mod no_script;

mod api;

pub mod store;

mod question;

mod host;

mod task;

mod vm;

mod live_section;

mod history;

mod account;

mod pages {
    //! One file per page; pages do not know one another.
    pub(crate) mod about;
    pub(crate) mod api;
    pub(crate) mod audit;
    pub(crate) mod confirm;
    pub(crate) mod domain;
    pub(crate) mod domains;
    pub(crate) mod host;
    pub(crate) mod hosts;
    pub(crate) mod manage_hosts;
    pub(crate) mod networks;
    pub(crate) mod overview;
    pub(crate) mod storage;
    pub(crate) mod tasks;
}

#[cfg(feature = "ssr")]
pub mod window;

mod error_dialog;

mod layout;

mod router;

use leptos::prelude::*;
use leptos_router::components::Router;

use crate::{layout::Frame, router::CurrentPage};

#[cfg(feature = "hydrate")]
pub use crate::store::feed::stream_worker;

/// The scripts of every page that run before the application, without their comments and
/// indentation: no cache keeps them.
#[cfg(feature = "ssr")]
static EARLY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    let scripts = [include_str!("shell.js"), include_str!("menu.js"), include_str!("times.js")];
    let lines = scripts.iter().flat_map(|script| script.lines()).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).collect::<Vec<_>>().join("\n") + "\n"
});

/// The document around the app, rendered on the server only.
#[cfg(feature = "ssr")]
pub fn shell() -> impl IntoView {
    use crate::backend::{AssetNames, Theme};
    use leptos::nonce::use_nonce;
    use leptos_meta::MetaTags;
    let AssetNames { script, module, style, folder } = use_context().unwrap_or_default();
    let theme = use_context::<Theme>().unwrap_or_default();
    let start = script.as_ref().zip(module.as_ref()).map(|(script, module)| {
        // The class is set before the body exists, so nothing flashes. Script and module are
        // fetched while the page is still being parsed; a module script would start at its end
        // only. Without JavaScript they are not fetched at all.
        let source = format!(
            "{}const module = WebAssembly.compileStreaming(fetch({module:?}));\
             const read = new Promise((done) => addEventListener(\"DOMContentLoaded\", done));\
             Promise.all([import({script:?}), read]).then(async ([app]) => {{\
             await app.default({{ module_or_path: module }});\
             app.hydrate();\
             }});",
            *EARLY,
        );
        view! { <script nonce=use_nonce()>{source}</script> }
    });
    let initial = store::begin();
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme.name() data-base=routes::base() data-build=folder>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="icon" href=routes::ICON/>
                {style.map(|style| view! { <link rel="stylesheet" href=style/> })}
                {start}
                <MetaTags/>
            </head>
            <body>
                <App/>
                {initial}
            </body>
        </html>
    }
}

/// Hydrates the page that the server rendered, once all its parts are loaded.
#[cfg(feature = "hydrate")]
pub fn hydrate() {
    wasm_bindgen_futures::spawn_local(async {
        router::ready().await;
        // After Back the browser may be at another address than the rendered one.
        if drawn_at().is_none_or(|drawn| drawn == here()) {
            leptos::mount::hydrate_body(App);
        } else {
            window().location().reload().ok();
        }
    });
}

/// Path and query of the page when it was loaded, as stored by `shell.js`.
#[cfg(feature = "hydrate")]
fn drawn_at() -> Option<String> {
    document().document_element()?.get_attribute("data-drawn")
}

#[cfg(feature = "hydrate")]
fn here() -> String {
    let location = window().location();
    format!("{}{}", location.pathname().unwrap_or_default(), location.search().unwrap_or_default())
}

/// The whole interface.
#[component]
pub fn App() -> impl IntoView {
    #[cfg(feature = "ssr")]
    leptos_meta::provide_meta_context();
    store::provide();
    router::fetch_rest();
    view! {
        <Router base=routes::base()>
            <Frame>
                <CurrentPage/>
            </Frame>
        </Router>
    }
}
