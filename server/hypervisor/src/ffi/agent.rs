//! Guest agent calls. An agent may not respond, so each call has a time limit, and its data is
//! untrusted, so `guest` validates it.

use std::{
    collections::BTreeMap,
    ffi::{CString, c_int, c_uint},
    ptr,
    sync::Arc,
};

use parking_lot::Mutex;

use uuid::Uuid;
use virt::{domain::Domain, error::Error};
use virt_sys as sys;

use super::{Values, free, text, typed};

/// Time limit of guest agent calls in seconds.
const AGENT_SECONDS: c_int = 5;
/// Time limit of freezing, which flushes disks first.
const FREEZE_SECONDS: c_int = 30;
/// Time limit of trimming, which takes longer for large file systems.
const TRIM_SECONDS: c_int = 3_600;

/// A machine's identity: connection URI and UUID, because the UUID may exist on several hosts.
type Machine = (String, [u8; 16]);

/// Active time limits by machine; the longest one applies.
static LIMITS: Mutex<BTreeMap<Machine, Arc<Mutex<Vec<c_int>>>>> = Mutex::new(BTreeMap::new());

/// Limits the response time of an agent while the result lives
/// (`virDomainAgentSetResponseTimeout`); without support in libvirt calls have no limit. The limit
/// applies to all clients of the machine, so it is reset after our last call.
pub(crate) fn limit_agent(domain: &Domain) -> AgentLimit<'_> {
    AgentLimit::new(domain, AGENT_SECONDS)
}

/// The time limit of a machine's agent, reset when dropped.
pub(crate) struct AgentLimit<'a> {
    domain: &'a Domain,
    machine: Machine,
    seconds: c_int,
}

impl<'a> AgentLimit<'a> {
    fn new(domain: &'a Domain, seconds: c_int) -> Self {
        let uri = domain.connect().and_then(|connect| connect.uri()).unwrap_or_default();
        let machine = (uri, domain.uuid().map(Uuid::into_bytes).unwrap_or_default());
        let limit = Self { domain, machine, seconds };
        limit.change(|limits| limits.push(seconds));
        limit
    }

    /// Sets the longest limit in libvirt if it changed. Only this machine's lock is held, because
    /// its daemon may be slow.
    fn change(&self, change: impl FnOnce(&mut Vec<c_int>)) {
        let limits = {
            let mut all = LIMITS.lock();
            Arc::clone(all.entry(self.machine.clone()).or_default())
        };
        let mut limits = limits.lock();
        let longest = |limits: &[c_int]| limits.iter().copied().max();
        let before = longest(&limits);
        change(&mut limits);
        let now = longest(&limits);
        if now != before {
            let seconds = now.unwrap_or(sys::VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK);
            // SAFETY: the domain is valid and outlives the limit.
            unsafe { sys::virDomainAgentSetResponseTimeout(self.domain.as_ptr(), seconds, 0) };
        }
    }
}

impl Drop for AgentLimit<'_> {
    fn drop(&mut self) {
        self.change(|limits| {
            let ours = limits.iter().position(|seconds| *seconds == self.seconds);
            ours.map(|at| limits.swap_remove(at));
        });
        let mut all = LIMITS.lock();
        // No other thread may be adding one.
        if all.get(&self.machine).is_some_and(|limits| Arc::strong_count(limits) == 1 && is_empty(limits)) {
            all.remove(&self.machine);
        }
    }
}

fn is_empty(limits: &Mutex<Vec<c_int>>) -> bool {
    limits.lock().is_empty()
}

/// Operating system and host name, queried from every guest.
pub(crate) const GUEST_NAMES: u32 = sys::VIR_DOMAIN_GUEST_INFO_OS | sys::VIR_DOMAIN_GUEST_INFO_HOSTNAME;
/// File system usage.
pub(crate) const GUEST_FILE_SYSTEMS: u32 = sys::VIR_DOMAIN_GUEST_INFO_FILESYSTEM;

/// Guest information (`virDomainGetGuestInfo`); 0 requests all groups.
pub(crate) fn guest_info(domain: &Domain, what: u32) -> Result<Values, Error> {
    let _limit = limit_agent(domain);
    let (mut params, mut count) = (ptr::null_mut(), 0);
    // SAFETY: the domain is valid and both out pointers are.
    let done = unsafe { sys::virDomainGetGuestInfo(domain.as_ptr(), what as c_uint, &mut params, &mut count, 0) };
    if done < 0 {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt returned `count` parameters, freed once after copying.
    unsafe {
        let values = typed(params, count);
        sys::virTypedParamsFree(params, count);
        Ok(values)
    }
}

/// Sends a raw agent command (`virDomainQemuAgentCommand`), for which libvirt marks the machine as
/// tainted; returns the response, which libvirt limits to some megabytes.
pub(crate) fn agent_command(domain: &Domain, question: &str) -> Result<String, Error> {
    domain.qemu_agent_command(question, AGENT_SECONDS, 0)
}

/// Freezes all file systems of the guest (`virDomainFSFreeze`); returns their number.
pub(crate) fn fs_freeze(domain: &Domain) -> Result<usize, Error> {
    let _limit = AgentLimit::new(domain, FREEZE_SECONDS);
    // SAFETY: the domain is valid; without mount points all file systems are meant.
    let frozen = unsafe { sys::virDomainFSFreeze(domain.as_ptr(), ptr::null_mut(), 0, 0) };
    usize::try_from(frozen).map_err(|_| Error::last_error())
}

/// Thaws the file systems of the guest (`virDomainFSThaw`); file systems that are not frozen are
/// unaffected.
pub(crate) fn fs_thaw(domain: &Domain) -> Result<(), Error> {
    let _limit = AgentLimit::new(domain, FREEZE_SECONDS);
    // SAFETY: the domain is valid; without mount points all file systems are meant.
    let thawed = unsafe { sys::virDomainFSThaw(domain.as_ptr(), ptr::null_mut(), 0, 0) };
    if thawed < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// A C string; texts with NUL are truncated.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// The lines of a guest user's `authorized_keys` (`virDomainAuthorizedSSHKeysGet`).
pub(crate) fn ssh_keys(domain: &Domain, user: &str) -> Result<Vec<String>, Error> {
    let _limit = limit_agent(domain);
    let (user, mut keys) = (c_text(user), ptr::null_mut());
    // SAFETY: the domain, the text and the out pointer are valid during the call.
    let count = unsafe { sys::virDomainAuthorizedSSHKeysGet(domain.as_ptr(), user.as_ptr(), &mut keys, 0) };
    if count < 0 {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt returned an array of that many strings; each, and it, is freed once.
    unsafe {
        let read = (0..count as usize).map(|n| {
            let key = *keys.add(n);
            let read = text(key);
            free(key.cast());
            read
        });
        let read = read.collect();
        free(keys.cast());
        Ok(read)
    }
}

/// Adds or removes one line (`virDomainAuthorizedSSHKeysSet`); the others are kept.
pub(crate) fn set_ssh_key(domain: &Domain, user: &str, key: &str, add: bool) -> Result<(), Error> {
    let _limit = limit_agent(domain);
    let (user, key) = (c_text(user), c_text(key));
    let flags = if add {
        sys::VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND
    } else {
        sys::VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE
    };
    let mut keys = [key.as_ptr()];
    // SAFETY: the domain, both texts and the array of one live during the call, which keeps none.
    let done =
        unsafe { sys::virDomainAuthorizedSSHKeysSet(domain.as_ptr(), user.as_ptr(), keys.as_mut_ptr(), 1, flags) };
    if done < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// Trims the file systems of the guest (`virDomainFSTrim`).
pub(crate) fn fs_trim(domain: &Domain) -> Result<(), Error> {
    let _limit = AgentLimit::new(domain, TRIM_SECONDS);
    // SAFETY: the domain is valid; without a mount point all file systems are meant.
    let done = unsafe { sys::virDomainFSTrim(domain.as_ptr(), ptr::null(), 0, 0) };
    if done < 0 { Err(Error::last_error()) } else { Ok(()) }
}
