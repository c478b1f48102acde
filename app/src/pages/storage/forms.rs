//! The forms for pools and volumes. On the server only.

use leptos::prelude::*;
use model::{
    Command, DomainRef, HostInventory, Pool, PoolCommand, Volume,
    command::Address,
    storage::{PoolSpec, VolumeSpec},
};

use super::drawn::LIST;
use crate::{
    around::{
        drawn::{Action, denied, here, hosts},
        form::{Form, Text},
    },
    format,
    store::use_store,
    ui::controls::Empty,
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
    let kinds = PoolSpec::KINDS.iter().map(|(kind, words)| {
        let possible = possible(kind);
        let why = if possible { "" } else { " (no host has a driver for it)" };
        ((*kind).to_owned(), format!("{words}{why}"), possible)
    });
    let form = Form::of("definePool@new".into(), Vec::new());
    let needed_by = |field: usize| {
        let kinds = PoolSpec::KINDS.iter().filter(|(kind, _)| PoolSpec::needs(kind)[field]);
        kinds.map(|(kind, _)| *kind).collect::<Vec<_>>().join(" ")
    };
    let field = |label: &str, name: &'static str, place: &'static str, index: usize| {
        form.text(Text { label: label.into(), name, place, of: Some(needed_by(index)), ..Text::default() })
    };
    let fields = view! {
        {form.choice("Type", "type", kinds.collect())}
        {field("Server", "server", "such as nas.example.org", 1)}
        {field("Exported folder", "folder", "such as /export/vm", 2)}
        {field("Device", "device", "such as /dev/sdb1", 3)}
        {field("Volume group", "group", "such as vg0", 4)}
        {field("Path on the host", "path", "such as /var/lib/libvirt/images", 0)}
        {form.tick("Prepare the storage; what is there already is never overwritten", "build", true)}
    };
    let fields = fields.into_any();
    LIST.form("New storage pool", "type", (form, "Create pool"), fields)
}

/// A number with its unit.
fn size(form: &Form, label: &'static str, value: String, unit: &'static str) -> AnyView {
    let (value, unit) = (form.value("size", value), form.value("unit", unit.into()));
    let units = ["MiB", "GiB", "TiB"].map(|name| view! { <option selected=name == unit>{name}</option> }.into_any());
    view! {
        <label>{label} <span class="pair"><input name="size" inputmode="decimal" required size="8" value=value autocomplete="off"/><select name="unit" aria-label="Unit">{units.into_iter().collect_view()}</select></span></label>
        {form.wrong("size")}
    }
    .into_any()
}

/// The form for a new volume, folded.
pub(super) fn new_volume(host: &HostInventory, pool: &Pool, volumes: &[Volume]) -> AnyView {
    if use_store().may(model::Permission::Operate).is_err() || !host.host.connection.connected {
        return ().into_any();
    }
    let files = pool.keeps_files();
    let formats = VolumeSpec::FORMATS.iter().filter(|format| files || **format == "raw");
    let formats = formats.map(|format| ((*format).to_owned(), (*format).to_owned(), true)).collect();
    let id = DomainRef { host: host.host.id.clone(), id: pool.id };
    let form = Form::of(format!("createVolume@{id}"), Vec::new());
    let bases = volumes.iter().filter(|volume| VolumeSpec::FORMATS.contains(&volume.format.as_str()) && files);
    let mut bases = bases.map(|volume| (volume.path.clone(), volume.name.clone(), true)).peekable();
    let backing = bases.peek().is_some().then(|| {
        let all = std::iter::once((String::new(), "nothing".into(), true)).chain(bases).collect();
        let of_base = VolumeSpec::FORMATS.map(|format| (format.into(), format.into(), true)).into();
        view! { {form.choice("Based on", "backing", all)} {form.choice("Format of that", "backingFormat", of_base)} }
            .into_any()
    });
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
    let fields = view! {
        {form.text(Text { label: "Name".into(), name: "name", required: true, longest: 200, ..Text::default() })}
        {size(&form, "Size", "20".into(), "GiB")}
        {form.choice("Format", "format", formats)}
        {backing}
        {form.tick("Take all its room at once", "preallocate", false)}
    };
    let create = folded("New volume", (form, "Create volume"), fields.into_any());
    view! { <p class="buttons-row">{upload}</p> {fetch} {create} }.into_any()
}

/// A form that is folded until somebody wants it, or what it asked for was refused.
fn folded(title: &'static str, (form, submit): (Form, &'static str), fields: AnyView) -> AnyView {
    let open = form.is_refused();
    let content = view! { {fields} {form.button("btn primary", submit)} };
    let form = form.draw("fields across", None, here(), content.into_any());
    view! { <details class="card spaced folded" open=open><summary class="btn">{title}</summary>{form}</details> }
        .into_any()
}

/// The form that fetches a file from an address, folded.
fn fetch(pool: &DomainRef) -> AnyView {
    let form = Form::of(format!("fetchVolume@{pool}"), Vec::new());
    let digits = Some(("[0-9a-fA-F]{64}", "64 hexadecimal digits"));
    let fields = view! {
        <small class="muted">"The server fetches it; how far it is, and a way to cancel it, stand under Tasks. What follows a question mark is not written down."</small>
        {form.text(Text { label: "Address".into(), name: "url", kind: Some("url"), required: true, longest: 2048, place: "https://", ..Text::default() })}
        {form.text(Text { label: "Name, if not as there".into(), name: "name", longest: 200, ..Text::default() })}
        {form.text(Text { label: "SHA-256, to be checked".into(), name: "sha256", longest: 64, pattern: digits, ..Text::default() })}
    };
    folded("Fetch from an address", (form, "Fetch file"), fields.into_any())
}

/// The part of a form that every action of a volume has.
fn action_form(volume: &Volume, action: Action, field: impl FnOnce(&Form) -> AnyView) -> AnyView {
    let form = Form::of(action.wish.clone(), vec![("volume", volume.name.clone())]);
    let (label, name) = (action.label, format!("{} {}", action.label, volume.name));
    let denied = action.denied;
    let content = view! {
        {field(&form)}
        <button class="btn small" name="do" value=action.wish aria-label=name title=denied.clone() aria-disabled=denied.is_some().then_some("true")>{label}</button>
        {denied.map(|why| view! { <small class="muted">{why}</small> }.into_any())}
    };
    form.draw("fields across", None, here(), content.into_any())
}

/// The form that gives a volume another size.
pub(super) fn resize(volume: &Volume, action: Action) -> AnyView {
    let whole = volume.capacity_bytes.is_multiple_of(1 << 30);
    let (value, unit) = match whole {
        true => (volume.capacity_bytes >> 30, "GiB"),
        false => (volume.capacity_bytes >> 20, "MiB"),
    };
    action_form(volume, action, |form| size(form, "New size", value.to_string(), unit))
}

/// The form that copies a volume.
pub(super) fn clone(volume: &Volume, action: Action) -> AnyView {
    let (stem, end) = volume.name.rsplit_once('.').unwrap_or((&volume.name, ""));
    let name = if end.is_empty() { format!("{stem}-copy") } else { format!("{stem}-copy.{end}") };
    let label = format!("Name of the copy ({})", format::size(volume.capacity_bytes));
    let name = Text { label, name: "name", value: name, required: true, longest: 200, ..Text::default() };
    action_form(volume, action, |form| form.text(name))
}
