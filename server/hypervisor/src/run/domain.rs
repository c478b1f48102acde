//! Machine commands.

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
pub(crate) mod shutdown;
mod start;
mod start_paused;
mod sync_time;
mod thaw_file_systems;
mod trim_file_systems;

use virt::{domain::Domain, sys};

use super::runs;
use crate::error::Error;

runs! { DomainCommand on &Domain {
    Start,
    StartPaused,
    Resume,
    Pause,
    Shutdown,
    Reboot,
    RebootByAgent,
    Save,
    DiscardSave,
    Nmi,
    Reset,
    ForceOff,
    SetAutostart,
    Rename,
    SetTitle,
    SetDescription,
    SetTags,
    SyncTime,
    TrimFileSystems,
    FreezeFileSystems,
    ThawFileSystems,
    AddSshKey,
    RemoveSshKey,
    SetGuestPassword,
} }

/// The target of a metadata change: live, stored, or both.
fn affected(domain: &Domain) -> Result<u32, Error> {
    let live = if domain.is_active()? { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    let config = if domain.is_persistent()? { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 };
    Ok(live | config)
}

fn set_text(domain: &Domain, kind: u32, text: &str) -> Result<(), Error> {
    let text = (!text.trim().is_empty()).then_some(text.trim());
    Ok(domain.set_metadata(kind as i32, text, None, None, affected(domain)?)?)
}
