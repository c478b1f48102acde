//! The forms for networks. On the server only.

use leptos::prelude::*;
use model::{
    HostInventory, Network, NetworkCommand, ObjectRef,
    command::{DefineNetwork, RemoveDnsHost, RemoveStaticHost, SetDnsHost, SetStaticHost},
    network::NetworkMode,
};

use super::server_view::LIST;
use crate::{
    live_section::{
        form::{Form, With},
        server_view::{Action, here},
    },
    store::use_store,
    ui::controls::{Empty, or_dash},
};

/// The form for a new network. All fields are present; each states the modes it applies to.
pub(super) fn new_network() -> AnyView {
    if let Err(fault) = use_store().may(model::Permission::Operate) {
        return view! { <Empty title="New network">{fault.sentence()}</Empty> }.into_any();
    }
    let modes = NetworkMode::ALL.iter().map(|mode| (mode.to_string(), mode.label().to_owned(), true)).collect();
    let form = Form::of::<DefineNetwork>("new", Vec::new());
    let with_subnets: Vec<&str> =
        NetworkMode::ALL.iter().filter(|mode| mode.has_subnets()).map(|mode| mode.key()).collect();
    let with_subnets = with_subnets.join(" ");
    let field = |name: &str, place: &'static str, of: &str| {
        form.field(name, With { place, of: Some(of.to_owned()), ..With::default() })
    };
    let fields = view! {
        {form.field("network.name", With::default())}
        {form.field("network.mode", With { choices: modes, ..With::default() })}
        {field("network.bridge", "e.g. br0", "bridge")}
        {field("network.device", "e.g. eth0", "nat route macvtap")}
        {field("network.ipv4", "e.g. 192.168.50.1/24", &with_subnets)}
        {field("network.dhcpFirst", "e.g. 192.168.50.100", &with_subnets)}
        {field("network.dhcpLast", "e.g. 192.168.50.200", &with_subnets)}
        {field("network.ipv6", "e.g. fd00:50::1/64", &with_subnets)}
        {field("network.dhcp6First", "e.g. fd00:50::100", &with_subnets)}
        {field("network.dhcp6Last", "e.g. fd00:50::1ff", &with_subnets)}
        {field("network.domain", "e.g. lab.example.org", &with_subnets)}
    };
    LIST.form("New network", "network.mode", form.clone(), fields.into_any())
}

/// The static DHCP hosts, and the form to add one.
pub(super) fn static_hosts(host: &HostInventory, network: &Network) -> AnyView {
    if !network.has_dhcp() {
        return ().into_any();
    }
    let id = ObjectRef::network(&host.host.id, network.id);
    let known = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
    let rows = known.map(|one| {
        let command = NetworkCommand::RemoveStaticHost(RemoveStaticHost { mac: one.mac.clone(), address: one.address });
        let remove = Action { about: one.address.to_string(), ..Action::of("Remove", command, host, &id) };
        view! {
            <tr>
                <th scope="row" class="mono">{one.address.to_string()}</th>
                <td data-label="MAC address" class="mono">{or_dash(&one.mac)}</td>
                <td data-label="Name">{or_dash(&one.name)}</td>
                <td class="actions">{remove.draw()}</td>
            </tr>
        }
        .into_any()
    });
    let six = network.subnets.iter().any(|subnet| subnet.address.is_ipv6() && subnet.has_dhcp());
    let mac = if six { "MAC address or DUID" } else { "MAC address" };
    let form = Form::of::<SetStaticHost>(&id.to_string(), Vec::new());
    let of_mac =
        With { label: Some(mac.into()), required: Some(!six), place: "e.g. 52:54:00:12:34:56", ..With::default() };
    let fields = view! {
        {form.field("mac", of_mac)}
        {form.field("address", With::default())}
        {form.field("name", With::default())}
    };
    let fields = fields.into_any();
    let list = Lines { title: "Static addresses", second: "MAC address", third: Some("Name"), rows: rows.collect() };
    list.draw(host, form, fields)
}

/// The DNS hosts of the network, and the form to add one.
pub(super) fn dns_hosts(host: &HostInventory, network: &Network) -> AnyView {
    if network.subnets.is_empty() {
        return ().into_any();
    }
    let id = ObjectRef::network(&host.host.id, network.id);
    let rows = network.dns.iter().map(|one| {
        let remove = Action {
            about: format!("names of {}", one.address),
            ..Action::of("Remove", NetworkCommand::RemoveDnsHost(RemoveDnsHost { address: one.address }), host, &id)
        };
        view! {
            <tr>
                <th scope="row" class="mono">{one.address.to_string()}</th>
                <td data-label="Names">{or_dash(&one.names.join(", "))}</td>
                <td class="actions">{remove.draw()}</td>
            </tr>
        }
        .into_any()
    });
    let form = Form::of::<SetDnsHost>(&id.to_string(), Vec::new());
    let fields = view! {
        {form.field("address", With::default())}
        {form.field("names", With { place: "e.g. db db.lab.example.org", ..With::default() })}
    };
    let fields = fields.into_any();
    let list = Lines { title: "DNS names", second: "Names", third: None, rows: rows.collect() };
    list.draw(host, form, fields)
}

/// A table of addresses with a form.
struct Lines {
    title: &'static str,
    second: &'static str,
    third: Option<&'static str>,
    rows: Vec<AnyView>,
}

impl Lines {
    /// The table, and the form for viewers with permission.
    fn draw(self, host: &HostInventory, form: Form, fields: AnyView) -> AnyView {
        let Self { title, second, third, rows } = self;
        let table = (!rows.is_empty()).then(|| {
            view! {
                <div class="list"><div class="scroll"><table aria-label=title>
                    <thead><tr><th scope="col">"Address"</th><th scope="col">{second}</th>{third.map(|third| view! { <th scope="col">{third}</th> }.into_any())}<th scope="col"><span class="hidden">"Actions"</span></th></tr></thead>
                    <tbody>{rows.collect_view()}</tbody>
                </table></div></div>
            }
            .into_any()
        });
        let may = use_store().may(model::Permission::Operate).is_ok() && host.host.connection.connected;
        let form = may.then(|| {
            let content = view! { {fields} {form.button("btn")} };
            form.draw("fields across", None, here(), content.into_any())
        });
        view! { <section class="card spaced" aria-label=title><header><h2>{title}</h2></header>{table}{form}</section> }
            .into_any()
    }
}
