//! Maps pages to views and to the data they load.
//!
//! The browser fetches pages on demand in two parts: those of one machine, and the others. The list
//! of machines is part of the main module. The server has all of them.

#![allow(unsafe_code, reason = "the macro that splits the module declares what it imports from the parts")]

use futures_util::FutureExt;
use leptos::{
    prelude::*,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::{
    components::{FlatRoutes, Route},
    hooks::{use_location, use_url},
    location::Url,
    path,
};
use model::DomainRef;

use crate::{
    account::AccountPage,
    pages::{
        about::AboutPage,
        api::ApiPage,
        audit::{AuditPage, HistoryPage},
        confirm::ConfirmPage,
        domain::DomainPage,
        domains::DomainsPage,
        host::HostPage,
        hosts::HostsPage,
        manage_hosts::ManageHostsPage,
        networks::NetworksPage,
        overview::OverviewPage,
        storage::StoragePage,
        tasks::{TaskPage, TasksPage},
    },
    routes::{Page, Tab},
    store,
    ui::{controls::Empty, live::live, not_found::NotFound},
};
#[cfg(feature = "ssr")]
use crate::{
    backend::{AccountsRequest, Backend, HistoryRequest, Loaded, Visit},
    pages,
};

/// The current page, and the next one after navigation.
///
/// The router of the library follows links and keeps the history; `Page` decides which page an
/// address is.
#[component]
pub(crate) fn CurrentPage() -> impl IntoView {
    let here = use_url();
    let view = move || view! { <Pages here/> };
    view! {
        <FlatRoutes fallback=NotFound transition=false>
            <Route path=path!("/*any") view=view/>
        </FlatRoutes>
    }
}

/// Shows the page at an address once its part is loaded.
#[component]
fn Pages(here: ReadSignal<Url>) -> impl IntoView {
    let wanted = move || here.with(|url| Page::parse(url.path()));
    let shown = RwSignal::new(untrack(wanted));
    let url = StoredValue::new(ArcRwSignal::new(here.get_untracked()));
    Effect::new(move |followed: Option<()>| {
        let (page, at) = (wanted(), here.get());
        if followed.is_none() {
            return;
        }
        leptos::task::spawn_local(async move {
            // A part that fails to load is reported in place of the page.
            fetch(page.as_ref()).await;
            let brought = store::bring(&address(&at)).await;
            if here.try_get_untracked().as_ref() != Some(&at) {
                return;
            }
            brought.into_iter().for_each(store::show);
            let stays = shown.with_untracked(|before| frame(before.as_ref()) == frame(page.as_ref()));
            if stays {
                url.with_value(|url| url.set(at));
            }
            if shown.with_untracked(|before| *before != page) {
                shown.set(page);
            }
        });
    });
    let tab = Memo::new(move |_| match shown.get() {
        Some(Page::Vm(_, tab)) => tab,
        _ => Tab::default(),
    });
    let framed = Memo::new(move |_| frame(shown.get().as_ref()));
    live(move || {
        // Each page has its own copy of the address, so that a page being left does not react to
        // the next one.
        let own = ArcRwSignal::new(here.get_untracked());
        url.set_value(own.clone());
        provide_context(own);
        view_of(framed.get(), tab)
    })
}

/// The address of a page with its query, as the server knows it.
fn address(url: &Url) -> String {
    let search = url.search();
    let joint = if search.is_empty() || search.starts_with('?') { "" } else { "?" };
    [url.path(), joint, search].concat()
}

/// A page without what may change while it stays: the tab of a machine.
fn frame(page: Option<&Page>) -> Option<Page> {
    match page? {
        Page::Vm(id, _) => Some(Page::Vm(id.clone(), Tab::default())),
        page => Some(page.clone()),
    }
}

/// The view of a page whose part is loaded.
fn view_of(page: Option<Page>, tab: Memo<Tab>) -> AnyView {
    let part = match page {
        None => return view! { <NotFound/> }.into_any(),
        Some(Page::Vms) => return view! { <DomainsPage/> }.into_any(),
        Some(Page::Vm(id, _)) => machine(id, tab).now_or_never(),
        Some(page) => other(page).now_or_never(),
    };
    part.and_then(Result::ok).unwrap_or_else(missing)
}

#[wasm_split(machine, wasm_split_path = ::leptos::wasm_split, preload(fetch_machine), fallible)]
fn machine(id: DomainRef, tab: Memo<Tab>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <DomainPage id tab/> }.into_any())
}

#[wasm_split(other, wasm_split_path = ::leptos::wasm_split, preload(fetch_other), fallible)]
fn other(page: Page) -> Result<AnyView, SplitLoaderError> {
    Ok(match page {
        Page::Overview => view! { <OverviewPage/> }.into_any(),
        Page::Hosts => view! { <HostsPage/> }.into_any(),
        Page::Host(id) => view! { <HostPage id/> }.into_any(),
        Page::Storage | Page::NewPool | Page::Pool(_) => view! { <StoragePage page/> }.into_any(),
        Page::Networks | Page::NewNetwork | Page::Network(_) => view! { <NetworksPage page/> }.into_any(),
        Page::Tasks => view! { <TasksPage/> }.into_any(),
        Page::Task(id) => view! { <TaskPage id/> }.into_any(),
        Page::Audit => view! { <AuditPage/> }.into_any(),
        Page::History | Page::Errors | Page::Replay => view! { <HistoryPage page/> }.into_any(),
        Page::Confirm => view! { <ConfirmPage/> }.into_any(),
        Page::Account | Page::Users | Page::Tokens | Page::Sessions => view! { <AccountPage page/> }.into_any(),
        Page::ManageHosts => view! { <ManageHostsPage/> }.into_any(),
        Page::About => view! { <AboutPage/> }.into_any(),
        Page::Api => view! { <ApiPage/> }.into_any(),
        // These are in the other parts.
        Page::Vms | Page::Vm(..) => view! { <NotFound/> }.into_any(),
    })
}

#[cfg(feature = "ssr")]
impl Page {
    /// Reads the data of the page; `query` is its query string.
    pub async fn load(&self, query: &str, backend: &dyn Backend, visit: &Visit) -> Loaded {
        let past = async |wish| crate::history::load(backend, &wish, query).await;
        let accounts = async |wish| crate::account::load(backend, wish, visit).await;
        match self {
            Self::Overview => past(HistoryRequest::Recent).await,
            Self::Vm(id, tab) => pages::domain::load(id, *tab, query, backend).await,
            Self::Host(id) => pages::host::load(id, backend).await,
            Self::Storage => pages::storage::load(None, backend).await,
            Self::Pool(id) => pages::storage::load(Some(id), backend).await,
            Self::Network(id) => pages::networks::load(id, backend).await,
            Self::Tasks => past(HistoryRequest::Tasks).await,
            Self::Task(id) => past(HistoryRequest::Task(*id)).await,
            Self::Audit => past(HistoryRequest::Audit).await,
            Self::History => past(HistoryRequest::History).await,
            Self::Errors => past(HistoryRequest::Errors).await,
            Self::Replay => past(HistoryRequest::Replay).await,
            Self::Confirm => pages::confirm::load(query, backend).await,
            Self::Account => accounts(AccountsRequest::Own).await,
            Self::Users => accounts(AccountsRequest::Users).await,
            Self::Tokens => accounts(AccountsRequest::Tokens).await,
            Self::Sessions => accounts(AccountsRequest::Sessions).await,
            Self::About => pages::about::load(backend),
            Self::Api => pages::api::load(backend),
            Self::Vms | Self::Hosts | Self::NewPool | Self::Networks | Self::NewNetwork | Self::ManageHosts => {
                Loaded::default()
            }
        }
    }
}

/// Shown when a part failed to load.
fn missing() -> AnyView {
    let here = use_location();
    let again = move || format!("{}{}", here.pathname.get(), here.search.with(|words| question(words)));
    view! {
        <Empty title="This page failed to load">
            "The server may be unreachable or may have been updated. "
            <a href=again rel="external">"Reload the page"</a>
        </Empty>
    }
    .into_any()
}

/// The query string with its question mark; empty without one.
fn question(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("?{words}") }
}

/// Fetches the part of the program that contains a page; returns whether it is loaded.
async fn fetch(page: Option<&Page>) -> bool {
    match page {
        None | Some(Page::Vms) => true,
        Some(Page::Vm(..)) => fetch_machine().await.is_ok(),
        Some(_) => fetch_other().await.is_ok(),
    }
}

/// Fetches the part of the current page, so that hydration runs in one go, before an event can
/// change the data that the rendered page is compared with.
///
/// # Panics
/// When the part fails to load; the page's own script then reports that the page has stopped.
#[cfg(feature = "hydrate")]
pub(crate) async fn ready() {
    let path = window().location().pathname().unwrap_or_default();
    assert!(fetch(Page::parse(&path).as_ref()).await, "a part of the program failed to load");
}

/// Fetches the other parts shortly after the page is live, so that pages open at once, even while
/// the server is unreachable.
pub(crate) fn fetch_rest() {
    #[cfg(feature = "hydrate")]
    {
        let store = crate::store::use_store();
        Effect::new(move |asked: Option<bool>| {
            let live = || matches!(store.freshness().get(), crate::store::Freshness::Live { .. });
            if asked == Some(true) || !live() {
                return asked == Some(true);
            }
            // A part that fails to load here is fetched again on demand.
            let fetch = || leptos::task::spawn_local(async { drop((fetch_machine().await, fetch_other().await)) });
            set_timeout(fetch, std::time::Duration::from_secs(2));
            true
        });
    }
}
