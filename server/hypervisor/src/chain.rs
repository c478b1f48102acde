//! Whether an image may be opened by a tool that follows its references (`qemu-img`, which libvirt
//! runs to copy, resize and create images, as an account that can read every disk).
//!
//! The content of an image may come from a guest or an untrusted user (CVE-2015-5160,
//! CVE-2022-47951, CVE-2024-32498, CVE-2024-4467). Only raw and qcow2 images are allowed, and qcow2
//! only if its whole backing chain consists of volumes of active pools with explicit formats. A
//! volume created or used as raw stays raw, whatever its content.

use model::Fault;
use virt::connect::Connect;

use crate::{
    error::Error,
    image::{Image, Qcow2},
    raw::RawImages,
    uses::{Uses, read::head_of_volume},
};

/// The proven format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Raw bytes.
    Raw,
    /// A qcow2 image that refers only to volumes of active pools.
    Qcow2,
}

/// Maximum length of a backing chain.
const MAX_LINKS: usize = 64;

/// Proves the format of the volume at a path and of its backing chain.
///
/// # Errors
/// `Denied`, with the image and the cause.
pub(crate) fn prove(connect: &Connect, uses: &mut Uses, raw: &RawImages, path: &str) -> Result<Format, Error> {
    if uses.volume_at(path).is_some_and(|(volume, _)| raw.is_raw(volume.own.iter())) {
        return Ok(Format::Raw);
    }
    match head_of_volume(connect, path)? {
        Image::Raw => Ok(Format::Raw),
        Image::Qcow2(image) => prove_members(connect, uses, raw, (path, &image)).map(|()| Format::Qcow2),
        other => Err(not_followed(path, &other)),
    }
}

/// Proves that an image and its backing chain refer only to volumes of active pools.
fn prove_members(
    connect: &Connect,
    uses: &mut Uses,
    raw: &RawImages,
    (path, image): (&str, &Qcow2),
) -> Result<(), Error> {
    let (mut path, mut image) = (path.to_owned(), image.clone());
    for _ in 0..MAX_LINKS {
        stands_alone(&path, &image)?;
        let Some(text) = &image.backing else { return Ok(()) };
        let Some(text) = text.to_str() else {
            let reason = format!("The backing file {} of {path} is not valid UTF-8", text.display());
            return Err(denied(reason, "Use an image without a backing file (qemu-img convert)"));
        };
        let format = image.backing_format.clone().unwrap_or_default();
        let (volume, at) = uses.volume_at(&member(&path, text)?).ok_or_else(|| {
            let reason =
                format!("The backing file {} of {path} is not a volume of an active pool", text.escape_debug());
            denied(
                reason,
                "Create a storage pool for its directory, or upload an image without a backing file (qemu-img convert)",
            )
        })?;
        match format.as_str() {
            "raw" => return Ok(()),
            "qcow2" if raw.is_raw(volume.own.iter()) => {
                let reason = format!("{path} declares its backing file {at} as qcow2, but it is raw");
                return Err(denied(reason, "Correct the backing format with qemu-img rebase -u -F raw"));
            }
            "qcow2" => {}
            _ => {
                let reason =
                    format!("{path} does not declare its backing format as raw or qcow2, and probing it is not safe");
                return Err(denied(reason, "Set it with qemu-img rebase -u -F qcow2"));
            }
        }
        match head_of_volume(connect, &at)? {
            Image::Qcow2(next) => (path, image) = (at, next),
            other => return Err(not_followed(&at, &other)),
        }
    }
    Err(denied(
        format!("The backing chain of {path} has more than {MAX_LINKS} images"),
        "Flatten it with qemu-img convert",
    ))
}

/// Whether an image refers only to its backing file.
fn stands_alone(path: &str, image: &Qcow2) -> Result<(), Error> {
    let why = match image {
        Qcow2 { data_file: Some(_), .. } => "uses an external data file",
        Qcow2 { encrypted: true, .. } => "is encrypted",
        Qcow2 { unknown_features: 1.., .. } => "is corrupt or uses unsupported qcow2 features",
        _ => return Ok(()),
    };
    Err(denied(format!("{path} {why}, so it is not opened"), "Use a plain qcow2 or raw image (qemu-img convert)"))
}

/// The path of a backing file; only plain paths are accepted.
fn member(path: &str, text: &str) -> Result<String, Error> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let protocol = text.split_once(':').is_some_and(|(before, _)| !before.contains('/'));
    match path.rsplit_once('/').filter(|_| !protocol) {
        Some((folder, _)) => Ok(format!("{folder}/{text}")),
        None => {
            let reason =
                format!("{path} has the backing file {}, which is not a path on the host", text.escape_debug());
            Err(denied(
                reason,
                "Use an image whose backing file is a path, or one without a backing file (qemu-img convert)",
            ))
        }
    }
}

pub(crate) fn not_followed(path: &str, image: &Image) -> Error {
    let reason = match image {
        Image::Broken(why, _) => format!("{path} is not a valid qcow2 image: {why}"),
        Image::Other(format, _) => format!("{path} is a {format} image; only raw and qcow2 images are supported"),
        Image::Raw | Image::Qcow2(_) => format!("{path} is declared as qcow2, but it is raw"),
    };
    denied(reason, "Convert it to qcow2 on a trusted machine (qemu-img convert), then upload the result")
}

fn denied(reason: String, next: &str) -> Error {
    Error::Said(Fault::denied(reason).with_next(next))
}
