//! One virtual machine: header, actions, tabs.

mod console;
mod definition;
mod devices;
mod guest;
mod history;
mod overview;
mod usage;

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::hooks::use_navigate;
#[cfg(feature = "ssr")]
use model::query::Definition;
use model::{Domain, DomainCommand, DomainRef};

use self::{
    console::ConsoleTab, definition::DefinitionTab, devices::DevicesTab, guest::GuestTab, history::HistoryTab,
    overview::OverviewTab,
};
#[cfg(feature = "ssr")]
use crate::backend::{Backend, HistoryRequest, Loaded};
use crate::{
    format,
    routes::{self, Tab},
    store::{
        Store,
        acts::Acts,
        rows::{Pending, Row},
        shown::Shown,
        stats::Recent,
        use_store,
    },
    ui::{
        controls::{Empty, tag},
        live::{live, live_text},
        not_found::answer_not_found,
        title::Title,
    },
    vm::{self, ActionForm, FormResults},
};

/// The machine that the tabs of a page are about.
#[derive(Clone)]
pub(super) struct Subject {
    /// Its id.
    pub(super) id: DomainRef,
    /// The machine.
    pub(super) domain: Shown<Arc<Domain>>,
    /// Its recent usage.
    pub(super) stats: Shown<Recent>,
}

/// The page around the tabs.
#[component]
pub(crate) fn DomainPage(id: DomainRef, tab: Memo<Tab>) -> impl IntoView {
    let (store, acts) = (use_store(), expect_context::<Acts>());
    leave_when_deleted(store, acts, id.clone());
    live(move || match untrack(|| store.rows.get(&id)) {
        Some(row) => page(store, row, tab).into_any(),
        None => {
            answer_not_found();
            // The machine may still be created: the page is replaced when it appears.
            store.rows.get(&id);
            let unread = store.host(&id.host).filter(|host| host.info.is_none());
            let (title, text) = match unread {
                Some(host) => (
                    format!("Host {} has not connected yet", host.id),
                    "Its machines are listed once it connects, including this one if it still exists. ",
                ),
                None => (
                    "Machine not found".to_owned(),
                    "It may have been deleted or moved to another host. If it is still being created, it appears here automatically. ",
                ),
            };
            view! {
                <Title text="Not found"/>
                <h1 class="hidden">"Not found"</h1>
                <Empty title>{text}<a href=routes::at(routes::VMS)>"See all virtual machines"</a>"."</Empty>
            }
            .into_any()
        }
    })
}

/// Requests detailed statistics of the machine while the page is open.
fn ask_for_details(id: &DomainRef) {
    #[cfg(feature = "hydrate")]
    {
        let id = id.clone();
        // The stream exists when effects run, not before.
        Effect::new(move || crate::store::feed::watch(Some(id.clone())));
        on_cleanup(|| crate::store::feed::watch(None));
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = id;
}

/// When the machine is deleted, the list is shown instead.
fn leave_when_deleted(store: Store, acts: Acts, id: DomainRef) {
    let navigate = use_navigate();
    Effect::new(move |known: Option<Option<String>>| match store.rows.get(&id) {
        // The machine is of a page that is being left.
        None if store.is_elsewhere(&id) => known.flatten(),
        Some(row) => Some(row.domain.with_untracked(|domain| domain.name.clone())),
        None => {
            if let Some(name) = known.flatten() {
                acts.tell("Deleted", format!("{name} was deleted."), false);
                navigate(
                    &routes::at(routes::VMS),
                    leptos_router::NavigateOptions { resolve: false, replace: true, ..Default::default() },
                );
            }
            None
        }
    });
}

fn page(store: Store, row: Row, tab: Memo<Tab>) -> impl IntoView {
    let Row { id, domain, stats, pending, .. } = row;
    provide_context(Subject { id: id.clone(), domain: domain.clone(), stats });
    ask_for_details(&id);
    let (title, host) = (domain.clone(), id.host.clone());
    let stale = {
        let id = id.clone();
        move || store.host(&id.host).is_none_or(|host| !host.connection.connected)
    };
    view! {
        <Title text=move || title.with(|domain| domain.name.clone())/>
        <p class="crumbs muted"><a href=routes::at(routes::VMS)>"Virtual machines"</a>" / "<a href=routes::vms_of(&host)>{host.to_string()}</a></p>
        <FormResults/>
        <ActionForm/>
        <div class:stale=stale>
            <div class="head">{
                let (id, domain) = (id.clone(), domain.clone());
                live(move || header(store, &id, &domain.get(), pending.get().as_ref()))
            }</div>
            {tabs(&id, tab)}
            {live(move || content(tab.get()))}
        </div>
    }
}

fn header(store: Store, id: &DomainRef, domain: &Arc<Domain>, pending: Option<&Pending>) -> AnyView {
    let age = domain
        .since
        .map(|since| live_text(move || format!("for {}", format::span(store.minute.get().saturating_sub(since)))));
    view! {
        <h1>{domain.name.clone()}</h1>
        {vm::state(domain.state, &domain.state_reason)}
        {vm::warning(domain)}
        {vm::under_way(store, pending)}
        <span class="muted">{age} {(!domain.state_reason.is_empty()).then(|| format!(" · {}", domain.state_reason))}</span>
        <span class="tags">{domain.tags.iter().map(|name| tag(name)).collect_view()}</span>
        <span class="spacer"></span>
        {actions(store, id, domain, pending)}
    }
    .into_any()
}

/// The action buttons, with the one for the current state as primary; the rest in a menu.
fn actions(store: Store, id: &DomainRef, domain: &Domain, pending: Option<&Pending>) -> AnyView {
    let host = store.host(&id.host);
    let button = |command: &DomainCommand| vm::button(store, command, id, domain, host.as_ref(), pending);
    // Frequent commands have an icon.
    let (front, rest): (Vec<_>, Vec<_>) =
        DomainCommand::menu().into_iter().partition(|command| command.about().icon.is_some());
    let primary = match domain.state {
        model::DomainState::Running => "shutdown",
        model::DomainState::Paused | model::DomainState::Suspended => "resume",
        _ => "start",
    };
    let shown = front.iter().map(|command| {
        let class = if command.kind() == primary { "primary" } else { "" };
        crate::ui::controls::Submit { class, ..button(command) }.wide()
    });
    let rest = rest.iter().map(|command| {
        let class = if command.loses().is_some() { "item danger" } else { "item" };
        let why = button(command);
        let reason = why.denied.clone();
        view! { <li>{crate::ui::controls::Submit { class, ..why }.wide()}{reason.map(|reason| view! { <small aria-hidden="true">{reason}</small> }.into_any())}</li> }.into_any()
    });
    view! {
        <div class="acts">{shown.collect_view()}</div>
        <details class="menu">
            <summary class="btn i-more" aria-label="More actions" title="More actions"></summary>
            <ul>{rest.collect_view()}</ul>
        </details>
    }
    .into_any()
}

/// The content of a tab.
fn content(tab: Tab) -> AnyView {
    match tab {
        Tab::Overview => view! { <OverviewTab/> }.into_any(),
        Tab::Devices => view! { <DevicesTab/> }.into_any(),
        Tab::Console => view! { <ConsoleTab/> }.into_any(),
        Tab::Guest => view! { <GuestTab/> }.into_any(),
        Tab::History => view! { <HistoryTab/> }.into_any(),
        Tab::Definition => view! { <DefinitionTab/> }.into_any(),
    }
}

fn tabs(id: &DomainRef, shown: Memo<Tab>) -> impl IntoView + use<> {
    let tabs = Tab::ALL.map(|(tab, _, label)| {
        // These are rendered by the server.
        let rel = [Tab::Devices, Tab::History, Tab::Guest].contains(&tab).then_some("external");
        let current = move || (shown.get() == tab).then_some("page");
        view! { <a href=routes::vm_tab(id, tab) rel=rel aria-current=current>{label}</a> }.into_any()
    });
    view! { <nav class="tabs" aria-label="Machine">{tabs.into_iter().collect_view()}</nav> }
}

/// Reads the data of a machine's tab before it is rendered.
#[cfg(feature = "ssr")]
pub(crate) async fn load(id: &DomainRef, tab: Tab, query: &str, backend: &dyn Backend) -> Loaded {
    match tab {
        Tab::Overview => usage::load(id, query, backend).await,
        Tab::Guest => guest::load(id, query, backend).await,
        Tab::History => crate::history::load(backend, &HistoryRequest::Machine(id.clone()), query).await,
        Tab::Definition => crate::question::load(id, Definition {}, backend).await,
        Tab::Devices => devices::load(id, backend).await,
        Tab::Console => Loaded::default(),
    }
}
