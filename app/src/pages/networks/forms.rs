//! The forms for networks. On the server only.

use leptos::prelude::*;
use model::{DomainRef, HostInventory, Network, NetworkCommand, network::NetworkSpec};

use super::drawn::LIST;
use crate::{
    around::{
        drawn::{Action, here},
        form::{Form, Text},
    },
    store::use_store,
    ui::controls::{Empty, or_dash},
};

/// The form for a new network. All fields are there; each says which modes need it.
pub(super) fn new_network() -> AnyView {
    if let Err(fault) = use_store().may(model::Permission::Operate) {
        return view! { <Empty title="New network">{fault.sentence()}</Empty> }.into_any();
    }
    let modes = NetworkSpec::MODES.map(|(mode, words)| (mode.to_owned(), words.to_owned(), true)).into();
    let form = Form::of("defineNetwork@new".into(), Vec::new());
    let with_subnets: Vec<&str> =
        NetworkSpec::MODES.iter().map(|(mode, _)| *mode).filter(|mode| NetworkSpec::has_subnets(mode)).collect();
    let with_subnets = with_subnets.join(" ");
    let field = |label: &str, name: &'static str, place: &'static str, of: String| {
        form.text(Text { label: label.into(), name, place, of: Some(of), ..Text::default() })
    };
    let addresses = || with_subnets.clone();
    let fields = view! {
        {form.choice("Mode", "mode", modes)}
        {field("Bridge of the host", "bridge", "br0", "bridge".into())}
        {field("Device of the host", "device", "eth0", "nat route macvtap".into())}
        {field("IPv4: this host's address", "ipv4", "192.168.50.1/24", addresses())}
        {field("DHCP from", "dhcpFirst", "192.168.50.100", addresses())}
        {field("DHCP to", "dhcpLast", "192.168.50.200", addresses())}
        {field("IPv6: this host's address", "ipv6", "fd00:50::1/64", addresses())}
        {field("DHCPv6 from", "dhcp6First", "fd00:50::100", addresses())}
        {field("DHCPv6 to", "dhcp6Last", "fd00:50::1ff", addresses())}
        {field("DNS domain", "domain", "lab.example.org", addresses())}
    };
    let fields = fields.into_any();
    LIST.form("New network", "mode", (form, "Create network"), fields)
}

/// Addresses that machines always get, and the form for one more.
pub(super) fn static_hosts(host: &HostInventory, network: &Network) -> AnyView {
    if !network.has_dhcp() {
        return ().into_any();
    }
    let id = DomainRef { host: host.host.id.clone(), id: network.id };
    let known = network.subnets.iter().flat_map(|subnet| &subnet.hosts);
    let rows = known.map(|one| {
        let command = NetworkCommand::RemoveStaticHost { mac: one.mac.clone(), address: one.address };
        let remove = Action {
            fields: vec![("mac", one.mac.clone()), ("address", one.address.to_string())],
            about: one.address.to_string(),
            ..Action::of("Remove", command, host, &id)
        };
        view! {
            <tr>
                <th scope="row" class="mono">{one.address.to_string()}</th>
                <td data-label="Hardware" class="mono">{or_dash(&one.mac)}</td>
                <td data-label="Name">{or_dash(&one.name)}</td>
                <td class="actions">{remove.draw()}</td>
            </tr>
        }
        .into_any()
    });
    let six = network.subnets.iter().any(|subnet| subnet.address.is_ipv6() && subnet.has_dhcp());
    let mac = if six { "Hardware address, or identifier (DUID)" } else { "Hardware address" };
    let form = Form::of(format!("setStaticHost@{id}"), Vec::new());
    let fields = view! {
        {form.text(Text { label: mac.into(), name: "mac", required: !six, place: "52:54:00:12:34:56", ..Text::default() })}
        {form.text(Text { label: "Address".into(), name: "address", required: true, ..Text::default() })}
        {form.text(Text { label: "Name".into(), name: "name", ..Text::default() })}
    };
    let fields = fields.into_any();
    let list =
        Lines { title: "Static addresses", second: "Hardware address", third: Some("Name"), rows: rows.collect() };
    list.draw(host, (form, "Set static address"), fields)
}

/// Names that the network's DNS server knows, and the form for one more address.
pub(super) fn dns_hosts(host: &HostInventory, network: &Network) -> AnyView {
    if network.subnets.is_empty() {
        return ().into_any();
    }
    let id = DomainRef { host: host.host.id.clone(), id: network.id };
    let rows = network.dns.iter().map(|one| {
        let remove = Action {
            fields: vec![("address", one.address.to_string())],
            about: format!("names of {}", one.address),
            ..Action::of("Remove", NetworkCommand::RemoveDnsHost { address: one.address }, host, &id)
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
    let form = Form::of(format!("setDnsHost@{id}"), Vec::new());
    let fields = view! {
        {form.text(Text { label: "Address of the names".into(), name: "address", required: true, ..Text::default() })}
        {form.text(Text { label: "Names".into(), name: "names", required: true, place: "db db.lab.example.org", ..Text::default() })}
    };
    let fields = fields.into_any();
    let list = Lines { title: "DNS names", second: "Names", third: None, rows: rows.collect() };
    list.draw(host, (form, "Set DNS names"), fields)
}

/// What a network knows of addresses, one a line.
struct Lines {
    title: &'static str,
    second: &'static str,
    third: Option<&'static str>,
    rows: Vec<AnyView>,
}

impl Lines {
    /// The table, and the form for one more line for those who may.
    fn draw(self, host: &HostInventory, (form, verb): (Form, &'static str), fields: AnyView) -> AnyView {
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
            let content = view! { {fields} {form.button("btn", verb)} };
            form.draw("fields across", None, here(), content.into_any())
        });
        view! { <section class="card spaced" aria-label=title><header><h2>{title}</h2></header>{table}{form}</section> }
            .into_any()
    }
}
