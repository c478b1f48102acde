//! The forms for networks. On the server only.

use leptos::prelude::*;
use model::{Command, DomainRef, HostInventory, Network, NetworkCommand, network::NetworkSpec};

use crate::{
    around::{Action, denied, here, host_choice, hosts},
    routes,
    store::use_store,
    ui::controls::{Empty, or_dash},
    vm::form_token,
};

/// The form for a new network. All fields are there; each says which modes need it.
pub(super) fn new_network() -> AnyView {
    if let Err(fault) = use_store().may(model::Permission::Operate) {
        return view! { <Empty title="New network">{fault.sentence()}</Empty> }.into_any();
    }
    let modes = NetworkSpec::MODES.map(|(mode, words)| view! { <option value=mode>{words}</option> }.into_any());
    let with_subnets: Vec<&str> =
        NetworkSpec::MODES.iter().map(|(mode, _)| *mode).filter(|mode| NetworkSpec::has_subnets(mode)).collect();
    let with_subnets = with_subnets.join(" ");
    let field = |label: &'static str, name: &'static str, value: &'static str, place: &'static str, of: String| {
        view! { <label data-of=of>{label} <input name=name value=value placeholder=place autocomplete="off" spellcheck="false"/></label> }.into_any()
    };
    let addresses = || with_subnets.clone();
    view! {
        <p class="crumbs muted"><a href=routes::at(routes::NETWORKS) rel="external">"Networks"</a></p>
        <div class="head"><h1>"New network"</h1></div>
        <section class="card spaced">
            <form class="fields" method="post" action=routes::at(routes::COMMANDS) data-choice="mode">
                {form_token()}
                <input type="hidden" name="back" value=routes::at(routes::NETWORKS)/>
                {host_choice(&hosts())}
                <label>"Name" <input name="name" required maxlength="50" autocomplete="off" spellcheck="false"/></label>
                <label>"Mode" <select name="mode">{modes.into_iter().collect_view()}</select></label>
                {field("Bridge of the host", "bridge", "", "br0", "bridge".into())}
                {field("Device of the host", "device", "", "eth0", "nat route macvtap".into())}
                {field("IPv4: this host's address", "ipv4", "", "192.168.50.1/24", addresses())}
                {field("DHCP from", "dhcpFirst", "", "192.168.50.100", addresses())}
                {field("DHCP to", "dhcpLast", "", "192.168.50.200", addresses())}
                {field("IPv6: this host's address", "ipv6", "", "fd00:50::1/64", addresses())}
                {field("DNS domain", "domain", "", "lab.example.org", addresses())}
                <label class="tick"><input type="checkbox" name="autostart" value="yes" checked/> "Start it with its host"</label>
                <div class="buttons"><a class="btn" href=routes::at(routes::NETWORKS) rel="external">"Cancel"</a><button class="btn primary" name="do" value="defineNetwork@new">"Create network"</button></div>
            </form>
        </section>
    }
    .into_any()
}

/// Addresses that machines always get, and the form for one more.
pub(super) fn static_hosts(host: &HostInventory, network: &Network) -> AnyView {
    let has_dhcp = network.subnets.iter().any(|subnet| !subnet.ranges.is_empty() || !subnet.hosts.is_empty());
    if !has_dhcp {
        return ().into_any();
    }
    let id = DomainRef { host: host.host.id.clone(), id: network.id };
    let known = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
    let rows = known.map(|one| {
        let command = Command::from(NetworkCommand::RemoveStaticHost { mac: one.mac.clone(), address: one.address });
        let remove = Action {
            label: "Remove",
            denied: denied(&command, host, id.clone()),
            wish: format!("{}@{id}", command.kind()),
            fields: vec![("mac", one.mac.clone()), ("address", one.address.to_string())],
            about: one.address.to_string(),
            ..Action::default()
        };
        view! {
            <tr>
                <th scope="row" class="mono">{one.address.to_string()}</th>
                <td data-label="Hardware" class="mono">{one.mac.clone()}</td>
                <td data-label="Name">{or_dash(&one.name)}</td>
                <td class="actions">{remove.draw()}</td>
            </tr>
        }
        .into_any()
    });
    let rows: Vec<AnyView> = rows.collect();
    let table = (!rows.is_empty()).then(|| {
        view! {
            <div class="list"><div class="scroll"><table aria-label="Static addresses">
                <thead><tr><th scope="col">"Address"</th><th scope="col">"Hardware address"</th><th scope="col">"Name"</th><th scope="col"><span class="hidden">"Actions"</span></th></tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table></div></div>
        }
        .into_any()
    });
    let may = use_store().may(model::Permission::Operate).is_ok() && host.host.connection.connected;
    let form = may.then(|| {
        view! {
            <form class="fields across" method="post" action=routes::at(routes::COMMANDS)>
                {form_token()}
                <input type="hidden" name="back" value=here()/>
                <label>"Hardware address" <input name="mac" required placeholder="52:54:00:12:34:56" autocomplete="off" spellcheck="false"/></label>
                <label>"Address" <input name="address" required autocomplete="off" spellcheck="false"/></label>
                <label>"Name" <input name="name" autocomplete="off" spellcheck="false"/></label>
                <button class="btn" name="do" value=format!("setStaticHost@{id}")>"Set static address"</button>
            </form>
        }
        .into_any()
    });
    view! { <section class="card spaced" aria-label="Static addresses"><header><h2>"Static addresses"</h2></header>{table}{form}</section> }
        .into_any()
}
