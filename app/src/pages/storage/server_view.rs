//! Renders the list of pools, and one pool. On the server only.

use std::collections::BTreeMap;

use leptos::{either::Either, prelude::*};
use model::{
    Fault, HostInventory, ObjectRef, Pool, PoolCommand,
    command::{BuildPool, DeletePool, RefreshPool, SetPoolAutostart, StartPool, StopPool},
    query::{VolumeList, Volumes},
    storage::{PoolState, VolumeUse},
};

use super::{forms, volumes};
use crate::{
    backend::{Backend, Loaded, ask, loaded},
    format,
    live_section::server_view::{Action, List, bar, hosts, missing, on_hosts, state},
    routes::{self, Page},
    store::use_store,
    ui::controls::{Empty, fact, or_dash},
};

/// All pools.
pub(super) const LIST: List = List("Storage", routes::STORAGE);

/// The data of a pool page: the volumes of its pool, and the users of each pool.
pub(super) struct Read {
    pub(super) volumes: Option<Result<VolumeList, Fault>>,
    users: BTreeMap<ObjectRef, Vec<VolumeUse>>,
}

/// Reads the data of a pool page.
pub(crate) async fn load(one: Option<&ObjectRef>, backend: &dyn Backend) -> Loaded {
    let volumes = match one {
        Some(id) => Some(ask(backend, id, Volumes {}).await),
        None => None,
    };
    Loaded::of(Read { volumes, users: backend.users_of_pools(one).await })
}

/// A page about pools, with its title.
pub(super) fn draw(page: &Page) -> (String, AnyView) {
    match page {
        Page::NewPool => ("New storage pool".into(), forms::new_pool()),
        Page::Pool(id) => one(id),
        _ => ("Storage".into(), list()),
    }
}

/// The label of a pool type.
pub(super) fn kind(kind: &str) -> String {
    let words = match kind {
        "dir" => "Directory",
        "fs" => "File system",
        "netfs" => "NFS",
        "logical" => "LVM",
        "disk" => "Disk",
        "iscsi" | "iscsi-direct" => "iSCSI",
        "scsi" => "SCSI",
        "mpath" => "Multipath",
        "rbd" => "Ceph RBD",
        "zfs" => "ZFS",
        "gluster" => "Gluster",
        other => other,
    };
    words.to_owned()
}

fn list() -> AnyView {
    let hosts = hosts();
    let pools = on_hosts(&hosts, |host| &host.pools, |pool| &pool.name);
    let rows = pools.iter().map(|(host, pool)| row(host, pool)).collect_view();
    let may = use_store().may(model::Permission::ShapeStorage).is_ok();
    view! {
        {LIST.head(pools.len(), may.then_some("New pool"))}
        {if pools.is_empty() {
            let (title, why) = match use_store().outside_scope() {
                Some(why) => ("Nothing in your scope", why),
                None => ("No storage pools", "A storage pool holds volumes, for example in a directory, an LVM volume group or an NFS export.".into()),
            };
            Either::Left(view! { <Empty title=title>{why}</Empty> })
        } else {
            Either::Right(view! {
                <div class="card list"><div class="scroll"><table aria-label="Storage pools">
                    <thead><tr>
                        <th scope="col">"Name"</th><th scope="col">"State"</th><th scope="col">"Host"</th><th scope="col">"Type"</th>
                        <th scope="col">"Capacity"</th><th scope="col">"Autostart"</th><th scope="col"><span class="hidden">"Actions"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table></div></div>
            })
        }}
    }
    .into_any()
}

/// A pool's state with icon and label.
fn pool_state(pool: &Pool) -> AnyView {
    let well = !matches!(pool.state, PoolState::Degraded | PoolState::Inaccessible);
    state(pool.state.is_active(), well, pool.state.label())
}

/// A pool's usage as a bar with text.
fn room(pool: &Pool) -> AnyView {
    let Some(percent) = pool.percent() else { return or_dash("") };
    let words = format!("{} free of {}", format::size(pool.available_bytes), format::size(pool.capacity_bytes));
    bar(&pool.name, percent, words)
}

/// The users of a pool.
fn users_of(id: &ObjectRef) -> Vec<VolumeUse> {
    loaded::<Read>().and_then(|read| read.users.get(id).cloned()).unwrap_or_default()
}

/// The action buttons of a pool.
fn actions(host: &HostInventory, pool: &Pool, in_row: bool) -> Vec<AnyView> {
    let id = ObjectRef::pool(&host.host.id, pool.id);
    let about = if in_row { pool.name.clone() } else { String::new() };
    let users = users_of(&id);
    let action = |label: &'static str, command: PoolCommand, class: &'static str| {
        let used = command.check_use(pool, &users).err().map(|fault| fault.reason);
        let action = Action::of(label, command, host, &id);
        Action { class, about: about.clone(), denied: action.denied.or(used), ..action }
    };
    let main = match pool.state.is_active() {
        true => action("Stop", PoolCommand::StopPool(StopPool {}), ""),
        false => action("Start", PoolCommand::StartPool(StartPool {}), ""),
    };
    let refresh = action("Refresh", PoolCommand::RefreshPool(RefreshPool {}), "");
    if in_row {
        return vec![main.draw(), refresh.draw()];
    }
    let enabled = !pool.autostart;
    let label = if enabled { "Turn autostart on" } else { "Turn autostart off" };
    let mut autostart = action(label, PoolCommand::SetPoolAutostart(SetPoolAutostart { enabled }), "");
    autostart.fields.push(("enabled", enabled.to_string()));
    let delete = action("Delete pool", PoolCommand::DeletePool(DeletePool { content: false }), "danger");
    let mut whole =
        action("Delete pool and its volumes", PoolCommand::DeletePool(DeletePool { content: true }), "danger");
    whole.fields.push(("content", "yes".into()));
    let mut all = vec![main, refresh, autostart];
    if !pool.state.is_active() {
        all.push(action("Build", PoolCommand::BuildPool(BuildPool {}), ""));
    }
    all.extend([delete, whole]);
    all.into_iter().map(Action::draw).collect()
}

fn row(host: &HostInventory, pool: &Pool) -> AnyView {
    let id = ObjectRef::pool(&host.host.id, pool.id);
    let stale = !host.host.connection.connected;
    view! {
        <tr class:stale=stale>
            <th scope="row"><a href=routes::object(&id) rel="external">{pool.name.clone()}</a></th>
            <td data-label="State">{pool_state(pool)}</td>
            <td data-label="Host">{id.host.to_string()}</td>
            <td data-label="Type">{kind(&pool.kind)}</td>
            <td data-label="Capacity">{room(pool)}</td>
            <td data-label="Autostart">{if pool.autostart { "on" } else { "off" }}</td>
            <td class="actions"><span class="buttons-row">{actions(host, pool, true).collect_view()}</span></td>
        </tr>
    }
    .into_any()
}

fn one(id: &ObjectRef) -> (String, AnyView) {
    let hosts = hosts();
    let found = hosts.hosts.get(&id.host).and_then(|host| Some((host, host.pools.get(&id.id)?)));
    let Some((host, pool)) = found else { return ("Storage".into(), missing("Storage pool", routes::STORAGE)) };
    let users: Vec<AnyView> = users_of(id).iter().map(|user| volumes::user(&id.host, user)).collect();
    let used_by = if users.is_empty() { or_dash("") } else { users.collect_view().into_any() };
    let shown = view! {
        {LIST.head_of(&host.host, &pool.name, pool_state(pool), actions(host, pool, false))}
        <section class="card" aria-label="About the pool" class:stale=!host.host.connection.connected>
            <dl>
                {fact("Capacity", room(pool))}
                {fact("Type", kind(&pool.kind))}
                {fact("Source", or_dash(&pool.source))}
                {fact("Target path", view! { <span class="mono">{or_dash(&pool.path)}</span> })}
                {fact("Autostart", if pool.autostart { "on" } else { "off" })}
                {fact("Used by", used_by)}
            </dl>
        </section>
        {volumes::section(host, pool)}
    };
    (pool.name.clone(), shown.into_any())
}
