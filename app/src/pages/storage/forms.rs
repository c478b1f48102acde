//! The forms for pools and volumes. On the server only.

use leptos::prelude::*;
use model::{
    Command, HostInventory, ObjectRef, Pool, PoolCommand, Volume,
    command::{Address, CloneVolume, CreateVolume, DefinePool, FetchVolume, ResizeVolume, UploadVolume, Verb},
    storage::{PoolKind, VolumeSpec},
};

use super::server_view::LIST;
use crate::{
    format,
    live_section::{
        form::{Form, With},
        server_view::{denied, here, hosts},
    },
    store::use_store,
    ui::controls::Empty,
};

/// The form for a new pool. All fields are present; each states the types it applies to.
pub(super) fn new_pool() -> AnyView {
    if let Err(fault) = use_store().may(model::Permission::ShapeStorage) {
        return view! { <Empty title="New storage pool">{fault.sentence()}</Empty> }.into_any();
    }
    let hosts = hosts();
    // A type that no host supports is disabled, with the reason.
    let possible = |kind: &str| {
        let mut told = hosts.hosts.values().filter_map(|host| host.host.info.as_ref()).peekable();
        told.peek().is_none() || told.any(|info| info.has_pools_of(kind))
    };
    let kinds = PoolKind::ALL.iter().map(|kind| {
        let (words, possible) = (kind.label(), possible(kind.key()));
        let why = if possible { "" } else { " (storage driver not installed)" };
        (kind.to_string(), format!("{words}{why}"), possible)
    });
    let form = Form::of::<DefinePool>("new", Vec::new());
    let needed_by = |field: usize| {
        let kinds = PoolKind::ALL.iter().filter(|kind| kind.needs()[field]);
        kinds.map(|kind| kind.key()).collect::<Vec<_>>().join(" ")
    };
    let field = |name: &str, place: &'static str, index: usize| {
        form.field(name, With { place, of: Some(needed_by(index)), ..With::default() })
    };
    let fields = view! {
        {form.field("pool.name", With::default())}
        {form.field("pool.kind", With { choices: kinds.collect(), ..With::default() })}
        {field("pool.host", "e.g. nas.example.org", 1)}
        {field("pool.folder", "e.g. /export/vm", 2)}
        {field("pool.device", "e.g. /dev/sdb1", 3)}
        {field("pool.group", "e.g. vg0", 4)}
        {field("pool.path", "e.g. /var/lib/libvirt/images", 0)}
        {form.field("build", With::default())}
    };
    LIST.form("New storage pool", "pool.kind", form.clone(), fields.into_any())
}

/// The form for a new volume, collapsed.
pub(super) fn new_volume(host: &HostInventory, pool: &Pool, volumes: &[Volume]) -> AnyView {
    if use_store().may(model::Permission::Operate).is_err() || !host.host.connection.connected {
        return ().into_any();
    }
    let files = pool.keeps_files();
    let formats = VolumeSpec::FORMATS.iter().filter(|format| files || **format == "raw");
    let formats = formats.map(|format| ((*format).to_owned(), (*format).to_owned(), true)).collect();
    let id = ObjectRef::pool(&host.host.id, pool.id);
    let form = Form::of::<CreateVolume>(&id.to_string(), Vec::new());
    let bases = volumes.iter().filter(|volume| VolumeSpec::FORMATS.contains(&volume.format.as_str()) && files);
    let mut bases = bases.map(|volume| (volume.path.clone(), volume.name.clone(), true)).peekable();
    let backing = bases.peek().is_some().then(|| {
        let all = std::iter::once((String::new(), "None".into(), true)).chain(bases).collect();
        let of_base = VolumeSpec::FORMATS.map(|format| (format.into(), format.into(), true)).into();
        view! {
            {form.field("volume.backing", With { choices: all, ..With::default() })}
            {form.field("volume.backingFormat", With { choices: of_base, ..With::default() })}
        }
        .into_any()
    });
    let upload = PoolCommand::UploadVolume(UploadVolume { name: "file".into(), capacity_bytes: 1 });
    let upload = match denied(&Command::from(upload), host, id.id) {
        None => view! {
            <label class="btn needs-js">"Upload files" <input class="hidden" type="file" multiple data-upload=id.to_string()/></label>
            <span class="muted needs-js">"or drop files anywhere on this page"</span>
        }
        .into_any(),
        Some(why) => view! { <small class="muted">"Files cannot be uploaded: " {why}</small> }.into_any(),
    };
    let fetch = PoolCommand::FetchVolume(FetchVolume {
        name: "file".into(),
        url: Address("https://example.org/file".into()),
        sha256: String::new(),
    });
    let fetch = denied(&Command::from(fetch), host, id.id).is_none().then(|| self::fetch(&id));
    let fields = view! {
        {form.field("volume.name", With::default())}
        {form.field("volume.capacityBytes", With::default())}
        {form.field("volume.format", With { choices: formats, ..With::default() })}
        {backing}
        {form.field("volume.preallocate", With::default())}
    };
    let create = folded("New volume", form.clone(), fields.into_any());
    view! { <p class="buttons-row">{upload}</p> {fetch} {create} }.into_any()
}

/// A collapsed form; open if it was refused.
fn folded(title: &'static str, form: Form, fields: AnyView) -> AnyView {
    let open = form.is_refused();
    let content = view! { {fields} {form.button("btn primary")} };
    let form = form.draw("fields across", None, here(), content.into_any());
    view! { <details class="card spaced folded" open=open><summary class="btn">{title}</summary>{form}</details> }
        .into_any()
}

/// The form that downloads a file from a URL, collapsed.
fn fetch(pool: &ObjectRef) -> AnyView {
    let form = Form::of::<FetchVolume>(&pool.to_string(), Vec::new()).named("Start download");
    let digits = Some(("[0-9a-fA-F]{64}", "64 hexadecimal digits"));
    let fields = view! {
        <small class="muted">"The server downloads the file. Progress and Cancel are under Tasks. The query string of the URL is not recorded."</small>
        {form.field("url", With { place: "https://", pattern: Some(("https?://.*", "a URL that begins with https:// or http://")), ..With::default() })}
        {form.field("name", With::default())}
        {form.field("sha256", With { pattern: digits, ..With::default() })}
    };
    folded("Download from URL", form.clone(), fields.into_any())
}

/// The form of a volume action.
fn action_form<V: Verb>(
    id: &ObjectRef,
    volume: &Volume,
    (label, denied): (&'static str, Option<String>),
    field: impl FnOnce(&Form) -> AnyView,
) -> AnyView {
    let form = Form::of::<V>(&id.to_string(), vec![("name", volume.name.clone())]);
    let content = view! { {field(&form)} {form.button_unless(label, denied, Some(volume.name.clone()))} }.into_any();
    form.draw("fields across", None, here(), content)
}

/// The form to resize a volume.
pub(super) fn resize(id: &ObjectRef, volume: &Volume, denied: Option<String>) -> AnyView {
    let whole = volume.capacity_bytes.is_multiple_of(1 << 30);
    let value = match whole {
        true => format!("{} GiB", volume.capacity_bytes >> 30),
        false => format!("{} MiB", volume.capacity_bytes >> 20),
    };
    let size = |form: &Form| form.field("capacityBytes", With { value: Some(value), ..With::default() });
    action_form::<ResizeVolume>(id, volume, ("Resize", denied), size)
}

/// The form to clone a volume.
pub(super) fn clone(id: &ObjectRef, volume: &Volume, denied: Option<String>) -> AnyView {
    let (stem, end) = volume.name.rsplit_once('.').unwrap_or((&volume.name, ""));
    let name = if end.is_empty() { format!("{stem}-copy") } else { format!("{stem}-copy.{end}") };
    let label = Some(format!("Name of the copy ({})", format::size(volume.capacity_bytes)));
    let to = |form: &Form| form.field("to", With { label, value: Some(name), ..With::default() });
    action_form::<CloneVolume>(id, volume, ("Clone", denied), to)
}
