//! Filters the stream of a windowed reader: only events and statistics of the machines on its pages
//! are sent.
//!
//! Which machines a page shows is decided elsewhere, and may change while the reader reads.

use std::{collections::HashSet, sync::Arc};

use axum::body::Bytes;
use model::{DomainRef, HostId, inventory::Snapshot, stats::LATEST};
use parking_lot::Mutex;

use super::filter::figures_of;

/// Maximum number of machines; beyond it, only those added last are kept.
const MOST: usize = 2_000;

/// The set of machines, shared by the reader, which filters by it, and by `http::views`, which adds
/// to it.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<Mutex<HashSet<DomainRef>>>);

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Shown {
    /// Adds machines. Earlier ones stay: the page may still show them.
    pub(crate) fn add(&self, machines: impl Iterator<Item = DomainRef>) {
        let mut shown = self.0.lock();
        if shown.len() >= MOST {
            shown.clear();
        }
        shown.extend(machines);
    }

    /// Whether a machine is shown.
    pub(super) fn has(&self, id: &DomainRef) -> bool {
        self.0.lock().contains(id)
    }

    /// The inventory with these machines only.
    pub(super) fn of(&self, snapshot: Snapshot) -> Snapshot {
        snapshot.only(&*self.0.lock())
    }

    /// The replacement of a frame of which only the latest counts; none if it is about no shown
    /// machine.
    pub(super) fn latest(&self, kind: &str, host: &HostId, frame: Bytes) -> Option<Bytes> {
        if kind != LATEST[0] {
            return Some(frame);
        }
        let shown = self.0.lock();
        // Reading the figures of a host takes longer than looking whether any of them is shown.
        let sees = |id| shown.contains(&DomainRef { host: host.clone(), id });
        shown.iter().any(|id| id.host == *host).then(|| figures_of(kind, &frame, sees))
    }
}
