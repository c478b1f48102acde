//! Renders the devices of a machine. On the server only.

use std::sync::Arc;

use leptos::prelude::*;
use model::{
    Domain, DomainRef, Fault, ObjectRef,
    definition::{Definitions, Pending},
    device::{Device, Entry},
    query::{Boot, BootOrder, DomainHardware},
};

use crate::{
    backend::{Backend, Loaded, ask, loaded},
    ui::controls::{Empty, or_dash},
};

/// The data of the tab.
struct Read {
    hardware: Result<Definitions, Fault>,
    boot: Result<Boot, Fault>,
}

/// Reads the data of the tab.
pub(crate) async fn load(id: &DomainRef, backend: &dyn Backend) -> Loaded {
    let on = ObjectRef::from(id);
    let hardware = ask(backend, &on, DomainHardware {}).await;
    Loaded::of(Read { hardware, boot: ask(backend, &on, BootOrder {}).await })
}

/// The content of the tab.
pub(super) fn draw(domain: &Arc<Domain>) -> AnyView {
    let read = loaded::<Read>();
    let read = read.as_deref();
    let definitions = read.and_then(|read| read.hardware.as_ref().ok());
    view! {
        {definitions.map(pending)}
        {read.map(|read| disks(&read.hardware))}
        {interfaces(domain)}
        {graphics(domain)}
        {definitions.map(others)}
        {read.map(|read| boot_order(&read.boot))}
    }
    .into_any()
}

/// The pending changes.
fn pending(Definitions { pending, .. }: &Definitions) -> AnyView {
    if pending.is_empty() {
        return ().into_any();
    }
    let words = |value: &serde_json::Value| match value {
        serde_json::Value::Null => or_dash(""),
        serde_json::Value::String(text) => text.clone().into_any(),
        serde_json::Value::Object(_) => "present".into_any(),
        other => other.to_string().into_any(),
    };
    let rows = pending.iter().map(|Pending { path, live, next }| {
        view! { <tr><th scope="row" class="mono wrap">{path.clone()}</th><td>{words(live)}</td><td>{words(next)}</td></tr> }
            .into_any()
    });
    table("Changes at next start", &["Setting", "Current", "After next start"], "", rows.collect())
}

/// The devices of the live definition, or of the inactive one.
fn shown(definitions: &Definitions) -> impl Iterator<Item = &Entry> {
    let shown = definitions.live.as_ref().or(definitions.inactive.as_ref());
    shown.into_iter().flat_map(|shown| &shown.devices)
}

/// Shown in place of data that cannot be read.
fn unavailable(title: &'static str, fault: &Fault) -> AnyView {
    let why = fault.sentence();
    view! { <Empty title>{why}</Empty> }.into_any()
}

/// The devices without their own table.
fn others(definitions: &Definitions) -> AnyView {
    let has_table = |one: &&Entry| matches!(one.device, Device::Disk(_) | Device::Interface(_) | Device::Graphics(_));
    let devices = shown(definitions).filter(|one| !has_table(one));
    let rows = devices.map(|Entry { key, device }| {
        view! {
            <tr>
                <th scope="row">{device.label().to_owned()}</th>
                <td class="wrap">{details(device)}</td>
                <td class="mono">{key.clone()}</td>
            </tr>
        }
        .into_any()
    });
    table("Other devices", &["Device", "Details", "Key"], "The machine has no other devices.", rows.collect())
}

/// The details of a device, or its XML if this version does not know the type.
fn details(device: &Device) -> AnyView {
    match device {
        Device::Other(other) => {
            view! { <details><summary>"XML"</summary><pre class="xml">{other.xml.clone()}</pre></details> }.into_any()
        }
        known => or_dash(&known.summary()),
    }
}

/// The boot order of the next start.
fn boot_order(read: &Result<Boot, Fault>) -> AnyView {
    let boot = match read {
        Ok(boot) => boot,
        Err(fault) => return unavailable("Boot order unavailable", fault),
    };
    let kernel = boot.kernel.iter().map(|kernel| ("kernel", kernel.as_str(), ""));
    let devices =
        boot.devices.iter().map(|device| (device.kind.as_str(), device.name.as_str(), device.source.as_str()));
    let rows = kernel.chain(devices).enumerate().map(|(n, (kind, name, source))| {
        view! {
            <tr>
                <th scope="row" class="num">{(n + 1).to_string()}</th>
                <td>{kind.to_owned()}</td>
                <td class="mono">{or_dash(name)}</td>
                <td class="mono wrap">{or_dash(source)}</td>
            </tr>
        }
        .into_any()
    });
    table(
        "Boot order",
        &["Order", "Device", "Name", "Source"],
        "No boot device is set. The firmware decides.",
        rows.collect(),
    )
}

/// A titled table, or a text if it is empty.
fn table(title: &'static str, heads: &'static [&'static str], none: &'static str, rows: Vec<AnyView>) -> AnyView {
    let body = if rows.is_empty() {
        view! { <p class="none muted">{none}</p> }.into_any()
    } else {
        view! {
            <div class="scroll" tabindex="0" role="region" aria-label=format!("{title}, scrollable")>
                <table aria-label=title>
                    <thead><tr>{heads.iter().map(|head| view! { <th scope="col">{*head}</th> }.into_any()).collect_view()}</tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        }
        .into_any()
    };
    view! { <section class="card spaced"><header><h2>{title}</h2></header>{body}</section> }.into_any()
}

fn disks(read: &Result<Definitions, Fault>) -> AnyView {
    let definitions = match read {
        Ok(definitions) => definitions,
        Err(fault) => return unavailable("Devices unavailable", fault),
    };
    let disks = shown(definitions).filter_map(|entry| match &entry.device {
        Device::Disk(disk) => Some(disk),
        _ => None,
    });
    let rows = disks.map(|disk| {
        let medium = if disk.source.is_empty() {
            let nothing = if disk.is_removable() { "no medium" } else { "no source" };
            view! { <span class="faint">{nothing}</span> }.into_any()
        } else {
            disk.source.clone().into_any()
        };
        view! {
            <tr>
                <th scope="row" class="mono">{disk.target.clone()}</th>
                <td>{disk.device.as_str().to_owned()}</td>
                <td>{or_dash(disk.bus.as_str())}</td>
                <td>{or_dash(&disk.format)}</td>
                <td class="mono wrap">{medium}</td>
                <td>{if disk.read_only { "read-only" } else { "" }}</td>
            </tr>
        }
        .into_any()
    });
    table(
        "Disks",
        &["Target", "Device", "Bus", "Format", "Source", "Access"],
        "The machine has no disks.",
        rows.collect(),
    )
}

fn interfaces(domain: &Arc<Domain>) -> AnyView {
    let rows = domain.interfaces.iter().map(|interface| {
        view! {
            <tr>
                <th scope="row" class="mono">{interface.mac.clone()}</th>
                <td>{interface.kind.clone()}</td>
                <td>{or_dash(&interface.source)}</td>
                <td>{or_dash(&interface.model)}</td>
                <td class="mono">{or_dash(&interface.host_device)}</td>
                <td class="mono wrap">{or_dash(&interface.addresses.join(", "))}</td>
            </tr>
        }
        .into_any()
    });
    table(
        "Network interfaces",
        &["MAC address", "Type", "Source", "Model", "Tap device", "Addresses"],
        "The machine has no network interfaces.",
        rows.collect(),
    )
}

fn graphics(domain: &Arc<Domain>) -> AnyView {
    let rows = domain.graphics.iter().map(|graphics| {
        let port = graphics.port.map(|port| format!("{}:{port}", graphics.listen));
        view! {
            <tr>
                <th scope="row">{graphics.kind.clone()}</th>
                <td class="mono">{port.map_or_else(|| or_dash(""), |port| port.into_any())}</td>
            </tr>
        }
        .into_any()
    });
    table("Graphical consoles", &["Type", "Listen address"], "The machine has no graphical console.", rows.collect())
}
