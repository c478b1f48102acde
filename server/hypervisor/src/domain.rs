//! Reads machines and runs commands. Every function here blocks; `link` decides where it runs and
//! for how long.

use std::{
    collections::{HashMap, HashSet},
    ffi::c_int,
    hash::{DefaultHasher, Hash, Hasher},
};

use model::{Domain, DomainState, device::Device, task::Progress};
use roxmltree::Document;
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain as Handle};
use virt_sys as sys;

use crate::{
    error::{Error, gone_is_none},
    ffi,
    uses::read::Named,
    watcher::snapshots::Names,
    xml,
};

/// Data of a machine that libvirt's daemon has without querying its process, so it is available
/// even if the process hangs.
pub(crate) struct Brief {
    /// Its UUID.
    pub(crate) id: Uuid,
    name: String,
    persistent: bool,
    autostart: bool,
    has_managed_save: bool,
    state: (c_int, c_int),
}

/// Lists all machines with flags and states in five calls, regardless of their number
/// (`virConnectListAllDomains`, `virConnectGetAllDomainStats`).
pub(crate) fn list(connect: &Connect) -> Result<Vec<Brief>, Error> {
    let with = |flag| -> Result<HashSet<Uuid>, Error> {
        connect.list_all_domains(flag)?.iter().map(|domain| Ok(domain.uuid()?)).collect()
    };
    let persistent = with(sys::VIR_CONNECT_LIST_DOMAINS_PERSISTENT)?;
    let autostart = with(sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?;
    let saved = with(sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)?;
    // Without bulk states each machine is queried separately.
    let states = ffi::all_stats(connect, sys::VIR_DOMAIN_STATS_STATE, 0).unwrap_or_default();
    let mut briefs = Vec::new();
    for (id, handle) in handles(connect)? {
        let state = match states.get(&id) {
            Some(values) => (number(values, "state.state"), number(values, "state.reason")),
            None => match gone_is_none(ffi::state(&handle).map_err(Error::from))? {
                Some(state) => state,
                None => continue,
            },
        };
        briefs.push(Brief {
            id,
            name: handle.name()?,
            persistent: persistent.contains(&id),
            autostart: autostart.contains(&id),
            has_managed_save: saved.contains(&id),
            state,
        });
    }
    Ok(briefs)
}

/// Data of each machine that changes without an event; compared between listings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flags {
    autostart: bool,
    saved: bool,
    /// vCPUs and memory of an inactive machine.
    figures: ffi::Values,
}

/// Data that changes without an event, of all machines in four calls.
pub(crate) fn flags(connect: &Connect) -> Result<HashMap<Uuid, Flags>, Error> {
    let mut all: HashMap<Uuid, Flags> = handles(connect)?.into_keys().map(|id| (id, Flags::default())).collect();
    for handle in connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)? {
        all.entry(handle.uuid()?).or_default().autostart = true;
    }
    for handle in connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)? {
        all.entry(handle.uuid()?).or_default().saved = true;
    }
    let groups = sys::VIR_DOMAIN_STATS_VCPU | sys::VIR_DOMAIN_STATS_BALLOON;
    let off = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE;
    for (id, figures) in ffi::all_stats(connect, groups, off).unwrap_or_default() {
        all.entry(id).or_default().figures = figures;
    }
    Ok(all)
}

fn number(values: &ffi::Values, name: &str) -> c_int {
    match values.get(name) {
        Some(ffi::Value::Int(number)) => *number as c_int,
        _ => 0,
    }
}

/// Handles of all machines, which belong to their connection.
pub(crate) fn handles(connect: &Connect) -> Result<HashMap<Uuid, Handle>, Error> {
    let handles = connect.list_all_domains(0)?;
    handles.into_iter().map(|handle| Ok((handle.uuid()?, handle))).collect()
}

/// The brief data of one machine; none if it does not exist.
pub(crate) fn brief(connect: &Connect, id: Uuid) -> Result<Option<Brief>, Error> {
    let read = || {
        let handle = connect.lookup_domain_by_uuid(id)?;
        let persistent = handle.is_persistent()?;
        Ok(Brief {
            id,
            name: handle.name()?,
            persistent,
            autostart: persistent && or_false(handle.autostart())?,
            has_managed_save: or_false(handle.has_managed_save(0))?,
            state: ffi::state(&handle)?,
        })
    };
    gone_is_none(read())
}

/// Reads the state of a known machine; none if it does not exist.
pub(crate) fn read_state(connect: &Connect, known: &Domain) -> Result<Option<Domain>, Error> {
    let read = || {
        let handle = connect.lookup_domain_by_uuid(known.id)?;
        let (state, reason) = ffi::state(&handle)?;
        Ok(Domain { state: state_of(state), state_reason: reason_of(state, reason).into(), ..known.clone() })
    };
    gone_is_none(read())
}

/// The definition of a machine: the parsed parts, and the storage it refers to.
#[derive(Default)]
pub(crate) struct Definition {
    pub(crate) domain: Domain,
    pub(crate) named: Named,
}

/// Reads and parses the definition; none if the machine does not exist. The QEMU driver may query
/// the machine's process, so it can hang.
pub(crate) fn define(handle: &Handle) -> Result<Option<Definition>, Error> {
    // Without VIR_DOMAIN_XML_SECURE, so the text never contains a password.
    let text = gone_is_none(handle.xml_desc(0).map_err(Error::from))?;
    Ok(text.map(|text| {
        let Ok(document) = Document::parse(&text) else { return Definition::default() };
        let root = document.root_element();
        let domain = xml::domain::of(root).unwrap_or_default();
        Definition {
            domain: Domain { definition_hash: hash(&text), ..domain },
            named: Named { sources: xml::sources::of(root), devices: xml::host::given(root) },
        }
    }))
}

/// The target names of a machine's disks.
pub(crate) fn disk_targets(handle: &Handle) -> Result<Vec<String>, Error> {
    let text = handle.xml_desc(0)?;
    let Ok(document) = Document::parse(&text) else { return Ok(Vec::new()) };
    let targets = xml::device::all(&document).into_iter().filter_map(|entry| match entry.device {
        Device::Disk(disk) => Some(disk.target),
        _ => None,
    });
    Ok(targets.collect())
}

/// A hash of a text; equal texts have equal hashes.
fn hash(text: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    (hasher.finish() >> 32) as u32
}

/// Snapshot names of all machines, in one call plus one per machine with snapshots
/// (`virDomainListAllSnapshots`).
pub(crate) fn snapshots(connect: &Connect) -> Result<Names, Error> {
    let machines = connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT)?;
    let names = |machine: &Handle| -> Result<_, Error> {
        // A machine that was removed meanwhile has none.
        let all = gone_is_none(machine.list_all_snapshots(0).map_err(Error::from))?.unwrap_or_default();
        let names = all.iter().map(virt::domain_snapshot::DomainSnapshot::name);
        Ok((machine.uuid()?, names.collect::<Result<_, _>>()?))
    };
    machines.iter().map(names).collect()
}

/// Queries the process of a machine (`virDomainMemoryStats`).
pub(crate) fn ping(connect: &Connect, id: Uuid) -> Result<(), Error> {
    connect.lookup_domain_by_uuid(id)?.memory_stats(0)?;
    Ok(())
}

/// Reads the definition of a machine by UUID.
pub(crate) fn lookup_and_define(connect: &Connect, id: Uuid) -> Result<Option<Definition>, Error> {
    match gone_is_none(connect.lookup_domain_by_uuid(id).map_err(Error::from))? {
        Some(handle) => define(&handle),
        None => Ok(None),
    }
}

impl Brief {
    /// Whether its process is being prepared to boot, restore or migrate.
    pub(crate) fn is_starting(&self) -> bool {
        let reasons = [sys::VIR_DOMAIN_PAUSED_STARTING_UP, sys::VIR_DOMAIN_PAUSED_MIGRATION];
        let (state, reason) = (self.state.0 as sys::virDomainState, self.state.1 as sys::virDomainPausedReason);
        state == sys::VIR_DOMAIN_PAUSED && reasons.contains(&reason)
    }

    /// The complete machine. Without a definition, because the process does not respond, the last
    /// known one is used.
    pub(crate) fn with(self, definition: Option<Domain>, known: Option<&Domain>) -> Domain {
        let unresponsive = definition.is_none();
        let rest = definition.or_else(|| known.cloned()).unwrap_or_default();
        Domain {
            id: self.id,
            name: self.name,
            state: state_of(self.state.0),
            state_reason: reason_of(self.state.0, self.state.1).into(),
            persistent: self.persistent,
            autostart: self.autostart,
            has_managed_save: self.has_managed_save,
            unresponsive,
            ..rest
        }
    }
}

/// An unsupported query counts as false.
fn or_false(answer: Result<bool, virt::error::Error>) -> Result<bool, Error> {
    match answer.map_err(Error::from) {
        Err(error) if error.is_unsupported() => Ok(false),
        answer => answer,
    }
}

/// The domain XML; with secrets only for permitted accounts.
pub(crate) fn definition(connect: &Connect, id: Uuid, secrets: bool) -> Result<String, Error> {
    let flags = if secrets { sys::VIR_DOMAIN_XML_SECURE } else { 0 };
    Ok(connect.lookup_domain_by_uuid(id)?.xml_desc(flags)?)
}

pub(crate) fn state_of(state: c_int) -> DomainState {
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

/// The reason text, to follow "Stopped: …" (`virDomainGetState`).
fn reason_of(state: c_int, reason: c_int) -> &'static str {
    match (state as u32, reason as u32) {
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_BOOTED) => "booted",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_MIGRATED) => "migrated to this host",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_RESTORED) => "restored from its saved state",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_FROM_SNAPSHOT) => "restored from a snapshot",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_UNPAUSED) => "resumed",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_MIGRATION_CANCELED) => "migration was cancelled",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_SAVE_CANCELED) => "saving was cancelled",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_WAKEUP) => "woken up",
        (sys::VIR_DOMAIN_RUNNING, sys::VIR_DOMAIN_RUNNING_CRASHED) => "restarted after a crash",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER) => "paused by user",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_MIGRATION) => "paused for migration",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SAVE) => "suspending to disk",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_DUMP) => "dumping memory",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_IOERROR) => "disk I/O error",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_WATCHDOG) => "watchdog fired",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_FROM_SNAPSHOT) => "restored from a snapshot",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN) => "shutting down",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_SNAPSHOT) => "creating a snapshot",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_CRASHED) => "guest crashed",
        (sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_STARTING_UP) => "starting up",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN) => "shut down by guest",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_DESTROYED) => "forced off",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_CRASHED) => "crashed",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_MIGRATED) => "migrated away",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SAVED) => "saved",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_FAILED) => "failed to start",
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT) => "restored from a snapshot",
        (sys::VIR_DOMAIN_CRASHED, sys::VIR_DOMAIN_CRASHED_PANICKED) => "guest panicked",
        _ => "",
    }
}

/// The progress of a machine's job (`virDomainGetJobInfo`: the binding of `virDomainGetJobStats`
/// frees libvirt's memory with Rust's allocator).
pub(crate) fn job(connect: &Connect, id: Uuid) -> Result<Option<Progress>, Error> {
    let stats = connect.lookup_domain_by_uuid(id)?.job_info()?;
    if stats.r#type == sys::VIR_DOMAIN_JOB_NONE as i32 {
        return Ok(None);
    }
    let (total, done) = (stats.data_total.unwrap_or_default(), stats.data_processed.unwrap_or_default());
    let left = stats.data_remaining.unwrap_or_default();
    // More can be written than the initial total, because the guest dirties memory.
    let percent = (total > 0).then(|| (100 * total.saturating_sub(left) / total).min(100) as u8);
    let mib = |bytes: u64| bytes >> 20;
    let text = match total {
        0 => "Preparing".to_owned(),
        _ => format!("{} of {} MiB written", mib(done), mib(total)),
    };
    Ok(Some(Progress { percent, text }))
}

/// Aborts the job of a machine.
pub(crate) fn abort_job(connect: &Connect, id: Uuid) -> Result<(), Error> {
    Ok(ffi::abort_job(&connect.lookup_domain_by_uuid(id)?)?)
}
