//! Rendering shared by the pages about pools, networks and guests. What is specific to one of them
//! is in `pages`.

use std::{collections::BTreeMap, sync::Arc};

use leptos::prelude::*;
use leptos_router::hooks::{use_location, use_query_map};
use model::{Command, Host, HostInventory, Inventory, ObjectRef, natural};
use uuid::Uuid;

use super::form::{Form, With};
use crate::{
    backend::Backend,
    routes,
    store::use_store,
    ui::{
        controls::{Empty, tag},
        not_found::answer_not_found,
    },
    vm::form_token,
};

/// All hosts with their inventory, within the viewer's scope.
pub(crate) fn hosts() -> Arc<Inventory> {
    use_context::<Arc<dyn Backend>>().map(|backend| backend.snapshot().hosts).unwrap_or_default()
}

/// A parameter of the page's query.
pub(crate) fn asked(name: &str) -> String {
    use_query_map().with_untracked(|query| query.get(name)).unwrap_or_default()
}

/// The page for an object that does not exist.
pub(crate) fn missing(what: &str, list: &'static str) -> AnyView {
    answer_not_found();
    view! { <Empty title=format!("{what} not found")>"It may have been deleted, or its host may be disconnected. "<a href=routes::at(list) rel="external">"Show all"</a>"."</Empty> }
        .into_any()
}

/// Objects of one type on the hosts that the query selects, ordered by host and name.
pub(crate) fn on_hosts<T>(
    hosts: &Inventory,
    of: fn(&HostInventory) -> &BTreeMap<Uuid, Arc<T>>,
    name: fn(&T) -> &str,
) -> Vec<(&HostInventory, &T)> {
    let wished = asked("host");
    let shown = hosts.hosts.values().filter(|host| wished.is_empty() || host.host.id.as_str() == wished);
    let mut found: Vec<(&HostInventory, &T)> =
        shown.flat_map(|host| of(host).values().map(move |one| (host.as_ref(), &**one))).collect();
    found.sort_by(|(a_host, a), (b_host, b)| {
        a_host.host.id.cmp(&b_host.host.id).then_with(|| natural(name(a), name(b)))
    });
    found
}

/// A list of objects: its title and path.
#[derive(Clone, Copy)]
pub(crate) struct List(pub(crate) &'static str, pub(crate) &'static str);

impl List {
    /// The heading of the list; `new` is the label of the button for a new object, for viewers who
    /// may create one on some host.
    pub(crate) fn head(self, count: usize, new: Option<&'static str>) -> AnyView {
        let new = new.filter(|_| some_host_is_whole());
        let href = format!("{}/new", routes::at(self.1));
        view! {
            <div class="head">
                <h1>{self.0}</h1><span class="muted">{count.to_string()}</span>
                <span class="spacer"></span>
                {new.map(|label| view! { <a class="btn primary" href=href rel="external">{label}</a> }.into_any())}
            </div>
        }
        .into_any()
    }

    /// The heading of an object in the list.
    pub(crate) fn head_of(self, host: &Host, name: &str, state: AnyView, actions: Vec<AnyView>) -> AnyView {
        view! {
            <p class="crumbs muted"><a href=routes::at(self.1) rel="external">{self.0}</a>" / "{host.id.to_string()}</p>
            <div class="head">
                <h1>{name.to_owned()}</h1>{state}{host.demo.then(|| tag("demo"))}
                <span class="spacer"></span>
                <span class="buttons-row">{actions}</span>
            </div>
        }
        .into_any()
    }

    /// The form for a new object. `choice` is the field that decides which others are shown;
    /// `fields` follow the host.
    pub(crate) fn form(self, title: &'static str, choice: &'static str, form: Form, fields: AnyView) -> AnyView {
        let list = routes::at(self.1);
        if !some_host_is_whole() {
            return view! { <Empty title=title>{nothing_for_new()}</Empty> }.into_any();
        }
        let content = view! {
            {host_choice(&form, &hosts())}
            {fields}
            {form.field("autostart", With::default())}
            <div class="buttons"><a class="btn" href=list.clone() rel="external">"Cancel"</a>{form.button("btn primary")}</div>
        };
        let form = form.draw("fields", Some(choice), list.clone(), content.into_any());
        view! {
            <p class="crumbs muted"><a href=list rel="external">{self.0}</a></p>
            <div class="head"><h1>{title}</h1></div>
            <section class="card spaced">{form}</section>
        }
        .into_any()
    }
}

/// Usage as a bar with text.
pub(crate) fn bar(name: &str, percent: u8, words: String) -> AnyView {
    let class = if percent >= 90 { "full" } else { "disk" };
    let label = format!("{percent} % of {name} used");
    view! { <span class="bar"><progress class=class max="100" value=percent.to_string() aria-label=label></progress><span class="num">{words}</span></span> }
        .into_any()
}

/// A button that sends a command.
#[derive(Default)]
pub(crate) struct Action {
    /// The verb.
    pub(crate) label: &'static str,
    /// The value of `do`.
    pub(crate) wish: String,
    /// Why it is not possible now; `None` if it is.
    pub(crate) denied: Option<String>,
    /// The command's own fields.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Extra classes.
    pub(crate) class: &'static str,
    /// The object, where the verb alone would be ambiguous, as in a table row.
    pub(crate) about: String,
}

impl Action {
    /// The button of a command.
    pub(crate) fn of(label: &'static str, command: impl Into<Command>, host: &HostInventory, id: &ObjectRef) -> Self {
        let command = command.into();
        let denied = denied(&command, host, id.id);
        let (wish, fields) = (format!("{}@{id}", command.kind()), command.form_fields());
        Self { label, wish, denied, fields, ..Self::default() }
    }

    /// The button with its form.
    pub(crate) fn draw(self) -> AnyView {
        let Self { label, wish, denied, fields, class, about } = self;
        let hidden =
            fields.into_iter().map(|(name, value)| view! { <input type="hidden" name=name value=value/> }.into_any());
        let class = format!("btn small {class}");
        let title = match &denied {
            Some(why) => format!("{label}: {why}"),
            None => String::new(),
        };
        let name = (!about.is_empty()).then(|| format!("{label} {about}"));
        // The ids differ even when each row has the same command.
        let of: String = about.bytes().map(|byte| format!("{byte:02x}")).collect();
        let reason_id = denied.is_some().then(|| format!("why-{}-{of}", wish.replace(['@', '/'], "-")));
        view! {
            <form class="inline" method="post" action=routes::at(routes::COMMANDS)>
                {form_token()}
                <input type="hidden" name="back" value=here()/>
                {hidden.collect_view()}
                <button name="do" value=wish class=class title=title aria-label=name
                    aria-disabled=denied.is_some().then_some("true") aria-describedby=reason_id.clone()>{label}</button>
                {denied.map(|why| view! { <span class="hidden" id=reason_id>{why}</span> }.into_any())}
            </form>
        }
        .into_any()
    }
}

/// The address of this page, to return to.
pub(crate) fn here() -> String {
    let location = use_location();
    let (path, query) = (location.pathname.get_untracked(), location.search.get_untracked());
    routes::without_results(&format!("{path}?{}", query.trim_start_matches('?')))
}

/// Why the command is not permitted or not possible now.
pub(crate) fn denied(command: &Command, host: &HostInventory, id: Uuid) -> Option<String> {
    let may = use_store().may(command.permission());
    may.and_then(|()| command.check(host, id, None)).err().map(|fault| fault.reason)
}

/// A state with icon and label.
pub(crate) fn state(active: bool, well: bool, word: &'static str) -> AnyView {
    let key = match (active, well) {
        (_, false) => "crashed",
        (true, true) => "running",
        (false, true) => "stopped",
    };
    view! { <span class=format!("state i-{key} {key}")>{word}</span> }.into_any()
}

/// Whether the viewer's scope includes all of some host, so that an object can be created there.
fn some_host_is_whole() -> bool {
    let scope = use_store().viewer().scope;
    hosts().hosts.keys().any(|host| scope.sees_all_of(host))
}

/// Why the viewer cannot create an object.
fn nothing_for_new() -> String {
    let why = use_store().outside_scope();
    why.unwrap_or_else(|| "No hosts are configured. Start Belvedere with --connect URI.".into())
}

/// The choice of the connected hosts that are entirely in scope.
fn host_choice(form: &Form, hosts: &Inventory) -> AnyView {
    let wished = form.value("host", asked("host"));
    let scope = use_store().viewer().scope;
    let all = hosts.hosts.values().filter(|host| scope.sees_all_of(&host.host.id));
    let options = all.map(|host| {
        let id = host.host.id.to_string();
        let away = !host.host.connection.connected;
        let words = if away { format!("{id} (not connected)") } else { id.clone() };
        view! { <option value=id.clone() selected=wished == id disabled=away>{words}</option> }.into_any()
    });
    view! { <label>"Host" <select name="host">{options.collect_view()}</select></label> }.into_any()
}
