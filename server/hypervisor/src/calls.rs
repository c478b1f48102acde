//! Durations of libvirt calls, counted per lane. Hosts are not distinguished here; they are in the
//! log.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, in seconds.
const ENDS: [f64; 9] = [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0];

/// The calls of one lane since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls {
    /// The name of the lane.
    pub name: &'static str,
    /// The number of calls.
    pub count: u64,
    /// The number of failed calls.
    pub errors: u64,
    /// The total duration in seconds.
    pub seconds: f64,
    /// The histogram: upper bound in seconds, and the number of calls in the bucket.
    pub buckets: Vec<(f64, u64)>,
}

/// Counts the calls of one lane.
pub(crate) struct Counter {
    buckets: [AtomicU64; ENDS.len() + 1],
    errors: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counter {
    pub(crate) const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; ENDS.len() + 1],
            errors: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// Counts one call.
    pub(crate) fn note(&self, took: Duration, failed: bool) {
        let place = ENDS.iter().position(|end| took.as_secs_f64() <= *end).unwrap_or(ENDS.len());
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, name: &'static str) -> Calls {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Calls {
            name,
            count: counts.iter().sum(),
            errors: self.errors.load(Ordering::Relaxed),
            seconds: self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9,
            buckets: ENDS.into_iter().chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_counted_once_where_it_belongs() {
        let counter = Counter::new();
        for (milliseconds, failed) in [(1, false), (2, true), (20_000, true)] {
            counter.note(Duration::from_millis(milliseconds), failed);
        }
        let calls = counter.read("read");
        assert_eq!((calls.count, calls.errors, calls.seconds), (3, 2, 20.003));
        assert_eq!(calls.buckets[1..3], [(0.001, 1), (0.003, 1)]);
        assert_eq!(calls.buckets.last(), Some(&(f64::INFINITY, 1)));
    }
}
