//! Records which images are raw: those created as raw, and those that machines use as raw. A guest
//! can write a header of another format into them, which libvirt would believe at the next refresh
//! of the pool (CVE-2015-5160 and similar).
//!
//! It is reported to the `Sink`, which stores it for the next process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
    /// Paths, and volumes as `pool/volume`.
    known: Arc<Mutex<HashSet<String>>>,
}

impl RawImages {
    pub(crate) fn new(host: HostId, sink: Arc<dyn Sink>) -> Self {
        let known = sink.raw_images(&host).into_iter().collect();
        Self { host, sink, known: Arc::new(Mutex::new(known)) }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object with these identifiers is known to be raw.
    pub(crate) fn is_raw<'a>(&self, mut keys: impl Iterator<Item = &'a Key>) -> bool {
        let known = self.lock();
        !known.is_empty() && keys.any(|key| name(key).is_some_and(|name| known.contains(&name)))
    }

    /// Records that an object with these identifiers is raw, or no longer known to be.
    pub(crate) fn note<'a>(&self, keys: impl Iterator<Item = &'a Key>, raw: bool) {
        let changed: Vec<String> = {
            let mut known = self.lock();
            let mut change = |name: &String| if raw { known.insert(name.clone()) } else { known.remove(name) };
            keys.filter_map(name).filter(|name| change(name)).collect()
        };
        if !changed.is_empty() {
            self.sink.note_raw_images(&self.host, changed, raw);
        }
    }

    /// Records the raw disks of a machine. Their paths are resolved separately, once.
    pub(crate) fn learn(&self, session: &Session, sources: &[Source]) {
        let new: Vec<Place> = {
            let known = self.lock();
            let unknown = |place: &&Place| spelled(place).is_some_and(|text| !known.contains(&text));
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
        Place::Path(path) => Some(crate::places::in_order(path.as_ref()).to_string_lossy().into_owned()),
        Place::Volume { pool, volume } => Some(format!("{pool}/{volume}")),
        Place::Network { .. } | Place::Scsi(_) => None,
    }
}

fn name(key: &Key) -> Option<String> {
    match key {
        Key::Path(path) => Some(path.to_string_lossy().into_owned()),
        Key::Volume(pool, volume) => Some(format!("{pool}/{volume}")),
        _ => None,
    }
}
