//! Shared by the pages about hosts, pools and networks. The server renders them, so they cost the
//! browser's module next to nothing; they are read again after a change.

use std::sync::Arc;

use leptos::prelude::*;
use model::Domain;

#[cfg(feature = "hydrate")]
use crate::store::use_store;
use crate::{
    store::shown::Shown,
    ui::{served::served, title::Title},
};

#[cfg(feature = "ssr")]
pub(crate) mod form;
#[cfg(feature = "hydrate")]
mod fresh;
#[cfg(feature = "ssr")]
pub(crate) mod server_view;
#[cfg(feature = "hydrate")]
mod upload;

/// A server-rendered page with its title, refreshed after changes and at least every `every`
/// milliseconds.
#[cfg(feature = "ssr")]
pub(crate) fn page((title, drawn): (String, AnyView), _: Option<u32>) -> AnyView {
    view! { <Title text=title/> {served(view! { <crate::vm::FormResults/> {drawn} })} }.into_any()
}

/// The browser's half: the page is already there.
#[cfg(not(feature = "ssr"))]
pub(crate) fn page((_, drawn): ((), ()), every: Option<u32>) -> AnyView {
    #[cfg(feature = "hydrate")]
    {
        let acts = expect_context::<crate::store::acts::Acts>();
        let store = use_store();
        fresh::keep(store, acts, every, move || store.changed.get());
        upload::listen(acts);
    }
    // The title is the heading that the server rendered.
    #[cfg(feature = "hydrate")]
    let title = fresh::heading();
    #[cfg(not(feature = "hydrate"))]
    let title = String::new();
    #[cfg(not(feature = "hydrate"))]
    let _ = every;
    view! { <Title text=title/> {served(drawn)} }.into_any()
}

/// Refreshes the server-rendered part of a machine's page when the machine has changed, and at
/// least every `every` milliseconds.
pub(crate) fn keep_fresh(domain: Shown<Arc<Domain>>, every: Option<u32>) {
    #[cfg(feature = "hydrate")]
    {
        let acts = expect_context::<crate::store::acts::Acts>();
        fresh::keep(use_store(), acts, every, move || domain.with(|domain| domain.version));
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = (domain, every);
}
