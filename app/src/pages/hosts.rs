//! All hosts with their connection and properties.

use leptos::prelude::*;
use model::{DomainState, Host, HostId, Permission};

use crate::{
    format,
    host::{self, Reconnect},
    routes,
    store::{Store, use_store},
    ui::{
        controls::{Empty, fact, or_dash, tag},
        live::{live, live_text},
        title::Title,
    },
};

/// The page.
#[component]
pub(crate) fn HostsPage() -> impl IntoView {
    let store = use_store();
    view! {
        <Title text="Hosts"/>
        <div class="head"><h1>"Hosts"</h1><span class="muted">{move || store.hosts().with(Vec::len).to_string()}</span>
            {store.may(Permission::ManageHosts).is_ok().then(|| view! { <a class="btn" href=routes::at(routes::MANAGED_HOSTS) rel="external">"Manage hosts"</a> }.into_any())}</div>
        <div class="grid g3">
            {move || store.hosts().get().into_iter().map(|host| card(store, host)).collect_view().into_any()}
        </div>
        {move || store.hosts().with(Vec::is_empty).then(|| match store.outside_scope() {
            Some(why) => view! { <Empty title="Nothing in your scope">{why}</Empty> }.into_any(),
            None => view! { <Empty title="No hosts">"A host is a machine with libvirt. An admin adds one with Manage hosts, or start Belvedere with --connect URI."</Empty> }.into_any(),
        }).into_any()}
    }
}

fn card(store: Store, host: Host) -> AnyView {
    let busy = live({
        let host = host.clone();
        move || host::load(store, &host)
    });
    let Host { id, connection, info, demo, .. } = host;
    let known = info.is_some();
    let info = info.unwrap_or_default();
    let (connected, since) = (connection.connected, connection.since);
    let ago = live_text(move || format::span(store.second.get().saturating_sub(since)));
    let (dot, word) = if connected { ("dot live", "connected") } else { ("dot stale", "not connected") };
    let versions = match (info.libvirt_version.as_str(), info.hypervisor_version.as_str()) {
        ("", _) => String::new(),
        (libvirt, "") => format!("libvirt {libvirt}"),
        (libvirt, hypervisor) => format!("libvirt {libvirt}, {} {hypervisor}", info.driver),
    };
    let processors =
        if info.cpus > 0 { format!("{} × {} {}", info.cpus, info.arch, info.cpu_model) } else { String::new() };
    let acceleration = match (known, info.kvm) {
        (false, _) => "",
        (true, true) => "KVM",
        (true, false) => "none (emulation)",
    };
    let page = routes::host(&id);
    let (retry, label, name) = (id.clone(), id.to_string(), id.to_string());
    view! {
        <section class="card" class:stale=!connected aria-label=name>
            <header>
                <span class=dot></span><h2><a href=page rel="external">{label}</a></h2>{demo.then(|| tag("demo"))}
                <span class="num muted">{word} " for " {ago}</span>
            </header>
            {connection.error.map(|error| view! {
                <div class="problem">{error} <Reconnect host=retry/></div>
            })}
            <dl>
                {fact("Machines", machines(store, id))}
                {busy}
                {fact("Host name", or_dash(&info.hostname))}
                {fact("Versions", or_dash(&versions))}
                {fact("Processors", or_dash(&processors))}
                {fact("Acceleration", or_dash(acceleration))}
                {fact("URI", view! { <span class="mono">{connection.uri}</span> })}
            </dl>
        </section>
    }
    .into_any()
}

fn machines(store: Store, id: HostId) -> impl IntoView {
    let href = routes::vms_of(&id);
    let counts = Memo::new(move |_| {
        store
            .figures
            .with(|figures| figures.host(&id).map_or((0, 0), |host| (host.all(), host.in_state(DomainState::Running))))
    });
    view! { <a href=href>{move || counts.with(|(all, running)| format!("{}, {running} running", format::count(*all, "machine")))}</a> }
}
