//! Commands for machines. Each command is a separate file below.

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
    /// A command for a machine.
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

/// Commands on more machines than this require typing the number of machines.
pub(super) const MANY: usize = 50;

impl DomainCommand {
    /// The menu command with that `kind`.
    pub fn button(kind: &str) -> Option<Self> {
        Self::menu().into_iter().find(|command| command.kind() == kind)
    }

    /// The confirmation text for this command on `machines` machines: what is lost, or what stops
    /// on several machines at once. None if no confirmation is needed.
    pub fn asks(&self, machines: usize) -> Option<&'static str> {
        let many = "This runs on all selected machines at once and may put a high load on their hosts.";
        let several = self.about().several.or((machines > MANY).then_some(many));
        self.loses().or(several.filter(|_| machines > 1))
    }
}

const NOT_RUNNING: &str = "is not running";

/// Whether a machine is in the state that a command leads to.
fn shows(on: Option<&Domain>, state: DomainState) -> Option<bool> {
    on.filter(|on| on.state != DomainState::Unknown).map(|on| on.state == state)
}

/// Why an active machine cannot be started.
fn is_active(on: &Domain) -> Option<&'static str> {
    use DomainState as S;
    on.state.is_active().then_some(match on.state {
        S::Paused => "is paused; resume it instead",
        S::Suspended => "is suspended; resume it instead",
        S::ShuttingDown => "is still shutting down",
        S::Crashed => "has crashed and its process still exists; force it off first",
        _ => "is already running",
    })
}

/// Why the guest cannot respond to a request.
fn cannot_react(on: &Domain) -> Option<&'static str> {
    use DomainState as S;
    match on.state {
        S::Running => None,
        S::Paused => Some("is paused, so its guest cannot respond; resume it first"),
        S::Suspended => Some("is suspended, so its guest cannot respond; resume it first"),
        S::Crashed => Some("has crashed, so its guest cannot respond; force it off instead"),
        S::ShuttingDown => Some("is already shutting down"),
        _ => Some(NOT_RUNNING),
    }
}

/// Whether the guest agent can be queried.
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
            (DomainState::Running, Agent::Absent) => Some("has no guest agent channel in its definition"),
            _ => Some("is not running, so its guest agent is unavailable"),
        },
    )
}

/// Whether a text is a valid guest user name, also on Windows.
///
/// # Errors
/// `Invalid`.
fn check_user(text: &str) -> Result<(), Fault> {
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| is_plain(c) && !"/:\"".contains(c));
    if fits { Ok(()) } else { Err(Fault::invalid("user", "must be 1 to 64 characters without / : \"")) }
}

/// Maximum length of a public key in bytes.
const MAX_KEY: usize = 16 * 1024;

/// Whether a text is a line of `authorized_keys` (sshd(8)), with or without options.
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
    let why = "must be a public key on one line, such as ssh-ed25519 AAAA… name";
    if fits { Ok(()) } else { Err(Fault::invalid("key", why)) }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
