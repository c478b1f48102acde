//! What pages about pools and networks share. They are drawn by the server, so that they
//! cost the browser's module next to nothing, and read again when something has changed.

#[cfg(feature = "ssr")]
use std::sync::Arc;

use leptos::prelude::*;
use leptos_meta::Title;

#[cfg(any(feature = "ssr", feature = "hydrate"))]
use crate::store::use_store;
use crate::ui::served::served;

#[cfg(feature = "hydrate")]
mod fresh;
#[cfg(feature = "hydrate")]
mod upload;

/// A page that the server draws with its title, kept fresh.
#[cfg(feature = "ssr")]
pub(crate) fn page((title, drawn): (String, AnyView)) -> AnyView {
    view! { <Title text=title/> {served(view! { <crate::vm::FormResults/> {drawn} })} }.into_any()
}

/// The same in the browser, where it is there already.
#[cfg(not(feature = "ssr"))]
pub(crate) fn page((_, drawn): ((), ())) -> AnyView {
    #[cfg(feature = "hydrate")]
    {
        let acts = expect_context::<crate::act::Acts>();
        fresh::keep(use_store(), acts, None);
        upload::listen(acts);
    }
    // The server knows the title, which is the heading, too.
    #[cfg(feature = "hydrate")]
    let title = fresh::heading();
    #[cfg(not(feature = "hydrate"))]
    let title = String::new();
    view! { <Title text=title/> {served(drawn)} }.into_any()
}

/// Keeps what the server has drawn of a page fresh, at least every so many milliseconds.
pub(crate) fn keep_fresh(every: Option<u32>) {
    #[cfg(feature = "hydrate")]
    fresh::keep(use_store(), expect_context::<crate::act::Acts>(), every);
    #[cfg(not(feature = "hydrate"))]
    let _ = every;
}

/// The hosts with all that is on them, for the one that looks.
#[cfg(feature = "ssr")]
pub(crate) fn hosts() -> Arc<model::Inventory> {
    use_context::<Arc<dyn crate::backend::Backend>>().map(|backend| backend.snapshot().hosts).unwrap_or_default()
}

/// A field of the address.
#[cfg(feature = "ssr")]
pub(crate) fn asked(name: &str) -> String {
    leptos_router::hooks::use_query_map().with_untracked(|query| query.get(name)).unwrap_or_default()
}

/// Why an object cannot be shown: it is not there.
#[cfg(feature = "ssr")]
pub(crate) fn missing(what: &str, list: &'static str) -> AnyView {
    use crate::{layout::answer_not_found, routes, ui::controls::Empty};
    answer_not_found();
    view! { <Empty title=format!("This {what} is not there")>"It may have been deleted, or its host is away. "<a href=routes::at(list) rel="external">"See all of them"</a>"."</Empty> }
        .into_any()
}

/// A button that asks for something.
#[cfg(feature = "ssr")]
#[derive(Default)]
pub(crate) struct Action {
    /// The verb.
    pub(crate) label: &'static str,
    /// What the form says as `do`.
    pub(crate) wish: String,
    /// Why it is not possible now; none when it is.
    pub(crate) denied: Option<String>,
    /// The command's own fields.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Extra classes.
    pub(crate) class: &'static str,
    /// What it is about, where the verb alone would stand in every row.
    pub(crate) about: String,
}

#[cfg(feature = "ssr")]
impl Action {
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
        // The same wish may stand in each row.
        let of: String = about.bytes().map(|byte| format!("{byte:02x}")).collect();
        let reason_id = denied.is_some().then(|| format!("why-{}-{of}", wish.replace(['@', '/'], "-")));
        view! {
            <form class="inline" method="post" action=crate::routes::at(crate::routes::COMMANDS)>
                {crate::vm::form_token()}
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

/// The address of this page, to come back to.
#[cfg(feature = "ssr")]
pub(crate) fn here() -> String {
    let location = leptos_router::hooks::use_location();
    let (path, query) = (location.pathname.get_untracked(), location.search.get_untracked());
    let query = query.trim_start_matches('?');
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("result=")).collect();
    if kept.is_empty() { path } else { format!("{path}?{}", kept.join("&")) }
}

/// Why somebody may not, or why it is not possible now.
#[cfg(feature = "ssr")]
pub(crate) fn denied(command: &model::Command, host: &model::HostInventory, id: model::DomainRef) -> Option<String> {
    let may = use_store().may(command.permission());
    may.and_then(|()| command.check(host, id.id, None)).err().map(|fault| fault.reason)
}

/// A state as a picture and a word.
#[cfg(feature = "ssr")]
pub(crate) fn state(active: bool, well: bool, word: &'static str) -> AnyView {
    let key = match (active, well) {
        (_, false) => "crashed",
        (true, true) => "running",
        (false, true) => "stopped",
    };
    view! { <span class=format!("state i-{key} {key}")>{word}</span> }.into_any()
}

/// A choice of the hosts that are seen as a whole and connected.
#[cfg(feature = "ssr")]
pub(crate) fn host_choice(hosts: &model::Inventory) -> AnyView {
    let wished = asked("host");
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
