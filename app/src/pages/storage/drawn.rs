//! Draws the list of pools, and one pool. On the server only.

use leptos::{either::Either, prelude::*};
use leptos_router::hooks::use_location;
use model::{
    Command, DomainRef, HostInventory, Pool, PoolCommand,
    storage::{PoolState, users_of_pool},
};

use super::{forms, volumes};
use crate::{
    around::{Action, denied, hosts, missing, state},
    format,
    layout::NotFound,
    routes::{self, Shelf},
    store::use_store,
    ui::controls::{Empty, fact, or_dash, tag},
};

/// The page at the address, with its title.
pub(super) fn draw() -> (String, AnyView) {
    let address = use_location().pathname.get_untracked();
    match routes::shelf_at(&address, routes::STORAGE) {
        Some(Shelf::All) => ("Storage".into(), list()),
        Some(Shelf::New) => ("New storage pool".into(), forms::new_pool()),
        Some(Shelf::One(id)) => one(&id),
        None => ("Not found".into(), view! { <NotFound/> }.into_any()),
    }
}

/// What a pool is, in words.
pub(super) fn kind(kind: &str) -> String {
    let words = match kind {
        "dir" => "Folder",
        "fs" => "File system",
        "netfs" => "Network file system",
        "logical" => "LVM",
        "disk" => "Disk",
        "iscsi" | "iscsi-direct" => "iSCSI",
        "scsi" => "SCSI",
        "mpath" => "Multipath",
        "rbd" => "Ceph",
        "zfs" => "ZFS",
        "gluster" => "Gluster",
        other => other,
    };
    words.to_owned()
}

fn list() -> AnyView {
    let hosts = hosts();
    let wished = crate::around::asked("host");
    let shown = hosts.hosts.values().filter(|host| wished.is_empty() || host.host.id.as_str() == wished);
    let mut pools: Vec<(&HostInventory, &Pool)> =
        shown.flat_map(|host| host.pools.values().map(move |pool| (host, &**pool))).collect();
    pools.sort_by(|a, b| (&a.0.host.id, &a.1.name).cmp(&(&b.0.host.id, &b.1.name)));
    let rows = pools.iter().map(|(host, pool)| row(host, pool)).collect_view();
    let may = use_store().may(model::Permission::ShapeStorage).is_ok();
    view! {
        <div class="head">
            <h1>"Storage"</h1><span class="muted">{pools.len().to_string()}</span>
            <span class="spacer"></span>
            {may.then(|| view! { <a class="btn primary" href=format!("{}/new", routes::at(routes::STORAGE)) rel="external">"New pool"</a> }.into_any())}
        </div>
        {if pools.is_empty() {
            Either::Left(view! { <Empty title="No storage pools">"A pool is a place for disks and images: a folder, a volume group, a share of a file server."</Empty> })
        } else {
            Either::Right(view! {
                <div class="card list"><div class="scroll"><table aria-label="Storage pools">
                    <thead><tr>
                        <th scope="col">"Name"</th><th scope="col">"State"</th><th scope="col">"Host"</th><th scope="col">"Type"</th>
                        <th scope="col">"Room"</th><th scope="col">"Autostart"</th><th scope="col"><span class="hidden">"Actions"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table></div></div>
            })
        }}
    }
    .into_any()
}

/// A pool's state as picture and word.
fn pool_state(pool: &Pool) -> AnyView {
    let well = !matches!(pool.state, PoolState::Degraded | PoolState::Inaccessible);
    state(pool.state.is_active(), well, pool.state.label())
}

/// How full a pool is, as a bar and in words.
fn room(pool: &Pool) -> AnyView {
    let Some(percent) = pool.percent() else { return or_dash("") };
    let words = format!("{} free of {}", format::size(pool.available_bytes), format::size(pool.capacity_bytes));
    let class = if percent >= 90 { "full" } else { "disk" };
    view! { <span class="bar"><progress class=class max="100" value=percent.to_string() aria-label=format!("{percent} % of {} taken", pool.name)></progress><span class="num">{words}</span></span> }
        .into_any()
}

/// The buttons of a pool.
fn actions(host: &HostInventory, pool: &Pool, in_row: bool) -> Vec<AnyView> {
    let id = DomainRef { host: host.host.id.clone(), id: pool.id };
    let about = if in_row { pool.name.clone() } else { String::new() };
    let action = |label: &'static str, command: PoolCommand, class: &'static str| {
        let command = Command::from(command);
        let denied = denied(&command, host, id.clone());
        Action {
            label,
            wish: format!("{}@{id}", command.kind()),
            denied,
            class,
            about: about.clone(),
            ..Action::default()
        }
    };
    let main = match pool.state.is_active() {
        true => action("Stop", PoolCommand::StopPool {}, ""),
        false => action("Start", PoolCommand::StartPool {}, ""),
    };
    let refresh = action("Refresh", PoolCommand::RefreshPool {}, "");
    if in_row {
        return vec![main.draw(), refresh.draw()];
    }
    let enabled = !pool.autostart;
    let label = if enabled { "Turn autostart on" } else { "Turn autostart off" };
    let mut autostart = action(label, PoolCommand::SetPoolAutostart { enabled }, "");
    autostart.fields.push(("enabled", enabled.to_string()));
    let delete = action("Delete", PoolCommand::DeletePool { content: false }, "danger");
    let mut whole = action("Delete with content", PoolCommand::DeletePool { content: true }, "danger");
    whole.fields.push(("content", "yes".into()));
    let mut all = vec![main, refresh, autostart];
    if !pool.state.is_active() {
        all.push(action("Build", PoolCommand::BuildPool {}, ""));
    }
    all.extend([delete, whole]);
    all.into_iter().map(Action::draw).collect()
}

fn row(host: &HostInventory, pool: &Pool) -> AnyView {
    let id = DomainRef { host: host.host.id.clone(), id: pool.id };
    let stale = !host.host.connection.connected;
    view! {
        <tr class:stale=stale>
            <th scope="row"><a href=routes::pool(&id) rel="external">{pool.name.clone()}</a></th>
            <td data-label="State">{pool_state(pool)}</td>
            <td data-label="Host">{id.host.to_string()}</td>
            <td data-label="Type">{kind(&pool.kind)}</td>
            <td data-label="Room">{room(pool)}</td>
            <td data-label="Autostart">{if pool.autostart { "on" } else { "off" }}</td>
            <td class="actions"><span class="buttons-row">{actions(host, pool, true).collect_view()}</span></td>
        </tr>
    }
    .into_any()
}

fn one(id: &DomainRef) -> (String, AnyView) {
    let hosts = hosts();
    let found = hosts.hosts.get(&id.host).and_then(|host| Some((host, host.pools.get(&id.id)?)));
    let Some((host, pool)) = found else { return ("Storage".into(), missing("storage pool", routes::STORAGE)) };
    let mut users = users_of_pool(host, pool);
    users.sort_by(|a, b| a.name.cmp(&b.name));
    let users = users.iter().map(|user| {
        let id = DomainRef { host: id.host.clone(), id: user.vm_id.unwrap_or_default() };
        view! { <a href=routes::vm(&id)>{user.name.clone()}</a> " " }.into_any()
    });
    let users: Vec<AnyView> = users.collect();
    let used_by = if users.is_empty() { or_dash("") } else { users.collect_view().into_any() };
    let shown = view! {
        <p class="crumbs muted"><a href=routes::at(routes::STORAGE) rel="external">"Storage"</a>" / "{id.host.to_string()}</p>
        <div class="head">
            <h1>{pool.name.clone()}</h1>{pool_state(pool)}{host.host.demo.then(|| tag("demo"))}
            <span class="spacer"></span>
            <span class="buttons-row">{actions(host, pool, false).collect_view()}</span>
        </div>
        <section class="card" aria-label="About the pool" class:stale=!host.host.connection.connected>
            <dl>
                {fact("Room", room(pool))}
                {fact("Type", kind(&pool.kind))}
                {fact("Source", or_dash(&pool.source))}
                {fact("Path", view! { <span class="mono">{or_dash(&pool.path)}</span> })}
                {fact("Autostart", if pool.autostart { "on" } else { "off" })}
                {fact("Used by", used_by)}
            </dl>
        </section>
        {volumes::section(host, pool)}
    };
    (pool.name.clone(), shown.into_any())
}
