//! Parses the header of a disk image: its format and the files it refers to.
//!
//! The content of an image is untrusted, so no length or offset is trusted, and no referenced file
//! is opened. Layouts: QEMU's `docs/interop/qcow2.txt`, and the magic bytes of other formats as in
//! `qemu-img`. What may be done with an image is decided by `chain`.

use std::ffi::OsString;

use crate::names::of_bytes;

/// What the first bytes of an image say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// No known format: raw bytes.
    Raw,
    /// A qcow2 image.
    Qcow2(Qcow2),
    /// An image of a format that QEMU reads and this program does not, with the files that it names.
    Other(&'static str, Vec<OsString>),
    /// It begins like a qcow2 image and cannot be one; why, and the files that it names all the same.
    Broken(&'static str, Vec<OsString>),
}

/// The header of a qcow2 image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Qcow2 {
    /// Its virtual size in bytes.
    pub(crate) capacity: u64,
    /// What it is based on, as it is written there; none when it stands alone.
    pub(crate) backing: Option<OsString>,
    /// The format of that; none when it would be guessed.
    pub(crate) backing_format: Option<String>,
    /// Whether its data lies in another file, and that one's name as far as it is said.
    pub(crate) data_file: Option<OsString>,
    /// Whether it is encrypted.
    pub(crate) encrypted: bool,
    /// Incompatible features that are not known to be safe.
    pub(crate) unknown_features: u64,
}

/// Bytes read at a time.
pub(crate) const PIECE: u64 = 4096;
/// Maximum length of a backing file name (`qcow2.txt`: 1,023 bytes).
const MAX_NAME: u64 = 1023;
/// Maximum header extensions.
const MAX_EXTENSIONS: usize = 64;
/// Dirty, compression type, extended L2 entries: unrelated to other files. Corrupt (1) and external
/// data file (2) are not included.
const SAFE_FEATURES: u64 = 1 | 1 << 3 | 1 << 4;
/// The feature bit of an external data file.
const DATA_FILE: u64 = 1 << 2;

/// Parses an image; `read` returns bytes at an offset, at most as many as requested.
///
/// # Errors
/// Errors of `read`.
pub(crate) fn look<E>(mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, E>) -> Result<Image, E> {
    let head = read(0, PIECE)?;
    if head.starts_with(b"QFI\xfb") && head.get(4..8) != Some(&1_u32.to_be_bytes()) {
        let (mut reader, mut image) = (Reader { head, read }, Qcow2::default());
        return Ok(match qcow2(&mut reader, &mut image) {
            Ok(()) => Image::Qcow2(image),
            Err(Stop::Broken(why)) => Image::Broken(why, image.names().cloned().collect()),
            Err(Stop::Unread(error)) => return Err(error),
        });
    }
    let Some(format) = other(&head) else { return Ok(Image::Raw) };
    let mut reader = Reader { head, read };
    let names = match format {
        "QED" => qed(&mut reader),
        "qcow" => qcow(&mut reader),
        "VMDK" => vmdk(&mut reader),
        _ => Ok(Vec::new()),
    };
    match names {
        Ok(names) => Ok(Image::Other(format, names)),
        // QEMU does not open it, either.
        Err(Stop::Broken(_)) => Ok(Image::Other(format, Vec::new())),
        Err(Stop::Unread(error)) => Err(error),
    }
}

impl Image {
    /// The files that it names beside itself.
    pub(crate) fn names(&self) -> Vec<OsString> {
        match self {
            Self::Raw => Vec::new(),
            Self::Qcow2(image) => image.names().cloned().collect(),
            Self::Other(_, names) | Self::Broken(_, names) => names.clone(),
        }
    }

    /// Whether QEMU may open other files for an image of this format, or libvirt takes it for a folder of
    /// files (Parallels) that it can neither read nor delete.
    pub(crate) fn may_name_others(&self) -> bool {
        matches!(self, Self::Broken(..) | Self::Other("QED" | "qcow" | "VMDK" | "cow" | "Parallels", _))
    }
}

impl Qcow2 {
    /// What it names beside itself, as it is written.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsString> {
        self.backing.iter().chain(&self.data_file).filter(|name| !name.is_empty())
    }
}

/// Formats by magic bytes.
fn other(head: &[u8]) -> Option<&'static str> {
    let known: [(usize, &[u8], &'static str); 11] = [
        (0, b"QFI\xfb", "qcow"),
        (0, b"KDMV", "VMDK"),
        (0, b"COWD", "VMDK"),
        (0, b"conectix", "VHD"),
        (0, b"vhdxfile", "VHDX"),
        (0x40, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
        (0, b"QED\0", "QED"),
        (0, b"OOOM", "cow"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0, b"WithoutFreeSpace", "Parallels"),
        (0, b"WithouFreSpacExt", "Parallels"),
    ];
    let found = known.into_iter().find(|(at, bytes, _)| head.get(*at..at + bytes.len()) == Some(*bytes));
    found.map(|(.., name)| name).or_else(|| is_vmdk_text(head).then_some("VMDK"))
}

/// Whether it is a VMDK descriptor: comments, then the version.
fn is_vmdk_text(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    first.is_some_and(|line| line.starts_with(b"version="))
}

enum Stop<E> {
    Broken(&'static str),
    Unread(E),
}

struct Reader<F> {
    head: Vec<u8>,
    read: F,
}

impl<E, F: FnMut(u64, u64) -> Result<Vec<u8>, E>> Reader<F> {
    /// Exactly `length` bytes at an offset.
    fn bytes(&mut self, at: u64, length: u64) -> Result<Vec<u8>, Stop<E>> {
        let (from, to) = (usize::try_from(at).ok(), at.checked_add(length).and_then(|to| usize::try_from(to).ok()));
        if let (Some(from), Some(to)) = (from, to)
            && let Some(found) = self.head.get(from..to)
        {
            return Ok(found.to_vec());
        }
        let found = (self.read)(at, length).map_err(Stop::Unread)?;
        if found.len() as u64 == length { Ok(found) } else { Err(Stop::Broken("the header is truncated")) }
    }

    fn u32(&mut self, at: u64) -> Result<u32, Stop<E>> {
        let bytes = self.bytes(at, 4)?;
        Ok(bytes.try_into().map_or(0, u32::from_be_bytes))
    }

    /// A number of QED and VMDK, which write the lowest byte first.
    fn little(&mut self, at: u64, length: u64) -> Result<u64, Stop<E>> {
        Ok(self.bytes(at, length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A name of a file at a place of the header; none of no length.
    fn file_name(&mut self, (at, length): (u64, u64)) -> Result<Vec<OsString>, Stop<E>> {
        match length {
            0 => Ok(Vec::new()),
            1..=MAX_NAME => Ok(vec![of_bytes(self.bytes(at, length)?)]),
            _ => Err(Stop::Broken("a name in its header is too long")),
        }
    }

    fn u64(&mut self, at: u64) -> Result<u64, Stop<E>> {
        Ok(u64::from(self.u32(at)?) << 32 | u64::from(self.u32(at + 4)?))
    }
}

/// What a QED image is based on (`docs/interop/qed_spec.rst`).
fn qed<E, F: FnMut(u64, u64) -> Result<Vec<u8>, E>>(reader: &mut Reader<F>) -> Result<Vec<OsString>, Stop<E>> {
    const BACKED: u64 = 1;
    if reader.little(16, 8)? & BACKED == 0 {
        return Ok(Vec::new());
    }
    let place = (reader.little(56, 4)?, reader.little(60, 4)?);
    reader.file_name(place)
}

/// What a qcow image of version 1 is based on (QEMU's `block/qcow.c`).
fn qcow<E, F: FnMut(u64, u64) -> Result<Vec<u8>, E>>(reader: &mut Reader<F>) -> Result<Vec<OsString>, Stop<E>> {
    match (reader.u64(8)?, u64::from(reader.u32(16)?)) {
        (0, _) => Ok(Vec::new()),
        place => reader.file_name(place),
    }
}

/// Bytes of the text in a VMDK image at most.
const MAX_TEXT: u64 = 64 << 10;

/// What a VMDK image is based on, and the files that its extents lie in, as its text says
/// (VMware's "Virtual Disk Format 5.0").
fn vmdk<E, F: FnMut(u64, u64) -> Result<Vec<u8>, E>>(reader: &mut Reader<F>) -> Result<Vec<OsString>, Stop<E>> {
    const SECTOR: u64 = 512;
    let (at, length) = match reader.head.starts_with(b"KDMV") {
        true => (reader.little(28, 8)?.saturating_mul(SECTOR), reader.little(36, 8)?.saturating_mul(SECTOR)),
        false => (0, MAX_TEXT),
    };
    let mut text = Vec::new();
    while (text.len() as u64) < length.min(MAX_TEXT) {
        let piece = (reader.read)(at.saturating_add(text.len() as u64), PIECE).map_err(Stop::Unread)?;
        let last = (piece.len() as u64) < PIECE;
        text.extend(piece);
        if last {
            break;
        }
    }
    let names = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| {
        [&b"RW"[..], b"RDONLY", b"NOACCESS", b"parentFileNameHint"].iter().any(|word| line.starts_with(word))
    });
    let quoted = |line: &[u8]| line.split(|byte| *byte == b'"').nth(1).map(|name| of_bytes(name.to_vec()));
    Ok(names.filter_map(quoted).filter(|name| !name.is_empty()).collect())
}

fn qcow2<E, F: FnMut(u64, u64) -> Result<Vec<u8>, E>>(
    reader: &mut Reader<F>,
    image: &mut Qcow2,
) -> Result<(), Stop<E>> {
    let version = reader.u32(4)?;
    let (features, header) = match version {
        2 => (0, 72),
        3 => (reader.u64(72)?, u64::from(reader.u32(100)?)),
        _ => return Err(Stop::Broken("unsupported version")),
    };
    let cluster_bits = reader.u32(20)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(Stop::Broken("invalid cluster size"));
    }
    let cluster = 1_u64 << cluster_bits;
    if version == 3 && header < 104 || header > cluster {
        return Err(Stop::Broken("invalid header length"));
    }
    let (at, length) = (reader.u64(8)?, u64::from(reader.u32(16)?));
    let backing = match at {
        0 => None,
        _ if length > MAX_NAME || length == 0 || at.saturating_add(length) > cluster => {
            return Err(Stop::Broken("the backing file name is outside the header"));
        }
        _ => Some(of_bytes(reader.bytes(at, length)?)),
    };
    *image = Qcow2 {
        capacity: reader.u64(24)?,
        backing,
        encrypted: reader.u32(32)? != 0,
        unknown_features: features & !(SAFE_FEATURES | DATA_FILE),
        data_file: (features & DATA_FILE != 0).then(OsString::new),
        ..Qcow2::default()
    };
    extensions(reader, (header, if at == 0 { cluster } else { at }), image)
}

/// Reads the header extensions, each with its type, its length, and its content in whole eights.
fn extensions<E, F: FnMut(u64, u64) -> Result<Vec<u8>, E>>(
    reader: &mut Reader<F>,
    (mut at, end): (u64, u64),
    image: &mut Qcow2,
) -> Result<(), Stop<E>> {
    for _ in 0..MAX_EXTENSIONS {
        if at.saturating_add(8) > end {
            return Ok(());
        }
        let (kind, length) = (reader.u32(at)?, u64::from(reader.u32(at + 4)?));
        at += 8;
        if kind == 0 {
            return Ok(());
        }
        if at.saturating_add(length) > end {
            return Err(Stop::Broken("a header extension exceeds the header"));
        }
        match kind {
            0xe279_2aca if length <= MAX_NAME => image.backing_format = Some(name(reader.bytes(at, length)?)?),
            0x4441_5441 if length <= MAX_NAME => image.data_file = Some(of_bytes(reader.bytes(at, length)?)),
            0xe279_2aca | 0x4441_5441 => return Err(Stop::Broken("a name in its header is too long")),
            // The place of the keys of an encrypted image.
            0x0537_be77 => image.encrypted = true,
            _ => {}
        }
        at += length.div_ceil(8) * 8;
    }
    Err(Stop::Broken("too many header extensions"))
}

fn name<E>(bytes: Vec<u8>) -> Result<String, Stop<E>> {
    let text = String::from_utf8(bytes).map_err(|_| Stop::Broken("a name in the header is not valid UTF-8"))?;
    if text.contains('\0') { Err(Stop::Broken("a name in the header contains a NUL byte")) } else { Ok(text) }
}

/// Maximum size of an L1 table in bytes; QEMU opens no image with a larger one.
const MAX_L1: u64 = 32 << 20;

/// The first clusters of an empty, complete qcow2 image of version 3 (`compat=1.1`) with clusters
/// of 64 KiB: header, refcounts, and an empty L1 table.
///
/// None for a size above 2 PiB, which needs more than one refcount block.
pub(crate) fn empty_qcow2(capacity: u64) -> Option<Vec<u8>> {
    const CLUSTER: u64 = 1 << 16;
    // Each L1 entry refers to a table of 8,192 clusters.
    let entries = capacity.div_ceil(CLUSTER * CLUSTER / 8).max(1);
    let table = (entries * 8).div_ceil(CLUSTER);
    // Header, refcount table, refcount block, L1 table; a block counts 32,768 clusters.
    let clusters = 3 + table;
    if entries * 8 > MAX_L1 {
        return None;
    }
    let mut image = vec![0; usize::try_from(clusters * CLUSTER).ok()?];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &capacity.to_be_bytes());
    put(36, &u32::try_from(entries).ok()?.to_be_bytes());
    put(40, &(3 * CLUSTER).to_be_bytes());
    put(48, &CLUSTER.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    // Refcounts of 16 bits, and a header of 104 bytes.
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(CLUSTER as usize, &(2 * CLUSTER).to_be_bytes());
    for cluster in 0..clusters as usize {
        put(2 * CLUSTER as usize + 2 * cluster, &1_u16.to_be_bytes());
    }
    Some(image)
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
