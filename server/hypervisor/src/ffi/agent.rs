//! What is asked of the agent in a guest. It may be silent, so each question has a limit, and it
//! may lie, so `guest` looks at what it says.

use std::{
    ffi::{CString, c_int, c_uint},
    ptr,
};

use virt::{domain::Domain, error::Error};
use virt_sys as sys;

use super::{Values, free, text, typed};

/// Seconds that a guest's agent may take for an answer.
const AGENT_SECONDS: c_int = 5;
/// The same of one that writes to its disks first.
const FREEZE_SECONDS: c_int = 30;

/// Lets calls of an agent end that takes a question and never answers
/// (`virDomainAgentSetResponseTimeout`) while the result lives; where that is not known, they take
/// as long as they do. The limit is the machine's and counts for all clients, so it is not left.
pub(crate) fn limit_agent(domain: &Domain) -> AgentLimit<'_> {
    limit_agent_to(domain, AGENT_SECONDS)
}

fn limit_agent_to(domain: &Domain, seconds: c_int) -> AgentLimit<'_> {
    // SAFETY: the domain is valid.
    unsafe { sys::virDomainAgentSetResponseTimeout(domain.as_ptr(), seconds, 0) };
    AgentLimit(domain)
}

/// A limit of a machine's agent, which ends with it.
pub(crate) struct AgentLimit<'a>(&'a Domain);

impl Drop for AgentLimit<'_> {
    fn drop(&mut self) {
        let forever = sys::VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK;
        // SAFETY: the domain outlives the limit.
        unsafe { sys::virDomainAgentSetResponseTimeout(self.0.as_ptr(), forever, 0) };
    }
}

/// Operating system and host name: what every guest is asked for.
pub(crate) const GUEST_NAMES: u32 = sys::VIR_DOMAIN_GUEST_INFO_OS | sys::VIR_DOMAIN_GUEST_INFO_HOSTNAME;
/// How full the guest's file systems are.
pub(crate) const GUEST_FILE_SYSTEMS: u32 = sys::VIR_DOMAIN_GUEST_INFO_FILESYSTEM;

/// What the guest agent tells (`virDomainGetGuestInfo`); 0 means all that it knows.
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

/// Lets the guest hold all its file systems still (`virDomainFSFreeze`); gives how many it does.
pub(crate) fn fs_freeze(domain: &Domain) -> Result<usize, Error> {
    let _limit = limit_agent_to(domain, FREEZE_SECONDS);
    // SAFETY: the domain is valid; without mount points all file systems are meant.
    let frozen = unsafe { sys::virDomainFSFreeze(domain.as_ptr(), ptr::null_mut(), 0, 0) };
    usize::try_from(frozen).map_err(|_| Error::last_error())
}

/// Lets the guest's file systems go on (`virDomainFSThaw`); those that were not held go on anyway.
pub(crate) fn fs_thaw(domain: &Domain) -> Result<(), Error> {
    let _limit = limit_agent_to(domain, FREEZE_SECONDS);
    // SAFETY: the domain is valid; without mount points all file systems are meant.
    let thawed = unsafe { sys::virDomainFSThaw(domain.as_ptr(), ptr::null_mut(), 0, 0) };
    if thawed < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// Text for C, which a NUL would cut.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// The lines of somebody's `authorized_keys` in the guest (`virDomainAuthorizedSSHKeysGet`).
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

/// Adds or removes one of these lines (`virDomainAuthorizedSSHKeysSet`); the others stay.
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

/// Lets the guest give back what its file systems do not use (`virDomainFSTrim`).
pub(crate) fn fs_trim(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is valid; without a mount point all file systems are meant.
    let done = unsafe { sys::virDomainFSTrim(domain.as_ptr(), ptr::null(), 0, 0) };
    if done < 0 { Err(Error::last_error()) } else { Ok(()) }
}
