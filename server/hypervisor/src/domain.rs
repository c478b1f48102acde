//! Reads machines, and carries commands out. Every function here blocks; `link`
//! decides where it runs and for how long.

use std::{
    collections::{HashMap, HashSet},
    ffi::c_int,
};

use model::{Command, Domain, DomainState};
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain as Handle, error::ErrorNumber};
use virt_sys as sys;

use crate::{error::Error, ffi, xml};

/// A machine in a bulk listing: what is cheap to get for all at once.
pub(crate) struct Listed {
    /// libvirt's handle.
    pub(crate) handle: Handle,
    /// Its UUID.
    pub(crate) id: Uuid,
    flags: Flags,
    state: Option<(c_int, c_int)>,
}

/// What the definition's text does not tell.
#[derive(Clone, Copy, Default)]
struct Flags {
    persistent: bool,
    autostart: bool,
    has_managed_save: bool,
}

/// Lists all machines with their flags and states in five calls, however many
/// there are (`virConnectListAllDomains`, `virConnectGetAllDomainStats`).
pub(crate) fn list(connect: &Connect) -> Result<Vec<Listed>, Error> {
    let with = |flag| -> Result<HashSet<Uuid>, Error> {
        connect.list_all_domains(flag)?.iter().map(|domain| Ok(domain.uuid()?)).collect()
    };
    let persistent = with(sys::VIR_CONNECT_LIST_DOMAINS_PERSISTENT)?;
    let autostart = with(sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?;
    let saved = with(sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)?;
    // Without bulk states each machine is asked for its own.
    let states = ffi::all_states(connect).unwrap_or_else(|_| HashMap::new());
    let handles = connect.list_all_domains(0)?;
    let listed = handles.into_iter().map(|handle| {
        let id = handle.uuid()?;
        let flags = Flags {
            persistent: persistent.contains(&id),
            autostart: autostart.contains(&id),
            has_managed_save: saved.contains(&id),
        };
        Ok(Listed { handle, id, flags, state: states.get(&id).copied() })
    });
    listed.collect()
}

impl Listed {
    /// Reads the definition of a listed machine; none when it is gone meanwhile.
    pub(crate) fn read(&self) -> Result<Option<Domain>, Error> {
        gone_is_none(|| {
            let state = match self.state {
                Some(state) => state,
                None => ffi::state(&self.handle)?,
            };
            compose(&self.handle, self.id, self.flags, state)
        })
    }
}

/// Reads one machine whole; none when it does not exist.
pub(crate) fn read(connect: &Connect, id: Uuid) -> Result<Option<Domain>, Error> {
    gone_is_none(|| {
        let handle = connect.lookup_domain_by_uuid(id)?;
        let persistent = handle.is_persistent()?;
        let flags = Flags {
            persistent,
            autostart: persistent && or_false(handle.autostart())?,
            has_managed_save: or_false(handle.has_managed_save(0))?,
        };
        compose(&handle, id, flags, ffi::state(&handle)?)
    })
}

/// Reads the state of a machine that is known otherwise; none when it does not exist.
pub(crate) fn read_state(connect: &Connect, known: &Domain) -> Result<Option<Domain>, Error> {
    gone_is_none(|| {
        let handle = connect.lookup_domain_by_uuid(known.id)?;
        let (state, reason) = ffi::state(&handle)?;
        Ok(Domain { state: state_of(state), state_reason: reason_of(state, reason).into(), ..known.clone() })
    })
}

fn compose(handle: &Handle, id: Uuid, flags: Flags, (state, reason): (c_int, c_int)) -> Result<Domain, Error> {
    // Without VIR_DOMAIN_XML_SECURE, so no password is ever in the text.
    let text = handle.xml_desc(0)?;
    let mut domain = xml::domain::read(&text).unwrap_or_default();
    if domain.name.is_empty() {
        domain.name = handle.name()?;
    }
    Ok(Domain {
        id,
        state: state_of(state),
        state_reason: reason_of(state, reason).into(),
        persistent: flags.persistent,
        autostart: flags.autostart,
        has_managed_save: flags.has_managed_save,
        ..domain
    })
}

/// Turns "no such machine" into none.
fn gone_is_none(read: impl FnOnce() -> Result<Domain, Error>) -> Result<Option<Domain>, Error> {
    match read() {
        Ok(domain) => Ok(Some(domain)),
        Err(error) if error.is_no_domain() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A driver that cannot tell is taken to say no.
fn or_false(answer: Result<bool, virt::error::Error>) -> Result<bool, Error> {
    match answer.map_err(Error::from) {
        Err(error) if error.is_unsupported() => Ok(false),
        answer => answer,
    }
}

/// The definition as libvirt writes it, without secrets.
pub(crate) fn definition(connect: &Connect, id: Uuid) -> Result<String, Error> {
    Ok(connect.lookup_domain_by_uuid(id)?.xml_desc(0)?)
}

fn state_of(state: c_int) -> DomainState {
    match state as u32 {
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => DomainState::Running,
        sys::VIR_DOMAIN_PAUSED => DomainState::Paused,
        sys::VIR_DOMAIN_SHUTDOWN => DomainState::ShuttingDown,
        sys::VIR_DOMAIN_SHUTOFF => DomainState::Stopped,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PMSUSPENDED => DomainState::Suspended,
        _ => DomainState::Unknown,
    }
}

/// The reason in words, to follow "Stopped: …" (`virDomainGetState`).
fn reason_of(state: c_int, reason: c_int) -> &'static str {
    match (state as u32, reason as u32) {
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_BOOTED) => "booted",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_MIGRATED) => "migrated here",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_RESTORED) => "restored from its saved state",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_FROM_SNAPSHOT) => "restored from a snapshot",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_UNPAUSED) => "resumed",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_MIGRATION_CANCELED) => "migration was cancelled",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_SAVE_CANCELED) => "saving was cancelled",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_WAKEUP) => "woken up",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_CRASHED) => "restarted after a crash",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER) => "by request",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_MIGRATION) => "for a migration",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SAVE) => "while it is saved",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_DUMP) => "while its memory is dumped",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_IOERROR) => "disk input or output failed",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_WATCHDOG) => "its watchdog fired",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_FROM_SNAPSHOT) => "restored from a snapshot",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN) => "while it shuts down",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SNAPSHOT) => "while a snapshot is taken",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_CRASHED) => "its guest crashed",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_STARTING_UP) => "while it starts",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN) => "shut down by its guest",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_DESTROYED) => "forced off",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_CRASHED) => "crashed",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_MIGRATED) => "migrated away",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SAVED) => "saved",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_FAILED) => "could not be started",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT) => "restored from a snapshot",
        (sys::VIR_DOMAIN_CRASHED, sys::VIR_DOMAIN_CRASHED_PANICKED) => "its guest panicked",
        _ => "",
    }
}

/// Carries a command out and returns when libvirt has answered.
pub(crate) fn run(connect: &Connect, id: Uuid, command: &Command) -> Result<(), Error> {
    let domain = connect.lookup_domain_by_uuid(id)?;
    match command {
        Command::Start {} => domain.create()?,
        Command::StartPaused {} => domain.create_with_flags(sys::VIR_DOMAIN_START_PAUSED)?,
        Command::Shutdown {} => shutdown(&domain)?,
        Command::ForceOff {} => domain.destroy()?,
        Command::Reboot {} => domain.reboot(0)?,
        Command::Reset {} => domain.reset()?,
        Command::Pause {} => domain.suspend()?,
        Command::Resume {} if state_of(ffi::state(&domain)?.0) == DomainState::Suspended => domain.pm_wakeup(0)?,
        Command::Resume {} => domain.resume()?,
        Command::Save {} => domain.managed_save(0)?,
        Command::DiscardSave {} => domain.managed_save_remove(0)?,
        Command::Nmi {} => ffi::inject_nmi(&domain)?,
        Command::SetAutostart { enabled } => domain.set_autostart(*enabled)?,
        Command::Rename { name } => domain.rename(name, 0)?,
        Command::SetTitle { title } => set_text(&domain, sys::VIR_DOMAIN_METADATA_TITLE, title)?,
        Command::SetDescription { description } => {
            set_text(&domain, sys::VIR_DOMAIN_METADATA_DESCRIPTION, description)?;
        }
        Command::SetTags { tags } => set_tags(&domain, tags)?,
    }
    Ok(())
}

/// Presses the power button; where a driver knows no such thing, asks in its way.
fn shutdown(domain: &Handle) -> Result<(), Error> {
    match domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN).map_err(Error::from) {
        Err(error) if error.is_unsupported() => Ok(domain.shutdown()?),
        answer => answer,
    }
}

/// Asks the agent to shut the guest down, if the machine still runs.
pub(crate) fn shutdown_by_agent(connect: &Connect, id: Uuid) -> Result<(), Error> {
    let domain = connect.lookup_domain_by_uuid(id)?;
    if state_of(ffi::state(&domain)?.0) == DomainState::Running {
        domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)?;
    }
    Ok(())
}

/// Where metadata goes: the running machine, its definition, or both.
fn affected(domain: &Handle) -> Result<u32, Error> {
    let live = if domain.is_active()? { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 };
    let config = if domain.is_persistent()? { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 };
    Ok(live | config)
}

fn set_text(domain: &Handle, kind: u32, text: &str) -> Result<(), Error> {
    let text = (!text.trim().is_empty()).then_some(text.trim());
    Ok(domain.set_metadata(kind as i32, text, None, None, affected(domain)?)?)
}

fn set_tags(domain: &Handle, tags: &[String]) -> Result<(), Error> {
    let tags = xml::domain::normal_tags(tags.iter().cloned());
    let element = (!tags.is_empty()).then(|| xml::domain::tags_element(&tags));
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
    let uri = Some(xml::domain::TAGS_URI);
    let set = domain.set_metadata(kind, element.as_deref(), Some("belvedere"), uri, affected(domain)?);
    match set {
        // Removing what is not there is no failure.
        Err(error) if element.is_none() && error.code().is(ErrorNumber::NoDomainMetadata) => Ok(()),
        set => Ok(set?),
    }
}
