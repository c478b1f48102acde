//! The server: version, build features, capabilities of its hosts, and licences.

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::load;
use crate::ui::{served::served, title::Title};

/// The page.
#[component]
pub(crate) fn AboutPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw();
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    view! {
        <Title text="About"/>
        <div class="head"><h1>"About Belvedere"</h1></div>
        {served(drawn)}
    }
}

#[cfg(feature = "ssr")]
mod server_view {
    use leptos::prelude::*;
    use model::HostInventory;

    use crate::{
        backend::{Backend, Feature, Loaded, loaded},
        live_section::server_view::hosts,
        routes,
        ui::controls::{fact, or_dash},
    };

    /// Reads the build features.
    pub(crate) fn load(backend: &dyn Backend) -> Loaded {
        Loaded::of::<Vec<Feature>>(backend.features())
    }

    /// Third-party components: name, licence, purpose.
    const PARTS: [(&str, &str, &str); 4] = [
        ("libvirt", "LGPL-2.1-or-later", "Virtual machine management; dynamically linked"),
        ("virt", "LGPL-2.1-or-later", "Rust bindings for libvirt"),
        ("noVNC", "MPL-2.0", "Graphical consoles"),
        ("xterm.js", "MIT", "Serial consoles"),
    ];

    pub(super) fn draw() -> AnyView {
        view! {
            {itself(loaded::<Vec<Feature>>().as_deref().map_or(&[], Vec::as_slice))}
            {abilities()}
            {licences()}
        }
        .into_any()
    }

    fn itself(features: &[Feature]) -> AnyView {
        let features = features.iter().map(|Feature { name, built, flag }| {
            let state = match built {
                true => "included".to_owned(),
                false => format!("not included: build with FEATURES={flag}"),
            };
            fact(name, state)
        });
        view! {
            <section class="card spaced" aria-label="Server">
                <header><h2>"Server"</h2></header>
                <dl>
                    {fact("Version", env!("CARGO_PKG_VERSION"))}
                    {fact("Licence", "MIT or Apache-2.0")}
                    {features.collect_view()}
                    <dt>"Programs"</dt><dd><a href=routes::at(routes::API) rel="external">"API reference"</a></dd>
                </dl>
            </section>
        }
        .into_any()
    }

    /// Capabilities of each host, as reported by libvirt.
    fn abilities() -> AnyView {
        let hosts = hosts();
        let rows = hosts.hosts.values().map(|one| host(one)).collect_view();
        view! {
            <section class="card spaced">
                <header><h2>"Hosts"</h2></header>
                <div class="scroll" tabindex="0" role="region" aria-label="Hosts, scrollable"><table aria-label="Hosts">
                    <thead><tr>
                        <th scope="col">"Host"</th><th scope="col">"libvirt"</th><th scope="col">"Hypervisor"</th>
                        <th scope="col">"Acceleration"</th><th scope="col">"Storage drivers"</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table></div>
            </section>
        }
        .into_any()
    }

    fn host(host: &HostInventory) -> AnyView {
        let href = routes::host(&host.host.id);
        let info = host.host.info.clone().unwrap_or_default();
        let hypervisor = format!("{} {}", info.driver, info.hypervisor_version);
        let acceleration = match (&host.host.info, info.kvm) {
            (None, _) => "",
            (Some(_), true) => "KVM",
            (Some(_), false) => "none",
        };
        view! {
            <tr>
                <th scope="row"><a href=href rel="external">{host.host.id.to_string()}</a></th>
                <td>{or_dash(&info.libvirt_version)}</td>
                <td>{or_dash(hypervisor.trim())}</td>
                <td>{or_dash(acceleration)}</td>
                <td class="wrap">{or_dash(&info.pool_types.join(", "))}</td>
            </tr>
        }
        .into_any()
    }

    fn licences() -> AnyView {
        let parts = PARTS.map(|(name, licence, purpose)| {
            view! { <tr><th scope="row">{name}</th><td>{licence}</td><td>{purpose}</td></tr> }.into_any()
        });
        view! {
            <section class="card spaced">
                <header><h2>"Third-party components"</h2></header>
                <div class="scroll" tabindex="0" role="region" aria-label="Third-party components, scrollable">
                <table aria-label="Third-party components">
                    <thead><tr><th scope="col">"Component"</th><th scope="col">"Licence"</th><th scope="col">"Purpose"</th></tr></thead>
                    <tbody>{parts.into_iter().collect_view()}</tbody>
                </table></div>
            </section>
        }
        .into_any()
    }
}
