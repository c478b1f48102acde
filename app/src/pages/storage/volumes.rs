//! Renders the volumes of a pool: searchable, sortable, in pages. On the server only.

use leptos::prelude::*;
use model::{
    DomainRef, HostId, HostInventory, ObjectRef, Pool, PoolCommand, Volume,
    command::{CloneVolume, DeleteVolume, ResizeVolume, WipeVolume},
    query::VolumeList,
    selection::Order,
    storage::VolumeUse,
};

use super::{forms, server_view::Read};
use crate::{
    backend::loaded,
    format,
    live_section::{
        form::Form,
        server_view::{Action, asked},
    },
    routes,
    store::use_store,
    ui::{
        controls::{Empty, or_dash, tag},
        icons::icon,
        table::{Column, head},
    },
};

/// Volumes per page.
const PAGE: usize = 100;
/// The sortable columns.
const COLUMNS: [Column; 5] = [
    Column { label: "Name", key: "name", numeric: false },
    Column { label: "Format", key: "format", numeric: false },
    Column { label: "Capacity", key: "size", numeric: true },
    Column { label: "Allocation", key: "used", numeric: true },
    Column { label: "Used by", key: "", numeric: false },
];

/// The volumes of the pool.
pub(super) fn section(host: &HostInventory, pool: &Pool) -> AnyView {
    let read = loaded::<Read>();
    let id = ObjectRef::pool(&host.host.id, pool.id);
    if !pool.state.is_active() {
        return view! { <Empty title="Pool inactive">"Start the pool to see its volumes."</Empty> }.into_any();
    }
    match read.as_deref().and_then(|read| read.volumes.as_ref()) {
        Some(Ok(VolumeList { volumes })) => view! {
            {forms::new_volume(host, pool, volumes)}
            {listed(host, pool, volumes, &id)}
        }
        .into_any(),
        Some(Err(fault)) => {
            let why = fault.sentence();
            view! { <Empty title="Volumes unavailable">{why}</Empty> }.into_any()
        }
        None => ().into_any(),
    }
}

/// The matching volumes, sorted.
fn chosen<'a>(volumes: &'a [Volume], search: &str, order: &Order) -> Vec<&'a Volume> {
    let words: Vec<String> = search.split_whitespace().map(format::folded).collect();
    let holds = |volume: &Volume| {
        let name = format::folded(&volume.name);
        let of_user = |word: &String| volume.used_by.iter().any(|user| format::folded(&user.name).contains(word));
        words.iter().all(|word| name.contains(word) || volume.format.contains(word.as_str()) || of_user(word))
    };
    let mut chosen: Vec<&Volume> = volumes.iter().filter(|volume| holds(volume)).collect();
    match order.key.as_str() {
        "size" => chosen.sort_by_key(|volume| volume.capacity_bytes),
        "used" => chosen.sort_by_key(|volume| volume.allocation_bytes),
        "format" => chosen.sort_by(|a, b| a.format.cmp(&b.format)),
        _ => {}
    }
    if order.descending {
        chosen.reverse();
    }
    chosen
}

fn listed(host: &HostInventory, pool: &Pool, volumes: &[Volume], id: &ObjectRef) -> AnyView {
    let (search, order) = (asked("q"), Order::parse(Some(&asked("sort")), "name"));
    let chosen = chosen(volumes, &search, &order);
    let last = chosen.len().saturating_sub(1) / PAGE;
    let page = asked("page").parse::<usize>().unwrap_or(1).saturating_sub(1).min(last);
    let address = |sort: &str, page: usize| {
        let page = if page == 0 { String::new() } else { (page + 1).to_string() };
        routes::with(&routes::object(id), &[("q", &search), ("sort", sort), ("page", &page)])
    };
    let sort = if order.descending { format!("-{}", order.key) } else { order.key.clone() };
    let heads = COLUMNS.iter().map(|column| head(column, order.as_pair(), |sort| address(&sort, 0))).collect_view();
    let rows = chosen.iter().skip(page * PAGE).take(PAGE).map(|volume| row(host, pool, volume, id)).collect_view();
    let count = match search.is_empty() {
        true => volumes.len().to_string(),
        false => format!("{} of {}", chosen.len(), volumes.len()),
    };
    let more = (last > 0).then(|| {
        let step = |label: &'static str, to: Option<usize>| {
            to.map(|to| view! { <a class="btn small" rel="external" href=address(&sort, to)>{label}</a> }.into_any())
        };
        let place = format!("{} to {} of {}", page * PAGE + 1, ((page + 1) * PAGE).min(chosen.len()), chosen.len());
        view! {
            <nav class="more" aria-label="Pagination">
                {step("Previous page", page.checked_sub(1))} <span class="muted">{place}</span> {step("Next page", (page < last).then_some(page + 1))}
            </nav>
        }
        .into_any()
    });
    view! {
        <div class="head">
            <h2>"Volumes"</h2><span class="muted">{count}</span>
            <form class="search" method="get" action=routes::object(id)>
                {icon("search")}<input type="search" name="q" value=search.clone() placeholder="Filter" aria-label="Filter volumes" autocomplete="off"/>
            </form>
        </div>
        {if chosen.is_empty() {
            let (title, text) = if volumes.is_empty() {
                ("No volumes", "A volume is a disk image or installation medium for machines. Create, upload or download one.")
            } else {
                ("No matching volumes", "Change the filter.")
            };
            view! { <Empty title=title>{text}</Empty> }.into_any()
        } else {
            view! {
                <div class="card list"><div class="scroll"><table aria-label="Volumes">
                    <thead><tr>{heads}<th scope="col"><span class="hidden">"Actions"</span></th></tr></thead>
                    <tbody>{rows}</tbody>
                </table></div></div>
            }
            .into_any()
        }}
        {more}
    }
    .into_any()
}

pub(super) fn user(host: &HostId, user: &VolumeUse) -> AnyView {
    let name = user.name.clone();
    match user.vm_id {
        Some(id) => {
            let href = routes::vm(&DomainRef { host: host.clone(), id });
            view! { <a href=href>{name}</a> " " }.into_any()
        }
        None => view! { <span title="Volume that uses this one as its backing volume">{name}</span> " " }.into_any(),
    }
}

fn row(host: &HostInventory, pool: &Pool, volume: &Volume, id: &ObjectRef) -> AnyView {
    let based = (!volume.backing.is_empty()).then(|| {
        let base = volume.backing.rsplit('/').next().unwrap_or_default().to_owned();
        view! { <small title=volume.backing.clone()>"backed by " {base}</small> }.into_any()
    });
    let users = volume.used_by.iter().map(|one| user(&id.host, one)).collect_view();
    let format = if volume.format.is_empty() { volume.kind.clone() } else { volume.format.clone() };
    view! {
        <tr>
            <th scope="row" title=volume.path.clone()>{volume.name.clone()} {based}</th>
            <td data-label="Format">{tag(&format)}</td>
            <td data-label="Capacity" class="num">{format::size(volume.capacity_bytes)}</td>
            <td data-label="Allocation" class="num">{format::size(volume.allocation_bytes)}</td>
            <td data-label="Used by" class="wrap">{if volume.used_by.is_empty() { or_dash("") } else { users.into_any() }}</td>
            <td class="actions">{menu(host, pool, volume, id)}</td>
        </tr>
    }
    .into_any()
}

/// The actions of a volume, in a menu.
fn menu(host: &HostInventory, pool: &Pool, volume: &Volume, id: &ObjectRef) -> AnyView {
    let name = || volume.name.clone();
    let action = |label: &'static str, command: PoolCommand, class: &'static str| {
        let used = command.check_use(pool, &volume.used_by).err().map(|fault| fault.reason);
        let action = Action::of(label, command, host, id);
        Action { denied: action.denied.or(used), class, about: name(), ..action }
    };
    // Checked with the current size: if that is possible, so is any larger one.
    let grow = PoolCommand::ResizeVolume(ResizeVolume { name: name(), capacity_bytes: volume.capacity_bytes.max(1) });
    let copy = PoolCommand::CloneVolume(CloneVolume { name: name(), to: format!("{}-copy", volume.name.trim()) });
    let (resize, clone) = (action("Resize", grow, ""), action("Clone", copy, ""));
    let wipe = action("Wipe", PoolCommand::WipeVolume(WipeVolume { name: name() }), "danger");
    let delete = action("Delete", PoolCommand::DeleteVolume(DeleteVolume { name: name() }), "danger");
    // The test driver has no volume content.
    let real = host.host.info.as_ref().is_some_and(|info| !info.is_test_driver());
    let may = use_store().may(model::Permission::Operate).is_ok() && real;
    let download = may.then(|| {
        let label = format!("Download {}", volume.name);
        view! { <a class="btn small" href=routes::api_content(id, &volume.name) download="" aria-label=label>"Download"</a> }.into_any()
    });
    let label = format!("Actions for {}", volume.name);
    let hidden = || vec![("name", name())];
    let open = Form::of::<ResizeVolume>(&id.to_string(), hidden()).is_refused()
        || Form::of::<CloneVolume>(&id.to_string(), hidden()).is_refused();
    view! {
        <details class="menu" open=open>
            <summary class="btn i-more compact" aria-label=label.clone() title=label></summary>
            <div class="sheet">
                {forms::resize(id, volume, resize.denied)}
                {forms::clone(id, volume, clone.denied)}
                <span class="buttons-row">{download} {wipe.draw()} {delete.draw()}</span>
            </div>
        </details>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_found_by_name_format_and_user_and_sorted() {
        let volume = |name: &str, format: &str, capacity_bytes, user: &str| {
            let used_by = vec![VolumeUse { name: user.into(), ..VolumeUse::default() }];
            Volume { name: name.into(), format: format.into(), capacity_bytes, used_by, ..Volume::default() }
        };
        let all = [volume("Web.qcow2", "qcow2", 5, "web-01"), volume("iso", "raw", 9, "db")];
        let names = |search: &str, sort: &str| -> Vec<String> {
            let order = Order::parse(Some(sort), "name");
            chosen(&all, search, &order).iter().map(|volume| volume.name.clone()).collect()
        };
        assert_eq!(names("", ""), ["Web.qcow2", "iso"]);
        assert_eq!(names("", "-size"), ["iso", "Web.qcow2"]);
        assert_eq!(names("web qcow", ""), ["Web.qcow2"]);
        assert_eq!(names("DB", ""), ["iso"]);
        assert!(names("nothing", "").is_empty());
    }
}
