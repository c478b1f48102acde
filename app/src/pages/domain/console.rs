//! The consoles of a machine, and the place where one is shown.
//!
//! The content of that place is rendered by `app/consoles`: a terminal or a noVNC screen. It is
//! fetched when the tab is first opened. Buttons with `data-press` belong to the console.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use model::{Console, ConsoleKind, Fault, FaultKind, Permission, console::quoted};

use super::Subject;
use crate::{
    routes,
    store::use_store,
    ui::{
        controls::{Empty, chip},
        live::live,
    },
};

/// The content of the tab; while it is unchanged, an open console stays open.
#[derive(Clone, PartialEq)]
struct Scene {
    name: String,
    /// The command that opens a serial console in a terminal.
    by_hand: String,
    all: Vec<Console>,
    chosen: Option<Console>,
    refused: Option<Fault>,
}

/// The tab.
#[component]
pub(crate) fn ConsoleTab() -> impl IntoView {
    let (store, query) = (use_store(), use_query_map());
    let Subject { id, domain, .. } = expect_context();
    let of = id.clone();
    let scene = Memo::new(move |_| {
        let domain = domain.get();
        let wished = query.with(|query| query.get(routes::CONSOLE_OF));
        let all = Console::all(&domain);
        let host = store.host(&of.host);
        let fine = |console: &&Console| host.as_ref().is_some_and(|host| console.check(&domain, host).is_ok());
        let chosen = match wished {
            Some(name) => all.iter().find(|console| console.name == name),
            // By default, a console that works is preferred to the first one.
            None => all.iter().find(fine).or(all.first()),
        };
        let refused = chosen.zip(host.as_ref()).and_then(|(console, host)| {
            store.may(Permission::Operate).and_then(|()| console.check(&domain, host)).err()
        });
        let uri = host.map(|host| host.connection.uri).unwrap_or_default();
        Scene {
            by_hand: format!("virsh -c {} console {}", quoted(&uri), quoted(&domain.name)),
            name: domain.name.clone(),
            chosen: chosen.cloned(),
            all,
            refused,
        }
    });
    fetch_script();
    live(move || scene.with(|scene| draw(scene, &id)))
}

fn draw(scene: &Scene, id: &model::DomainRef) -> AnyView {
    if scene.all.is_empty() {
        return view! { <Empty title="No console">"Add a serial port of type pty or a graphics device of type vnc to the machine's definition."</Empty> }.into_any();
    }
    let chips = scene.all.iter().map(|console| {
        let on = scene.chosen.as_ref() == Some(console);
        chip(console.label(), None, routes::console(id, &console.name), on, None)
    });
    let place = match (&scene.chosen, &scene.refused) {
        (None, _) => view! { <Empty title="Console not found">"Choose one of the consoles above."</Empty> }.into_any(),
        (Some(_), Some(fault)) => refusal(fault),
        (Some(console), None) => place(scene, console, id),
    };
    view! { <nav class="chips spaced" aria-label="Consoles">{chips.collect_view()}</nav> {place} }.into_any()
}

/// Why the console is unavailable, and what to do.
fn refusal(fault: &Fault) -> AnyView {
    let title = match fault.kind {
        FaultKind::Denied => "Console unavailable",
        FaultKind::NotAllowed => "You may not open consoles",
        _ => "Console not supported",
    };
    let why = fault.sentence();
    view! { <Empty title=title>{why}</Empty> }.into_any()
}

/// The place of an open console with its buttons, which are enabled once it is connected.
fn place(scene: &Scene, console: &Console, id: &model::DomainRef) -> AnyView {
    let Scene { name, by_hand, .. } = scene;
    let is_screen = console.kind == ConsoleKind::Screen;
    let keys = is_screen.then(keys);
    let (kind, save) = if is_screen { ("screen", "Save screenshot") } else { ("serial", "Save text") };
    let label = format!("{} of {name}", console.label());
    let manual = (!is_screen).then(|| view! { " In a terminal: " <code>{by_hand.clone()}</code> }.into_any());
    view! {
        <section class="card console" aria-label=label.clone()>
            <header>
                <span class="muted" aria-live="polite" data-state="">"Not connected"</span>
                <span class="spacer"></span>
                {keys}
                <details class="menu">
                    <summary class="btn small">"Type text"</summary>
                    <form class="fields pop" data-press="type">
                        <label>"Text to send as keystrokes" <textarea name="text" rows="4" spellcheck="false"></textarea></label>
                        <button class="btn small primary">"Send keystrokes"</button>
                    </form>
                </details>
                <button class="btn small" data-press="save" disabled="">{save}</button>
                <button class="btn small" data-press="full" disabled="">"Full screen"</button>
                <a class="btn small" target="_blank" href=routes::console(id, &console.name)>"Open in new window"</a>
            </header>
            <machine-console
                data-api=routes::at(routes::API_CONSOLES) data-kind=kind data-host=id.host.to_string() data-target=id.id.to_string()
                data-console=console.name.clone() data-label=label.clone()
            >
                <p class="none muted">"The console needs JavaScript." {manual}</p>
            </machine-console>
            <footer class="muted">"Press Ctrl+Alt+End to release the keyboard."</footer>
        </section>
    }
    .into_any()
}

/// Keys that browsers or operating systems intercept.
fn keys() -> AnyView {
    const KEYS: [(&str, &str); 7] = [
        ("Ctrl+Alt+Delete", "Control_L Alt_L Delete"),
        ("Ctrl+Alt+Backspace", "Control_L Alt_L BackSpace"),
        ("Ctrl+Alt+F1", "Control_L Alt_L F1"),
        ("Ctrl+Alt+F2", "Control_L Alt_L F2"),
        ("Ctrl+Alt+F7", "Control_L Alt_L F7"),
        ("Alt+Tab", "Alt_L Tab"),
        ("Print Screen", "Print"),
    ];
    let keys = KEYS.map(|(label, keys)| {
        view! { <li><button class="btn item" data-press="keys" data-keys=keys disabled="">{label}</button></li> }
            .into_any()
    });
    view! {
        <details class="menu">
            <summary class="btn small">"Send keys"</summary>
            <ul>{keys.into_iter().collect_view()}</ul>
        </details>
    }
    .into_any()
}

/// Loads the console script, once per page.
fn fetch_script() {
    #[cfg(feature = "hydrate")]
    Effect::new(|_| {
        let document = document();
        let Some(build) = document.document_element().and_then(|root| root.get_attribute("data-build")) else { return };
        let source = format!("{build}/console/console.js");
        let (Ok(script), Some(head)) = (document.create_element("script"), document.head()) else { return };
        if document.query_selector(&format!("script[src='{source}']")).is_ok_and(|known| known.is_some()) {
            return;
        }
        drop((
            script.set_attribute("type", "module"),
            script.set_attribute("src", &source),
            head.append_child(&script),
        ));
    });
}
