//! One reader of the log: what it gets, and when. Visibility is decided by the filter and the
//! sieve.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::body::Bytes;
use model::{Cursor, HostId};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Filter, Shared, Sieve, Signal, encode, part_of, random_u64};

/// Minimum interval of chunks: one display frame.
const CHUNK_EVERY: Duration = Duration::from_millis(16);
/// How much more of the log is searched for a reader with a limited scope, as a factor.
const MOST_SIEVED: usize = 8;
/// When the server stops, its readers are closed within this time.
const DRAIN_WITHIN: Duration = Duration::from_millis(1_000);
/// Maximum reconnect delay of closed readers, in milliseconds.
const COME_BACK_WITHIN: u64 = 1_000;

/// A position in the log that advances as it is read.
pub struct Reader {
    shared: Arc<Shared>,
    signal: watch::Receiver<Signal>,
    position: u64,
    filter: Filter,
    /// The filter for a limited scope.
    sieve: Option<Box<Sieve>>,
    first: Option<Bytes>,
    /// Time of the last chunk.
    sent: Option<Instant>,
    /// The last value outside of the log that was sent.
    told: u64,
    /// The last bookmark; none before the first chunk.
    beat: Option<u64>,
    /// The latest time it is closed.
    ends: Instant,
    /// Whether it is being closed because the server stops.
    leaving: bool,
    /// Whether its client was told to reconnect.
    over: bool,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        signal: watch::Receiver<Signal>,
        position: u64,
        (filter, sieve): (Filter, Option<Box<Sieve>>),
        first: Option<Bytes>,
        ends: Instant,
    ) -> Self {
        let (sent, beat) = (None, None);
        Self { shared, signal, position, filter, sieve, first, sent, told: 0, beat, ends, leaving: false, over: false }
    }

    /// The next chunk of whole frames; none if the stream is over: the reader lagged too far
    /// behind, reached its time limit, or the server stops. It resumes by the last id.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(self.given(first));
        }
        loop {
            let signal = *self.signal.borrow_and_update();
            if signal.draining && !self.leaving {
                self.leaving = true;
                self.ends = self.ends.min(Instant::now() + part_of(DRAIN_WITHIN));
            }
            if signal.seq > self.position || signal.told > self.told {
                if let Some(sent) = self.sent {
                    // Bursts are sent as one chunk; a single event never waits.
                    sleep_until(sent + CHUNK_EVERY).await;
                }
                let chunk = self.collect()?;
                if !chunk.is_empty() {
                    return Some(self.given(chunk));
                }
            }
            if Instant::now() >= self.ends {
                return self.farewell();
            }
            if self.beat != Some(signal.beat) {
                // The first one shows that the stream works, and the server's epoch.
                self.beat = Some(signal.beat);
                return Some(self.given(self.bookmark()));
            }
            // The end is handled when there is nothing new.
            timeout_at(self.ends, self.signal.changed()).await.unwrap_or(Ok(())).ok()?;
        }
    }

    /// One response instead of a stream: available frames, as soon as there are any, and a bookmark
    /// at the end with the position. It ends after `wait`.
    pub async fn once(mut self, wait: Duration) -> Bytes {
        let until = Instant::now() + wait;
        if !wait.is_zero() {
            // Values sent before do not cause an immediate response.
            self.told = self.signal.borrow().told;
        }
        loop {
            let signal = *self.signal.borrow_and_update();
            let chunk = self.first.take().or_else(|| self.collect());
            // Too far behind: the next response starts over.
            let Some(chunk) = chunk else { return Bytes::from_static(b"retry: 0\n\n") };
            let mut chunk = Vec::from(chunk);
            if !chunk.is_empty() || signal.draining || Instant::now() >= until {
                chunk.extend_from_slice(&self.bookmark());
                return chunk.into();
            }
            timeout_at(until, self.signal.changed()).await.ok();
        }
    }

    /// A position in the form of this reader's client.
    fn cursor(&self, seq: u64) -> Cursor {
        Cursor { epoch: self.shared.epoch ^ self.filter.salt(), seq }
    }

    /// The position and the server version, for clients of another version.
    fn bookmark(&self) -> Bytes {
        let data = concat!("{\"server\":\"", env!("CARGO_PKG_VERSION"), "\"}");
        encode(self.cursor(self.position), "bookmark", data)
    }

    fn given(&mut self, chunk: Bytes) -> Bytes {
        self.sent = Some(Instant::now());
        chunk
    }

    /// The wanted frames of which only the latest count.
    fn latest(&mut self) -> Vec<Bytes> {
        let latest = self.shared.latest.lock();
        let fresh: Vec<_> = latest
            .iter()
            .filter(|((kind, host), (told, _))| *told > self.told && self.filter.wants(kind, Some(host)))
            .map(|((kind, host), (_, frame))| (*kind, host.clone(), frame.clone()))
            .collect();
        self.told = latest.values().map(|(told, _)| *told).max().unwrap_or_default().max(self.told);
        drop(latest);
        let sieve = self.sieve.as_deref();
        let seen = |(kind, host, frame): (&'static str, HostId, Bytes)| match sieve {
            None => Some((kind, host, frame)),
            Some(sieve) => sieve.latest(kind, &host, frame).map(|frame| (kind, host, frame)),
        };
        let shown = |(kind, host, frame): (&'static str, HostId, Bytes)| match &self.filter.shown {
            None => Some(frame),
            Some(shown) => shown.latest(kind, &host, frame),
        };
        fresh.into_iter().filter_map(seen).filter_map(shown).collect()
    }

    /// All wanted frames after the position, as one chunk; none if too far behind.
    fn collect(&mut self) -> Option<Bytes> {
        let mut wanted = if self.sieve.is_none() { self.as_they_are()? } else { self.sieved()? };
        if wanted.iter().map(Bytes::len).sum::<usize>() > self.shared.bounds.behind {
            return None;
        }
        wanted.extend(self.latest());
        Some(match <[Bytes; 1]>::try_from(wanted) {
            Ok([single]) => single,
            Err(many) => many.concat().into(),
        })
    }

    /// The wanted frames after the position; none if some of them were dropped.
    fn as_they_are(&mut self) -> Option<Vec<Bytes>> {
        let state = self.shared.lock();
        if !state.serves(self.position) {
            return None;
        }
        let wanted = state
            .after(self.position)
            .filter(|frame| self.filter.wants(frame.kind, frame.host.as_ref()))
            .filter(|frame| self.filter.shows(frame.is_machine, frame.host.as_ref(), frame.subject))
            .map(|frame| frame.bytes.clone())
            .collect();
        self.position = state.log.last();
        Some(wanted)
    }

    /// The visible frames. The sieve gets unwanted ones as well, because machines enter and leave
    /// the scope by them.
    fn sieved(&mut self) -> Option<Vec<Bytes>> {
        let state = self.shared.lock();
        if !state.serves(self.position) {
            return None;
        }
        // Reading more than this takes longer than starting over.
        if state.behind(self.position) > self.shared.bounds.behind.saturating_mul(MOST_SIEVED) {
            return None;
        }
        let frames: Vec<_> = state
            .after(self.position)
            .zip(self.position + 1..)
            .map(|(frame, seq)| {
                let about = (frame.is_machine, frame.host.clone(), frame.subject);
                (frame.kind, about, frame.bytes.clone(), self.cursor(seq))
            })
            .collect();
        self.position = state.log.last();
        drop(state);
        let (sieve, filter) = (self.sieve.as_mut()?, &self.filter);
        let seen = frames.into_iter().filter_map(|(kind, (is_machine, host, subject), bytes, cursor)| {
            let (kind, bytes) = sieve.pass(kind, host.as_ref(), bytes, cursor)?;
            let wanted = filter.wants(kind, host.as_ref()) && filter.shows(is_machine, host.as_ref(), subject);
            wanted.then_some(bytes)
        });
        Some(seen.collect())
    }

    /// The last chunk: reconnect after a delay.
    fn farewell(&mut self) -> Option<Bytes> {
        let told = std::mem::replace(&mut self.over, true);
        (!told).then(|| format!("retry: {}\n\n", 50 + random_u64() % COME_BACK_WITHIN).into())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.count(&self.filter, |count| *count -= 1);
        self.shared.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
