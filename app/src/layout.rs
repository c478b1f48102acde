//! The frame around every page: navigation, freshness, theme, notices and the confirmation dialog.

use leptos::prelude::*;
use leptos_router::hooks::use_location;
use model::{
    Permission,
    window::{Figures, HostFigures},
};

use crate::{
    account::AccountMenu,
    error_dialog::Alarm,
    format,
    host::Reconnect,
    routes,
    store::{
        Freshness, Store,
        acts::{Acts, Ended, Notice, Question},
        use_store,
    },
    task::task_line,
    ui::{
        controls::tag,
        icons::icon,
        live::{live, live_text},
        overlay::Dialog,
    },
};

/// The frame.
#[component]
pub(crate) fn Frame(children: Children) -> impl IntoView {
    search_by_key();
    view! {
        <a class="skip" href="#main">"Skip to content"</a>
        <header class="masthead">
            <div class="brand"><a href=routes::at(routes::OVERVIEW) rel="external">{icon("logo")}"Belvedere"</a></div>
            <Top/>
        </header>
        <Navigation/>
        <main id="main" tabindex="-1">
            <Banner/>
            {children()}
        </main>
        <Notices/>
        <Confirmation/>
        <Alarm/>
    }
}

/// Ctrl+K focuses the search from anywhere.
fn search_by_key() {
    #[cfg(feature = "hydrate")]
    {
        use wasm_bindgen::JsCast;
        let handle = window_event_listener(leptos::ev::keydown, |event| {
            if (event.ctrl_key() || event.meta_key()) && event.key() == "k" {
                let search = document()
                    .get_element_by_id("search")
                    .and_then(|search| search.dyn_into::<web_sys::HtmlElement>().ok());
                if search.is_some_and(|search| search.focus().is_ok()) {
                    event.prevent_default();
                }
            }
        });
        on_cleanup(move || handle.remove());
    }
}

#[component]
fn Top() -> impl IntoView {
    view! {
        <div class="top">
            <details class="fold">
                <summary aria-label="Menu">{icon("menu")}</summary>
                <nav aria-label="Navigation">
                    <a href=routes::at(routes::OVERVIEW) rel="external">"Overview"</a>
                    <a href=routes::at(routes::VMS)>"Virtual machines"</a>
                    <a href=routes::at(routes::STORAGE) rel="external">"Storage"</a>
                    <a href=routes::at(routes::NETWORKS) rel="external">"Networks"</a>
                    <a href=routes::at(routes::HOSTS)>"Hosts"</a>
                    <a href=routes::at(routes::TASKS) rel="external">"Tasks"</a>
                    <a href=routes::at(routes::HISTORY) rel="external">"History"</a>
                    {use_store().may(Permission::ReadAudit).is_ok().then(|| view! { <a href=routes::at(routes::AUDIT) rel="external">"Audit"</a> }.into_any())}
                    <a href=routes::at(routes::ABOUT) rel="external">"About"</a>
                </nav>
            </details>
            <form class="search" role="search" method="get" action=routes::at(routes::VMS)>
                {icon("search")}
                <input type="search" name="q" id="search" placeholder="Search machines" aria-label="Search machines" autocomplete="off"/>
                <kbd>"Ctrl K"</kbd>
            </form>
            <TaskDrawer/>
            <FreshnessMark/>
            <AccountMenu/>
            <ThemeSwitch/>
        </div>
    }
}

/// Live, Reconnecting or Stale; the only status region of the page.
#[component]
fn FreshnessMark() -> impl IntoView {
    let store = use_store();
    let mark = move || match store.freshness().get() {
        Freshness::Connecting => ("connecting", "Connecting".to_owned(), None),
        Freshness::Lost { signed_out: true, .. } => ("stale", "Stale".to_owned(), Some(", signed out".to_owned())),
        Freshness::Lost { .. } => ("lost", "Reconnecting".to_owned(), None),
        Freshness::Live { polling } => store.hosts().with(|hosts| {
            let lost = hosts.iter().filter(|host| !host.connection.connected).count();
            match lost {
                0 if polling => ("partly", "Live".to_owned(), Some(", polling".to_owned())),
                0 => ("live", "Live".to_owned(), None),
                all if all == hosts.len() => ("stale", "Stale".to_owned(), None),
                some => ("partly", "Live".to_owned(), Some(format!(", {} stale", format::count(some, "host")))),
            }
        }),
    };
    view! {
        <span class="live" role="status">
            {move || {
                let (class, word, more) = mark();
                view! { <span class=format!("dot {class}")></span><span>{word}{more}</span> }.into_any()
            }}
        </span>
    }
}

/// The drawer of running and recent tasks; its icon spins while a task runs.
#[component]
fn TaskDrawer() -> impl IntoView {
    let store = use_store();
    // A closed drawer is not rendered, however many events arrive.
    let open = RwSignal::new(false);
    let toggled = move |event: leptos::ev::Event| {
        open.set(event_target::<leptos::web_sys::Element>(&event).has_attribute("open"));
    };
    view! {
        <details class="menu drawer" on:toggle=toggled>
            <summary class="btn quiet" aria-label="Tasks">{live(move || {
                let count = running(store);
                let class = if count.is_empty() { "i-check" } else { "i-reboot ring" };
                view! { <i class=format!("icon {class}") aria-hidden="true"></i>{count} }.into_any()
            })}</summary>
            <div>
                {live(move || if open.get() { drawer(store) } else { ().into_any() })}
                <a class="btn small" href=routes::at(routes::TASKS) rel="external">"All tasks"</a>
            </div>
        </details>
    }
}

fn drawer(store: Store) -> AnyView {
    let tasks = store.tasks.get();
    if tasks.is_empty() {
        return view! { <p class="muted">"No recent tasks."</p> }.into_any();
    }
    view! { <ul class="log">{tasks.iter().rev().take(12).map(|task| task_line(store, task)).collect_view()}</ul> }
        .into_any()
}

#[component]
fn ThemeSwitch() -> impl IntoView {
    let location = use_location();
    let back = move || location.pathname.get();
    view! {
        <form class="theme" method="post" action=routes::at(routes::THEME) on:submit=move |event| switch_theme(&event)>
            <input type="hidden" name="back" value=back/>
            <button class="btn quiet compact i-theme light-only" name="theme" value="dark" aria-label="Dark theme" title="Dark theme"></button>
            <button class="btn quiet compact i-theme dark-only" name="theme" value="light" aria-label="Light theme" title="Light theme"></button>
        </form>
    }
}

/// Changes the theme at once and stores it in a cookie for the server.
fn switch_theme(event: &leptos::ev::SubmitEvent) {
    event.prevent_default();
    #[cfg(feature = "hydrate")]
    {
        use wasm_bindgen::JsCast;
        let button = event.submitter().and_then(|element| element.dyn_into::<web_sys::HtmlButtonElement>().ok());
        let Some(theme) = button.map(|button| button.value()) else { return };
        if let Some(root) = document().document_element() {
            root.set_attribute("data-theme", &theme).ok();
        }
        if let Ok(document) = document().dyn_into::<web_sys::HtmlDocument>() {
            document.set_cookie(&format!("theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax")).ok();
        }
    }
}

#[component]
fn Navigation() -> impl IntoView {
    let store = use_store();
    let location = use_location();
    let current = move |path: &'static str| {
        move || location.pathname.with(|at| routes::inner(at).starts_with(path)).then_some("page")
    };
    let machines = Memo::new(move |_| store.figures.with(Figures::all));
    view! {
        <nav class="side" aria-label="Main">
            <a href=routes::at(routes::OVERVIEW) rel="external" aria-current=move || location.pathname.with(|at| routes::inner(at) == routes::OVERVIEW).then_some("page")>{icon("logo")}"Overview"</a>
            <a href=routes::at(routes::VMS) aria-current=current(routes::VMS)>{icon("machines")}"Virtual machines" <b>{move || machines.get().to_string()}</b></a>
            <a href=routes::at(routes::STORAGE) rel="external" aria-current=current(routes::STORAGE)>{icon("storage")}"Storage"</a>
            <a href=routes::at(routes::NETWORKS) rel="external" aria-current=current(routes::NETWORKS)>{icon("networks")}"Networks"</a>
            <a href=routes::at(routes::HOSTS) aria-current=current(routes::HOSTS)>{icon("hosts")}"Hosts" <b>{move || store.hosts().with(Vec::len).to_string()}</b></a>
            <a href=routes::at(routes::TASKS) rel="external" aria-current=current(routes::TASKS)>{icon("check")}"Tasks" <b>{move || running(store)}</b></a>
            <a href=routes::at(routes::HISTORY) rel="external" aria-current=current(routes::HISTORY)>{icon("history")}"History" <b title="Errors since this page was opened">{move || match store.errors.get() { 0 => String::new(), count => count.to_string() }}</b></a>
            {store.may(Permission::ReadAudit).is_ok().then(|| view! { <a href=routes::at(routes::AUDIT) rel="external" aria-current=current(routes::AUDIT)>{icon("audit")}"Audit"</a> }.into_any())}
            <h2>"Hosts"</h2>
            {move || store.hosts().get().into_iter().map(|host| {
                let class = if host.connection.connected { "dot live" } else { "dot stale" };
                let title = if host.connection.connected { "connected" } else { "not connected" };
                let id = host.id.clone();
                view! {
                    <a href=routes::vms_of(&host.id) title=title>
                        <span class=class></span>{host.id.to_string()}
                        {host.demo.then(|| tag("demo"))}
                        <b>{move || store.figures.with(|figures| figures.host(&id).map_or(0, HostFigures::all).to_string())}</b>
                    </a>
                }
                .into_any()
            }).collect_view().into_any()}
            <a class="faint" href=routes::at(routes::ABOUT) rel="external" aria-current=current(routes::ABOUT)>"About"</a>
        </nav>
    }
}

/// The number of running tasks; empty for none.
fn running(store: Store) -> String {
    let count = store.tasks.with(|tasks| tasks.iter().filter(|task| task.outcome.is_none()).count());
    if count == 0 { String::new() } else { count.to_string() }
}

/// Why a form without JavaScript was refused. The form itself keeps the values entered.
fn refused() -> AnyView {
    #[cfg(feature = "ssr")]
    if let Some(refused) = use_context::<std::sync::Arc<crate::backend::Refused>>() {
        let why = refused.fault.sentence();
        return view! { <p class="banner warn" role="alert"><span><b>"Request refused. "</b>{why}</span></p> }
            .into_any();
    }
    ().into_any()
}

/// Warnings at the top of every page: snapshot, demo, lost connections, disabled commands.
#[component]
fn Banner() -> impl IntoView {
    let store = use_store();
    view! {
        <p class="banner snapshot">
            <span>"This page is a snapshot taken at "
            <time datetime=format::utc(store.minute.get_untracked())>{format::utc(store.minute.get_untracked()).replace('T', " ").replace('Z', " UTC")}</time>
            ". Reload it for current data."</span>
        </p>
        {refused()}
        {move || demo_banner(store)}
        {move || store.trouble.get().map(|fault| view! { <p class="banner warn" role="alert"><span><b>"Commands are refused. "</b>{fault.sentence()}</span></p> }.into_any()).into_any()}
        {move || store.outdated.get().then(|| view! { <p class="banner warn"><span>"The server now runs a different version of Belvedere than this page."</span><button class="btn small" on:click=|_| { window().location().reload().ok(); }>"Reload page"</button></p> }.into_any()).into_any()}
        {move || lost_banner(store)}
        {move || store.hosts().get().into_iter().filter(|host| !host.connection.connected).map(|host| host_banner(store, host)).collect_view().into_any()}
    }
}

fn demo_banner(store: Store) -> AnyView {
    let demo = store.hosts().with(|hosts| hosts.iter().any(|host| host.demo));
    if !demo {
        return ().into_any();
    }
    view! {
        <p class="banner demo"><span><b>"Demo."</b>" The host demo uses libvirt's test driver. Its machines are not real, and all changes are lost when Belvedere stops."</span></p>
    }
    .into_any()
}

fn lost_banner(store: Store) -> AnyView {
    let Freshness::Lost { since, signed_out } = store.freshness().get() else { return ().into_any() };
    let ago = live_text(move || format::span(store.second.get().saturating_sub(since)));
    let (what, label) = if signed_out {
        ("You are signed out.", "Sign in again")
    } else {
        ("Connection to Belvedere lost.", "Reconnect now")
    };
    let act = move |_| if signed_out { window().location().reload().unwrap_or_default() } else { reconnect_stream() };
    view! {
        <p class="banner warn">
            <span><b>{what}</b>" The data shown is " {ago} " old."</span>
            <button class="btn small" on:click=act>{label}</button>
        </p>
    }
    .into_any()
}

fn reconnect_stream() {
    #[cfg(feature = "hydrate")]
    crate::store::feed::reconnect();
}

fn host_banner(store: Store, host: model::Host) -> AnyView {
    let (id, link) = (host.id, host.connection);
    let since = link.since;
    let ago = live_text(move || format::span(store.second.get().saturating_sub(since)));
    let retry = link.retry_at.map(|at| {
        live_text(move || match at.saturating_sub(store.second.get()).div_ceil(1000) {
            0 => "retrying now".to_owned(),
            seconds => format!("retrying in {seconds} s"),
        })
    });
    let never = host.info.is_none();
    view! {
        <div class="banner warn">
            <span>
                <b>{id.to_string()} {if never { ": not connected" } else { ": connection lost" }} " for " {ago}</b> ", " {retry} ". "
                {link.error.unwrap_or_default()}
            </span>
            <Reconnect host=id/>
        </div>
    }
    .into_any()
}

/// The notices about actions of this tab.
#[component]
fn Notices() -> impl IntoView {
    let (store, acts) = (use_store(), expect_context::<Acts>());
    view! {
        <section class="notices" aria-label="Notices" aria-live="polite">
            <For each=move || acts.notices.get() key=|notice| (notice.id, notice.items.iter().map(|item| item.ended.rank()).sum::<usize>()) children=move |notice| notice_view(store, acts, notice)/>
        </section>
    }
}

fn notice_view(store: Store, acts: Acts, notice: Notice) -> AnyView {
    let whole = notice.clone();
    let Notice { id, title, items, command } = notice;
    let running = items.iter().filter(|item| matches!(item.ended, Ended::Not | Ended::Held)).count();
    let held: Vec<_> = items.iter().filter(|item| item.ended == Ended::Held).map(|item| item.request).collect();
    let failed = items.iter().filter(|item| matches!(item.ended, Ended::Badly(_))).count();
    let (class, picture) = match (running, failed) {
        (0, 0) => ("good", "check"),
        (0, _) => ("bad", "crashed"),
        _ => ("busy", "reboot"),
    };
    let several = items.len() > 1;
    let mut under_way: Vec<_> = items.iter().filter(|item| item.ended == Ended::Not).map(|item| item.request).collect();
    under_way.dedup();
    let may_help = items.iter().any(|item| matches!(&item.ended, Ended::Badly(fault) if fault.may_pass()));
    let summary = several.then(|| {
        format!(
            "{} of {} done{}",
            items.len() - running - failed,
            items.len(),
            if failed > 0 { format!(", {failed} failed") } else { String::new() }
        )
    });
    let shown = items.into_iter().filter(|item| !several || !matches!(item.ended, Ended::Well(_))).take(12);
    view! {
        <article class=format!("notice {class}")>
            {icon(picture)}
            <div>
                <h2>{title} {summary.map(|summary| view! { <span class="muted">" · " {summary}</span> }.into_any())}</h2>
                <ul>{shown.map(|item| view! { <li>{item.sentence()}</li> }.into_any()).collect_view()}</ul>
            </div>
            {(running == 0 && may_help && command.is_some()).then(|| view! { <button class="btn small" on:click=move |_| acts.again(&whole)>"Try again"</button> }.into_any())}
            {under_way.into_iter().map(|request| crate::task::cancel_of(store, request)).collect_view()}
            {(!held.is_empty()).then(|| view! { <button class="btn small" on:click=move |_| held.iter().for_each(|request| acts.give_up(*request))>"Cancel"</button> }.into_any())}
            <button class="btn quiet compact i-close" aria-label="Dismiss" on:click=move |_| acts.dismiss(id)></button>
        </article>
    }
    .into_any()
}

/// The confirmation dialog.
#[component]
fn Confirmation() -> impl IntoView {
    let (store, acts) = (use_store(), expect_context::<Acts>());
    let open = Signal::derive(move || acts.question.with(Option::is_some));
    let said = RwSignal::new(String::new());
    let close = move || {
        acts.question.set(None);
        said.set(String::new());
    };
    let asked = move |of: fn(&Question) -> String| {
        move || acts.question.with(|question| question.as_ref().map(of).unwrap_or_default())
    };
    let wanted = move || acts.question.with(|question| question.as_ref().and_then(Question::typed));
    let missing = move || wanted().is_some_and(|wanted| said.with(|said| said.trim() != wanted));
    let confirm = move |_| {
        if untrack(missing) {
            return;
        }
        if let Some(Question { command, targets }) = acts.question.get_untracked() {
            let ids: Vec<_> = targets.into_iter().map(|(id, _)| id).collect();
            acts.run(&command, &ids);
        }
        close();
    };
    view! {
        <Dialog open=open on_close=close labelled_by="question">
            <h2 id="question">{asked(heading)}</h2>
            <p>{asked(|question| question.why().to_owned())}</p>
            <ul class="doomed">{move || acts.question.with(|question| question.as_ref().map(|question| doomed(store, question))).into_any()}</ul>
            {move || wanted().map(|wanted| view! {
                <label class="typed">{format!("Type {wanted} to confirm")}
                    <input type="text" inputmode="numeric" autocomplete="off" prop:value=move || said.get() on:input=move |event| said.set(event_target_value(&event))/>
                </label>
            }.into_any()).into_any()}
            <div class="buttons">
                <button class="btn" autofocus on:click=move |_| close()>"Cancel"</button>
                <button class="btn danger" on:click=confirm aria-disabled=move || missing().then_some("true")>{asked(|question| question.command.label().to_owned())}</button>
            </div>
        </Dialog>
    }
}

fn heading(question: &Question) -> String {
    match &question.targets[..] {
        [(_, domain)] => format!("{} {}?", question.command.label(), domain.name),
        many => format!("{} {}?", question.command.label(), format::count(many.len(), "machine")),
    }
}

fn doomed(store: Store, question: &Question) -> Vec<AnyView> {
    let now = store.minute.get_untracked();
    let more = question.targets.len().saturating_sub(20);
    let more = (more > 0).then(|| view! { <li>{format!("and {more} more")}</li> }.into_any());
    question.targets.iter().take(20).map(|(id, domain)| {
        let since = domain.since.map(|since| format!(" for {}", format::span(now.saturating_sub(since))));
        view! { <li><b>{domain.name.clone()}</b> " on " {id.host.to_string()} ", " {domain.state.label().to_ascii_lowercase()} {since}</li> }.into_any()
    }).chain(more).collect_view()
}
