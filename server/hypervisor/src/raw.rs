//! Records which images are raw: those created as raw, and those that machines use as raw. A guest
//! can write a header of another format into them, which libvirt would believe at the next refresh
//! of the pool (CVE-2015-5160 and similar).
//!
//! It is reported to the `Sink`, which stores it for the next process.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use model::HostId;

use crate::{
    Sink,
    link::{Session, blocking},
    places::{Key, Places},
    xml::sources::{Place, Source},
};

/// The raw images of one host.
#[derive(Clone)]
pub(crate) struct RawImages {
    host: HostId,
    sink: Arc<dyn Sink>,
    /// Paths, and volumes as `pool/volume`, each with the file that it was, where files can be told
    /// apart: another file at the same place is another image.
    known: Arc<Mutex<HashMap<String, String>>>,
}

/// Between a name and its file where both are stored.
const BETWEEN: char = '\u{1f}';

impl RawImages {
    pub(crate) fn new(host: HostId, sink: Arc<dyn Sink>) -> Self {
        let read = |text: String| match text.split_once(BETWEEN) {
            Some((name, file)) => (name.to_owned(), file.to_owned()),
            None => (text, String::new()),
        };
        let known = sink.raw_images(&host).into_iter().map(read).collect();
        Self { host, sink, known: Arc::new(Mutex::new(known)) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.known.lock()
    }

    /// Whether an object with these identifiers is known to be raw.
    pub(crate) fn is_raw<'a>(&self, keys: impl Iterator<Item = &'a Key> + Clone) -> bool {
        let (known, file) = (self.lock(), file(keys.clone()));
        let is_it = |was: &String| was.is_empty() || file.is_empty() || *was == file;
        !known.is_empty() && keys.filter_map(name).any(|name| known.get(&name).is_some_and(is_it))
    }

    /// Records that an object with these identifiers is raw, or no longer known to be.
    pub(crate) fn note<'a>(&self, keys: impl Iterator<Item = &'a Key> + Clone, raw: bool) {
        let file = file(keys.clone());
        let stored = |name: &str, file: &str| match file {
            "" => name.to_owned(),
            file => format!("{name}{BETWEEN}{file}"),
        };
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        {
            let mut known = self.lock();
            for name in keys.filter_map(name) {
                if raw && known.get(&name) == Some(&file) {
                    continue;
                }
                gone.extend(known.remove(&name).map(|was| stored(&name, &was)));
                if raw {
                    new.push(stored(&name, &file));
                    known.insert(name, file.clone());
                }
            }
        }
        for (images, raw) in [(gone, false), (new, true)] {
            if !images.is_empty() {
                self.sink.note_raw_images(&self.host, images, raw);
            }
        }
    }

    /// Records the raw disks of a machine. Their paths are resolved separately, once.
    pub(crate) fn learn(&self, session: &Session, sources: &[Source]) {
        let new: Vec<Place> = {
            let known = self.lock();
            let unknown = |place: &&Place| spelled(place).is_some_and(|text| !known.contains_key(&text));
            sources
                .iter()
                .filter(|source| source.is_raw_disk())
                .map(|source| &source.place)
                .filter(unknown)
                .cloned()
                .collect()
        };
        if new.is_empty() {
            return;
        }
        let (all, root) = (self.clone(), session.root.clone());
        drop(blocking(move || {
            let mut places = Places::new(root);
            for place in &new {
                // A file that does not exist yet gets the content of the next upload, read as raw.
                all.note(places.identify(place).own.iter(), true);
            }
        }));
    }
}

/// The stored form of a location.
fn spelled(place: &Place) -> Option<String> {
    match place {
        Place::Path(path) => Some(crate::places::in_order(path).to_string_lossy().into_owned()),
        Place::Volume { pool, volume } => Some(format!("{pool}/{volume}")),
        Place::Network { .. } | Place::Scsi(_) => None,
    }
}

/// The file among what something is known by; empty where files cannot be told apart.
fn file<'a>(mut keys: impl Iterator<Item = &'a Key>) -> String {
    let born = keys.find_map(|key| match key {
        Key::Born(number, at) => Some(format!("{number}:{at}")),
        _ => None,
    });
    born.unwrap_or_default()
}

fn name(key: &Key) -> Option<String> {
    match key {
        Key::Path(path) => Some(path.to_string_lossy().into_owned()),
        Key::Volume(pool, volume) => Some(format!("{pool}/{volume}")),
        _ => None,
    }
}
