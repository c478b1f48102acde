//! Disks, network interfaces, graphical consoles and boot order of a machine.

use std::sync::Arc;

use leptos::prelude::*;
use model::{
    Domain, Fault,
    query::{Boot, BootOrder},
};

use super::Subject;
use crate::{
    question::answer,
    ui::{
        controls::{Empty, or_dash},
        live::live,
    },
};

/// The tab.
#[component]
pub(crate) fn DevicesTab() -> impl IntoView {
    let Subject { id, domain, .. } = expect_context();
    let boot = answer::<BootOrder>(id, domain.clone());
    let devices = live(move || {
        let domain = domain.get();
        view! {
            {disks(&domain)}
            {interfaces(&domain)}
            {graphics(&domain)}
        }
        .into_any()
    });
    view! { {devices} {live(move || boot.with(|boot| boot_order(boot.as_ref())))} }
}

/// What the machine boots from at its next start.
fn boot_order(boot: Option<&Result<Boot, Fault>>) -> AnyView {
    let boot = match boot {
        None => return ().into_any(),
        Some(Ok(boot)) => boot,
        Some(Err(fault)) => {
            let why = fault.sentence();
            return view! { <Empty title="Boot order unavailable">{why}</Empty> }.into_any();
        }
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

/// A titled table, or a sentence where there is nothing.
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

fn disks(domain: &Arc<Domain>) -> AnyView {
    let rows = domain.disks.iter().map(|disk| {
        let removable = matches!(disk.device.as_str(), "cdrom" | "floppy");
        let medium = if disk.source.is_empty() {
            let nothing = if removable { "no medium" } else { "no source" };
            view! { <span class="faint">{nothing}</span> }.into_any()
        } else {
            disk.source.clone().into_any()
        };
        view! {
            <tr>
                <th scope="row" class="mono">{disk.target.clone()}</th>
                <td>{disk.device.clone()}</td>
                <td>{or_dash(&disk.bus)}</td>
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
        &["Hardware address", "Type", "Plugged into", "Model", "Host device", "Addresses"],
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
    table("Graphical consoles", &["Type", "Listens on"], "The machine has no graphical console.", rows.collect())
}
