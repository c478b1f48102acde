//! Pieces about machines that several pages show: state, actions, results.

use leptos::{ev::SubmitEvent, prelude::*};
use leptos_router::hooks::{use_location, use_query_map};
use model::{
    Domain, DomainCommand, DomainRef, DomainState, Host,
    command::{ForceOff, Shutdown},
};

use crate::{
    act::Acts,
    routes,
    store::{Store, rows::Pending},
    task::cancel_of,
    ui::{controls::Submit, icons::icon, live::live},
};

/// The id of the one form of a page whose buttons stand all over it.
pub(crate) const FORM: &str = "act";

/// A state as picture, word and colour.
pub(crate) fn state(state: DomainState, reason: &str) -> AnyView {
    let title = (!reason.is_empty()).then(|| format!("{}: {reason}", state.label()));
    view! { <span class=format!("state i-{0} {0}", state.key()) title=title>{state.label()}</span> }.into_any()
}

/// What must be known of a machine beside its state.
pub(crate) fn warning(domain: &Domain) -> Option<AnyView> {
    let why = "Its process does not answer libvirt, so its devices may be out of date. Look at its storage; Force off ends it if nothing else does.";
    domain.unresponsive.then(|| view! { <small class="pending" title=why>"not answering"</small> }.into_any())
}

/// What is being done with a machine, as long as it takes, and the way to end that.
pub(crate) fn under_way(store: Store, pending: Option<&Pending>) -> Option<AnyView> {
    let Pending { request, kind } = pending?;
    let words = DomainCommand::about_kind(kind)?.doing;
    if words.is_empty() {
        return None;
    }
    Some(view! { <small class="pending">{words}</small> " " {cancel_of(store, *request)} }.into_any())
}

/// The button of an action on a machine.
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
            Some(format!("{} is busy: {what} is under way", domain.name))
        }
        (_, Some(host)) => store.check(command, domain, host).err().map(|fault| fault.reason),
        (_, None) => Some(format!("{} is not known", id.host)),
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

/// Whether it may be wished while something else is under way: the plug can
/// always be pulled, and a guest that was asked to shut down may be long about it.
fn may_interrupt(command: &DomainCommand, pending: &Pending) -> bool {
    let other = pending.kind != command.kind();
    other
        && (matches!(command, DomainCommand::ForceOff(ForceOff {}))
            || pending.kind == DomainCommand::Shutdown(Shutdown {}).kind())
}

/// The form that all action buttons of a page belong to. With JavaScript it
/// never leaves the page: a command is sent and the events tell the rest.
#[component]
pub(crate) fn ActionForm(
    /// The machines among which those are that are ticked.
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

/// The hidden field that makes the requests of this rendering its own.
pub(crate) fn form_token() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let token = use_context::<crate::backend::FormToken>().unwrap_or_default().0;
    #[cfg(not(feature = "ssr"))]
    let token = "";
    view! { <input type="hidden" name="token" value=token/> }
}

/// Which button of the form was pressed, for which machines.
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

/// How the requests of a form ended, for pages without JavaScript.
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
        None => {
            (true, format!("{}: {name} is still under way. Load the page again to see how it ended.", command.label()))
        }
    })
    .collect()
}

/// In the browser results come as events.
#[cfg(not(feature = "ssr"))]
fn results(_: &str) -> Vec<(bool, String)> {
    Vec::new()
}
