//! What is done with volumes by tools that read images: made, copied, resized, wiped. Each image
//! is proven before (`chain`), and nothing is done to what somebody uses (`uses`).

use model::{Fault, FaultKind, Pool, Volume, storage::VolumeSpec};
use virt::{
    connect::Connect, error::ErrorNumber, storage_pool::StoragePool, storage_vol::StorageVol, stream::Stream, sys,
};

use super::{PIECE, send};
use crate::{
    chain::{self, Format},
    error::Error,
    image,
    places::{Identity, Key},
    raw::RawImages,
    uses::Uses,
    xml,
};

/// What was found out before a command that depends on who uses what.
pub(crate) struct Look {
    /// Who uses what; none for a command to which that does not matter.
    pub(crate) uses: Option<Uses>,
    /// The pool as it was then.
    pub(crate) pool: Pool,
    /// Its volumes as they were then.
    pub(crate) volumes: Vec<Volume>,
    /// Which images are raw for sure.
    pub(crate) raw: RawImages,
    /// Whether the host has real images, unlike libvirt's test driver.
    pub(crate) real: bool,
}

impl Look {
    /// What a volume of the pool is known by.
    fn identity(&mut self, name: &str, path: &str) -> Identity {
        let volume = Volume { name: name.to_owned(), path: path.to_owned(), ..Volume::default() };
        match &mut self.uses {
            Some(uses) => uses.of_place(&self.pool, &volume),
            None => Identity {
                own: vec![Key::Volume(self.pool.name.clone(), volume.name), Key::Path(volume.path.into())],
                below: Vec::new(),
            },
        }
    }

    /// Notes that a volume is raw, or may be anything.
    fn note_raw(&mut self, volume: &StorageVol, raw: bool) -> Result<(), Error> {
        let identity = self.identity(&super::name_of(volume)?, &volume.path()?);
        self.raw.note(identity.own.iter(), raw);
        Ok(())
    }

    /// What an image is for sure.
    fn prove(&mut self, connect: &Connect, path: &str, declared: &str) -> Result<Format, Error> {
        match &mut self.uses {
            // Only files have a format of their own; the test driver has no content at all.
            Some(uses) if self.real && self.pool.keeps_files() => chain::prove(connect, uses, &self.raw, path),
            _ if declared == "qcow2" => Ok(Format::Qcow2),
            _ => Ok(Format::Raw),
        }
    }

    /// Whether libvirt takes a volume for bytes as they are.
    fn is_believed_raw(&self, volume: &Volume) -> bool {
        matches!(volume.format.as_str(), "" | "raw" | "iso" | "unknown") || !self.pool.keeps_files()
    }

    /// Whether all volumes of the pool were looked at.
    ///
    /// # Errors
    /// `Denied`, with the one that came since.
    pub(crate) fn is_whole(&self, volumes: &[StorageVol]) -> Result<(), Error> {
        for volume in volumes {
            let name = super::name_of(volume)?;
            if !self.volumes.iter().any(|known| known.name == name) {
                let fault = Fault::denied(format!("{name} has come into {} just now", self.pool.name));
                return Err(Error::Said(fault.with_next("Look at the pool again, then decide")));
            }
        }
        Ok(())
    }
}

/// Makes a volume, based on another one if that is wished.
pub(crate) fn create(connect: &Connect, pool: &StoragePool, spec: &VolumeSpec, look: &mut Look) -> Result<(), Error> {
    // QEMU's tool opens what the new image is based on, and all below it.
    if !spec.backing.is_empty()
        && spec.backing_format != "raw"
        && look.prove(connect, &spec.backing, &spec.backing_format)? == Format::Raw
    {
        return Err(Error::Said(Fault::invalid("backingFormat", "what it is based on is raw, and not qcow2")));
    }
    let volume = make(pool, spec, look.pool.keeps_files())?;
    look.note_raw(&volume, spec.format == "raw")
}

/// Makes a volume whose content comes later and says what it is.
pub(crate) fn create_for_content(pool: &StoragePool, spec: &VolumeSpec, look: &mut Look) -> Result<(), Error> {
    let volume = make(pool, spec, look.pool.keeps_files())?;
    look.note_raw(&volume, false)
}

fn make(pool: &StoragePool, spec: &VolumeSpec, files: bool) -> Result<StorageVol, Error> {
    let text = xml::storage::volume_definition(spec, files);
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

/// Copies a volume within its pool.
pub(crate) fn clone(
    connect: &Connect,
    pool: &StoragePool,
    (source, to): (&StorageVol, &str),
    look: &mut Look,
) -> Result<(), Error> {
    let known = super::volume(source)?;
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
        // libvirt would take it for what its guest made it look like.
        (Format::Raw, false) => copy_bytes(connect, pool, (source, spec), files)?,
        (Format::Qcow2, _) if look.real && known.format != "qcow2" => return Err(stale(&known.name)),
        _ => StorageVol::create_xml_from(pool, &xml::storage::volume_definition(&spec, files), source, 0)?,
    };
    look.note_raw(&copy, proven == Format::Raw)
}

/// That libvirt has not noticed yet what a volume is.
fn stale(name: &str) -> Error {
    let fault = Fault::denied(format!("{name} has become a qcow2 image since its pool was read"));
    Error::Said(fault.with_next("Refresh the pool, then do it again"))
}

/// Copies a volume byte by byte, through us.
fn copy_bytes(
    connect: &Connect,
    pool: &StoragePool,
    (source, spec): (&StorageVol, VolumeSpec),
    files: bool,
) -> Result<StorageVol, Error> {
    /// Bytes that are held at a time.
    const PART: u64 = 16 << 20;
    // With this flag the allocation is the length of the file, whatever an image in it says.
    let length = source.info_flags(sys::VIR_STORAGE_VOL_GET_PHYSICAL)?.allocation;
    let copy = make(pool, &VolumeSpec { capacity_bytes: length, ..spec }, files)?;
    let fill = || -> Result<(), Error> {
        let mut from = 0;
        while from < length {
            let part = read_part(connect, source, from, PART.min(length - from))?;
            if part.is_empty() {
                break;
            }
            // What is empty is empty in the new one already.
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

/// A part of a volume's bytes; fewer than asked at its end.
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

/// Gives a volume another size; a machine that runs from it does that itself, as nobody else
/// may write to its disk.
pub(crate) fn resize(
    connect: &Connect,
    (pool, volume): (&StoragePool, &StorageVol),
    bytes: u64,
    look: &mut Look,
) -> Result<(), Error> {
    let known = super::volume(volume)?;
    let disk = look.uses.as_mut().and_then(|uses| uses.disk_of(&look.pool, &known));
    if let Some((id, target)) = disk {
        let domain = connect.lookup_domain_by_uuid(id)?;
        grows(&known.name, domain.block_info(&target, 0)?.capacity, bytes)?;
        domain.block_resize(&target, bytes, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES)?;
        // What the pool knows of the volume is older than that.
        return Ok(pool.refresh(0)?);
    }
    match (look.prove(connect, &known.path, &known.format)?, look.is_believed_raw(&known)) {
        (Format::Raw, false) => {
            let reason =
                format!("{} is raw, and what is in it makes libvirt take it for a {} image", known.name, known.format);
            let next = "Resize it while its machine runs";
            return Err(Error::Said(Fault::denied(reason).with_next(next)));
        }
        (Format::Qcow2, _) if look.real && known.format != "qcow2" => return Err(stale(&known.name)),
        _ => {}
    }
    grows(&known.name, volume.info()?.capacity, bytes)?;
    Ok(volume.resize(bytes, 0)?)
}

/// Whether nothing is cut off by another size.
fn grows(name: &str, now: u64, bytes: u64) -> Result<(), Error> {
    if bytes < now {
        let fault = Fault::denied(format!("{name} would lose what lies beyond the new end"));
        return Err(Error::Said(fault.with_next("Make it smaller in the guest, and copy it to a smaller volume")));
    }
    Ok(())
}

/// Overwrites all that is in a volume. One that is a qcow2 image is an empty one of its size then;
/// other images are refused, as only zeros would be left of them.
pub(crate) fn wipe(connect: &Connect, volume: &StorageVol, look: &mut Look) -> Result<(), Error> {
    let known = super::volume(volume)?;
    let identity = look.identity(&known.name, &known.path);
    let raw = look.is_believed_raw(&known) || look.raw.is_raw(identity.own.iter());
    if !raw && known.format != "qcow2" {
        let reason = format!("{} is a {} image, of which no empty one can be made", known.name, known.format);
        return Err(Error::Said(Fault::denied(reason).with_next("Delete it, and create a new volume in its place")));
    }
    let qcow2 = !raw;
    let empty = match qcow2 {
        true => Some(image::empty_qcow2(known.capacity_bytes).ok_or_else(|| {
            let reason = format!("{} says that it is larger than a qcow2 image can be", known.name);
            Error::Said(Fault::new(FaultKind::Refused, reason).with_next("Delete it, and create it anew"))
        })?),
        false => None,
    };
    volume.wipe(0)?;
    empty.map_or(Ok(()), |empty| write_part(connect, volume, 0, &empty))
}

/// Whether what was brought into a volume may stay there: whatever it is, it names no file that is
/// not a volume of a started pool.
///
/// # Errors
/// `Denied`, with what it names.
pub(crate) fn inspect(connect: &Connect, path: &str, look: &mut Look) -> Result<(), Error> {
    let Some(uses) = look.uses.as_mut().filter(|_| look.real && look.pool.keeps_files()) else { return Ok(()) };
    match crate::uses::read::head_of_volume(connect, path) {
        Ok(image::Image::Qcow2(image)) if image.backing.is_some() || image.data_file.is_some() => {
            chain::prove(connect, uses, &look.raw, path).map(drop)
        }
        // What it cannot be taken for is refused when a tool should open it.
        Ok(_) => Ok(()),
        Err(error) if error.is(&[ErrorNumber::NoStorageVolume]) => Ok(()),
        Err(error) => Err(error),
    }
}
