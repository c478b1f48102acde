//! The overview: machines by state, host load, busiest machines, problems and recent events.

use leptos::prelude::*;
use model::{
    DomainRef, DomainState, Host, natural,
    window::{Figures, WORST},
};

use crate::{
    format,
    history::{Part, past},
    host, routes,
    store::{Store, use_store},
    task::task_line,
    ui::{live::live, title::Title},
    vm,
};

/// The page.
#[component]
pub(crate) fn OverviewPage() -> impl IntoView {
    let store = use_store();
    view! {
        <Title text="Overview"/>
        <div class="head">
            <h1>"Overview"</h1>
            <span class="muted">{move || format!("{}, {}", format::count(store.hosts().with(Vec::len), "host"), format::count(store.figures.with(Figures::all), "machine"))}</span>
        </div>
        <nav class="grid tiles" aria-label="Machines by state">{live(move || tiles(store))}</nav>
        <section class="grid g3 hosts" aria-label="Hosts">{live(move || store.hosts().with(|hosts| hosts.iter().map(|host| host_card(store, host)).collect_view().into_any()))}</section>
        <div class="grid g2">
            <section class="card"><header><h2>"Needs attention"</h2></header>{live(move || attention(store))}</section>
            <section class="card"><header><h2>"Busiest machines"</h2></header>{live(move || busiest(store))}</section>
            <section class="card"><header><h2>"Tasks"</h2><a class="btn small" href=routes::at(routes::TASKS) rel="external">"All tasks"</a></header>{live(move || tasks(store))}</section>
            <section class="card"><header><h2>"Recent events"</h2><a class="btn small" href=routes::at(routes::HISTORY) rel="external">"All events"</a></header>{past(Part::Recent)}</section>
        </div>
    }
}

/// Machines per state; running and stopped are always shown.
fn tiles(store: Store) -> AnyView {
    let counts = store.figures.with(Figures::states);
    let always = [DomainState::Running, DomainState::Stopped];
    let shown = DomainState::ALL.into_iter().zip(counts).filter(|(state, count)| *count > 0 || always.contains(state));
    shown
        .map(|(state, count)| {
            view! {
                <a class="card tile" href=format!("{}?state={}", routes::at(routes::VMS), state.key())>
                    {vm::state(state, "")} <b class="big">{count.to_string()}</b>
                </a>
            }
            .into_any()
        })
        .collect_view()
        .into_any()
}

/// One host: freshness, load, number of machines.
fn host_card(store: Store, host: &Host) -> AnyView {
    let link = &host.connection;
    let fresh = if link.connected {
        "live".to_owned()
    } else {
        format!("as of {} ago", format::span(store.second.get().saturating_sub(link.since)))
    };
    let (all, running) = store.figures.with(|figures| {
        figures.host(&host.id).map_or((0, 0), |host| (host.all(), host.in_state(DomainState::Running)))
    });
    let (assigned, total) = (assigned(store, host), host.info.as_ref().map_or(0, |info| info.memory_mb));
    let over =
        (total > 0 && assigned > total).then(|| view! { <small class="pending">"overcommitted"</small> }.into_any());
    view! {
        <article class="card" class:stale=!link.connected>
            <header><span class=if link.connected { "dot live" } else { "dot stale" }></span><h2><a href=routes::vms_of(&host.id)>{host.id.to_string()}</a></h2><span class="num muted">{fresh}</span></header>
            <dl>
                {host::load(store, host)}
                <dt>"Machines"</dt><dd>{format!("{}, {running} running", format::count(all, "machine"))}</dd>
                <dt>"Allocated"</dt><dd>{format!("{} to running machines", format::memory(assigned))} " " {over}</dd>
            </dl>
        </article>
    }
    .into_any()
}

/// A problem that needs attention.
struct Notice {
    rank: usize,
    /// Name and address of the object.
    name: String,
    href: String,
    /// The icon in front.
    sign: AnyView,
    /// Host and reason.
    why: String,
}

fn attention(store: Store) -> AnyView {
    let mut found: Vec<Notice> = store.rows.with(|rows| {
        let machines = rows.filter_map(|(id, domain)| Some((domain.problem()?, id, domain)));
        let notices = machines.map(|(problem, id, domain)| Notice {
            rank: problem.rank(),
            name: domain.name.clone(),
            href: routes::vm(id),
            sign: vm::state(domain.state, ""),
            why: format!(" on {}: {}", id.host, problem.words(&domain)),
        });
        notices.collect()
    });
    // With a window, the worst are here.
    let elsewhere = store.figures.with(|figures| figures.troubled).saturating_sub(found.len());
    found.extend(store.hosts().with(|hosts| hosts.iter().flat_map(|host| about_host(store, host)).collect::<Vec<_>>()));
    found.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| natural(&a.name, &b.name)).then_with(|| a.href.cmp(&b.href)));
    if found.is_empty() {
        return view! { <p class="muted calm">"No problems."</p> }.into_any();
    }
    let more = (found.len() + elsewhere).saturating_sub(WORST);
    let lines = found.into_iter().take(WORST).map(|notice| {
        view! { <li>{notice.sign} <span><a href=notice.href>{notice.name}</a> {notice.why}</span></li> }.into_any()
    });
    view! { <ul class="log">{lines.collect_view()}</ul> {(more > 0).then(|| view! { <p class="muted calm">{format!("and {more} more")}</p> }.into_any())} }.into_any()
}

/// The problems of a host.
fn about_host(store: Store, host: &Host) -> Vec<Notice> {
    let notice = |rank, href: String, why: String| Notice {
        rank,
        name: host.id.to_string(),
        href,
        sign: view! { <span class="state i-hosts paused">"Host"</span> }.into_any(),
        why,
    };
    let mut found = Vec::new();
    if !host.connection.connected {
        let since = format::span(store.minute.get().saturating_sub(host.connection.since));
        found.push(notice(0, routes::at(routes::HOSTS), format!(": not connected for {since}")));
    }
    let loads = store.loads.get();
    let load = loads.iter().find(|load| load.host_id == host.id);
    for room in load.into_iter().flat_map(|load| &load.storage).filter(|room| room.is_nearly_full()) {
        let why = format!(": storage pool {} has only {} available", room.pool, format::memory(room.free_mb));
        found.push(notice(1, routes::at(routes::HOSTS), why));
    }
    let (assigned, total) = (assigned(store, host), host.info.as_ref().map_or(0, |info| info.memory_mb));
    if total > 0 && assigned > total {
        let why = format!(
            ": {} allocated to running machines, {} installed",
            format::memory(assigned),
            format::memory(total)
        );
        found.push(notice(4, routes::vms_of(&host.id), why));
    }
    found
}

/// Memory allocated to a host's running machines, in MiB.
fn assigned(store: Store, host: &Host) -> u64 {
    store.figures.with(|figures| figures.host(&host.id).map_or(0, |host| host.assigned_mb))
}

/// The machines with the highest CPU usage.
fn busiest(store: Store) -> AnyView {
    store.swept.get();
    let mut all: Vec<(f64, DomainRef, String, String)> = store
        .rows
        .all_untracked()
        .into_iter()
        .filter_map(|row| {
            let (percent, memory) = row.stats.with_untracked(|recent| {
                recent.latest().map(|stats| (stats.cpu_usage_percent, stats.guest_used_mb()))
            })?;
            let (name, vcpus, assigned) =
                row.domain.with_untracked(|domain| (domain.name.clone(), domain.vcpus, domain.memory_mb));
            let memory = match memory {
                Some(used) => format!("{} used", format::memory(used)),
                None => format!("{} allocated", format::memory(assigned)),
            };
            Some((percent? * f64::from(vcpus.max(1)), row.id, name, memory))
        })
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| natural(&a.2, &b.2)).then_with(|| a.1.cmp(&b.1)));
    if all.is_empty() {
        return view! { <p class="muted calm">"No usage data yet."</p> }.into_any();
    }
    let lines = all.into_iter().take(6).map(|(percent, id, name, memory)| {
        let cpus = format!("{}.{} CPUs", (percent / 100.0) as u64, (percent / 10.0) as u64 % 10);
        view! { <li><span><a href=routes::vm(&id)>{name}</a> " on " {id.host.to_string()}</span> <span class="num muted">{cpus} ", " {memory}</span></li> }.into_any()
    });
    view! { <ul class="log">{lines.collect_view()}</ul> }.into_any()
}

/// Running tasks and recent failures.
fn tasks(store: Store) -> AnyView {
    let shown = store.tasks.with(|tasks| {
        let matters = tasks.iter().rev().filter(|task| task.outcome != Some(model::TaskState::Succeeded));
        matters.take(6).cloned().collect::<Vec<_>>()
    });
    if shown.is_empty() {
        return view! { <p class="muted calm">"No tasks in progress, no recent failures."</p> }.into_any();
    }
    view! { <ul class="log">{shown.iter().map(|task| task_line(store, task)).collect_view()}</ul> }.into_any()
}
