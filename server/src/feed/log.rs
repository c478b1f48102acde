//! The event log: numbers frames, keeps the recent ones, and returns those after a position.
//!
//! The meaning of events and their readers belong to `feed`. An implementation shared by several
//! processes would number frames in one of them and follow it in the others.

use std::{collections::VecDeque, ops::Bound};

use tokio::time::Instant;

use super::{Bounds, Frame};

/// Frames in their order.
pub(super) type Frames<'a> = Box<dyn DoubleEndedIterator<Item = &'a Frame> + 'a>;

/// A log.
pub(super) trait Log: Send {
    /// Numbers a frame, which is made with its number, and keeps it.
    fn append(&mut self, make: &mut dyn FnMut(u64) -> Frame);

    /// The frames after a position; none if some of them were dropped or do not exist yet.
    fn follow(&self, position: u64) -> Option<Frames<'_>>;

    /// The number of the last frame.
    fn last(&self) -> u64;
}

/// The log of this process, in memory.
pub(super) struct Ring {
    bounds: Bounds,
    last: u64,
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, last: 0, frames: VecDeque::new(), bytes: 0 }
    }

    /// Drops old frames within the limits.
    fn trim(&mut self, now: Instant) {
        let Bounds { events, bytes, age, most_bytes, .. } = self.bounds;
        while let Some(oldest) = self.frames.front() {
            let old = now.duration_since(oldest.at) > age && self.bytes > bytes;
            if !old && self.frames.len() <= events && self.bytes <= most_bytes {
                break;
            }
            self.bytes -= oldest.bytes.len();
            self.frames.pop_front();
        }
    }
}

impl Log for Ring {
    fn append(&mut self, make: &mut dyn FnMut(u64) -> Frame) {
        self.last += 1;
        let frame = make(self.last);
        let now = frame.at;
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
        self.trim(now);
    }

    fn follow(&self, position: u64) -> Option<Frames<'_>> {
        let after = usize::try_from(self.last.checked_sub(position)?).ok()?;
        let skip = self.frames.len().checked_sub(after)?;
        Some(Box::new(self.frames.range((Bound::Included(skip), Bound::Unbounded))))
    }

    fn last(&self) -> u64 {
        self.last
    }
}
