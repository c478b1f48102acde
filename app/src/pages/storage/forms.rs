//! The forms for pools and volumes. On the server only.

use leptos::prelude::*;
use model::{
    Command, DomainRef, HostInventory, Pool, PoolCommand, Volume,
    command::Address,
    storage::{PoolSpec, VolumeSpec},
};

use super::drawn::LIST;
use crate::{
    around::drawn::{Action, denied, here, hosts},
    format, routes,
    store::use_store,
    ui::controls::Empty,
    vm::form_token,
};

/// The form for a new pool. All fields are there; each says which types need it.
pub(super) fn new_pool() -> AnyView {
    if let Err(fault) = use_store().may(model::Permission::ShapeStorage) {
        return view! { <Empty title="New storage pool">{fault.sentence()}</Empty> }.into_any();
    }
    let hosts = hosts();
    // What no host can have is not offered, and says why.
    let possible = |kind: &str| {
        let mut told = hosts.hosts.values().filter_map(|host| host.host.info.as_ref()).peekable();
        told.peek().is_none() || told.any(|info| info.has_pools_of(kind))
    };
    let kinds = PoolSpec::KINDS.map(|(kind, words)| {
        let why = (!possible(kind)).then_some(" (no host has a driver for it)");
        view! { <option value=kind disabled=why.is_some()>{words}{why}</option> }.into_any()
    });
    let needed_by = |field: usize| {
        let kinds = PoolSpec::KINDS.iter().filter(|(kind, _)| PoolSpec::needs(kind)[field]);
        kinds.map(|(kind, _)| *kind).collect::<Vec<_>>().join(" ")
    };
    let field = |label: &'static str, name: &'static str, place: &'static str, index: usize| {
        view! { <label data-of=needed_by(index)>{label} <input name=name placeholder=place autocomplete="off" spellcheck="false"/></label> }.into_any()
    };
    let fields = view! {
        <label>"Type" <select name="type">{kinds.into_iter().collect_view()}</select></label>
        {field("Server", "server", "such as nas.example.org", 1)}
        {field("Exported folder", "folder", "such as /export/vm", 2)}
        {field("Device", "device", "such as /dev/sdb1", 3)}
        {field("Volume group", "group", "such as vg0", 4)}
        {field("Path on the host", "path", "such as /var/lib/libvirt/images", 0)}
        <label class="tick"><input type="checkbox" name="build" value="yes" checked/> "Prepare the storage; what is there already is never overwritten"</label>
    };
    LIST.form("New storage pool", "type", fields.into_any(), ("definePool", "Create pool"))
}

/// A number with its unit.
fn size(label: &'static str, value: String, unit: &'static str) -> AnyView {
    let units = ["MiB", "GiB", "TiB"].map(|name| view! { <option selected=name == unit>{name}</option> }.into_any());
    view! { <label>{label} <span class="pair"><input name="size" inputmode="decimal" required size="8" value=value autocomplete="off"/><select name="unit" aria-label="Unit">{units.into_iter().collect_view()}</select></span></label> }
        .into_any()
}

/// The form for a new volume, folded.
pub(super) fn new_volume(host: &HostInventory, pool: &Pool, volumes: &[Volume]) -> AnyView {
    if use_store().may(model::Permission::Operate).is_err() || !host.host.connection.connected {
        return ().into_any();
    }
    let files = pool.keeps_files();
    let formats = VolumeSpec::FORMATS.iter().filter(|format| files || **format == "raw");
    let formats = formats.map(|format| view! { <option>{*format}</option> }.into_any()).collect_view();
    let bases = volumes.iter().filter(|volume| VolumeSpec::FORMATS.contains(&volume.format.as_str()) && files);
    let bases: Vec<AnyView> = bases
        .map(|volume| view! { <option value=volume.path.clone()>{volume.name.clone()}</option> }.into_any())
        .collect();
    let backing = (!bases.is_empty()).then(|| {
        let of_base = VolumeSpec::FORMATS.map(|format| view! { <option>{format}</option> }.into_any());
        view! {
            <label>"Based on" <select name="backing"><option value="">"nothing"</option>{bases.collect_view()}</select></label>
            <label>"Format of that" <select name="backingFormat">{of_base.into_iter().collect_view()}</select></label>
        }
        .into_any()
    });
    let id = DomainRef { host: host.host.id.clone(), id: pool.id };
    let wish = format!("createVolume@{id}");
    let upload = PoolCommand::UploadVolume { name: "file".into(), capacity_bytes: 1 };
    let upload = match denied(&Command::from(upload), host, id.id) {
        None => view! {
            <label class="btn needs-js">"Upload files" <input class="hidden" type="file" multiple data-upload=id.to_string()/></label>
            <span class="muted needs-js">"or drop them anywhere on this page"</span>
        }
        .into_any(),
        Some(why) => view! { <small class="muted">"Files cannot be uploaded: " {why}</small> }.into_any(),
    };
    let fetch = PoolCommand::FetchVolume {
        name: "file".into(),
        url: Address("https://example.org/file".into()),
        sha256: String::new(),
    };
    let fetch = denied(&Command::from(fetch), host, id.id).is_none().then(|| self::fetch(&id));
    view! {
        <p class="buttons-row">{upload}</p>
        {fetch}
        <details class="card spaced folded">
            <summary class="btn">"New volume"</summary>
            <form class="fields across" method="post" action=routes::at(routes::COMMANDS)>
                {form_token()}
                <input type="hidden" name="back" value=here()/>
                <label>"Name" <input name="name" required maxlength="200" autocomplete="off" spellcheck="false"/></label>
                {size("Size", "20".into(), "GiB")}
                <label>"Format" <select name="format">{formats}</select></label>
                {backing}
                <label class="tick"><input type="checkbox" name="preallocate" value="yes"/> "Take all its room at once"</label>
                <button class="btn primary" name="do" value=wish>"Create volume"</button>
            </form>
        </details>
    }
    .into_any()
}

/// The form that fetches a file from an address, folded.
fn fetch(pool: &DomainRef) -> AnyView {
    view! {
        <details class="card spaced folded">
            <summary class="btn">"Fetch from an address"</summary>
            <form class="fields across" method="post" action=routes::at(routes::COMMANDS)>
                {form_token()}
                <input type="hidden" name="back" value=here()/>
                <label>"Address" <input name="url" type="url" required maxlength="2048" placeholder="https://" autocomplete="off" spellcheck="false"/></label>
                <label>"Name, if not as there" <input name="name" maxlength="200" autocomplete="off" spellcheck="false"/></label>
                <label>"SHA-256, to be checked" <input name="sha256" maxlength="64" pattern="[0-9a-fA-F]{64}" title="64 hexadecimal digits" autocomplete="off" spellcheck="false"/></label>
                <button class="btn primary" name="do" value=format!("fetchVolume@{pool}")>"Fetch file"</button>
                <small class="muted">"The server fetches it; how far it is, and a way to cancel it, stand under Tasks. What follows a question mark is not written down."</small>
            </form>
        </details>
    }
    .into_any()
}

/// The part of a form that every action of a volume has.
fn action_form(volume: &Volume, action: &Action, field: AnyView) -> AnyView {
    let (label, name) = (action.label, format!("{} {}", action.label, volume.name));
    let denied = action.denied.clone();
    view! {
        <form class="fields across" method="post" action=routes::at(routes::COMMANDS)>
            {form_token()}
            <input type="hidden" name="back" value=here()/>
            <input type="hidden" name="volume" value=volume.name.clone()/>
            {field}
            <button class="btn small" name="do" value=action.wish.clone() aria-label=name title=denied.clone() aria-disabled=denied.is_some().then_some("true")>{label}</button>
            {denied.map(|why| view! { <small class="muted">{why}</small> }.into_any())}
        </form>
    }
    .into_any()
}

/// The form that gives a volume another size.
pub(super) fn resize(volume: &Volume, action: Action) -> AnyView {
    let whole = volume.capacity_bytes.is_multiple_of(1 << 30);
    let (value, unit) = match whole {
        true => (volume.capacity_bytes >> 30, "GiB"),
        false => (volume.capacity_bytes >> 20, "MiB"),
    };
    action_form(volume, &action, size("New size", value.to_string(), unit))
}

/// The form that copies a volume.
pub(super) fn clone(volume: &Volume, action: Action) -> AnyView {
    let (stem, end) = volume.name.rsplit_once('.').unwrap_or((&volume.name, ""));
    let name = if end.is_empty() { format!("{stem}-copy") } else { format!("{stem}-copy.{end}") };
    let field = view! { <label>{format!("Name of the copy ({})", format::size(volume.capacity_bytes))} <input name="name" required maxlength="200" value=name autocomplete="off" spellcheck="false"/></label> };
    action_form(volume, &action, field.into_any())
}
