//! What can be asked of a machine; each command is a file of its own below.

mod add_ssh_key;
mod discard_save;
mod force_off;
mod freeze_file_systems;
mod nmi;
mod pause;
mod reboot;
mod reboot_by_agent;
mod remove_ssh_key;
mod rename;
mod reset;
mod resume;
mod save;
mod set_autostart;
mod set_description;
mod set_guest_password;
mod set_tags;
mod set_title;
mod shutdown;
mod start;
mod start_paused;
mod sync_time;
mod thaw_file_systems;
mod trim_file_systems;

use super::verb::{About, Field, Input, Lane, Object, Plain, Verb, commands, unless as obstacle, verb};
use crate::{Domain, DomainState, Fault, Host, domain::Agent, text::is_plain};

commands! {
    /// What can be asked of a machine.
    DomainCommand on Domain {
        start::Start,
        start_paused::StartPaused,
        resume::Resume,
        pause::Pause,
        shutdown::Shutdown,
        reboot::Reboot,
        reboot_by_agent::RebootByAgent,
        save::Save,
        discard_save::DiscardSave,
        nmi::Nmi,
        reset::Reset,
        force_off::ForceOff,
        set_autostart::SetAutostart,
        rename::Rename,
        set_title::SetTitle,
        set_description::SetDescription,
        set_tags::SetTags,
        sync_time::SyncTime,
        trim_file_systems::TrimFileSystems,
        freeze_file_systems::FreezeFileSystems,
        thaw_file_systems::ThawFileSystems,
        add_ssh_key::AddSshKey,
        remove_ssh_key::RemoveSshKey,
        set_guest_password::SetGuestPassword,
    }
}

impl Object for Domain {
    type Around = Host;

    fn name(&self) -> &str {
        &self.name
    }

    fn host(around: &Host) -> &Host {
        around
    }
}

/// Commands on more machines than this ask for the number of machines to be typed.
pub(super) const MANY: usize = 50;

impl DomainCommand {
    /// The command of the menu with that `kind`.
    pub fn button(kind: &str) -> Option<Self> {
        Self::menu().into_iter().find(|command| command.kind() == kind)
    }

    /// The confirmation text for this command on so many machines: what is lost, or what stops on
    /// several machines at once. None when it needs no confirmation.
    pub fn asks(&self, machines: usize) -> Option<&'static str> {
        let many = "This runs on all selected machines at once and may load their hosts.";
        let several = self.about().several.or((machines > MANY).then_some(many));
        self.loses().or(several.filter(|_| machines > 1))
    }
}

const NOT_RUNNING: &str = "is not running";

/// Whether a machine shows the state that a command leads to.
fn shows(on: Option<&Domain>, state: DomainState) -> Option<bool> {
    on.filter(|on| on.state != DomainState::Unknown).map(|on| on.state == state)
}

/// Why a machine that has a process cannot be started.
fn is_active(on: &Domain) -> Option<&'static str> {
    use DomainState as S;
    on.state.is_active().then_some(match on.state {
        S::Paused => "is paused; resume it instead",
        S::Suspended => "is suspended; resume it instead",
        S::ShuttingDown => "is still shutting down",
        S::Crashed => "has crashed and still holds its process; force it off first",
        _ => "is already running",
    })
}

/// Why the guest cannot do what it is asked.
fn cannot_react(on: &Domain) -> Option<&'static str> {
    use DomainState as S;
    match on.state {
        S::Running => None,
        S::Paused => Some("is paused; resume it so that the guest can react"),
        S::Suspended => Some("is suspended; resume it so that the guest can react"),
        S::Crashed => Some("has crashed, so its guest cannot react; force it off instead"),
        S::ShuttingDown => Some("is already shutting down"),
        _ => Some(NOT_RUNNING),
    }
}

/// Whether the guest's agent can be asked.
///
/// # Errors
/// `Denied`, with the reason.
fn needs_agent(on: &Domain) -> Result<(), Fault> {
    obstacle(
        on,
        match (on.state, on.agent) {
            (DomainState::Running, Agent::Connected) => None,
            (DomainState::Running, Agent::Disconnected) => {
                Some("has no connected guest agent; start qemu-guest-agent in the guest")
            }
            (DomainState::Running, Agent::Absent) => Some("has no channel for a guest agent"),
            _ => Some("is not running, so its guest agent is unavailable"),
        },
    )
}

/// Whether a text can name a user in a guest, of Windows, too.
///
/// # Errors
/// `Invalid`.
fn check_user(text: &str) -> Result<(), Fault> {
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| is_plain(c) && !"/:\"".contains(c));
    if fits {
        Ok(())
    } else {
        Err(Fault::invalid("user", "a guest user name has 1 to 64 characters and none of / : \""))
    }
}

/// Longest public key in bytes.
const MAX_KEY: usize = 16 * 1024;

/// Whether a text can be a line of `authorized_keys` (sshd(8)), with options in front or not.
///
/// # Errors
/// `Invalid`.
fn check_public_key(text: &str) -> Result<(), Fault> {
    let kinds = ["ssh-", "ecdsa-", "sk-"];
    let mut words = text.split_whitespace();
    let fits = text.len() <= MAX_KEY
        && text.chars().all(is_plain)
        && words.any(|word| kinds.iter().any(|kind| word.starts_with(kind)))
        && words.next().is_some_and(|blob| blob.starts_with("AAAA"));
    let why = "a public key is one line, such as ssh-ed25519 AAAA… name";
    if fits { Ok(()) } else { Err(Fault::invalid("key", why)) }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
