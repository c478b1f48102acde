//! The pages that a browser fetches when it first needs them, in two parts: those of one
//! machine, and the others. The list of machines is not among them: it comes at once.
//!
//! The server has all of them. What pages show is theirs; here is only how they come.

#![allow(unsafe_code, reason = "the macro that splits the module declares what it imports from the parts")]

use leptos::{
    prelude::*,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::{ChooseView, hooks::use_location};

use crate::{
    account::AccountPage,
    pages::{
        audit::{AuditPage, HistoryPage},
        confirm::ConfirmPage,
        domain::{
            DomainPage, console::ConsoleTab, definition::DefinitionTab, devices::DevicesTab, guest::GuestTab,
            history::HistoryTab, overview::OverviewTab,
        },
        host::HostPage,
        hosts::HostsPage,
        networks::NetworksPage,
        overview::OverviewPage,
        storage::StoragePage,
        tasks::{TaskPage, TasksPage},
    },
    ui::controls::Empty,
};

/// A page of one machine: the frame around its tabs, and the tabs.
#[derive(Clone, Copy)]
pub(crate) enum Machine {
    Frame,
    Overview,
    Devices,
    Console,
    Guest,
    History,
    Definition,
}

/// Another page.
#[derive(Clone, Copy)]
pub(crate) enum Other {
    Overview,
    Hosts,
    Host,
    Storage,
    Networks,
    Tasks,
    Task,
    Audit,
    History,
    Confirm,
    Account,
}

impl ChooseView for Machine {
    async fn choose(self) -> AnyView {
        machine(self).await.unwrap_or_else(|_| missing())
    }

    async fn preload(&self) {}
}

impl ChooseView for Other {
    async fn choose(self) -> AnyView {
        other(self).await.unwrap_or_else(|_| missing())
    }

    async fn preload(&self) {}
}

#[wasm_split(machine, wasm_split_path = ::leptos::wasm_split, preload(fetch_machine), fallible)]
fn machine(page: Machine) -> Result<AnyView, SplitLoaderError> {
    Ok(match page {
        Machine::Frame => view! { <DomainPage/> }.into_any(),
        Machine::Overview => view! { <OverviewTab/> }.into_any(),
        Machine::Devices => view! { <DevicesTab/> }.into_any(),
        Machine::Console => view! { <ConsoleTab/> }.into_any(),
        Machine::Guest => view! { <GuestTab/> }.into_any(),
        Machine::History => view! { <HistoryTab/> }.into_any(),
        Machine::Definition => view! { <DefinitionTab/> }.into_any(),
    })
}

#[wasm_split(other, wasm_split_path = ::leptos::wasm_split, preload(fetch_other), fallible)]
fn other(page: Other) -> Result<AnyView, SplitLoaderError> {
    Ok(match page {
        Other::Overview => view! { <OverviewPage/> }.into_any(),
        Other::Hosts => view! { <HostsPage/> }.into_any(),
        Other::Host => view! { <HostPage/> }.into_any(),
        Other::Storage => view! { <StoragePage/> }.into_any(),
        Other::Networks => view! { <NetworksPage/> }.into_any(),
        Other::Tasks => view! { <TasksPage/> }.into_any(),
        Other::Task => view! { <TaskPage/> }.into_any(),
        Other::Audit => view! { <AuditPage/> }.into_any(),
        Other::History => view! { <HistoryPage/> }.into_any(),
        Other::Confirm => view! { <ConfirmPage/> }.into_any(),
        Other::Account => view! { <AccountPage/> }.into_any(),
    })
}

/// What stands there instead when it did not come.
fn missing() -> AnyView {
    let here = use_location();
    let again = move || format!("{}{}", here.pathname.get(), here.search.with(|words| question(words)));
    view! {
        <Empty title="This page did not come">
            "The server may be away, or have been replaced by a newer one. "
            <a href=again rel="external">"Load the page again"</a>
        </Empty>
    }
    .into_any()
}

/// The part of an address that asks for something.
fn question(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("?{words}") }
}

/// Fetches what the page needs that the server has drawn: it is taken over in one go, before
/// anything that happens can change what it is compared with.
///
/// # Panics
/// When it does not come; the page's own script then says that it stopped.
#[cfg(feature = "hydrate")]
pub(crate) async fn ready() {
    let path = window().location().pathname().unwrap_or_default();
    let come = match crate::routes::inner(&path).trim_end_matches('/').strip_prefix(crate::routes::VMS) {
        Some("") => Ok(()),
        Some(below) if below.starts_with('/') => fetch_machine().await,
        _ => fetch_other().await,
    };
    come.expect("a part of the program comes");
}

/// Fetches the rest some moments after the page is live, so that pages are there at once when
/// they are wanted, also while the server is away.
pub(crate) fn fetch_rest() {
    #[cfg(feature = "hydrate")]
    {
        let store = crate::store::use_store();
        Effect::new(move |asked: Option<bool>| {
            let live = || matches!(store.freshness().get(), crate::store::Freshness::Live { .. });
            if asked == Some(true) || !live() {
                return asked == Some(true);
            }
            // What does not come now is asked for again by whoever wants it.
            let fetch = || leptos::task::spawn_local(async { drop((fetch_machine().await, fetch_other().await)) });
            set_timeout(fetch, std::time::Duration::from_secs(2));
            true
        });
    }
}
