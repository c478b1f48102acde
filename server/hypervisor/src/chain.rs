//! Whether an image may be given to a tool that follows what it names (`qemu-img`, which libvirt
//! runs to copy, resize and build upon images, as the account that reads every disk).
//!
//! Everything in an image may have been written by a guest or come from a stranger
//! (CVE-2015-5160, CVE-2022-47951, CVE-2024-32498, CVE-2024-4467). So only raw and qcow2 images
//! are let through, and of qcow2 those alone whose whole chain consists of volumes of started
//! pools, each with its format said. What was made or used as raw is raw, whatever it looks like.

use model::Fault;
use virt::connect::Connect;

use crate::{
    error::Error,
    image::{Image, Qcow2},
    raw::RawImages,
    uses::{Uses, read::head_of_volume},
};

/// What an image is for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Bytes as they are.
    Raw,
    /// A qcow2 image that names nothing but volumes of started pools.
    Qcow2,
}

/// A chain is not followed further than this.
const MAX_LINKS: usize = 64;

/// Proves what the volume at a path is, with all that it is based on.
///
/// # Errors
/// `Denied`, with the image and what is wrong with it.
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

/// Proves that all that an image names, and all that those name, are volumes of started pools.
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
        let format = image.backing_format.clone().unwrap_or_default();
        let (volume, at) = uses.volume_at(&member(&path, text)?).ok_or_else(|| {
            let reason = format!("{path} is based on {}, which is no volume of a started pool", text.escape_debug());
            denied(reason, "Make a storage pool of its folder, or bring an image that stands alone (qemu-img convert)")
        })?;
        match format.as_str() {
            "raw" => return Ok(()),
            "qcow2" if raw.is_raw(volume.own.iter()) => {
                let reason = format!("{path} takes {at} for a qcow2 image, and that one is raw");
                return Err(denied(reason, "Bring an image that says what it is based on (qemu-img rebase -u -F raw)"));
            }
            "qcow2" => {}
            _ => {
                let reason =
                    format!("{path} does not say that what it is based on is raw or qcow2, which would be guessed");
                return Err(denied(reason, "Set it with qemu-img rebase -u -F qcow2"));
            }
        }
        match head_of_volume(connect, &at)? {
            Image::Qcow2(next) => (path, image) = (at, next),
            other => return Err(not_followed(&at, &other)),
        }
    }
    Err(denied(
        format!("{path} is the end of a chain of more than {MAX_LINKS} images"),
        "Flatten it with qemu-img convert",
    ))
}

/// Whether an image names nothing but what it is based on.
fn stands_alone(path: &str, image: &Qcow2) -> Result<(), Error> {
    let why = match image {
        Qcow2 { data_file: Some(_), .. } => "keeps its data in another file",
        Qcow2 { encrypted: true, .. } => "is encrypted",
        Qcow2 { unknown_features: 1.., .. } => "is damaged, or needs features that are not known here",
        _ => return Ok(()),
    };
    Err(denied(
        format!("{path} {why}, so it is not opened here"),
        "Bring a plain qcow2 or raw image (qemu-img convert)",
    ))
}

/// The path that an image means by the name of another one; only plain paths are followed.
fn member(path: &str, text: &str) -> Result<String, Error> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let protocol = text.split_once(':').is_some_and(|(before, _)| !before.contains('/'));
    match path.rsplit_once('/').filter(|_| !protocol) {
        Some((folder, _)) => Ok(format!("{folder}/{text}")),
        None => {
            let reason = format!("{path} names what it is based on as {}, which is not followed", text.escape_debug());
            Err(denied(reason, "Bring an image that names a path, or stands alone (qemu-img convert)"))
        }
    }
}

fn not_followed(path: &str, image: &Image) -> Error {
    let reason = match image {
        Image::Broken(why) => format!("{path} begins like a qcow2 image and is none: {why}"),
        Image::Other(format) => format!("{path} is a {format} image; only raw and qcow2 images are opened here"),
        Image::Raw | Image::Qcow2(_) => format!("{path} is raw, and is said to be qcow2"),
    };
    denied(reason, "Convert it to qcow2 where you trust it (qemu-img convert), and upload that")
}

fn denied(reason: String, next: &str) -> Error {
    Error::Said(Fault::denied(reason).with_next(next))
}
