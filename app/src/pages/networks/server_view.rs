//! Renders the list of networks, and one network. On the server only.

use leptos::{either::Either, prelude::*};
use model::{
    Domain, DomainRef, Fault, FaultKind, HostInventory, Network, NetworkCommand, ObjectRef, by_address,
    command::{DeleteNetwork, SetNetworkAutostart, StartNetwork, StopNetwork},
    natural,
    network::{Lease, Subnet, attached},
    query::{LeaseList, Leases, NetworkDefinition},
};

use super::{forms, picture};
use crate::{
    backend::{Backend, Loaded, ask, loaded},
    format,
    live_section::server_view::{Action, List, hosts, missing, on_hosts, state},
    routes::{self, Page},
    store::use_store,
    ui::{
        controls::{Empty, fact, or_dash},
        moment::utc_note,
    },
};

/// All networks.
pub(super) const LIST: List = List("Networks", routes::NETWORKS);

/// The data of a network's page.
struct Read {
    leases: Result<LeaseList, Fault>,
    definition: Result<String, Fault>,
}

/// Reads the data of a network's page.
pub(crate) async fn load(on: &ObjectRef, backend: &dyn Backend) -> Loaded {
    let leases = ask(backend, on, Leases {}).await;
    Loaded::of(Read { leases, definition: ask(backend, on, NetworkDefinition {}).await })
}

/// A page about networks, with its title.
pub(super) fn draw(page: &Page) -> (String, AnyView) {
    match page {
        Page::NewNetwork => ("New network".into(), forms::new_network()),
        Page::Network(id) => one(id),
        _ => ("Networks".into(), list()),
    }
}

fn list() -> AnyView {
    let hosts = hosts();
    let networks = on_hosts(&hosts, |host| &host.networks, |network| &network.name);
    let rows = networks.iter().map(|(host, network)| row(host, network)).collect_view();
    let may = use_store().may(model::Permission::Operate).is_ok();
    view! {
        {LIST.head(networks.len(), may.then_some("New network"))}
        {if networks.is_empty() {
            let (title, why) = match use_store().outside_scope() {
                Some(why) => ("Nothing in your scope", why),
                None => ("No networks", "A network connects machines to each other, to their host and to other networks.".into()),
            };
            Either::Left(view! { <Empty title=title>{why}</Empty> })
        } else {
            Either::Right(view! {
                <div class="card list"><div class="scroll"><table aria-label="Networks">
                    <thead><tr>
                        <th scope="col">"Name"</th><th scope="col">"State"</th><th scope="col">"Host"</th><th scope="col">"Mode"</th>
                        <th scope="col">"Bridge"</th><th scope="col">"Subnets"</th><th scope="col" class="num">"Machines"</th>
                        <th scope="col">"Autostart"</th><th scope="col"><span class="hidden">"Actions"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table></div></div>
            })
        }}
    }
    .into_any()
}

fn network_state(network: &Network) -> AnyView {
    state(network.active, true, if network.active { "Active" } else { "Inactive" })
}

/// The action buttons of a network.
fn actions(host: &HostInventory, network: &Network, in_row: bool) -> Vec<AnyView> {
    let id = ObjectRef::network(&host.host.id, network.id);
    let about = if in_row { network.name.clone() } else { String::new() };
    let action = |label: &'static str, command: NetworkCommand, class: &'static str| Action {
        class,
        about: about.clone(),
        ..Action::of(label, command, host, &id)
    };
    let main = match network.active {
        true => action("Stop", NetworkCommand::StopNetwork(StopNetwork {}), ""),
        false => action("Start", NetworkCommand::StartNetwork(StartNetwork {}), ""),
    };
    if in_row {
        return vec![main.draw()];
    }
    let enabled = !network.autostart;
    let label = if enabled { "Turn autostart on" } else { "Turn autostart off" };
    let mut autostart = action(label, NetworkCommand::SetNetworkAutostart(SetNetworkAutostart { enabled }), "");
    autostart.fields.push(("enabled", enabled.to_string()));
    let delete = action("Delete", NetworkCommand::DeleteNetwork(DeleteNetwork {}), "danger");
    [main, autostart, delete].into_iter().map(Action::draw).collect()
}

fn subnets(network: &Network) -> String {
    network.subnets.iter().map(Subnet::to_string).collect::<Vec<_>>().join(", ")
}

fn row(host: &HostInventory, network: &Network) -> AnyView {
    let id = ObjectRef::network(&host.host.id, network.id);
    view! {
        <tr class:stale=!host.host.connection.connected>
            <th scope="row"><a href=routes::object(&id) rel="external">{network.name.clone()}</a></th>
            <td data-label="State">{network_state(network)}</td>
            <td data-label="Host">{id.host.to_string()}</td>
            <td data-label="Mode">{network.mode().to_owned()}</td>
            <td data-label="Bridge" class="mono">{or_dash(&network.bridge)}</td>
            <td data-label="Subnets" class="mono">{or_dash(&subnets(network))}</td>
            <td data-label="Machines" class="num">{attached(host, network).count().to_string()}</td>
            <td data-label="Autostart">{if network.autostart { "on" } else { "off" }}</td>
            <td class="actions"><span class="buttons-row">{actions(host, network, true).collect_view()}</span></td>
        </tr>
    }
    .into_any()
}

fn one(id: &ObjectRef) -> (String, AnyView) {
    let hosts = hosts();
    let found = hosts.hosts.get(&id.host).and_then(|host| Some((host, host.networks.get(&id.id)?)));
    let Some((host, network)) = found else { return ("Networks".into(), missing("Network", routes::NETWORKS)) };
    let mut machines: Vec<&Domain> = attached(host, network).collect();
    machines.sort_by(|a, b| natural(&a.name, &b.name));
    let ranges = network.subnets.iter().flat_map(|subnet| &subnet.ranges);
    let ranges: Vec<String> = ranges.map(|(first, last)| format!("{first} to {last}")).collect();
    let own: Vec<String> =
        network.subnets.iter().map(|subnet| format!("{}/{}", subnet.address, subnet.prefix)).collect();
    let mono = |text: String| view! { <span class="mono">{or_dash(&text)}</span> };
    let shown = view! {
        {LIST.head_of(&host.host, &network.name, network_state(network), actions(host, network, false))}
        {picture::draw(&host.host, network, &machines)}
        <div class="grid g2">
            <section class="card" aria-label="About the network" class:stale=!host.host.connection.connected>
                <dl>
                    {fact("Mode", network.mode().to_owned())}
                    {fact("Uplink", mono(network.device.clone()))}
                    {fact("Bridge", mono(network.bridge.clone()))}
                    {fact("Gateway", mono(own.join(", ")))}
                    {fact("DHCP range", mono(ranges.join(", ")))}
                    {fact("DNS domain", or_dash(&network.domain))}
                    {fact("Autostart", if network.autostart { "on" } else { "off" })}
                </dl>
            </section>
            {machines_of(host, network, &machines)}
        </div>
        {leases(network, &machines, id)}
        {forms::static_hosts(host, network)}
        {forms::dns_hosts(host, network)}
        {definition()}
    };
    (network.name.clone(), shown.into_any())
}

/// The definition in libvirt's XML, collapsed.
fn definition() -> AnyView {
    let content = match loaded::<Read>().as_deref().map(|read| &read.definition) {
        Some(Ok(text)) => {
            view! { <pre class="xml" tabindex="0" aria-label="Definition">{text.clone()}</pre> }.into_any()
        }
        Some(Err(fault)) => view! { <p class="muted">{fault.sentence()}</p> }.into_any(),
        None => return ().into_any(),
    };
    view! { <details class="card spaced folded"><summary class="btn">"Definition (XML)"</summary>{content}</details> }
        .into_any()
}

/// The attached machines with their interfaces.
fn machines_of(host: &HostInventory, network: &Network, machines: &[&Domain]) -> AnyView {
    let lines = machines.iter().map(|domain| {
        let plugged = domain.interfaces.iter().filter(|one| network.has(one));
        let macs: Vec<&str> = plugged.map(|interface| interface.mac.as_str()).collect();
        let href = routes::vm(&DomainRef { host: host.host.id.clone(), id: domain.id });
        view! {
            <li><a href=href>{domain.name.clone()}</a> {crate::vm::state(domain.state, "")} <span class="mono muted num">{macs.join(", ")}</span></li>
        }
        .into_any()
    });
    let lines: Vec<AnyView> = lines.collect();
    view! {
        <section class="card" aria-label="Machines">
            <header><h2>"Machines"</h2></header>
            {if lines.is_empty() {
                view! { <p class="muted calm">"No machines attached."</p> }.into_any()
            } else {
                view! { <ul class="log">{lines.collect_view()}</ul> }.into_any()
            }}
        </section>
    }
    .into_any()
}

/// The DHCP leases.
fn leases(network: &Network, machines: &[&Domain], id: &ObjectRef) -> AnyView {
    if !network.active || !network.has_dhcp() {
        return ().into_any();
    }
    let read = loaded::<Read>();
    let content = match read.as_deref().map(|read| &read.leases) {
        Some(Ok(list)) if list.leases.is_empty() => view! { <p class="muted calm">"No active leases."</p> }.into_any(),
        Some(Ok(list)) => lease_table(&list.leases, machines, id),
        Some(Err(fault)) if fault.kind == FaultKind::Unsupported => {
            view! { <p class="muted calm">"libvirt on this host does not report DHCP leases."</p> }.into_any()
        }
        Some(Err(fault)) => view! { <p class="muted calm">{fault.sentence()}</p> }.into_any(),
        None => ().into_any(),
    };
    view! { <section class="card" aria-label="Leases"><header><h2>"Leases"</h2></header>{content}</section> }.into_any()
}

fn lease_table(leases: &[Lease], machines: &[&Domain], id: &ObjectRef) -> AnyView {
    let mut leases: Vec<&Lease> = leases.iter().collect();
    leases.sort_by(|a, b| by_address(&a.address, &b.address));
    let rows = leases.iter().map(|lease| {
        let same = |mac: &str| mac.eq_ignore_ascii_case(&lease.mac);
        let domain = machines.iter().find(|domain| domain.interfaces.iter().any(|interface| same(&interface.mac)));
        let owner = match domain {
            Some(domain) => {
                let href = routes::vm(&DomainRef { host: id.host.clone(), id: domain.id });
                view! { <a href=href>{domain.name.clone()}</a> }.into_any()
            }
            None => or_dash(""),
        };
        let until = if lease.expires == 0 { "Never".into_any() } else { crate::history::time(lease.expires * 1_000) };
        view! {
            <tr>
                <th scope="row" class="mono">{lease.address.clone()}</th>
                <td data-label="Machine">{owner}</td>
                <td data-label="Host name">{or_dash(&lease.hostname)}</td>
                <td data-label="MAC address" class="mono">{lease.mac.clone()}</td>
                <td data-label="Expires">{until}</td>
            </tr>
        }
        .into_any()
    });
    view! {
        <div class="list"><div class="scroll"><table aria-label="Leases">
            <thead><tr><th scope="col">"Address"</th><th scope="col">"Machine"</th><th scope="col">"Host name"</th><th scope="col">"MAC address"</th><th scope="col">"Expires" {utc_note()}</th></tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table></div></div>
        <p class="muted calm">{format::count(leases.len(), "lease")}</p>
    }
    .into_any()
}
