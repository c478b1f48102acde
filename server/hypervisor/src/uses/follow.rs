//! Follows what images name: backing files, data files and extents, and what those name in turn.
//!
//! Nothing that is found here is opened by a tool; `image` reads headers only.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use model::{
    Fault, Volume,
    storage::{PoolState, VolumeUse},
};

use super::{Shelf, Unknown, Use, Uses, read};
use crate::{image::Image, names::named, places::Identity, xml::sources::Place};

/// A chain of images is not followed further than this; libvirt follows 200.
const MAX_CHAIN: usize = 200;

impl Uses {
    /// Adds what the volumes of a pool are based on, as libvirt reports it.
    pub(super) fn add_volumes(&mut self, shelf: &Shelf) {
        for volume in shelf.volumes.iter().flatten().filter(|volume| !volume.backing.is_empty()) {
            self.add_named_by_volume(volume, volume.backing.as_ref());
        }
        // For a pool that was never read, only its type tells whether it contains images.
        if shelf.volumes.is_none() && shelf.pool.keeps_files() {
            let (name, next) = match shelf.pool.state {
                PoolState::Inactive => ("is not active", "Start it once, or delete it"),
                _ => ("could not be listed", "Check its storage and refresh the pool"),
            };
            let reason = format!(
                "Storage pool {} {name}, and an image in it may use this volume as its backing file",
                shelf.pool.name
            );
            self.unknown.push(Unknown { fault: Fault::denied(reason).with_next(next), of_machine: false, by: None });
        }
    }

    /// Adds a file that the image of a volume names.
    pub(crate) fn add_named_by_volume(&mut self, volume: &Volume, text: &std::ffi::OsStr) {
        let user = VolumeUse { name: volume.name.clone(), ..VolumeUse::default() };
        self.add_named(&user, Some(&volume.path), (Path::new(&volume.path), text));
    }

    /// Adds the files that an image outside of all listings names, for people by its path.
    pub(crate) fn add_unlisted(&mut self, path: &Path, image: &Image) {
        let (user, by) =
            (VolumeUse { name: path.display().to_string(), ..VolumeUse::default() }, path.to_string_lossy());
        for name in image.names() {
            self.add_named(&user, Some(&by), (path, &name));
        }
    }

    /// Records that an image header cannot be read, so its references are unknown.
    pub(crate) fn note_unread(&mut self, volume: &Volume, why: &str) {
        let reason =
            format!("The image header of {} cannot be read, so its backing file is unknown: {why}", volume.name);
        let fault = Fault::denied(reason).with_next("Check its storage and refresh its pool, or delete it first");
        self.unknown.push(Unknown { fault, of_machine: false, by: Some(volume.path.clone()) });
    }

    /// Adds one name in an image, and follows what is there.
    fn add_named(&mut self, user: &VolumeUse, by: Option<&str>, (image, text): (&Path, &std::ffi::OsStr)) {
        for place in named(image, text) {
            let identity = self.identify(&place);
            if let Place::Path(path) = &place
                && self.is_to_follow(&identity, path)
            {
                self.follow(user, by, path);
            }
            let by = by.map(str::to_owned);
            self.uses.push(Use { user: user.clone(), by, identity, ..Use::default() });
        }
    }

    /// Whether what an image names has to be followed from here: what a volume is based on is added
    /// with the volume, unless it is reached by another path, from which QEMU resolves relative names.
    fn is_to_follow(&self, identity: &Identity, path: &Path) -> bool {
        match self.listed_at(identity) {
            None => true,
            Some((_, at)) => self.thorough && self.places.are_local() && path != Path::new(at),
        }
    }

    /// Follows the image of a machine's disk.
    pub(super) fn follow_disk(&mut self, user: &VolumeUse, identity: &Identity, path: &Path) {
        // Whatever libvirt's listing says of it, the machine opens it as an image.
        if self.listed_at(identity).is_none() || self.thorough && self.places.are_local() {
            self.follow(user, None, path);
        }
    }

    /// Follows the backing chain of an image, for its machine or volume (`by`).
    fn follow(&mut self, user: &VolumeUse, by: Option<&str>, path: &Path) {
        // libvirt and the image header name the same file.
        if !self.followed.insert((user.vm_id, by.map(str::to_owned), path.to_owned())) {
            return;
        }
        let (mut ahead, mut seen) = (vec![path.to_owned()], BTreeSet::new());
        while let Some(path) = ahead.pop() {
            if !seen.insert(path.clone()) || seen.len() > MAX_CHAIN {
                continue;
            }
            match self.read_head(&path) {
                Ok(None) => {}
                Ok(Some(image)) => ahead.extend(self.add_members(user, by, (&path, &image))),
                Err(why) => {
                    let at = path.display();
                    let reason = format!("The backing file of {at} used by {} cannot be read: {why}", user.name);
                    let next = "Create a storage pool for its directory, or detach the disk from the machine";
                    let fault = Fault::denied(reason).with_next(next);
                    self.unknown.push(Unknown { fault, of_machine: false, by: by.map(str::to_owned) });
                }
            }
        }
    }

    /// Adds what an image in a chain names; returns what has to be followed further.
    fn add_members(&mut self, user: &VolumeUse, by: Option<&str>, (path, image): (&Path, &Image)) -> Vec<PathBuf> {
        let mut ahead = Vec::new();
        for place in image.names().iter().flat_map(|text| named(path, text)) {
            let identity = self.identify(&place);
            if let Place::Path(path) = &place
                && self.is_to_follow(&identity, path)
            {
                ahead.push(path.clone());
            }
            let by = by.map(str::to_owned);
            self.uses.push(Use { user: user.clone(), by, identity, ..Use::default() });
        }
        ahead
    }

    /// The image header at a path of the host; none if there is no file.
    fn read_head(&mut self, path: &Path) -> Result<Option<Image>, String> {
        let resolved = self.places.resolve(path).ok_or("it is on a remote host")?;
        let real = self.places.real(&resolved).ok_or("its file server does not respond")?;
        match read::head_of_file(&real) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // A file within a path, or a name that no file can have.
            Err(error) if matches!(error.raw_os_error(), Some(20 | 36 | 40)) => Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(image) => Ok(image),
        }
    }
}
