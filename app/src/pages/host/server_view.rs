//! Renders one host. On the server only.

use leptos::prelude::*;
use model::{
    DomainRef, Fault, HostId, HostInventory, ObjectRef,
    host_hardware::{Cell, GuestKind, Hardware, HostDevice},
    query::HostHardware,
};

use crate::{
    backend::{Backend, Loaded, ask, loaded},
    format,
    live_section::server_view::{List, hosts, missing, state},
    routes,
    ui::controls::{Empty, fact, or_dash},
};

/// All hosts.
const LIST: List = List("Hosts", routes::HOSTS);

/// The data of the page.
type Read = Result<Hardware, Fault>;

/// Reads the data of the page.
pub(crate) async fn load(id: &HostId, backend: &dyn Backend) -> Loaded {
    Loaded::of::<Read>(ask(backend, &ObjectRef::host(id), HostHardware {}).await)
}

/// The page with its title.
pub(super) fn draw(id: &HostId) -> (String, AnyView) {
    let hosts = hosts();
    let Some(host) = hosts.hosts.get(id) else {
        return ("Not found".into(), missing("Host", routes::HOSTS));
    };
    let connected = host.host.connection.connected;
    let link = state(connected, connected, if connected { "Connected" } else { "Not connected" });
    let read = loaded::<Read>();
    let content = match read.as_deref() {
        Some(Ok(hardware)) => all(host, hardware),
        Some(Err(fault)) => {
            let why = fault.sentence();
            view! { <Empty title="Hardware details unavailable">{why}</Empty> }.into_any()
        }
        None => ().into_any(),
    };
    let page = view! { {LIST.head_of(&host.host, host.host.id.as_str(), link, Vec::new())} {content} };
    (host.host.id.to_string(), page.into_any())
}

fn all(host: &HostInventory, hardware: &Hardware) -> AnyView {
    view! {
        {about(host, hardware)}
        {cells(&hardware.cells)}
        {devices(&host.host.id, hardware.devices.as_deref())}
        {guests(&hardware.guests)}
    }
    .into_any()
}

fn about(host: &HostInventory, hardware: &Hardware) -> AnyView {
    let info = host.host.info.clone().unwrap_or_default();
    let parts = [(hardware.sockets, "socket"), (hardware.cores, "core"), (hardware.threads, "thread")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let topology: Vec<String> = parts.map(|(count, what)| format::count(count as usize, what)).collect();
    let processors = match topology.is_empty() {
        true => String::new(),
        false => format!("{} {}: {}", info.arch, info.cpu_model, topology.join(" × ")),
    };
    let pages: Vec<String> = hardware.page_sizes.iter().map(|kib| format::size(kib << 10)).collect();
    let iommu = match (hardware.iommu, hardware.iommu_groups()) {
        (Some(true), 0) => "on".to_owned(),
        (Some(true), groups) => format!("on, {}: device passthrough is possible", format::count(groups, "group")),
        (Some(false), _) => {
            "off: for device passthrough, enable it in the firmware and on the kernel command line".into()
        }
        (None, _) => "Unavailable".into(),
    };
    view! {
        <section class="card spaced" aria-label="About the host">
            <dl>
                {fact("Host name", or_dash(&info.hostname))}
                {fact("Processors", or_dash(processors.trim()))}
                {fact("Memory", or_dash(&format::memory(info.memory_mb)))}
                {fact("Page sizes", or_dash(&pages.join(", ")))}
                {fact("IOMMU", iommu)}
                {fact("Storage drivers", or_dash(&info.pool_types.join(", ")))}
                {fact("Machines", view! { <a href=routes::vms_of(&host.host.id)>{format::count(host.domains.len(), "machine")}</a> })}
            </dl>
        </section>
    }
    .into_any()
}

fn cells(cells: &[Cell]) -> AnyView {
    if cells.is_empty() {
        return ().into_any();
    }
    let rows = cells.iter().map(|cell| {
        let pages = cell.huge_pages.iter().filter(|pages| pages.total > 0).map(|pages| {
            let free = pages.free.map(|free| format!(", {free} free")).unwrap_or_default();
            format!("{} × {}{free}", pages.total, format::size(pages.size_kib << 10))
        });
        view! {
            <tr>
                <th scope="row">{cell.id.to_string()}</th>
                <td data-label="Processors" class="mono">{cell.cpus.clone()}<span class="muted">{format!(" ({})", cell.cpu_count)}</span></td>
                <td data-label="Memory" class="num">{format::memory(cell.memory_mb)}</td>
                <td data-label="Huge pages">{or_dash(&pages.collect::<Vec<_>>().join("; "))}</td>
            </tr>
        }
        .into_any()
    });
    view! {
        <div class="head"><h2>"NUMA nodes"</h2><span class="muted">{cells.len().to_string()}</span></div>
        <div class="card list spaced"><div class="scroll"><table aria-label="NUMA nodes">
            <thead><tr><th scope="col">"Node"</th><th scope="col">"Processors"</th><th scope="col" class="num">"Memory"</th><th scope="col">"Huge pages"</th></tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table></div></div>
    }
    .into_any()
}

fn devices(host: &HostId, devices: Option<&[HostDevice]>) -> AnyView {
    let words = match devices {
        None => Some("The driver of this host does not report devices."),
        Some([]) => Some("The host reports no PCI or USB devices."),
        Some(_) => None,
    };
    let devices = devices.unwrap_or_default();
    view! {
        <div class="head"><h2>"Devices"</h2><span class="muted">{devices.len().to_string()}</span></div>
        {words.map(|words| view! { <p class="muted">{words}</p> }.into_any())}
        {(!devices.is_empty()).then(|| view! {
            <div class="card list spaced"><div class="scroll"><table aria-label="Devices">
                <thead><tr>
                    <th scope="col">"Address"</th><th scope="col">"Device"</th><th scope="col">"Class"</th><th scope="col">"Driver"</th>
                    <th scope="col" class="num">"IOMMU group"</th><th scope="col" class="num">"NUMA node"</th><th scope="col">"Used by"</th>
                </tr></thead>
                <tbody>{devices.iter().map(|one| device(host, one)).collect_view()}</tbody>
            </table></div></div>
        }.into_any())}
    }
    .into_any()
}

fn device(host: &HostId, device: &HostDevice) -> AnyView {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let name = match (device.vendor.trim(), device.product.trim()) {
        ("", "") => "Unnamed".to_owned(),
        (vendor, "") => vendor.to_owned(),
        (vendor, product) => format!("{vendor} {product}"),
    };
    let users = device.users.iter().map(|user| {
        let id = DomainRef { host: host.clone(), id: user.vm_id };
        let off = (!user.active).then_some(" (off)");
        view! { <a href=routes::vm(&id)>{user.vm_name.clone()}</a>{off}" " }.into_any()
    });
    let users: Vec<AnyView> = users.collect();
    view! {
        <tr>
            <th scope="row" class="mono">{format!("{} {}", device.bus, device.address)}</th>
            <td data-label="Device">{name}" "<span class="faint mono">{device.ids.clone()}</span></td>
            <td data-label="Class">{or_dash(if device.bus == "usb" { "USB" } else { &device.class })}</td>
            <td data-label="Driver" class="mono">{or_dash(&device.driver)}</td>
            <td data-label="IOMMU group" class="num">{or_dash(&number(device.iommu_group))}</td>
            <td data-label="NUMA node" class="num">{or_dash(&number(device.cell))}</td>
            <td data-label="Used by">{if users.is_empty() { or_dash("") } else { users.into_any() }}</td>
        </tr>
    }
    .into_any()
}

fn guests(kinds: &[GuestKind]) -> AnyView {
    let card = |kind: &GuestKind| {
        let firmware = kind.firmware.iter().map(|one| match one.as_str() {
            "efi" => "UEFI",
            "bios" => "BIOS",
            other => other,
        });
        let firmware: Vec<&str> = firmware.collect();
        // libvirt lists only firmware that can be selected instead of the machine type's default.
        let firmware = match firmware.is_empty() {
            true => "machine type default; for UEFI, install OVMF on the host".to_owned(),
            false => firmware.join(", "),
        };
        let secure = if kind.secure_boot { "yes" } else { "no" };
        let boards = match kind.boards.len() {
            0 => or_dash(""),
            count => view! { <details><summary>{format::count(count, "type")}</summary><span class="mono">{kind.boards.join(", ")}</span></details> }.into_any(),
        };
        view! {
            <section class="card" aria-label=kind.arch.clone()>
                <header><h3>{kind.arch.clone()}</h3></header>
                <dl>
                    {fact("Hypervisors", or_dash(&kind.accelerations.join(", ")))}
                    {fact("Firmware", firmware)}
                    {fact("Secure boot", secure)}
                    {fact("Machine types", boards)}
                </dl>
            </section>
        }
        .into_any()
    };
    view! {
        <div class="head"><h2>"Guest capabilities"</h2></div>
        <div class="grid g3">{kinds.iter().map(card).collect_view()}</div>
    }
    .into_any()
}
