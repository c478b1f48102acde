//! All virtual machines: search, filter, sort, select, run commands.
//!
//! The address alone decides what is shown, so a view can be shared and works without JavaScript.

#[cfg(feature = "hydrate")]
mod before_hydration;
mod more;
#[cfg(feature = "hydrate")]
mod place;
mod usage;
mod view;

use std::sync::Arc;

use leptos::prelude::*;
use leptos_router::hooks::{use_navigate, use_query_map};
use model::{
    Domain, DomainCommand, DomainRef, DomainState,
    command::{ForceOff, Pause, Reboot, Resume, Save, Shutdown, Start},
    selection::{Used, rank},
    window::Figures,
};

#[cfg(feature = "ssr")]
pub(crate) use self::view::PAGE;
pub(crate) use self::view::View;
use self::{more::More, view::COLUMNS};
use crate::{
    format, routes,
    store::{
        Store,
        rows::{Pending, Row},
        shown::Shown,
        stats::Recent,
        use_store,
    },
    ui::{
        controls::{Empty, Submit, chip, tag},
        live::{live, live_text},
        table::head,
        title::Title,
    },
    vm::{self, ActionForm, FORM, FormResults},
};

/// Tags that the filter offers, the most frequent first.
pub(crate) const TAGS: usize = 8;

/// The list.
#[component]
pub(crate) fn DomainsPage() -> impl IntoView {
    let store = use_store();
    let query = use_query_map();
    let view = Memo::new(move |_| query.with(View::read));
    let shown: Memo<Vec<DomainRef>> = Memo::new(move |_| {
        view.with(|view| {
            let used = used(store, view);
            store.window.with(|window| {
                // Rows of hosts that a server that has just started has not read are no part of it.
                let is_in = |id: &DomainRef| {
                    window.as_ref().is_none_or(|window| window.machines.iter().any(|member| member.id == *id))
                };
                store.rows.with(|rows| view.choose(&mut rows.filter(|(id, _)| is_in(id)), &used))
            })
        })
    });
    let total = Memo::new(move |_| store.figures.with(Figures::all));
    let matching = Memo::new(move |_| match store.window.get() {
        Some(window) => {
            view.with(|view| view.state.map_or(window.counts.all, |state| window.counts.states[rank(state)]))
        }
        None => shown.with(Vec::len),
    });
    let ticked = Memo::new(move |_| shown.with(|shown| store.rows.ticked(shown).len()));
    let grown = RwSignal::new(0);
    let drawn = Memo::new(move |_| {
        shown.with(|shown| match store.window.with(Option::is_some) {
            true => shown.clone(),
            false => shown[view.with(|view| view.drawn(shown.len(), grown.get()))].to_vec(),
        })
    });
    keys::listen(store, drawn);
    #[cfg(feature = "hydrate")]
    before_hydration::keep(store, view, shown, searching(view));
    #[cfg(feature = "hydrate")]
    place::keep(view, grown);
    #[cfg(feature = "hydrate")]
    Effect::new(move || {
        // The stream comes first.
        let live = store.freshness().with(|freshness| matches!(freshness, crate::store::Freshness::Live { .. }));
        if live && store.window.with(Option::is_none) {
            store.look_back();
        }
    });
    view! {
        <Title text="Virtual machines"/>
        <div class="head">
            <h1>"Virtual machines"</h1>
            <span class="muted">{move || match (matching.get(), total.get()) {
                (some, all) if some == all => all.to_string(),
                (some, all) => format!("{some} of {all}"),
            }}</span>
            <Search view=view/>
        </div>
        <FormResults/>
        <ActionForm shown=shown/>
        <Filters view=view/>
        <div class="card list">
            <BatchBar shown=shown ticked=ticked/>
            <div class="scroll">
                <table aria-label="Virtual machines">
                    <thead>
                        <tr>
                            <th class="tick"><SelectAll shown=shown ticked=ticked/></th>
                            {move || view.with(|view| COLUMNS.iter().map(|column| head(column, view.order.as_pair(), |order| view.ordered(order))).collect_view().into_any())}
                        </tr>
                    </thead>
                    <tbody>
                        <For each=move || drawn.get() key=Clone::clone children=move |id| row(store, &id)/>
                    </tbody>
                </table>
            </div>
            <More view=view matching=matching grown=grown/>
            {move || (matching.get() == 0).then(|| view! { <Nothing total=total.get()/> }).into_any()}
        </div>
        <p class="hint muted">
            <kbd>"/"</kbd>" search  "<kbd>"j"</kbd>" "<kbd>"k"</kbd>" move  "<kbd>"Enter"</kbd>" open  "<kbd>"x"</kbd>" select  "
            <kbd>"s"</kbd>" start  "<kbd>"p"</kbd>" pause or resume  "<kbd>"d"</kbd>" shut down"
        </p>
    }
}

/// The usage that the list is sorted by; tracked only in that case.
fn used(store: Store, view: &View) -> Used {
    let Some(value) = view.measured() else { return Used::new() };
    store.swept.track();
    let rows = store.rows.all_untracked().into_iter();
    rows.filter_map(|row| Some((row.id, row.stats.with_untracked(|recent| recent.latest().and_then(value))?))).collect()
}

/// The text of an empty list.
#[component]
fn Nothing(
    /// Number of machines without the filter.
    total: usize,
) -> impl IntoView {
    if total > 0 {
        return view! { <Empty title="No matching machines">"Change the filter or "<a href=routes::at(routes::VMS)>"show all machines"</a>"."</Empty> }.into_any();
    }
    let connected = use_store().hosts().with(|hosts| hosts.iter().any(|host| host.connection.connected));
    if let Some(why) = use_store().outside_scope() {
        return view! { <Empty title="Nothing in your scope">{why}</Empty> }.into_any();
    }
    if connected {
        return view! { <Empty title="No virtual machines yet">"Create one with virt-install or virsh define. It appears here immediately."</Empty> }.into_any();
    }
    view! { <Empty title="No host connected">"Machines appear here once a host is connected. "<a href=routes::at(routes::HOSTS)>"Check the hosts"</a>"."</Empty> }.into_any()
}

/// State, host and tag filters as links with counts.
#[component]
fn Filters(
    /// The view in the address.
    view: Memo<View>,
) -> impl IntoView {
    let store = use_store();
    let counts = Memo::new(move |_| match store.window.get() {
        Some(window) => window.counts.clone(),
        None => view.with(|view| store.rows.with(|rows| view.counts(rows))),
    });
    let chips = live(move || {
        view.with(|view| {
            counts.with(|counts| {
                let all = chip("All".into(), Some(counts.all), view.in_state(None), view.state.is_none(), None);
                let states = DomainState::ALL
                    .into_iter()
                    .filter_map(|state| {
                        let count = counts.states[rank(state)];
                        (count > 0 || view.state == Some(state)).then(|| {
                            chip(
                                state.label().into(),
                                Some(count),
                                view.in_state(Some(state)),
                                view.state == Some(state),
                                Some(state.key()),
                            )
                        })
                    })
                    .collect_view();
                let host = view
                    .host
                    .as_ref()
                    .map(|host| chip(format!("Host: {host} ×"), None, view.on_host(None), true, None));
                let divider = (!counts.tags.is_empty()).then(|| view! { <span class="divider"></span> }.into_any());
                let tags = counts
                    .tags
                    .iter()
                    .take(TAGS)
                    .map(|(name, count)| {
                        let on = view.tag.as_deref() == Some(name);
                        chip(format!("#{name}"), Some(*count), view.tagged((!on).then(|| name.clone())), on, None)
                    })
                    .collect_view();
                view! { {all}{states}{host}{divider}{tags} }.into_any()
            })
        })
    });
    view! {
        <div class="filters">
            <div class="chips">{chips}</div>
        </div>
    }
}

/// Sets the search text in the address.
fn searching(view: Memo<View>) -> impl Fn(String) {
    let navigate = use_navigate();
    move |text| {
        let options =
            leptos_router::NavigateOptions { resolve: false, replace: true, scroll: false, ..Default::default() };
        navigate(&view.with_untracked(|view| view.searching(text)), options);
    }
}

/// The search field of the list; each key press changes the address.
#[component]
fn Search(
    /// The view in the address.
    view: Memo<View>,
) -> impl IntoView {
    let search = searching(view);
    let typed = move |event| search(event_target_value(&event));
    view! {
        <form method="get" action=routes::at(routes::VMS) class="search" on:submit=|event| event.prevent_default()>
            {move || view.with(View::hidden_fields)}
            <input type="search" name="q" id="filter" placeholder="Filter" aria-label="Filter machines" autocomplete="off"
                prop:value=move || view.with(|view| view.search.clone()) value=view.with_untracked(|view| view.search.clone()) on:input=typed/>
            <kbd>"/"</kbd>
        </form>
    }
}

/// The commands for the selected machines.
#[component]
fn BatchBar(
    /// The machines that are shown.
    shown: Memo<Vec<DomainRef>>,
    /// Number of selected machines among them.
    ticked: Memo<usize>,
) -> impl IntoView {
    let store = use_store();
    let commands = [
        DomainCommand::Start(Start {}),
        DomainCommand::Shutdown(Shutdown {}),
        DomainCommand::Pause(Pause {}),
        DomainCommand::Resume(Resume {}),
        DomainCommand::Reboot(Reboot {}),
        DomainCommand::Save(Save {}),
        DomainCommand::ForceOff(ForceOff {}),
    ];
    let buttons = commands.map(|command| {
        let class = if command.loses().is_some() { "small danger" } else { "small" };
        let value = format!("{}@selected", command.kind());
        let (label, sample) = (command.label().to_owned(), command.clone());
        let denied = Memo::new(move |_| none_can(store, &sample, &shown.with(|shown| store.rows.ticked(shown))));
        live(move || {
            let (label, value, denied) = (label.clone(), value.clone(), denied.get());
            Submit { label, form: FORM, value, class, denied, ..Submit::default() }.wide()
        })
    });
    let any = move || ticked.get() > 0;
    let clear = move |_| store.rows.select_none();
    view! {
        <div class="batch" class:on=any role="group" aria-label="Selected machines">
            <b>{move || match ticked.get() { 0 => "Selected".to_owned(), some => format!("{some} selected") }}</b>
            {buttons.into_iter().collect_view()}
            <button type="button" class="btn small quiet js-only" on:click=clear>"Clear selection"</button>
        </div>
    }
}

/// Why a command is possible for none of the selected machines; `None` if it is for one.
fn none_can(store: Store, command: &DomainCommand, ticked: &[DomainRef]) -> Option<String> {
    let mut first = None;
    store.rows.track();
    for row in ticked.iter().filter_map(|id| store.rows.get_untracked(id)) {
        let host = store.host(&row.id.host)?;
        match row.domain.with_untracked(|domain| store.check(command, domain, &host)) {
            Ok(()) => return None,
            Err(fault) => drop(first.get_or_insert(fault.reason)),
        }
    }
    let first = first?;
    Some(if ticked.len() == 1 {
        first
    } else {
        format!("Not possible for any of the {} selected: {first}", ticked.len())
    })
}

#[component]
fn SelectAll(
    /// The machines that are shown.
    shown: Memo<Vec<DomainRef>>,
    /// Number of selected machines among them.
    ticked: Memo<usize>,
) -> impl IntoView {
    let store = use_store();
    let all = Memo::new(move |_| shown.with(|shown| !shown.is_empty() && ticked.get() == shown.len()));
    let toggle = move |event| {
        let on = event_target_checked(&event);
        shown.with_untracked(|shown| store.rows.select(shown, on));
    };
    view! { <input type="checkbox" class="js-only" aria-label="Select all shown machines" autocomplete="off" prop:checked=move || all.get() on:change=toggle/> }
}

/// One machine. Its cells are one closure, so a change of the machine updates about twenty nodes
/// and nothing else in the table.
fn row(store: Store, id: &DomainRef) -> AnyView {
    let Some(row) = store.rows.get_untracked(id) else { return ().into_any() };
    let Row { id, domain, stats, selected, pending } = row;
    let (value, ticked, cells_id, ticks) = (id.to_string(), selected.clone(), id.clone(), id.clone());
    let label = domain.with_untracked(|domain| format!("Select {}", domain.name));
    let class = {
        let (id, selected) = (id.clone(), selected.clone());
        move || {
            let stale = store.host(&id.host).is_none_or(|host| !host.connection.connected);
            match (selected.get(), stale) {
                (true, true) => "ticked stale",
                (true, false) => "ticked",
                (false, true) => "stale",
                (false, false) => "",
            }
        }
    };
    view! {
        <tr class=class>
            <td class="tick">
                // Firefox would restore the tick after a reload for whatever is in the same place.
                <input type="checkbox" name="select" form=FORM value=value aria-label=label autocomplete="off"
                    prop:checked=move || ticked.get() on:change=move |event| store.rows.select(std::slice::from_ref(&ticks), event_target_checked(&event))/>
            </td>
            {move || cells(store, &cells_id, &domain.get(), &stats, pending.get().as_ref())}
        </tr>
    }
    .into_any()
}

fn cells(
    store: Store,
    id: &DomainRef,
    domain: &Arc<Domain>,
    stats: &Shown<Recent>,
    pending: Option<&Pending>,
) -> AnyView {
    let host = store.host(&id.host);
    let button = |command| vm::button(store, &command, id, domain, host.as_ref(), pending).compact();
    let since = domain.since;
    let age = since.map(|since| live_text(move || format::span(store.minute.get().saturating_sub(since))));
    let more = domain.addresses.len().saturating_sub(1);
    let addresses = domain.addresses.first().cloned();
    view! {
        <th scope="row">
            <a href=routes::vm(id)>{domain.name.clone()}</a>
            {(!domain.title.is_empty()).then(|| view! { <small>{domain.title.clone()}</small> }.into_any())}
            {vm::warning(domain)}
        </th>
        <td data-label="State">{vm::state(domain.state, &domain.state_reason)} " " {vm::under_way(store, pending)}</td>
        <td class="muted" data-label="Host">{id.host.to_string()}</td>
        <td class="num muted" data-label="Since">{age}</td>
        {usage::cells(domain, stats)}
        <td class="mono muted" data-label="Address">{addresses} {(more > 0).then(|| format!(" +{more}"))}</td>
        <td data-label="Tags"><span class="tags">{domain.tags.iter().map(|name| tag(name)).collect_view()}</span></td>
        <td class="actions"><span class="acts">
            {button(DomainCommand::Start(Start {}))}{button(DomainCommand::Pause(Pause {}))}{button(DomainCommand::Resume(Resume {}))}{button(DomainCommand::Shutdown(Shutdown {}))}
        </span></td>
    }
    .into_any()
}

/// The keys of the list; all others are left to the browser.
mod keys {
    use super::*;
    #[cfg(feature = "hydrate")]
    use crate::store::acts::Acts;

    #[cfg(not(feature = "hydrate"))]
    pub(super) fn listen(_: Store, _: Memo<Vec<DomainRef>>) {}

    #[cfg(feature = "hydrate")]
    pub(super) fn listen(store: Store, shown: Memo<Vec<DomainRef>>) {
        use wasm_bindgen::JsCast;
        let acts = expect_context::<Acts>();
        let handle = window_event_listener(leptos::ev::keydown, move |event| {
            let target: Option<web_sys::Element> = event.target().and_then(|target| target.dyn_into().ok());
            let typing = target.as_ref().is_some_and(|target| {
                target.matches("input:not([type=checkbox]), textarea, select, dialog *").unwrap_or(false)
            });
            let key = event.key();
            if typing || event.ctrl_key() || event.meta_key() || event.alt_key() {
                if typing && key == "Escape" {
                    target
                        .and_then(|target| target.dyn_into::<web_sys::HtmlElement>().ok())
                        .map(|target| target.blur());
                }
                return;
            }
            let at = position(shown);
            let current = at.and_then(|at| shown.with_untracked(|shown| shown.get(at).cloned()));
            let done = match (key.as_str(), current) {
                ("/", _) => focus("#filter"),
                ("j", _) => move_to(at.map_or(0, |at| at + 1)),
                ("k", _) => move_to(at.unwrap_or(0).saturating_sub(1)),
                ("x", Some(id)) => {
                    let on = store.rows.get_untracked(&id).is_some_and(|row| row.selected.get_untracked());
                    store.rows.select(&[id], !on);
                    true
                }
                ("s", Some(id)) => attempt(store, acts, DomainCommand::Start(Start {}), id),
                ("d", Some(id)) => attempt(store, acts, DomainCommand::Shutdown(Shutdown {}), id),
                ("p", Some(id)) => {
                    let state =
                        store.rows.get_untracked(&id).map(|row| row.domain.with_untracked(|domain| domain.state));
                    let paused = matches!(state, Some(DomainState::Paused | DomainState::Suspended));
                    attempt(
                        store,
                        acts,
                        if paused { DomainCommand::Resume(Resume {}) } else { DomainCommand::Pause(Pause {}) },
                        id,
                    )
                }
                _ => false,
            };
            if done {
                event.prevent_default();
            }
        });
        on_cleanup(move || handle.remove());
    }

    /// Runs the command if possible, else shows why not.
    #[cfg(feature = "hydrate")]
    fn attempt(store: Store, acts: Acts, command: DomainCommand, id: DomainRef) -> bool {
        let (Some(row), Some(host)) = (store.rows.get_untracked(&id), untrack(|| store.host(&id.host))) else {
            return false;
        };
        match row.domain.with_untracked(|domain| store.check(&command, domain, &host)) {
            // A letter is easily typed by mistake instead of in the search.
            Ok(()) if matches!(command, DomainCommand::Shutdown(Shutdown {})) => acts.confirm(command, vec![id]),
            Ok(()) => acts.ask(command, vec![id]),
            Err(fault) => acts.tell(command.label(), fault.sentence(), false),
        }
        true
    }

    /// The index of the machine whose row has the focus.
    #[cfg(feature = "hydrate")]
    fn position(shown: Memo<Vec<DomainRef>>) -> Option<usize> {
        let row = document().active_element()?.closest("tbody tr").ok()??;
        let link = row.query_selector("th a").ok()??.get_attribute("href")?;
        shown.with_untracked(|shown| shown.iter().position(|id| routes::vm(id) == link))
    }

    #[cfg(feature = "hydrate")]
    fn move_to(at: usize) -> bool {
        focus(&format!("tbody tr:nth-of-type({}) th a", at + 1))
    }

    #[cfg(feature = "hydrate")]
    fn focus(selector: &str) -> bool {
        use wasm_bindgen::JsCast;
        let element = document()
            .query_selector(selector)
            .ok()
            .flatten()
            .and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
        element.is_some_and(|element| element.focus().is_ok())
    }
}
