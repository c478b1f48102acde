//! What can be asked of a machine.

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::{
    Domain, DomainState, Fault, Host,
    domain::{Agent, normal_tags},
    text::{check_line, check_lines, is_plain},
};

/// What can be asked of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum DomainCommand {
    /// Boot, or restore the saved state if there is one (`virDomainCreate`).
    Start {},
    /// Boot with the processors halted (`VIR_DOMAIN_START_PAUSED`).
    StartPaused {},
    /// Ask the guest to shut down (`virDomainShutdownFlags`): ACPI, then the agent.
    Shutdown {},
    /// Pull the plug (`virDomainDestroy`).
    ForceOff {},
    /// Ask the guest to restart (`virDomainReboot`).
    Reboot {},
    /// Press the reset button (`virDomainReset`).
    Reset {},
    /// Halt the processors (`virDomainSuspend`).
    Pause {},
    /// Let the processors run again, or wake the guest (`virDomainResume`, `virDomainPMWakeup`).
    Resume {},
    /// Write memory to disk and stop (`virDomainManagedSave`).
    Save {},
    /// Throw the saved memory away (`virDomainManagedSaveRemove`).
    DiscardSave {},
    /// Send a non-maskable interrupt (`virDomainInjectNMI`).
    Nmi {},
    /// Start with the host, or not (`virDomainSetAutostart`).
    SetAutostart {
        /// Whether to.
        enabled: bool,
    },
    /// Give another name (`virDomainRename`).
    Rename {
        /// The new name.
        name: String,
    },
    /// Set the short line for people; empty removes it (`virDomainSetMetadata`).
    SetTitle {
        /// The new title.
        title: String,
    },
    /// Set the longer text for people; empty removes it (`virDomainSetMetadata`).
    SetDescription {
        /// The new description.
        description: String,
    },
    /// Set the guest's clock to the time of now, by its agent (`virDomainSetTime`).
    SyncTime {},
    /// Give room that the guest's file systems do not use back, by its agent
    /// (`virDomainFSTrim`).
    TrimFileSystems {},
    /// Hold the guest's file systems still, as for a copy of its disks, and let them go on after
    /// so many seconds at the latest, by its agent (`virDomainFSFreeze`, `virDomainFSThaw`).
    FreezeFileSystems {
        /// How long at most.
        seconds: u32,
    },
    /// Let the guest's file systems go on, by its agent (`virDomainFSThaw`).
    ThawFileSystems {},
    /// Let somebody log in to the guest with a key, by its agent
    /// (`virDomainAuthorizedSSHKeysSet`).
    AddSshKey {
        /// Who.
        user: String,
        /// The public key, as a line of `authorized_keys`.
        key: String,
    },
    /// The opposite.
    RemoveSshKey {
        /// Who.
        user: String,
        /// The public key, as it stands there.
        key: String,
    },
    /// Give somebody in the guest another password, by its agent (`virDomainSetUserPassword`).
    SetGuestPassword {
        /// Who.
        user: String,
        /// The new password.
        password: Secret,
    },
    /// Replace all tags (`virDomainSetMetadata`).
    SetTags {
        /// The new tags.
        tags: Vec<String>,
    },
}

/// Whether a text can name somebody in a guest, of Windows, too.
fn is_user(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| is_plain(c) && !"/:\"".contains(c))
}

/// Whether a text can be a line of `authorized_keys` (sshd(8)), with options in front or not.
fn is_public_key(text: &str) -> bool {
    let kinds = ["ssh-", "ecdsa-", "sk-"];
    let mut words = text.split_whitespace();
    text.len() <= MAX_KEY
        && text.chars().all(is_plain)
        && words.any(|word| kinds.iter().any(|kind| word.starts_with(kind)))
        && words.next().is_some_and(|blob| blob.starts_with("AAAA"))
}

/// The verb of a kind; empty for one that is not known.
pub(super) fn label_of(kind: &str) -> &'static str {
    match kind {
        "setAutostart" => "Set autostart",
        "rename" => "Rename",
        "setTitle" => "Set title",
        "setDescription" => "Set description",
        "setTags" => "Set tags",
        "syncTime" => "Set clock",
        "trimFileSystems" => "Trim file systems",
        "freezeFileSystems" => "Freeze file systems",
        "thawFileSystems" => "Thaw file systems",
        "addSshKey" => "Add SSH key",
        "removeSshKey" => "Remove SSH key",
        "setGuestPassword" => "Set password",
        other => DomainCommand::button(other).map_or("", |command| command.label()),
    }
}

/// Longest name in bytes; libvirt makes file names of it.
const MAX_NAME: usize = 200;
/// Longest public key in bytes.
const MAX_KEY: usize = 16 * 1024;
/// Longest time that file systems may be frozen, in seconds.
const MAX_FROZEN: u32 = 600;
/// Longest title in characters.
const MAX_TITLE: usize = 200;
/// Longest description in bytes.
const MAX_DESCRIPTION: usize = 16 * 1024;
/// Most tags of one machine.
const MAX_TAGS: usize = 32;
/// Longest tag in characters.
const MAX_TAG: usize = 48;

/// Commands on more machines than this ask for the number of machines to be typed.
pub(super) const MANY: usize = 50;

impl DomainCommand {
    /// The commands that need nothing but a target, in the order of menus.
    pub const BUTTONS: [Self; 11] = [
        Self::Start {},
        Self::StartPaused {},
        Self::Resume {},
        Self::Pause {},
        Self::Shutdown {},
        Self::Reboot {},
        Self::Save {},
        Self::DiscardSave {},
        Self::Nmi {},
        Self::Reset {},
        Self::ForceOff {},
    ];

    /// The name in JSON and forms.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start {} => "start",
            Self::StartPaused {} => "startPaused",
            Self::Shutdown {} => "shutdown",
            Self::ForceOff {} => "forceOff",
            Self::Reboot {} => "reboot",
            Self::Reset {} => "reset",
            Self::Pause {} => "pause",
            Self::Resume {} => "resume",
            Self::Save {} => "save",
            Self::DiscardSave {} => "discardSave",
            Self::Nmi {} => "nmi",
            Self::SetAutostart { .. } => "setAutostart",
            Self::Rename { .. } => "rename",
            Self::SetTitle { .. } => "setTitle",
            Self::SetDescription { .. } => "setDescription",
            Self::SetTags { .. } => "setTags",
            Self::SyncTime {} => "syncTime",
            Self::TrimFileSystems {} => "trimFileSystems",
            Self::FreezeFileSystems { .. } => "freezeFileSystems",
            Self::ThawFileSystems {} => "thawFileSystems",
            Self::AddSshKey { .. } => "addSshKey",
            Self::RemoveSshKey { .. } => "removeSshKey",
            Self::SetGuestPassword { .. } => "setGuestPassword",
        }
    }

    /// The argument-free command with that `kind`.
    pub fn button(kind: &str) -> Option<Self> {
        Self::BUTTONS.into_iter().find(|command| command.kind() == kind)
    }

    /// The verb on its button.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Start {} => "Start",
            Self::StartPaused {} => "Start paused",
            Self::Shutdown {} => "Shut down",
            Self::ForceOff {} => "Force off",
            Self::Reboot {} => "Reboot",
            Self::Reset {} => "Reset",
            Self::Pause {} => "Pause",
            Self::Resume {} => "Resume",
            Self::Save {} => "Save",
            Self::DiscardSave {} => "Discard saved state",
            Self::Nmi {} => "Send NMI",
            Self::SetAutostart { enabled: true } => "Turn autostart on",
            Self::SetAutostart { enabled: false } => "Turn autostart off",
            Self::Rename { .. } => "Rename",
            Self::SetTitle { .. } => "Set title",
            Self::SetDescription { .. } => "Set description",
            Self::SetTags { .. } => "Set tags",
            Self::SyncTime {} => "Set clock",
            Self::TrimFileSystems {} => "Trim file systems",
            Self::FreezeFileSystems { .. } => "Freeze file systems",
            Self::ThawFileSystems {} => "Thaw file systems",
            Self::AddSshKey { .. } => "Add SSH key",
            Self::RemoveSshKey { .. } => "Remove SSH key",
            Self::SetGuestPassword { .. } => "Set password",
        }
    }

    /// What it did, for "web-01 …".
    pub fn done(&self) -> &'static str {
        match self {
            Self::Start {} => "is running",
            Self::StartPaused {} => "is started and paused",
            Self::Shutdown {} => "is shut down",
            Self::ForceOff {} => "is off",
            Self::Reboot {} => "was asked to reboot",
            Self::Reset {} => "was reset",
            Self::Pause {} => "is paused",
            Self::Resume {} => "is running again",
            Self::Save {} => "is saved and stopped",
            Self::DiscardSave {} => "has no saved state any more",
            Self::Nmi {} => "was sent an NMI",
            Self::SetAutostart { enabled: true } => "starts with its host",
            Self::SetAutostart { enabled: false } => "does not start with its host",
            Self::Rename { .. } => "was renamed",
            Self::SetTitle { .. } => "has a new title",
            Self::SetDescription { .. } => "has a new description",
            Self::SetTags { .. } => "has new tags",
            Self::SyncTime {} => "has the time of now",
            Self::TrimFileSystems {} => "gave back what it does not use",
            Self::FreezeFileSystems { .. } => "was frozen and goes on",
            Self::ThawFileSystems {} => "is not frozen",
            Self::AddSshKey { .. } => "takes one more key",
            Self::RemoveSshKey { .. } => "takes one key less",
            Self::SetGuestPassword { .. } => "has a new password",
        }
    }

    /// What is lost by it, for a confirmation; none when nothing is.
    pub fn loses(&self) -> Option<&'static str> {
        match self {
            Self::ForceOff {} => Some(
                "The guest is not asked. Unsaved data is lost and file systems may be damaged, as if the plug were pulled.",
            ),
            Self::Reset {} => Some(
                "The guest is not asked. Unsaved data is lost and file systems may be damaged, as if the reset button were pressed.",
            ),
            Self::DiscardSave {} => Some("The saved memory is thrown away. The next start is a cold boot."),
            Self::Nmi {} => Some("Many guests answer an NMI with a crash dump and a restart."),
            _ => None,
        }
    }

    /// The confirmation text for this command on so many machines: what is lost, or what stops on
    /// several machines at once. None when it needs no confirmation.
    pub fn asks(&self, machines: usize) -> Option<&'static str> {
        let several = match self {
            Self::Shutdown {} => Some(
                "The guest operating system is asked to shut down. Its services are unavailable until the next start.",
            ),
            Self::Reboot {} => Some(
                "The guest operating system is asked to reboot. Its services are unavailable until it is up again.",
            ),
            Self::Save {} => {
                Some("Guest memory is written to disk. The guest's services are unavailable until the next start.")
            }
            _ if machines > MANY => Some("This runs on all selected machines at once and may load their hosts."),
            _ => None,
        };
        self.loses().or(several.filter(|_| machines > 1))
    }

    /// Whether it is the guest's agent that does it.
    pub fn asks_agent(&self) -> bool {
        matches!(
            self,
            Self::SyncTime {}
                | Self::TrimFileSystems {}
                | Self::FreezeFileSystems { .. }
                | Self::ThawFileSystems {}
                | Self::AddSshKey { .. }
                | Self::RemoveSshKey { .. }
                | Self::SetGuestPassword { .. }
        )
    }

    /// The state in which a machine is once this has worked; none when the state
    /// does not tell.
    pub fn leads_to(&self) -> Option<DomainState> {
        match self {
            Self::Start {} | Self::Resume {} => Some(DomainState::Running),
            Self::StartPaused {} | Self::Pause {} => Some(DomainState::Paused),
            Self::Shutdown {} | Self::ForceOff {} | Self::Save {} => Some(DomainState::Stopped),
            _ => None,
        }
    }

    /// Whether a machine shows that this was done, for a command whose end nobody
    /// saw: yes, no, or none when a machine looks the same with and without it.
    /// `domain` is none when the machine does not exist (any more).
    pub fn evidence(&self, domain: Option<&Domain>) -> Option<bool> {
        let Some(domain) = domain else {
            // A transient machine goes when it stops; any other was taken away by somebody else.
            return matches!(self, Self::ForceOff {} | Self::Shutdown {}).then_some(true);
        };
        match self {
            Self::Save {} => Some(domain.has_managed_save),
            Self::DiscardSave {} => Some(!domain.has_managed_save),
            Self::SetAutostart { enabled } => Some(domain.autostart == *enabled),
            Self::Rename { name } => Some(domain.name == *name),
            Self::SetTitle { title } => Some(domain.title == title.trim()),
            Self::SetDescription { description } => Some(domain.description == description.trim()),
            Self::SetTags { tags } => Some(domain.tags == normal_tags(tags.iter().cloned())),
            Self::Reboot {} | Self::Reset {} | Self::Nmi {} => None,
            _ if self.asks_agent() => None,
            _ if domain.state == DomainState::Unknown => None,
            _ => self.leads_to().map(|state| state == domain.state),
        }
    }

    /// Whether it may be sent later than it was wished, and once more: it loses
    /// nothing and leads to a state that it leaves as it is.
    pub fn is_harmless(&self) -> bool {
        matches!(
            self,
            Self::Start {}
                | Self::Resume {}
                | Self::Pause {}
                | Self::SetAutostart { .. }
                | Self::SetTitle { .. }
                | Self::SetDescription { .. }
                | Self::SetTags { .. }
        )
    }

    /// Whether this is possible now; the error is the sentence for the tooltip.
    ///
    /// # Errors
    /// `Denied` with the reason, or `Invalid` when an argument is at fault.
    pub fn check(&self, domain: &Domain, host: &Host) -> Result<(), Fault> {
        if !host.connection.connected {
            return Err(Fault::denied(format!(
                "{} is not connected, so what {} does now is not known",
                host.id, domain.name
            )));
        }
        self.check_arguments()?;
        match self.obstacle(domain, host) {
            Some(reason) => Err(Fault::denied(format!("{} {reason}", domain.name))),
            None => Ok(()),
        }
    }

    /// Why the machine's state forbids it, to follow the machine's name.
    fn obstacle(&self, domain: &Domain, host: &Host) -> Option<&'static str> {
        use DomainState as S;
        let state = domain.state;
        let test_driver = host.info.as_ref().is_some_and(|info| info.is_test_driver());
        let not_on = "is not running";
        match self {
            Self::Start {} | Self::StartPaused {} if state.is_active() => Some(match state {
                S::Paused => "is paused; resume it instead",
                S::Suspended => "is suspended; resume it instead",
                S::ShuttingDown => "is still shutting down",
                S::Crashed => "has crashed and still holds its process; force it off first",
                _ => "is already running",
            }),
            Self::Start {} => None,
            Self::StartPaused {} => {
                test_driver.then_some("is on libvirt's test driver, which cannot start a machine paused")
            }
            Self::Shutdown {} | Self::Reboot {} => match state {
                S::Running => None,
                S::Paused => Some("is paused; resume it so that the guest can react"),
                S::Suspended => Some("is suspended; resume it so that the guest can react"),
                S::Crashed => Some("has crashed, so its guest cannot react; force it off instead"),
                S::ShuttingDown if matches!(self, Self::Shutdown {}) => None,
                S::ShuttingDown => Some("is already shutting down"),
                _ => Some(not_on),
            },
            Self::ForceOff {} => (!state.is_active()).then_some("is already off"),
            Self::Reset {} => (!state.is_active()).then_some(not_on),
            Self::Nmi {} => match state {
                S::Crashed => Some("has crashed and would not notice"),
                _ => (!state.is_active()).then_some(not_on),
            },
            Self::Pause {} => match state {
                S::Running | S::ShuttingDown => None,
                S::Paused => Some("is already paused"),
                S::Suspended => Some("is suspended, so nothing runs that could be paused"),
                _ => Some(not_on),
            },
            Self::Resume {} => match state {
                S::Paused | S::Suspended => None,
                S::Running | S::ShuttingDown => Some("is not paused"),
                S::Crashed => Some("has crashed; force it off and start it again"),
                _ => Some("is off; start it instead"),
            },
            Self::Save {} if !domain.persistent => {
                Some("is transient, so there would be no definition to restore the saved state with")
            }
            Self::Save {} => match state {
                S::Running | S::Paused => None,
                S::Suspended | S::ShuttingDown | S::Crashed => Some("must be running or paused to be saved"),
                _ => Some(not_on),
            },
            Self::DiscardSave {} => (!domain.has_managed_save).then_some("has no saved state"),
            Self::SetAutostart { .. } => {
                (!domain.persistent).then_some("is transient, so it cannot start with its host")
            }
            Self::Rename { .. } => {
                if !domain.persistent {
                    Some("is transient and cannot be renamed")
                } else if state.is_active() {
                    Some("must be stopped before it is renamed")
                } else if domain.has_managed_save {
                    Some("has a saved state that belongs to its name; start or discard it first")
                } else {
                    None
                }
            }
            Self::SetTitle { .. } | Self::SetDescription { .. } | Self::SetTags { .. } => None,
            Self::SyncTime {}
            | Self::TrimFileSystems {}
            | Self::FreezeFileSystems { .. }
            | Self::ThawFileSystems {}
            | Self::AddSshKey { .. }
            | Self::RemoveSshKey { .. }
            | Self::SetGuestPassword { .. } => match (state, domain.agent) {
                (S::Running, Agent::Connected) => None,
                (S::Running, Agent::Disconnected) => {
                    Some("has no guest agent that answers; start qemu-guest-agent in it")
                }
                (S::Running, Agent::Absent) => Some("has no channel for a guest agent"),
                _ => Some("is not running, so nobody in it answers"),
            },
        }
    }

    /// Whether the arguments could ever be right.
    fn check_arguments(&self) -> Result<(), Fault> {
        let wrong = |field: &str, why: &str| Err(Fault::invalid(field, why));
        match self {
            Self::Rename { name } if name.trim().is_empty() => wrong("name", "a name must not be empty"),
            Self::Rename { name } if name.len() > MAX_NAME => wrong("name", "a name has at most 200 bytes"),
            Self::Rename { name } if name.contains('/') => wrong("name", "a name must not hold '/'"),
            Self::Rename { name } => check_line("name", name),
            Self::SetTitle { title } if title.chars().count() > MAX_TITLE => {
                wrong("title", "a title has at most 200 characters")
            }
            Self::SetTitle { title } => check_line("title", title),
            Self::SetDescription { description } if description.len() > MAX_DESCRIPTION => {
                wrong("description", "a description has at most 16 KiB")
            }
            Self::SetDescription { description } => check_lines("description", description),
            Self::SetGuestPassword { user, .. } | Self::AddSshKey { user, .. } | Self::RemoveSshKey { user, .. }
                if !is_user(user) =>
            {
                wrong("user", "it is the name of somebody in the guest")
            }
            Self::FreezeFileSystems { seconds } if !(1..=MAX_FROZEN).contains(seconds) => {
                wrong("seconds", "file systems are frozen for 1 to 600 seconds")
            }
            Self::AddSshKey { key, .. } if key.contains("PRIVATE KEY") => {
                wrong("key", "this is the private key; take the public one, whose file ends in .pub")
            }
            Self::AddSshKey { key, .. } | Self::RemoveSshKey { key, .. } if !is_public_key(key) => {
                wrong("key", "a public key is one line, such as ssh-ed25519 AAAA… name")
            }
            Self::SetGuestPassword { password, .. }
                if !(1..=256).contains(&password.0.len())
                    || password.0.contains(['\0', '\n'])
                    // A record that is sent again does not know it.
                    || password.is_starred() =>
            {
                wrong("password", "a password has 1 to 256 characters on one line")
            }
            Self::SetTags { tags } if tags.len() > MAX_TAGS => wrong("tags", "a machine has at most 32 tags"),
            Self::SetTags { tags } => tags.iter().try_for_each(|tag| {
                let fits = !tag.trim().is_empty() && tag.chars().count() <= MAX_TAG;
                check_line("tags", tag)?;
                if fits && !tag.contains(',') {
                    Ok(())
                } else {
                    wrong("tags", "a tag has 1 to 48 characters and no comma")
                }
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
