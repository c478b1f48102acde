//! The hosts that admins add, change and remove while the server runs.
//!
//! The server draws it; what a change does, `server::backend::hosts` decides.

use leptos::prelude::*;

use crate::{
    routes,
    ui::{served::served, title::Title},
};

/// The page.
#[component]
pub(crate) fn ManageHostsPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw();
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    view! {
        <Title text="Manage hosts"/>
        <div class="head"><a class="muted" href=routes::at(routes::HOSTS)>"Hosts"</a><h1>"Manage hosts"</h1></div>
        {served(drawn)}
    }
}

#[cfg(feature = "ssr")]
mod server_view {
    use leptos::prelude::*;
    use model::{
        Host,
        command::{Field, Input},
    };

    use crate::{
        live_section::{
            form::{Form, With},
            server_view::hosts,
        },
        routes,
        ui::controls::tag,
    };

    const NAME: Field = Field::new("name", "Name", Input::Line(63)).required();
    const URI: Field = Field::new("uri", "Connection URI", Input::Line(1024)).required();
    /// The fields of a new host.
    const NEW: &[Field] = &[NAME, URI];

    pub(super) fn draw() -> AnyView {
        let all = hosts();
        let rows = all.hosts.values().map(|host| row(&host.host)).collect_view();
        view! {
            <section class="card list" aria-label="Hosts"><div class="scroll"><table aria-label="Hosts">
                <thead><tr>
                    <th scope="col">"Name"</th><th scope="col">"Connection"</th><th scope="col">"URI"</th><th scope="col">"Actions"</th>
                </tr></thead>
                <tbody>{rows}</tbody>
            </table></div></section>
            {add()}
        }
        .into_any()
    }

    fn row(host: &Host) -> AnyView {
        let Host { id, connection, demo, managed, .. } = host;
        let state = match (&connection.error, connection.connected) {
            (_, true) => "Connected".to_owned(),
            (Some(why), false) => format!("Not connected: {why}"),
            (None, false) => "Not connected".to_owned(),
        };
        let actions = match managed {
            true => change(host),
            false => {
                view! { <span class="muted">{if *demo { "Demonstration" } else { "Set on the command line" }}</span> }
                    .into_any()
            }
        };
        view! {
            <tr>
                <th scope="row"><a href=routes::host(id) rel="external">{id.to_string()}</a>" "{demo.then(|| tag("demo"))}</th>
                <td data-label="Connection" class="wrap">{state}</td>
                <td data-label="URI" class="mono wrap">{connection.uri.clone()}</td>
                <td data-label="Actions">{actions}</td>
            </tr>
        }
        .into_any()
    }

    /// Another URI, and the removal.
    fn change(host: &Host) -> AnyView {
        let name = host.id.to_string();
        let form = Form::with(("Save", NEW), "change@hosts".into(), vec![("name", name.clone())]);
        let value = Some(host.connection.uri.clone());
        let label = format!("Connection URI of {name}");
        let (save, test, remove) =
            (format!("Save {name}"), format!("Test connection of {name}"), format!("Remove {name}"));
        view! {
            <form class="buttons-row" method="post" action=routes::at(routes::MANAGE_HOSTS)>
                <input type="hidden" name="name" value=name/>
                <input type="hidden" name="form" value="change"/>
                {form.field("uri", With { label: Some(label), value, ..With::default() })}
                <button class="btn small" name="do" value="change" aria-label=save>"Save"</button>
                <button class="btn small" name="do" value="test" aria-label=test>"Test connection"</button>
                <button class="btn small danger" name="do" value="remove" aria-label=remove formnovalidate>"Remove"</button>
            </form>
        }
        .into_any()
    }

    fn add() -> AnyView {
        let form = Form::with(("Add host", NEW), "add@hosts".into(), Vec::new());
        view! {
            <section class="card spaced" aria-label="Add host">
                <header><h2>"Add host"</h2></header>
                <form class="fields" method="post" action=routes::at(routes::MANAGE_HOSTS)>
                    <input type="hidden" name="form" value="add"/>
                    {form.field("name", With::default())}
                    <small class="muted">"1 to 63 letters, digits, hyphens, underscores or dots. It stays with the host's history."</small>
                    {form.field("uri", With::default())}
                    <small class="muted">
                        "For example qemu+ssh://root@kvm-2/system or qemu+tls://kvm-2/system. The server connects with its own SSH keys or certificates."
                    </small>
                    <div class="buttons-row">
                        <button class="btn primary" name="do" value="add">"Add host"</button>
                        <button class="btn" name="do" value="test">"Test connection"</button>
                    </div>
                </form>
            </section>
        }
        .into_any()
    }
}
