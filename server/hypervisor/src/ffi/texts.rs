//! Texts of libvirt objects that the `virt` crate lacks or converts lossily.

use std::ffi::{CStr, c_char};

use virt::{domain::Domain, error::Error, storage_vol::StorageVol};
use virt_sys as sys;

use super::{free, text};

/// The definition of a machine's saved state (`virDomainManagedSaveGetXMLDesc`).
pub(crate) fn managed_save_definition(domain: &Domain) -> Result<String, Error> {
    // SAFETY: the domain is valid.
    own_text(unsafe { sys::virDomainManagedSaveGetXMLDesc(domain.as_ptr(), 0) })
}

/// The running backup (`virDomainBackupGetXMLDesc`).
pub(crate) fn backup_definition(domain: &Domain) -> Result<String, Error> {
    // SAFETY: the domain is valid.
    own_text(unsafe { sys::virDomainBackupGetXMLDesc(domain.as_ptr(), 0) })
}

/// The name of a volume as bytes (`virStorageVolGetName`): file names need not be UTF-8.
pub(crate) fn volume_name(volume: &StorageVol) -> Result<Vec<u8>, Error> {
    // SAFETY: the volume is valid; the text is its own, ends with NUL, and is copied before it goes.
    let name = unsafe {
        sys::virStorageVolGetName(volume.as_ptr()).as_ref().map(|name| CStr::from_ptr(name).to_bytes().to_vec())
    };
    name.ok_or_else(Error::last_error)
}

/// A text allocated by libvirt, or its error.
fn own_text(made: *mut c_char) -> Result<String, Error> {
    if made.is_null() {
        return Err(Error::last_error());
    }
    // SAFETY: the text ends with a zero and was allocated with malloc; it is not used after this.
    unsafe {
        let read = text(made);
        free(made.cast());
        Ok(read)
    }
}
