//! What a guest's agent can be asked to do, and who may log in to the guest with a key. Drawn by
//! the server; each form says why it is not possible.

use leptos::prelude::*;
use model::{
    Command, DomainCommand, DomainRef, Fault, HostInventory,
    command::{
        AddSshKey, FreezeFileSystems, RemoveSshKey, Secret, SetGuestPassword, SyncTime, ThawFileSystems,
        TrimFileSystems,
    },
    query::SshKeyList,
};

use crate::{
    around::{
        drawn::{Action, asked, denied, here, hosts},
        form::{Form, With},
    },
    routes::{self, Tab},
};

/// How long file systems are frozen when nobody says otherwise.
const FROZEN: u32 = 30;

/// Both cards.
pub(super) fn draw(id: &DomainRef, keys_of: Option<Result<SshKeyList, Fault>>) -> AnyView {
    let hosts = hosts();
    let Some(host) = hosts.hosts.get(&id.host) else { return ().into_any() };
    view! {
        {actions(id, host)}
        {keys(id, host, keys_of)}
    }
    .into_any()
}

fn actions(id: &DomainRef, host: &HostInventory) -> AnyView {
    let clock = Action::of("Set clock", DomainCommand::SyncTime(SyncTime {}), host, id);
    let trim = Action::of("Trim file systems", DomainCommand::TrimFileSystems(TrimFileSystems {}), host, id);
    let thaw = Action::of("Thaw file systems", DomainCommand::ThawFileSystems(ThawFileSystems {}), host, id);
    let freeze = DomainCommand::FreezeFileSystems(FreezeFileSystems { seconds: FROZEN });
    let seconds = |form: &Form| form.field("seconds", With::default());
    let password =
        DomainCommand::SetGuestPassword(SetGuestPassword { user: "root".into(), password: Secret("x".into()) });
    let login = |form: &Form| {
        view! { {form.field("user", With::default())} {form.field("password", With::default())} }.into_any()
    };
    view! {
        <section class="card spaced" aria-label="What the agent can do">
            <header><h2>"Agent"</h2></header>
            <div class="buttons-row calm">{clock.draw()} {trim.draw()} {thaw.draw()}</div>
            {form((id, host), freeze, "Freeze file systems", seconds)}
            <p class="muted calm">"While they are frozen nothing in the guest can write, as a copy of its disks wants it. They are thawed when the time is over, whatever happens to this page."</p>
            {form((id, host), password, "Set password", login)}
        </section>
    }
    .into_any()
}

/// The keys of whom the address names, and a form to name somebody.
fn keys(id: &DomainRef, host: &HostInventory, read: Option<Result<SshKeyList, Fault>>) -> AnyView {
    let wished = asked("keysOf");
    let user = if wished.is_empty() { "root".to_owned() } else { wished.clone() };
    let list = read.map(|read| match read {
        Ok(list) if list.keys.is_empty() => {
            view! { <p class="muted calm">{format!("No key lets anybody in as {user}.")}</p> }.into_any()
        }
        Ok(list) => {
            let lines = list.keys.iter().map(|key| line(id, host, &user, key)).collect_view();
            view! { <ul class="log apart" aria-label=format!("Keys of {user}")>{lines}</ul> }.into_any()
        }
        Err(fault) => view! { <p class="muted calm" role="alert">{fault.sentence()}</p> }.into_any(),
    });
    let shown = list.is_some();
    let sample = DomainCommand::AddSshKey(AddSshKey { user: "root".into(), key: SAMPLE.into() });
    let whose = user.clone();
    let fields = move |form: &Form| {
        view! {
            <input type="hidden" name="user" value=whose/>
            {form.field("key", With { place: "ssh-ed25519 AAAA… name", ..With::default() })}
        }
        .into_any()
    };
    view! {
        <section class="card spaced" aria-label="SSH keys">
            <header><h2>"SSH keys"</h2></header>
            <form class="fields across" method="get" action=routes::vm_tab(id, Tab::Guest)>
                <label>"Keys of" <input name="keysOf" required value=user autocomplete="off" autocapitalize="none" spellcheck="false"/></label>
                <button class="btn">"Show keys"</button>
            </form>
            {list}
            {shown.then(|| form((id, host), sample, "Add key", fields))}
        </section>
    }
    .into_any()
}

/// Stands for any key where only the machine decides whether one can be added.
const SAMPLE: &str = "ssh-ed25519 AAAA";

/// One key: what tells it from others, and a way to take it away.
fn line(id: &DomainRef, host: &HostInventory, user: &str, key: &str) -> AnyView {
    let short = short(key);
    let remove = DomainCommand::RemoveSshKey(RemoveSshKey { user: user.to_owned(), key: key.to_owned() });
    let mut action = Action::of("Remove", remove, host, id);
    action.about.clone_from(&short);
    view! { <li><span class="mono" title=key.to_owned()>{short}</span> {action.draw()}</li> }.into_any()
}

/// A key's kind, the end of its text, and its name.
fn short(key: &str) -> String {
    let cut = |word: &str| match word.char_indices().rev().nth(11) {
        Some((at, _)) if word.starts_with("AAAA") && word.len() > 24 => format!("…{}", &word[at..]),
        _ => word.to_owned(),
    };
    key.split_whitespace().map(cut).collect::<Vec<_>>().join(" ")
}

/// A form for a command with fields.
fn form(
    (id, host): (&DomainRef, &HostInventory),
    sample: DomainCommand,
    verb: &'static str,
    fields: impl FnOnce(&Form) -> AnyView,
) -> AnyView {
    let form = Form::with((verb, sample.fields()), format!("{}@{id}", sample.kind()), Vec::new());
    let denied = denied(&Command::from(sample), host, id.id);
    let content = view! { {fields(&form)} {form.button_unless(verb, denied, None)} };
    form.draw("fields across", None, here(), content.into_any())
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_key_is_short_enough_to_tell_it_from_others() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJabcdefghijkl me@home";
        assert_eq!(short(key), "ssh-ed25519 …abcdefghijkl me@home");
        assert_eq!(short("ssh-rsa AAAAä"), "ssh-rsa AAAAä");
    }
}
