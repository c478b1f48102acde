//! One reader of the log: what it gets, and when. What somebody may see is decided by the
//! filter and the sieve.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use axum::body::Bytes;
use model::{Cursor, HostId};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Filter, Shared, Sieve, Signal, encode, part_of, random_u64};

/// A reader gets at most one chunk in this time: one frame of a display.
const CHUNK_EVERY: Duration = Duration::from_millis(16);
/// How much more than it may be sent is looked through for somebody who sees some machines.
const MOST_SIEVED: usize = 8;
/// When the server stops, its readers are closed one after the other within this time.
const DRAIN_WITHIN: Duration = Duration::from_millis(1_000);
/// Closed readers come back after this long at most, in milliseconds.
const COME_BACK_WITHIN: u64 = 1_000;

/// A position in the log that moves on as it is read.
pub struct Reader {
    shared: Arc<Shared>,
    signal: watch::Receiver<Signal>,
    position: u64,
    filter: Filter,
    /// What stands between the log and somebody who does not see everything.
    sieve: Option<Box<Sieve>>,
    first: Option<Bytes>,
    /// When the last chunk was given.
    sent: Option<Instant>,
    /// The last telling outside of the log that was given.
    told: u64,
    /// The last bookmark; none before the first chunk.
    beat: Option<u64>,
    /// When it is closed at the latest.
    ends: Instant,
    /// Whether it is being closed because the server stops.
    leaving: bool,
    /// Whether its client was told to come back.
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

    /// The next chunk of whole frames; none when the stream is over: the reader
    /// fell too far behind, has read long enough, or the server stops. It resumes
    /// by the last id.
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
                    // Bursts travel as one chunk; a single event never waits.
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
                // The first one tells at once that the stream works, and which server it is.
                self.beat = Some(signal.beat);
                return Some(self.given(self.bookmark()));
            }
            // Nothing new until the end is the end's turn.
            timeout_at(self.ends, self.signal.changed()).await.unwrap_or(Ok(())).ok()?;
        }
    }

    /// One answer instead of a stream: what there is, as soon as there is something,
    /// and a bookmark at the end so that the client knows its position. It ends
    /// after `wait`.
    pub async fn once(mut self, wait: Duration) -> Bytes {
        let until = Instant::now() + wait;
        if !wait.is_zero() {
            // What was told before is no reason to answer at once, again and again.
            self.told = self.signal.borrow().told;
        }
        loop {
            let signal = *self.signal.borrow_and_update();
            let chunk = self.first.take().or_else(|| self.collect());
            // Too far behind: the next answer begins anew.
            let Some(chunk) = chunk else { return Bytes::from_static(b"retry: 0\n\n") };
            let mut chunk = Vec::from(chunk);
            if !chunk.is_empty() || signal.draining || Instant::now() >= until {
                chunk.extend_from_slice(&self.bookmark());
                return chunk.into();
            }
            timeout_at(until, self.signal.changed()).await.ok();
        }
    }

    /// A position as this reader's client knows it.
    fn cursor(&self, seq: u64) -> Cursor {
        Cursor { epoch: self.shared.epoch ^ self.filter.salt(), seq }
    }

    /// The position, and the version of the server, for clients of another one.
    fn bookmark(&self) -> Bytes {
        let data = concat!("{\"server\":\"", env!("CARGO_PKG_VERSION"), "\"}");
        encode(self.cursor(self.position), "bookmark", data)
    }

    fn given(&mut self, chunk: Bytes) -> Bytes {
        self.sent = Some(Instant::now());
        chunk
    }

    /// The wanted ones of the frames that only count when they are the latest.
    fn latest(&mut self) -> Vec<Bytes> {
        let latest = self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh: Vec<_> = latest
            .iter()
            .filter(|((kind, host), (told, _))| *told > self.told && self.filter.wants(kind, Some(host)))
            .map(|((kind, host), (_, frame))| (*kind, host.clone(), frame.clone()))
            .collect();
        self.told = latest.values().map(|(told, _)| *told).max().unwrap_or_default().max(self.told);
        drop(latest);
        let sieve = self.sieve.as_deref();
        let seen = |(kind, host, frame): (&'static str, HostId, Bytes)| match sieve {
            None => Some(frame),
            Some(sieve) => sieve.latest(kind, &host, frame),
        };
        fresh.into_iter().filter_map(seen).collect()
    }

    /// All wanted frames after the position, as one chunk; none when too far behind.
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

    /// The wanted frames after the position; none when some of them are gone.
    fn as_they_are(&mut self) -> Option<Vec<Bytes>> {
        let log = self.shared.lock();
        if !log.reaches(self.position) {
            return None;
        }
        let wanted = log
            .after(self.position)
            .filter(|frame| self.filter.wants(frame.kind, frame.host.as_ref()))
            .map(|frame| frame.bytes.clone())
            .collect();
        self.position = log.seq;
        Some(wanted)
    }

    /// The same through the sieve. It is shown what is not wanted, too, as machines come into
    /// sight and leave it by that.
    fn sieved(&mut self) -> Option<Vec<Bytes>> {
        let log = self.shared.lock();
        if !log.reaches(self.position) {
            return None;
        }
        // Reading through more than this takes longer than beginning anew.
        if log.behind(self.position) > self.shared.bounds.behind.saturating_mul(MOST_SIEVED) {
            return None;
        }
        let frames: Vec<_> = log
            .after(self.position)
            .zip(self.position + 1..)
            .map(|(frame, seq)| (frame.kind, frame.host.clone(), frame.bytes.clone(), self.cursor(seq)))
            .collect();
        self.position = log.seq;
        drop(log);
        let (sieve, filter) = (self.sieve.as_mut()?, &self.filter);
        let seen = frames.into_iter().filter_map(|(kind, host, bytes, cursor)| {
            let (kind, bytes) = sieve.pass(kind, host.as_ref(), bytes, cursor)?;
            filter.wants(kind, host.as_ref()).then_some(bytes)
        });
        Some(seen.collect())
    }

    /// The last chunk: come back after a moment.
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
