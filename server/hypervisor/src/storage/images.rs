//! Volume operations with image tools: create, clone, resize, wipe. Each image is verified before
//! (`chain`), and volumes in use are refused (`uses`).

use std::{collections::BTreeSet, fs, os::unix::ffi::OsStrExt, path::PathBuf};

use model::{Fault, FaultKind, Pool, Volume, storage::VolumeSpec};
use virt::{
    connect::Connect, error::ErrorNumber, storage_pool::StoragePool, storage_vol::StorageVol, stream::Stream, sys,
};

use super::{PIECE, send};
use crate::{
    chain::{self, Format},
    error::Error,
    ffi,
    image::{self, Image},
    places::{self, Identity, Key},
    raw::RawImages,
    uses::Uses,
    xml,
};

/// Data for a command that depends on users.
pub(crate) struct Look {
    /// The users; none for a command that does not depend on them.
    pub(crate) uses: Option<Uses>,
    /// The pool at that time.
    pub(crate) pool: Pool,
    /// Its volumes at that time.
    pub(crate) volumes: Vec<Volume>,
    /// Images known to be raw.
    pub(crate) raw: RawImages,
    /// The root of the file systems that libvirt's daemon sees; none when it runs elsewhere.
    pub(crate) root: Option<PathBuf>,
    /// Whether the host has real images, unlike libvirt's test driver.
    pub(crate) real: bool,
}

impl Look {
    /// The identity of a volume of the pool.
    fn identity(&mut self, name: &str, path: &str) -> Identity {
        let volume = Volume { name: name.to_owned(), path: path.to_owned(), ..Volume::default() };
        match &mut self.uses {
            Some(uses) => uses.of_place(&self.pool, &volume),
            None => {
                let at = self.root.as_ref().and_then(|root| Some(root.join(path.strip_prefix('/')?)));
                let file = at.as_deref().and_then(places::born);
                let named = [Key::Volume(self.pool.name.clone(), volume.name), Key::Path(volume.path.into())];
                Identity { own: named.into_iter().chain(file).collect(), below: Vec::new() }
            }
        }
    }

    /// Records that a volume is raw, or no longer known to be.
    fn note_raw(&mut self, volume: &StorageVol, raw: bool) -> Result<(), Error> {
        let identity = self.identity(&super::name_of(volume)?, &volume.path()?);
        self.raw.note(identity.own.iter(), raw);
        Ok(())
    }

    /// The proven format of an image.
    fn prove(&mut self, connect: &Connect, path: &str, declared: &str) -> Result<Format, Error> {
        match &mut self.uses {
            // Only files have a format; the test driver has no content.
            Some(uses) if self.real && self.pool.keeps_files() => chain::prove(connect, uses, &self.raw, path),
            _ if declared == "qcow2" => Ok(Format::Qcow2),
            _ => Ok(Format::Raw),
        }
    }

    /// Whether libvirt treats a volume as raw.
    fn is_believed_raw(&self, volume: &Volume) -> bool {
        matches!(volume.format.as_str(), "" | "raw" | "iso" | "unknown") || !self.pool.keeps_files()
    }

    /// Something in the pool's folder that is none of its volumes; none where the folder cannot be
    /// read from here.
    ///
    /// # Errors
    /// When a volume has no name.
    pub(crate) fn beyond(&mut self, volumes: &[StorageVol]) -> Result<Option<String>, Error> {
        let Some(places) = self.uses.as_mut().filter(|_| self.pool.keeps_files()).map(Uses::places) else {
            return Ok(None);
        };
        let folder = places.resolve(self.pool.path.as_ref()).and_then(|folder| places.real(&folder));
        let names = volumes.iter().map(ffi::volume_name).collect::<Result<BTreeSet<Vec<u8>>, _>>()?;
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        // An empty file system has this one.
        let mut others = entries.map(|entry| entry.file_name()).filter(|name| name != "lost+found");
        Ok(others.find(|name| !names.contains(name.as_bytes())).map(|name| name.to_string_lossy().into_owned()))
    }

    /// Whether all volumes of the pool were checked.
    ///
    /// # Errors
    /// `Denied`, with a volume added since.
    pub(crate) fn is_whole(&self, volumes: &[StorageVol]) -> Result<(), Error> {
        for volume in volumes {
            let name = super::name_of(volume)?;
            if !self.volumes.iter().any(|known| known.name == name) {
                let fault = Fault::denied(format!("{name} was added to {} just now", self.pool.name));
                return Err(Error::Said(fault.with_next("Check the pool's volumes, then try again")));
            }
        }
        Ok(())
    }
}

/// Creates a volume, optionally with a backing volume.
pub(crate) fn create(connect: &Connect, pool: &StoragePool, spec: &VolumeSpec, look: &mut Look) -> Result<(), Error> {
    // qemu-img opens the backing image and its chain.
    if !spec.backing.is_empty()
        && spec.backing_format != "raw"
        && look.prove(connect, &spec.backing, &spec.backing_format)? == Format::Raw
    {
        return Err(Error::Said(Fault::invalid("backingFormat", "the backing volume is raw, not qcow2")));
    }
    let volume = make(pool, spec, look.pool.keeps_files())?;
    look.note_raw(&volume, spec.format == "raw")
}

/// Creates a volume whose content follows and determines its format.
pub(crate) fn create_for_content(pool: &StoragePool, spec: &VolumeSpec, look: &mut Look) -> Result<(), Error> {
    let volume = make(pool, spec, look.pool.keeps_files())?;
    look.note_raw(&volume, false)
}

fn make(pool: &StoragePool, spec: &VolumeSpec, files: bool) -> Result<StorageVol, Error> {
    let text = xml::storage::volume_definition(spec, files).to_string();
    let metadata = spec.preallocate && spec.format == "qcow2";
    let flags = if metadata { sys::VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA } else { 0 };
    Ok(StorageVol::create_xml(pool, &text, flags)?)
}

/// Deletes a volume that is not in use.
pub(crate) fn delete(volume: &StorageVol, look: &mut Look) -> Result<(), Error> {
    let identity = look.identity(&super::name_of(volume)?, &volume.path()?);
    volume.delete(0)?;
    look.raw.note(identity.own.iter(), false);
    Ok(())
}

/// Clones a volume within its pool.
pub(crate) fn clone(
    connect: &Connect,
    pool: &StoragePool,
    (source, to): (&StorageVol, &str),
    look: &mut Look,
) -> Result<(), Error> {
    let known = holding(super::volume(source)?)?;
    let proven = look.prove(connect, &known.path, &known.format)?;
    let format = if proven == Format::Raw { "raw" } else { "qcow2" };
    let spec = VolumeSpec {
        name: to.to_owned(),
        capacity_bytes: known.capacity_bytes,
        format: format.to_owned(),
        ..VolumeSpec::default()
    };
    let files = look.pool.keeps_files();
    let copy = match (proven, look.is_believed_raw(&known)) {
        // libvirt would use the format that the guest faked.
        (Format::Raw, false) => copy_bytes(connect, pool, (source, spec), files)?,
        (Format::Qcow2, _) if look.real && known.format != "qcow2" => return Err(stale(&known.name)),
        _ => StorageVol::create_xml_from(pool, &xml::storage::volume_definition(&spec, files).to_string(), source, 0)?,
    };
    look.note_raw(&copy, proven == Format::Raw)
}

/// The error if libvirt does not know the current format of a volume yet.
fn stale(name: &str) -> Error {
    let fault = Fault::denied(format!("{name} has become a qcow2 image since its pool was last refreshed"));
    Error::Said(fault.with_next("Refresh the pool, then try again"))
}

/// Copies a volume byte by byte.
fn copy_bytes(
    connect: &Connect,
    pool: &StoragePool,
    (source, spec): (&StorageVol, VolumeSpec),
    files: bool,
) -> Result<StorageVol, Error> {
    /// Bytes in memory at a time.
    const PART: u64 = 16 << 20;
    // With this flag the allocation is the file length, whatever its content.
    let length = source.info_flags(sys::VIR_STORAGE_VOL_GET_PHYSICAL)?.allocation;
    let copy = make(pool, &VolumeSpec { capacity_bytes: length, ..spec }, files)?;
    let fill = || -> Result<(), Error> {
        let mut from = 0;
        while from < length {
            let part = read_part(connect, source, from, PART.min(length - from))?;
            if part.is_empty() {
                break;
            }
            // Empty parts are already empty in the new volume.
            if part.iter().any(|byte| *byte != 0) {
                write_part(connect, &copy, from, &part)?;
            }
            from += part.len() as u64;
        }
        Ok(())
    };
    match fill() {
        Ok(()) => Ok(copy),
        Err(error) => {
            copy.delete(0).ok();
            Err(error)
        }
    }
}

/// A part of a volume's bytes; fewer than requested at its end.
pub(crate) fn read_part(connect: &Connect, volume: &StorageVol, at: u64, length: u64) -> Result<Vec<u8>, Error> {
    let stream = Stream::new(connect, 0)?;
    volume.download(&stream, at, length, 0)?;
    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
    let (mut have, mut buffer) = (Vec::new(), vec![0; wanted.min(PIECE)]);
    while have.len() < wanted {
        let room = buffer.len().min(wanted - have.len());
        match stream.recv(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(read) => have.extend_from_slice(&buffer[..usize::try_from(read).unwrap_or_default()]),
            Err(error) => {
                stream.abort().ok();
                return Err(error.into());
            }
        }
    }
    stream.finish()?;
    Ok(have)
}

fn write_part(connect: &Connect, volume: &StorageVol, at: u64, bytes: &[u8]) -> Result<(), Error> {
    let stream = Stream::new(connect, 0)?;
    volume.upload(&stream, at, bytes.len() as u64, 0)?;
    match send(&stream, bytes) {
        Ok(()) => Ok(stream.finish()?),
        Err(error) => {
            stream.abort().ok();
            Err(error)
        }
    }
}

/// Resizes a volume; a running machine resizes its own disk, because nothing else may write to it.
pub(crate) fn resize(
    connect: &Connect,
    (pool, volume): (&StoragePool, &StorageVol),
    bytes: u64,
    look: &mut Look,
) -> Result<(), Error> {
    let known = holding(super::volume(volume)?)?;
    let disk = look.uses.as_mut().and_then(|uses| uses.disk_of(&look.pool, &known));
    if let Some((id, target)) = disk {
        let domain = connect.lookup_domain_by_uuid(id)?;
        grows(&known.name, domain.block_info(&target, 0)?.capacity, bytes)?;
        domain.block_resize(&target, bytes, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES)?;
        // The pool's data of the volume is outdated.
        return Ok(pool.refresh(0)?);
    }
    match (look.prove(connect, &known.path, &known.format)?, look.is_believed_raw(&known)) {
        (Format::Raw, false) => {
            let reason =
                format!("{} is raw, but its content makes libvirt treat it as a {} image", known.name, known.format);
            let next = "Resize it while its machine is running";
            return Err(Error::Said(Fault::denied(reason).with_next(next)));
        }
        (Format::Qcow2, _) if look.real && known.format != "qcow2" => return Err(stale(&known.name)),
        _ => {}
    }
    grows(&known.name, volume.info()?.capacity, bytes)?;
    Ok(volume.resize(bytes, 0)?)
}

/// A volume that has content of its own.
///
/// # Errors
/// `Denied` for a directory.
fn holding(volume: Volume) -> Result<Volume, Error> {
    if volume.kind == "dir" {
        let fault = Fault::denied(format!("{} is a directory, so it has no content of its own", volume.name));
        return Err(Error::Said(fault.with_next("Create a storage pool for it to work with what is in it")));
    }
    Ok(volume)
}

/// Whether a new size truncates nothing.
fn grows(name: &str, now: u64, bytes: u64) -> Result<(), Error> {
    if bytes < now {
        let fault = Fault::denied(format!("{name} cannot be shrunk: data beyond the new size would be lost"));
        return Err(Error::Said(
            fault.with_next("Shrink the file system in the guest and copy it to a smaller volume"),
        ));
    }
    Ok(())
}

/// Wipes a volume. A qcow2 image becomes an empty one of its size; other formats are refused,
/// because only zeros would remain.
pub(crate) fn wipe(connect: &Connect, volume: &StorageVol, look: &mut Look) -> Result<(), Error> {
    let known = holding(super::volume(volume)?)?;
    let identity = look.identity(&known.name, &known.path);
    let raw = look.is_believed_raw(&known) || look.raw.is_raw(identity.own.iter());
    if !raw && known.format != "qcow2" {
        let reason = format!("{} is a {} image, which cannot be wiped", known.name, known.format);
        return Err(Error::Said(Fault::denied(reason).with_next("Delete it and create a new volume")));
    }
    let qcow2 = !raw;
    let empty = match qcow2 {
        true => Some(image::empty_qcow2(known.capacity_bytes).ok_or_else(|| {
            let reason = format!("{} declares a size above the maximum of a qcow2 image", known.name);
            Error::Said(Fault::new(FaultKind::Refused, reason).with_next("Delete it and create it again"))
        })?),
        false => None,
    };
    volume.wipe(0)?;
    empty.map_or(Ok(()), |empty| write_part(connect, volume, 0, &empty))
}

/// Deletes a volume whose content was not accepted, or did not come. It never was whole, so a machine
/// that was given it meanwhile loses nothing; one that has been started from it keeps it.
///
/// # Errors
/// `Denied` while a running machine has it; libvirt's error.
pub(crate) fn discard(volume: &StorageVol, look: &mut Look) -> Result<(), Error> {
    let known = super::volume(volume)?;
    let users = look.uses.as_mut().map(|uses| uses.of_volume(&look.pool, &known)).unwrap_or_default();
    if let Some(user) = users.iter().find(|user| user.active && user.vm_id.is_some()) {
        let reason = format!("{} is in use by {} and was not deleted", known.name, user.name);
        let next = format!("Do not trust its content; force {} off and delete the volume", user.name);
        return Err(Error::Said(Fault::denied(reason).with_next(next)));
    }
    delete(volume, look)
}

/// Whether uploaded content may stay in a volume: it must not refer to files that are not volumes
/// of active pools.
///
/// # Errors
/// `Denied`, with the reference.
pub(crate) fn inspect(connect: &Connect, path: &str, look: &mut Look) -> Result<(), Error> {
    let Some(uses) = look.uses.as_mut().filter(|_| look.real && look.pool.keeps_files()) else { return Ok(()) };
    match crate::uses::read::head_of_volume(connect, path) {
        Ok(Image::Qcow2(image)) if image.backing.is_some() || image.data_file.is_some() => {
            chain::prove(connect, uses, &look.raw, path).map(drop)
        }
        // What some machine opens as such an image may be any file of the host.
        Ok(image) if image.may_name_others() => Err(chain::not_followed(path, &image)),
        Ok(_) => Ok(()),
        Err(error) if error.is(&[ErrorNumber::NoStorageVolume]) => Ok(()),
        Err(error) => Err(error),
    }
}
