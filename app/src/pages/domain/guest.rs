//! Guest details and guest agent actions. Rendered by the server, and read again while the page is
//! open.

#[cfg(feature = "ssr")]
mod agent;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(super) use self::server_view::load;
use super::Subject;
use crate::ui::served::served;

/// The tab.
#[component]
pub(crate) fn GuestTab() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw();
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    let Subject { domain, .. } = expect_context();
    crate::live_section::keep_fresh(domain, Some(30_000));
    served(drawn)
}

#[cfg(feature = "ssr")]
mod server_view {
    use leptos::prelude::*;
    use model::{
        Domain, DomainRef, Fault, ObjectRef, Task,
        domain::{Agent, FileSystem, GuestDetails},
        query::{Guest, SshKeyList, SshKeys},
    };

    use crate::{
        backend::{Backend, Loaded, ask, loaded},
        format,
        live_section::server_view::bar,
        pages::domain::Subject,
        routes,
        store::use_store,
        ui::controls::{Empty, fact, or_dash},
    };

    /// Guest details, and the SSH keys of a guest user if the query has one (`keysOf`).
    struct Read {
        guest: Result<GuestDetails, Fault>,
        keys: Option<Result<SshKeyList, Fault>>,
    }

    /// Reads the data of the tab.
    pub(crate) async fn load(id: &DomainRef, query: &str, backend: &dyn Backend) -> Loaded {
        let on = ObjectRef::from(id);
        let guest = ask(backend, &on, Guest {}).await;
        let keys = match routes::value_of(query, "keysOf") {
            Some(user) => Some(ask(backend, &on, SshKeys { user }).await),
            None => None,
        };
        Loaded::of(Read { guest, keys })
    }

    /// The content of the tab.
    pub(super) fn draw() -> AnyView {
        let Subject { id, domain, .. } = expect_context();
        let domain = domain.get_untracked();
        let read = loaded::<Read>();
        view! {
            {match read.as_deref().map(|read| &read.guest) {
                _ if is_frozen(&id) => frozen(),
                // A guest frozen by another program answers without data.
                Some(Ok(guest)) if *guest == GuestDetails::default() => silent(),
                Some(Ok(guest)) => details(&domain, guest),
                Some(Err(fault)) => nothing(&domain, fault),
                None => ().into_any(),
            }}
            {super::agent::draw(&id, read.and_then(|read| read.keys.clone()))}
        }
        .into_any()
    }

    /// Whether a freeze task of Belvedere is running.
    fn is_frozen(id: &DomainRef) -> bool {
        let freeze = |task: &Task| task.kind == "freezeFileSystems" && task.target == Some(id.id);
        use_store().tasks.with_untracked(|tasks| {
            tasks.iter().any(|task| freeze(task) && task.host_id == id.host && task.outcome.is_none())
        })
    }

    fn frozen() -> AnyView {
        view! { <Empty title="The guest's file systems are frozen">"Guest details are available again after the thaw. The thaw is automatic after the set time, or use \"Thaw file systems\" below."</Empty> }.into_any()
    }

    fn silent() -> AnyView {
        view! { <Empty title="The guest agent returned no data">"The guest's file systems may have been frozen by another program. To thaw them, use \"Thaw file systems\" below."</Empty> }.into_any()
    }

    /// Why guest details are unavailable, and what to do.
    fn nothing(domain: &Domain, fault: &Fault) -> AnyView {
        let (title, text) = match domain.agent {
            _ if !domain.state.is_active() => {
                ("The machine is off", "Guest details are available while it is running.".to_owned())
            }
            Agent::Absent => (
                "No guest agent channel",
                "The machine has no channel org.qemu.guest_agent.0. Add the channel and run qemu-guest-agent in the guest.".to_owned(),
            ),
            Agent::Disconnected => (
                "Guest agent not connected",
                "Install and start qemu-guest-agent in the guest. Data that needs no agent is on the Overview tab.".to_owned(),
            ),
            Agent::Connected => ("Guest details unavailable", fault.sentence()),
        };
        view! { <Empty title=title>{text}</Empty> }.into_any()
    }

    fn details(domain: &Domain, guest: &GuestDetails) -> AnyView {
        let zone = match (guest.timezone.as_str(), guest.timezone_offset) {
            ("", None) => String::new(),
            (name, None) => name.to_owned(),
            (name, Some(offset)) => {
                let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
                format!("{name} UTC{sign}{:02}:{:02}", offset / 3_600, offset / 60 % 60).trim().to_owned()
            }
        };
        let load = guest.load.map(|load| load.map(|load| format::fraction(load, 2)).join(", ")).unwrap_or_default();
        let users: Vec<AnyView> = guest
            .users
            .iter()
            .map(|user| {
                let since = user.since.map(|since| view! { " since " {crate::history::time(since)} }.into_any());
                view! { <li>{user.name.clone()} <span class="muted">{since}</span></li> }.into_any()
            })
            .collect();
        let nobody = users.is_empty().then(|| {
            view! { <p class="muted calm">"No users are logged in, or the guest agent does not report them."</p> }
                .into_any()
        });
        view! {
            <div class="grid g2">
                <section class="card" aria-label="About the guest">
                    <header><h2>"Guest"</h2></header>
                    <dl>
                        {fact("OS", or_dash(&guest.os_version))}
                        {fact("Kernel", or_dash(&guest.kernel))}
                        {fact("Host name", or_dash(&guest.hostname))}
                        {fact("Addresses", view! { <span class="mono">{or_dash(&domain.addresses.join(", "))}</span> })}
                        {fact("Time zone", or_dash(&zone))}
                        {fact("Load", or_dash(&load))}
                        {fact("Agent version", or_dash(domain.guest.as_ref().map_or("", |guest| &guest.agent_version)))}
                    </dl>
                </section>
                <section class="card" aria-label="Users"><header><h2>"Users"</h2></header><ul class="log">{users.collect_view()}</ul>{nobody}</section>
            </div>
            {file_systems(&guest.file_systems)}
        }
        .into_any()
    }

    fn file_systems(all: &[FileSystem]) -> AnyView {
        if all.is_empty() {
            return ().into_any();
        }
        let rows = all.iter().map(|system| {
            let room = match (system.used_bytes, system.total_bytes) {
                (Some(used), Some(total)) if total > 0 => {
                    let percent = (u128::from(used) * 100 / u128::from(total)).min(100) as u8;
                    let words = format!("{} of {}", format::size(used), format::size(total));
                    bar(&system.mount_point, percent, words)
                }
                _ => or_dash(""),
            };
            view! { <tr><th scope="row" class="mono">{system.mount_point.clone()}</th><td data-label="Type">{or_dash(&system.kind)}{system.read_only.then_some(", read-only")}</td><td data-label="Used">{room}</td></tr> }.into_any()
        });
        view! {
            <section class="card list" aria-label="File systems"><div class="scroll"><table aria-label="File systems">
                <thead><tr><th scope="col">"File system"</th><th scope="col">"Type"</th><th scope="col">"Used"</th></tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table></div></section>
        }
        .into_any()
    }
}
