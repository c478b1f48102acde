//! Properties of a machine, of its guest, and its notes.

use std::sync::Arc;

use leptos::{ev::SubmitEvent, prelude::*};
use model::{
    Domain, DomainCommand, DomainRef,
    command::{Rename, SetAutostart, SetDescription, SetTags, SetTitle, form::words},
    domain::Agent,
};

use super::{Subject, usage};
use crate::{
    format, routes,
    store::{Store, acts::Acts, shown::Shown, use_store},
    ui::{
        controls::{fact, or_dash},
        live::live,
    },
    vm::form_token,
};

/// The first tab.
#[component]
pub(crate) fn OverviewTab() -> impl IntoView {
    let store = use_store();
    let Subject { id, domain, .. } = expect_context();
    let (machine, guest, notes) = (domain.clone(), domain.clone(), domain);
    let (machine_id, notes_id) = (id.clone(), id);
    view! {
        {usage::charts()}
        <div class="grid g3">
            <section class="card">
                <header><h2>"Machine"</h2></header>
                {move || machine_facts(store, &machine_id, &machine.get())}
            </section>
            <section class="card">
                <header><h2>"Guest"</h2></header>
                {move || guest_facts(&guest.get())}
            </section>
            <section class="card">
                <header><h2>"Notes"</h2></header>
                <Notes id=notes_id domain=notes/>
            </section>
        </div>
    }
}

fn machine_facts(store: Store, id: &DomainRef, domain: &Arc<Domain>) -> AnyView {
    let vcpus = match (domain.vcpus, domain.max_vcpus) {
        (now, most) if now == most => now.to_string(),
        (now, most) => format!("{now} of {most}"),
    };
    let memory = match (domain.memory_mb, domain.max_memory_mb) {
        (now, most) if now == most => format::memory(now),
        (now, most) => format!("{} of {}", format::memory(now), format::memory(most)),
    };
    let kind = match domain.virt_type.as_str() {
        "kvm" => "KVM",
        "qemu" => "QEMU (emulation)",
        "test" => "test driver",
        other => other,
    };
    view! {
        <dl>
            {fact("vCPUs", vcpus)}
            {fact("Memory", memory)}
            {fact("Firmware", if domain.uefi { "UEFI" } else { "BIOS" })}
            {fact("Type", kind.to_owned())}
            {fact("Machine type", view! { <span class="mono">{domain.arch.clone()} " " {domain.machine.clone()}</span> })}
            {fact("Autostart", autostart(store, id, domain))}
            {fact("Definition", if domain.persistent { "Persistent" } else { "Transient: removed when it stops" })}
            {fact("Saved state", if domain.has_managed_save { "Yes: the next start restores it" } else { "None" })}
            {fact("UUID", view! { <span class="mono">{domain.id.to_string()}</span> })}
        </dl>
    }
    .into_any()
}

/// Autostart, with a button to change it.
fn autostart(store: Store, id: &DomainRef, domain: &Domain) -> impl IntoView + use<> {
    let command = DomainCommand::SetAutostart(SetAutostart { enabled: !domain.autostart });
    let host = store.host(&id.host);
    let denied = host.and_then(|host| store.check(&command, domain, &host).err()).map(|fault| fault.reason);
    let enabled = if domain.autostart { "false" } else { "true" };
    let acts = expect_context::<Acts>();
    let (target, wish, refused) = (id.clone(), command.clone(), denied.clone());
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        match &refused {
            Some(reason) => acts.tell(wish.label(), format!("{reason}."), false),
            None => acts.run(&wish, std::slice::from_ref(&target)),
        }
    };
    view! {
        <form class="inline" method="post" action=routes::at(routes::COMMANDS) on:submit=submit>
            {form_token()}
            <input type="hidden" name="back" value=routes::vm(id)/>
            <input type="hidden" name="enabled" value=enabled/>
            {if domain.autostart { "On" } else { "Off" }}
            <button class="btn small" name="do" value=format!("setAutostart@{id}") title=denied.clone() aria-disabled=denied.is_some().then_some("true")>
                {command.label()}
            </button>
        </form>
    }
}

fn guest_facts(domain: &Arc<Domain>) -> AnyView {
    let agent = match domain.agent {
        Agent::Connected => "Connected",
        Agent::Disconnected if domain.state.is_active() => {
            "Not connected: install and start qemu-guest-agent in the guest"
        }
        Agent::Disconnected => "Not connected",
        Agent::Absent => "No guest agent channel",
    };
    let said = |pick: fn(&model::domain::Guest) -> &String| {
        or_dash(domain.guest.as_ref().map(pick).map_or("", String::as_str))
    };
    let addresses = if domain.addresses.is_empty() {
        or_dash("")
    } else {
        domain
            .addresses
            .iter()
            .map(|address| view! { <span class="mono line">{address.clone()}</span> }.into_any())
            .collect_view()
            .into_any()
    };
    view! {
        <dl>
            {fact("Agent", agent)}
            {fact("Host name", said(|guest| &guest.hostname))}
            {fact("OS", said(|guest| &guest.os_version))}
            {fact("Addresses", addresses)}
        </dl>
    }
    .into_any()
}

/// Title, description, tags and name, each with its own form. Text being edited is never
/// overwritten; a change from elsewhere is shown beside it.
#[component]
fn Notes(
    /// The machine's id.
    id: DomainRef,
    /// The machine.
    domain: Shown<Arc<Domain>>,
) -> impl IntoView {
    let shown = domain.clone();
    let edit = |name, label, area, value: fn(&Domain) -> String, command: fn(String) -> DomainCommand| {
        view! { <Edit id=id.clone() domain=domain.clone() name=name label=label area=area value=value command=command/> }
    };
    view! {
        {move || {
            let domain = shown.get();
            view! {
                <dl>
                    {fact("Title", or_dash(&domain.title))}
                    {fact("Description", view! { <span class="prose">{or_dash(&domain.description)}</span> })}
                    {fact("Tags", or_dash(&domain.tags.join(", ")))}
                </dl>
            }
            .into_any()
        }}
        {edit("title", "Title", false, |domain| domain.title.clone(), |title| DomainCommand::SetTitle(SetTitle { title }))}
        {edit("description", "Description", true, |domain| domain.description.clone(), |description| DomainCommand::SetDescription(SetDescription { description }))}
        {edit("tags", "Tags", false, |domain| domain.tags.join(", "), |tags| DomainCommand::SetTags(SetTags { tags: words(&tags) }))}
        {edit("name", "Name", false, |domain| domain.name.clone(), |name| DomainCommand::Rename(Rename { name }))}
    }
}

/// The value entered into a refused form, for the page that renders it again.
#[cfg(feature = "ssr")]
fn typed_before(wish: &str, name: &str) -> Option<String> {
    let refused = use_context::<Arc<crate::backend::Refused>>().filter(|refused| refused.wish == wish)?;
    refused.typed(name).map(str::to_owned)
}

/// In the browser a refused form stays as it is.
#[cfg(not(feature = "ssr"))]
fn typed_before(_: &str, _: &str) -> Option<String> {
    None
}

/// One value with its form.
#[component]
fn Edit(
    id: DomainRef,
    domain: Shown<Arc<Domain>>,
    /// Name of the form field.
    name: &'static str,
    /// Label.
    label: &'static str,
    /// Whether it is multi-line.
    area: bool,
    /// Reads the value.
    value: fn(&Domain) -> String,
    /// The command that sets the value.
    command: fn(String) -> DomainCommand,
) -> impl IntoView {
    let (store, acts) = (use_store(), expect_context::<Acts>());
    let wish = format!("{}@{id}", command(String::new()).kind());
    let again = typed_before(&wish, name);
    let open = again.is_some();
    let began = again.unwrap_or_else(|| domain.with_untracked(|domain| value(domain)));
    let typed = RwSignal::new(began.clone());
    let (watched, checked, target) = (domain.clone(), domain, id.clone());
    let base = began.clone();
    let meanwhile = live(move || {
        let now = watched.with(|domain| value(domain));
        let changed = now != base && now != typed.get();
        changed.then(|| view! { <p class="pending">"Changed meanwhile to: " {now}</p> }.into_any()).into_any()
    });
    let denied = move || {
        let host = store.host(&target.host)?;
        command(typed.get()).check_on(&checked.get(), &host).err().map(|fault| format!("{}.", fault.about_field()))
    };
    let (refused, why, shown, to) = (denied.clone(), denied.clone(), denied.clone(), id.clone());
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        match untrack(&refused) {
            Some(reason) => acts.tell(label, reason, true),
            None => acts.run(&command(typed.get_untracked()), std::slice::from_ref(&to)),
        }
    };
    let field = if area {
        view! { <textarea name=name rows="4" aria-label=label on:input=move |event| typed.set(event_target_value(&event))>{began}</textarea> }.into_any()
    } else {
        view! { <input type="text" name=name aria-label=label value=began on:input=move |event| typed.set(event_target_value(&event))/> }.into_any()
    };
    view! {
        <details class="edit" open=open>
            <summary>"Change " {label.to_ascii_lowercase()}</summary>
            <form method="post" action=routes::at(routes::COMMANDS) on:submit=submit>
                {form_token()}
                <input type="hidden" name="back" value=routes::vm(&id)/>
                {field}
                {live(move || shown().map(|why| view! { <small class="wrong" role="status">{why}</small> }.into_any()).into_any())}
                <button class="btn small primary" name="do" value=wish aria-disabled=move || denied().map(|_| "true") title=why>"Save " {label.to_ascii_lowercase()}</button>
                {meanwhile}
            </form>
        </details>
    }
}
