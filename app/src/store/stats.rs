//! Usage of a machine in the last two minutes, for live figures and charts.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use model::VmStats;

/// Readings kept per machine.
const KEPT: usize = 60;

/// The latest readings of one machine, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recent(VecDeque<Arc<VmStats>>);

impl Recent {
    /// The latest reading; `None` while the machine is not running.
    pub(crate) fn latest(&self) -> Option<&VmStats> {
        self.0.back().map(|stats| &**stats)
    }

    /// All readings, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &VmStats> {
        self.0.iter().map(|stats| &**stats)
    }

    /// Adds a reading. One with the same time replaces the latest; one from before it means that
    /// the clock was set back, and clears the older readings.
    pub(super) fn push(&mut self, stats: VmStats) {
        match self.latest().map(|latest| latest.timestamp.cmp(&stats.timestamp)) {
            Some(Ordering::Greater) => self.0.clear(),
            Some(Ordering::Equal) => drop(self.0.pop_back()),
            _ => {}
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Arc::new(stats));
    }

    /// Adds earlier readings in front, up to the limit.
    #[cfg(any(test, feature = "hydrate"))]
    pub(super) fn begin_with(&mut self, earlier: impl DoubleEndedIterator<Item = VmStats>) {
        let first = self.0.front().map_or(u64::MAX, |stats| stats.timestamp);
        for stats in earlier.rev().filter(|stats| stats.timestamp < first) {
            if self.0.len() >= KEPT {
                return;
            }
            self.0.push_front(Arc::new(stats));
        }
    }

    /// Whether there are no readings.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_readings_are_kept_without_duplicates() {
        let mut recent = Recent::default();
        for at in (1..=100).chain([100]) {
            recent.push(VmStats { timestamp: at, ..VmStats::default() });
        }
        let times: Vec<u64> = recent.iter().map(|stats| stats.timestamp).collect();
        assert_eq!(times, (41..=100).collect::<Vec<_>>());
        let mut late = Recent::default();
        late.push(VmStats { timestamp: 100, ..VmStats::default() });
        late.begin_with((98..=101).map(|timestamp| VmStats { timestamp, ..VmStats::default() }));
        assert_eq!(late.iter().map(|stats| stats.timestamp).collect::<Vec<_>>(), [98, 99, 100]);
        recent.push(VmStats { timestamp: 50, ..VmStats::default() });
        assert_eq!(recent.iter().count(), 1, "a clock that was set back does not stop updates");
    }
}
