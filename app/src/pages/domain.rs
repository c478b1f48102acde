//! One virtual machine: header, actions, tabs.

pub(crate) mod console;
pub(crate) mod definition;
pub(crate) mod devices;
pub(crate) mod guest;
pub(crate) mod history;
pub(crate) mod overview;
mod usage;

use std::sync::Arc;

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::{
    components::Outlet,
    hooks::{use_location, use_navigate, use_params_map},
};
use model::{Domain, DomainCommand, DomainRef};

use crate::{
    act::Acts,
    format,
    layout::answer_not_found,
    routes,
    store::{
        Store,
        rows::{Pending, Row},
        shown::Shown,
        stats::Recent,
        use_store,
    },
    ui::{
        controls::{Empty, tag},
        live::{live, live_text},
    },
    vm::{self, ActionForm, FormResults},
};

/// The machine that the tabs of a page are about.
#[derive(Clone)]
pub(super) struct Subject {
    /// Which.
    pub(super) id: DomainRef,
    /// The machine.
    pub(super) domain: Shown<Arc<Domain>>,
    /// What it used lately.
    pub(super) stats: Shown<Recent>,
}

/// The page around the tabs.
#[component]
pub(crate) fn DomainPage() -> impl IntoView {
    let (store, acts) = (use_store(), expect_context::<Acts>());
    let params = use_params_map();
    let id = Memo::new(move |_| {
        params.with(|params| {
            format!("{}/{}", params.get("host").unwrap_or_default(), params.get("uuid").unwrap_or_default())
                .parse::<DomainRef>()
                .ok()
        })
    });
    leave_when_deleted(store, acts, id);
    live(move || match id.get().and_then(|id| untrack(|| store.rows.get(&id))) {
        Some(row) => page(store, row).into_any(),
        None => {
            answer_not_found();
            // It may be on its way: the page turns into its own when it comes.
            id.with(|id| id.as_ref().map(|id| store.rows.get(id).is_some()));
            let unread = id.get().and_then(|id| store.host(&id.host)).filter(|host| host.info.is_none());
            let (title, text) = match unread {
                Some(host) => (
                    format!("Host {} has not connected yet", host.id),
                    "Its machines are listed once it connects, including this one if it still exists. ",
                ),
                None => (
                    "This machine is not there".to_owned(),
                    "It may have been deleted or moved to another host. If it is still being created, it appears here by itself. ",
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

/// As long as the page is open, its machine is measured in detail.
fn ask_for_details(id: &DomainRef) {
    #[cfg(feature = "hydrate")]
    {
        let id = id.clone();
        // The stream is there when effects run, not before.
        Effect::new(move || crate::store::feed::watch(Some(id.clone())));
        on_cleanup(|| crate::store::feed::watch(None));
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = id;
}

/// When the machine that is looked at is deleted, the list is shown instead.
fn leave_when_deleted(store: Store, acts: Acts, id: Memo<Option<DomainRef>>) {
    let navigate = use_navigate();
    Effect::new(move |known: Option<Option<(DomainRef, String)>>| {
        let id = id.get()?;
        match store.rows.get(&id) {
            Some(row) => Some((id, row.domain.with_untracked(|domain| domain.name.clone()))),
            None => {
                if let Some((_, name)) = known.flatten().filter(|(known, _)| *known == id) {
                    acts.tell("Deleted", format!("{name} was deleted."), false);
                    navigate(
                        &routes::at(routes::VMS),
                        leptos_router::NavigateOptions { resolve: false, replace: true, ..Default::default() },
                    );
                }
                None
            }
        }
    });
}

fn page(store: Store, row: Row) -> impl IntoView {
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
            {tabs(&id)}
            <Outlet/>
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

/// The actions people need, the one that fits the state in front; the rest in a menu.
fn actions(store: Store, id: &DomainRef, domain: &Domain, pending: Option<&Pending>) -> AnyView {
    let host = store.host(&id.host);
    let button = |command: &DomainCommand| vm::button(store, command, id, domain, host.as_ref(), pending);
    // What is needed daily has a picture.
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

fn tabs(id: &DomainRef) -> impl IntoView + use<> {
    let location = use_location();
    let all = [
        ("Overview", ""),
        ("Devices", "devices"),
        ("Console", routes::CONSOLE_TAB),
        ("Guest", routes::GUEST_TAB),
        ("History", routes::HISTORY_TAB),
        ("XML", routes::DEFINITION_TAB),
    ];
    let tabs = all.map(|(label, name)| {
        // These are drawn by the server.
        let rel = [routes::HISTORY_TAB, routes::GUEST_TAB].contains(&name).then_some("external");
        let href = routes::vm_tab(id, name);
        let here = href.clone();
        let current = move || location.pathname.with(|path| path.trim_end_matches('/') == here).then_some("page");
        view! { <a href=href rel=rel aria-current=current>{label}</a> }.into_any()
    });
    view! { <nav class="tabs" aria-label="Machine">{tabs.into_iter().collect_view()}</nav> }
}
