//! Parts about machines that several pages share: state, actions, results.

use leptos::{ev::SubmitEvent, prelude::*};
use leptos_router::hooks::{use_location, use_query_map};
use model::{
    Domain, DomainCommand, DomainRef, DomainState, Host,
    command::{ForceOff, Shutdown},
};

use crate::{
    routes,
    store::{Store, acts::Acts, rows::Pending},
    task::cancel_of,
    ui::{controls::Submit, icons::icon, live::live},
};

/// The id of the form that the action buttons of a page belong to.
pub(crate) const FORM: &str = "act";

/// A state with icon, label and colour.
pub(crate) fn state(state: DomainState, reason: &str) -> AnyView {
    let title = (!reason.is_empty()).then(|| format!("{}: {reason}", state.label()));
    view! { <span class=format!("state i-{0} {0}", state.key()) title=title>{state.label()}</span> }.into_any()
}

/// A warning in addition to the state.
pub(crate) fn warning(domain: &Domain) -> Option<AnyView> {
    let why = "QEMU does not respond to libvirt, so the devices shown may be out of date. Check the machine's storage. As a last resort, use Force off.";
    domain.unresponsive.then(|| view! { <small class="pending" title=why>"not responding"</small> }.into_any())
}

/// The running command of a machine, with its cancel button.
pub(crate) fn under_way(store: Store, pending: Option<&Pending>) -> Option<AnyView> {
    let Pending { request, kind } = pending?;
    let words = DomainCommand::about_kind(kind)?.doing;
    if words.is_empty() {
        return None;
    }
    Some(view! { <small class="pending">{words}</small> " " {cancel_of(store, *request)} }.into_any())
}

/// The button of a command on a machine.
pub(crate) fn button(
    store: Store,
    command: &DomainCommand,
    id: &DomainRef,
    domain: &Domain,
    host: Option<&Host>,
    pending: Option<&Pending>,
) -> Submit {
    let denied = match (pending, host) {
        (Some(pending), _) if !may_interrupt(command, pending) => {
            let what = model::Command::label_of(&pending.kind).to_ascii_lowercase();
            Some(format!("{} is busy: {what} is in progress", domain.name))
        }
        (_, Some(host)) => store.check(command, domain, host).err().map(|fault| fault.reason),
        (_, None) => Some(format!("host {} is not configured", id.host)),
    };
    Submit {
        label: command.label().to_owned(),
        icon: command.about().icon,
        form: FORM,
        value: format!("{}@{id}", command.kind()),
        denied,
        busy: pending.is_some_and(|pending| pending.kind == command.kind()),
        class: "",
    }
}

/// Whether a command is allowed while another one runs: Force off always is, and a shutdown may
/// take long, so others may follow it.
fn may_interrupt(command: &DomainCommand, pending: &Pending) -> bool {
    let other = pending.kind != command.kind();
    other
        && (matches!(command, DomainCommand::ForceOff(ForceOff {}))
            || pending.kind == DomainCommand::Shutdown(Shutdown {}).kind())
}

/// The form that all action buttons of a page belong to. With JavaScript it never leaves the page:
/// the command is sent, and events report the rest.
#[component]
pub(crate) fn ActionForm(
    /// The listed machines, among which the selected ones are acted on.
    #[prop(optional)]
    shown: Option<Memo<Vec<DomainRef>>>,
) -> impl IntoView {
    let (store, acts) = (expect_context::<Store>(), expect_context::<Acts>());
    let location = use_location();
    let back = move || {
        let (path, query) = (location.pathname.get(), location.search.get());
        if query.is_empty() { path } else { format!("{path}?{}", query.trim_start_matches('?')) }
    };
    view! {
        <form id=FORM method="post" action=routes::at(routes::COMMANDS) on:submit=move |event| submitted(&event, shown, store, acts)>
            {form_token()}
            <input type="hidden" name="back" value=back/>
        </form>
    }
}

/// The hidden field that makes the requests of this rendering unique.
pub(crate) fn form_token() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let token = use_context::<crate::backend::FormToken>().unwrap_or_default().0;
    #[cfg(not(feature = "ssr"))]
    let token = "";
    view! { <input type="hidden" name="token" value=token/> }
}

/// Runs the command of the button that was pressed.
fn submitted(event: &SubmitEvent, shown: Option<Memo<Vec<DomainRef>>>, store: Store, acts: Acts) {
    event.prevent_default();
    #[cfg(feature = "hydrate")]
    {
        use wasm_bindgen::JsCast;
        let Some(button) = event.submitter().and_then(|element| element.dyn_into::<web_sys::HtmlButtonElement>().ok())
        else {
            return;
        };
        let wish = button.value();
        let Some((kind, target)) = wish.split_once('@') else { return };
        let Some(command) = DomainCommand::button(kind) else { return };
        let targets = match target {
            "selected" => {
                untrack(|| shown.map(|shown| shown.with(|shown| store.rows.ticked(shown))).unwrap_or_default())
            }
            one => one.parse().map(|id| vec![id]).unwrap_or_default(),
        };
        if button.get_attribute("aria-disabled").is_some() {
            acts.tell(command.label(), format!("{}.", button.title()), false);
            return;
        }
        acts.ask(command, targets);
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = (shown, store, acts);
}

/// The results of a form's requests, for pages without JavaScript.
#[component]
pub(crate) fn FormResults() -> impl IntoView {
    let query = use_query_map();
    let lines = Memo::new(move |_| results(&query.with(|query| query.get("result")).unwrap_or_default()));
    live(move || {
        let lines = lines.get();
        if lines.is_empty() {
            return ().into_any();
        }
        let lines = lines.into_iter().map(|(good, line)| {
            let (class, picture) = if good { ("good", "check") } else { ("bad", "crashed") };
            view! { <li class=class>{icon(picture)}{line}</li> }.into_any()
        });
        view! { <ul class="results" aria-label="Results">{lines.collect_view()}</ul> }.into_any()
    })
}

#[cfg(feature = "ssr")]
fn results(ids: &str) -> Vec<(bool, String)> {
    use crate::backend::{Backend, Done};
    let Some(backend) = use_context::<std::sync::Arc<dyn Backend>>() else { return Vec::new() };
    let done = ids.split(',').filter_map(|id| backend.done(id.parse().ok()?));
    done.map(|Done { name, command, outcome }| match outcome {
        Some(Ok(())) => (true, format!("{name} {}.", command.done())),
        Some(Err(fault)) => (false, fault.sentence()),
        None => (true, format!("{}: {name} is still in progress. Reload the page to see the result.", command.label())),
    })
    .collect()
}

/// In the browser results arrive as events.
#[cfg(not(feature = "ssr"))]
fn results(_: &str) -> Vec<(bool, String)> {
    Vec::new()
}
