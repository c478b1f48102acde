//! Guest agent actions and SSH keys. Rendered by the server; each form states why it is not
//! possible.

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
    live_section::{
        form::{Form, With},
        server_view::{Action, asked, denied, here, hosts},
    },
    routes::{self, Tab},
};

/// Default duration of a freeze, in seconds.
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
    let clock = Action::of("Set clock", DomainCommand::SyncTime(SyncTime {}), host, &id.into());
    let trim = Action::of("Trim file systems", DomainCommand::TrimFileSystems(TrimFileSystems {}), host, &id.into());
    let thaw = Action::of("Thaw file systems", DomainCommand::ThawFileSystems(ThawFileSystems {}), host, &id.into());
    let freeze = DomainCommand::FreezeFileSystems(FreezeFileSystems { seconds: FROZEN });
    let seconds = |form: &Form| form.field("seconds", With::default());
    let password =
        DomainCommand::SetGuestPassword(SetGuestPassword { user: "root".into(), password: Secret("x".into()) });
    let login = |form: &Form| {
        view! { {form.field("user", With::default())} {form.field("password", With::default())} }.into_any()
    };
    view! {
        <section class="card spaced" aria-label="Guest agent actions">
            <header><h2>"Guest agent"</h2></header>
            <div class="buttons-row calm">{clock.draw()} {trim.draw()} {thaw.draw()}</div>
            {form((id, host), freeze, "Freeze file systems", seconds)}
            <p class="muted calm">"While frozen, nothing in the guest can write, so its disks can be copied consistently. The file systems are thawed automatically after the set time, even if this page is closed."</p>
            {form((id, host), password, "Set password", login)}
        </section>
    }
    .into_any()
}

/// The SSH keys of the guest user in the query, and a form to select a user.
fn keys(id: &DomainRef, host: &HostInventory, read: Option<Result<SshKeyList, Fault>>) -> AnyView {
    let wished = asked("keysOf");
    let user = if wished.is_empty() { "root".to_owned() } else { wished.clone() };
    let list = read.map(|read| match read {
        Ok(list) if list.keys.is_empty() => {
            view! { <p class="muted calm">{format!("No SSH keys for {user}.")}</p> }.into_any()
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
            {form.field("key", With { place: "e.g. ssh-ed25519 AAAA… user@host", ..With::default() })}
        }
        .into_any()
    };
    view! {
        <section class="card spaced" aria-label="SSH keys">
            <header><h2>"SSH keys"</h2></header>
            <form class="fields across" method="get" action=routes::vm_tab(id, Tab::Guest)>
                <label>"User name" <input name="keysOf" required value=user autocomplete="off" autocapitalize="none" spellcheck="false"/></label>
                <button class="btn">"Show keys"</button>
            </form>
            {list}
            {shown.then(|| form((id, host), sample, "Add key", fields))}
        </section>
    }
    .into_any()
}

/// A placeholder key, to check whether the machine allows adding one.
const SAMPLE: &str = "ssh-ed25519 AAAA";

/// One key, shortened, with its remove button.
fn line(id: &DomainRef, host: &HostInventory, user: &str, key: &str) -> AnyView {
    let short = short(key);
    let remove = DomainCommand::RemoveSshKey(RemoveSshKey { user: user.to_owned(), key: key.to_owned() });
    let mut action = Action::of("Remove", remove, host, &id.into());
    action.about.clone_from(&short);
    view! { <li><span class="mono" title=key.to_owned()>{short}</span> {action.draw()}</li> }.into_any()
}

/// A key's type, the end of its data, and its comment.
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
    fn shortened_keys_stay_distinguishable() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJabcdefghijkl me@home";
        assert_eq!(short(key), "ssh-ed25519 …abcdefghijkl me@home");
        assert_eq!(short("ssh-rsa AAAAä"), "ssh-rsa AAAAä");
    }
}
