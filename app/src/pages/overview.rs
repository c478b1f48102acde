//! Everything at a glance: how many machines are in which state, how hosts are doing,
//! who uses most, what needs somebody, and what happened last.

use leptos::prelude::*;
use leptos_meta::Title;
use model::{Domain, DomainRef, DomainState, Host, domain::Agent, natural};

use crate::{
    format, host,
    past::{Part, past},
    routes,
    store::{Store, use_store},
    task::task_line,
    ui::live::live,
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
            <span class="muted">{move || format!("{}, {}", format::count(store.hosts().with(Vec::len), "host"), format::count(store.rows.with(|rows| rows.count()), "machine"))}</span>
        </div>
        <nav class="grid tiles" aria-label="Machines by state">{live(move || tiles(store))}</nav>
        <section class="grid g3 hosts" aria-label="Hosts">{live(move || store.hosts().with(|hosts| hosts.iter().map(|host| host_card(store, host)).collect_view().into_any()))}</section>
        <div class="grid g2">
            <section class="card"><header><h2>"Needs attention"</h2></header>{live(move || attention(store))}</section>
            <section class="card"><header><h2>"Busiest machines"</h2></header>{live(move || busiest(store))}</section>
            <section class="card"><header><h2>"Tasks"</h2><a class="btn small" href=routes::at(routes::TASKS) rel="external">"All"</a></header>{live(move || tasks(store))}</section>
            <section class="card"><header><h2>"Last events"</h2><a class="btn small" href=routes::at(routes::HISTORY) rel="external">"All"</a></header>{past(Part::Recent)}</section>
        </div>
    }
}

/// How many machines there are in each state that any is in; running and stopped always.
fn tiles(store: Store) -> AnyView {
    let mut counts = [0_usize; DomainState::ALL.len()];
    store.rows.with(|rows| {
        rows.for_each(|(_, domain)| {
            counts[DomainState::ALL.iter().position(|state| *state == domain.state).unwrap_or_default()] += 1;
        });
    });
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

/// One host: how fresh, how busy, how many machines.
fn host_card(store: Store, host: &Host) -> AnyView {
    let link = &host.connection;
    let fresh = if link.connected {
        "live".to_owned()
    } else {
        format!("as of {} ago", format::span(store.second.get().saturating_sub(link.since)))
    };
    let (mut all, mut running) = (0, 0);
    store.rows.with(|rows| {
        rows.filter(|(id, _)| id.host == host.id).for_each(|(_, domain)| {
            all += 1;
            running += usize::from(domain.state == DomainState::Running);
        });
    });
    let (assigned, total) = (assigned(store, host), host.info.as_ref().map_or(0, |info| info.memory_mb));
    let over =
        (total > 0 && assigned > total).then(|| view! { <small class="pending">"more than it has"</small> }.into_any());
    view! {
        <article class="card" class:stale=!link.connected>
            <header><span class=if link.connected { "dot live" } else { "dot stale" }></span><h2><a href=routes::vms_of(&host.id)>{host.id.to_string()}</a></h2><span class="num muted">{fresh}</span></header>
            <dl>
                {host::load(store, host)}
                <dt>"Machines"</dt><dd>{format!("{}, {running} running", format::count(all, "machine"))}</dd>
                <dt>"Assigned"</dt><dd>{format!("{} to running machines", format::memory(assigned))} " " {over}</dd>
            </dl>
        </article>
    }
    .into_any()
}

/// What somebody should look at, the worst first.
struct Notice {
    rank: usize,
    /// What it is about, and where that is shown.
    name: String,
    href: String,
    /// Its sign in front.
    sign: AnyView,
    /// Where it is, and why.
    why: String,
}

fn attention(store: Store) -> AnyView {
    let mut found: Vec<Notice> = store.rows.with(|rows| {
        let machines = rows.filter_map(|(id, domain)| Some((reason(&domain)?, id, domain)));
        let notices = machines.map(|((rank, why), id, domain)| Notice {
            rank,
            name: domain.name.clone(),
            href: routes::vm(id),
            sign: vm::state(domain.state, ""),
            why: format!(" on {}: {why}", id.host),
        });
        notices.collect()
    });
    found.extend(store.hosts().with(|hosts| hosts.iter().flat_map(|host| about_host(store, host)).collect::<Vec<_>>()));
    found.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| natural(&a.name, &b.name)).then_with(|| a.href.cmp(&b.href)));
    if found.is_empty() {
        return view! { <p class="muted calm">"Nothing needs you."</p> }.into_any();
    }
    let more = found.len().saturating_sub(8);
    let lines = found.into_iter().take(8).map(|notice| {
        view! { <li>{notice.sign} <span><a href=notice.href>{notice.name}</a> {notice.why}</span></li> }.into_any()
    });
    view! { <ul class="log">{lines.collect_view()}</ul> {(more > 0).then(|| view! { <p class="muted calm">{format!("and {more} more")}</p> }.into_any())} }.into_any()
}

/// Why a host needs somebody.
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
        let why = format!(": storage pool {} has {} left", room.pool, format::memory(room.free_mb));
        found.push(notice(1, routes::at(routes::HOSTS), why));
    }
    let (assigned, total) = (assigned(store, host), host.info.as_ref().map_or(0, |info| info.memory_mb));
    if total > 0 && assigned > total {
        let why =
            format!(": {} assigned to running machines, it has {}", format::memory(assigned), format::memory(total));
        found.push(notice(4, routes::vms_of(&host.id), why));
    }
    found
}

/// Memory of a host's running machines together, in MiB.
fn assigned(store: Store, host: &Host) -> u64 {
    store.rows.with(|rows| {
        let running = rows.filter(|(id, domain)| id.host == host.id && domain.state == DomainState::Running);
        running.map(|(_, domain)| domain.memory_mb).sum()
    })
}

/// Why a machine needs somebody, the worst first.
fn reason(domain: &Domain) -> Option<(usize, String)> {
    let agent_gone = domain.agent == Agent::Disconnected && domain.guest.is_some();
    let full = domain.guest.as_ref().map(|guest| guest.nearly_full.as_slice()).unwrap_or_default();
    let (rank, why) = match domain.state {
        DomainState::Crashed => (0, "its guest crashed"),
        // What libvirt says of why it is in that state (`virDomainGetState`).
        DomainState::Paused if domain.state_reason == "disk input or output failed" => {
            (0, "is paused, because disk input or output failed; look at its storage, then resume it")
        }
        DomainState::Paused if domain.state_reason == "its watchdog fired" => {
            (0, "is paused, because its watchdog fired")
        }
        DomainState::Paused if domain.state_reason == "its guest crashed" => {
            (0, "is paused, because its guest crashed")
        }
        DomainState::Stopped if domain.state_reason == "crashed" => (0, "was stopped by a crash"),
        DomainState::Stopped if domain.state_reason == "could not be started" => (1, "could not be started"),
        _ if domain.unresponsive => (1, "QEMU does not answer"),
        DomainState::Stopped if domain.autostart => (2, "starts with its host, but is stopped"),
        DomainState::Running if agent_gone => (3, "its guest agent is gone"),
        DomainState::Running if !full.is_empty() => {
            let are = if full.len() > 1 { "are" } else { "is" };
            return Some((1, format!("{} {are} nearly full", full.join(", "))));
        }
        _ => return None,
    };
    Some((rank, why.into()))
}

/// The machines that use most of the processors that they have.
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
                None => format!("{} assigned", format::memory(assigned)),
            };
            Some((percent? * f64::from(vcpus.max(1)), row.id, name, memory))
        })
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| natural(&a.2, &b.2)).then_with(|| a.1.cmp(&b.1)));
    if all.is_empty() {
        return view! { <p class="muted calm">"No running machine was measured yet."</p> }.into_any();
    }
    let lines = all.into_iter().take(6).map(|(percent, id, name, memory)| {
        let cpus = format!("{}.{} CPUs", (percent / 100.0) as u64, (percent / 10.0) as u64 % 10);
        view! { <li><span><a href=routes::vm(&id)>{name}</a> " on " {id.host.to_string()}</span> <span class="num muted">{cpus} ", " {memory}</span></li> }.into_any()
    });
    view! { <ul class="log">{lines.collect_view()}</ul> }.into_any()
}

/// What is under way, and what failed lately.
fn tasks(store: Store) -> AnyView {
    let shown = store.tasks.with(|tasks| {
        let matters = tasks.iter().rev().filter(|task| task.outcome != Some(model::TaskState::Succeeded));
        matters.take(6).cloned().collect::<Vec<_>>()
    });
    if shown.is_empty() {
        return view! { <p class="muted calm">"Nothing is under way and nothing failed lately."</p> }.into_any();
    }
    view! { <ul class="log">{shown.iter().map(|task| task_line(store, task)).collect_view()}</ul> }.into_any()
}

#[cfg(test)]
mod tests {
    use model::domain::Guest;

    use super::*;

    #[test]
    fn what_needs_somebody_says_why_and_the_worst_comes_first() {
        let domain = |state, autostart, unresponsive| Domain { state, autostart, unresponsive, ..Domain::default() };
        let rank = |domain: &Domain| reason(domain).map(|(rank, _)| rank);
        assert_eq!(rank(&domain(DomainState::Crashed, false, true)), Some(0));
        assert_eq!(rank(&domain(DomainState::Running, false, true)), Some(1));
        assert_eq!(rank(&domain(DomainState::Stopped, true, false)), Some(2));
        assert_eq!(rank(&domain(DomainState::Stopped, false, false)), None);
        assert_eq!(rank(&domain(DomainState::Running, true, false)), None);
        let why = |state, reason: &str| {
            let domain = Domain { state, state_reason: reason.into(), ..Domain::default() };
            super::reason(&domain)
                .map(|(rank, why)| (rank, why.split([',', ';']).next().unwrap_or_default().to_owned()))
        };
        assert_eq!(why(DomainState::Paused, "disk input or output failed"), Some((0, "is paused".into())));
        assert_eq!(why(DomainState::Paused, "by request"), None);
        assert_eq!(why(DomainState::Stopped, "crashed"), Some((0, "was stopped by a crash".into())));
        assert_eq!(why(DomainState::Stopped, "could not be started"), Some((1, "could not be started".into())));
        assert_eq!(why(DomainState::Stopped, "forced off"), None);
        let gone = Domain {
            agent: Agent::Disconnected,
            guest: Some(Default::default()),
            ..domain(DomainState::Running, false, false)
        };
        assert_eq!(rank(&gone), Some(3));
        let guest = Guest { nearly_full: vec!["/".into(), "/var".into()], ..Guest::default() };
        let full = Domain { guest: Some(guest), ..domain(DomainState::Running, false, false) };
        assert_eq!(reason(&full), Some((1, "/, /var are nearly full".into())));
    }
}
