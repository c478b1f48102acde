//! Limits of one account on shared resources: rates and concurrency. Clients without an account are
//! counted by address; counts are not kept across restarts.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use model::{Fault, FaultKind, Origin};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Maximum accounts and addresses remembered.
const MAX_KNOWN: usize = 10_000;

/// The key of a sender.
pub(crate) fn account(origin: &Origin) -> String {
    match (&origin.who, &origin.address) {
        (Some(who), _) => format!("account {who}"),
        (None, Some(address)) => format!("address {address}"),
        (None, None) => String::new(),
    }
}

/// A rate limit: a token bucket.
pub(crate) struct Rate {
    most: f64,
    per_second: f64,
    /// The remaining tokens of each key, and their time.
    left: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Rate {
    pub(crate) fn new(most: u32, per_second: u32) -> Self {
        Self { most: most.into(), per_second: per_second.into(), left: Mutex::default() }
    }

    /// Takes tokens for a key.
    ///
    /// # Errors
    /// `TooMany`.
    pub(crate) fn take(&self, who: &str, count: u32) -> Result<(), Fault> {
        let (mut all, now) = (self.left.lock(), Instant::now());
        if all.len() >= MAX_KNOWN {
            // After this time a bucket is full again.
            let full = Duration::from_secs_f64(self.most / self.per_second);
            all.retain(|_, (_, at)| now.duration_since(*at) < full);
        }
        let (left, at) = all.entry(who.to_owned()).or_insert((self.most, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() * self.per_second).min(self.most);
        *at = now;
        if *left < f64::from(count) {
            let fault = Fault::new(FaultKind::TooMany, "Too many commands in a short time");
            return Err(fault.with_next("Wait some seconds, or send one batch for many machines"));
        }
        *left -= f64::from(count);
        Ok(())
    }
}

/// A concurrency limit per key.
#[derive(Clone)]
pub(crate) struct Places {
    most: usize,
    held: Arc<Mutex<HashMap<String, usize>>>,
}

/// A slot, released when dropped.
pub(crate) struct Place {
    who: String,
    held: Arc<Mutex<HashMap<String, usize>>>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// A slot for a key; none if all are in use.
    pub(crate) fn take(&self, who: String) -> Option<Place> {
        let mut held = self.held.lock();
        let count = held.entry(who.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { who, held: self.held.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.who);
            }
        }
    }
}

/// Serialises the work of each key, in parallel to other keys.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

/// How long a key waits for its earlier work.
const TURN_WITHIN: Duration = Duration::from_secs(20);

impl Turns {
    /// Waits until the earlier work of a key is done.
    ///
    /// # Errors
    /// `TooMany`.
    pub(crate) async fn wait(&self, who: &str) -> Result<OwnedSemaphorePermit, Fault> {
        let turn = {
            let mut all = self.0.lock();
            if all.len() >= MAX_KNOWN {
                all.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            all.entry(who.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
        };
        timeout(TURN_WITHIN, turn.acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(|| {
            Fault::new(FaultKind::TooMany, "Your earlier journal queries are still running")
                .with_next("Wait for them, or limit them by time or host")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_who_takes_all_leaves_others_theirs() {
        let rate = Rate::new(3, 1);
        assert!((0..3).all(|_| rate.take("jane", 1).is_ok()));
        assert_eq!(rate.take("jane", 1).expect_err("too many").kind, FaultKind::TooMany);
        assert_eq!(rate.take("mary", 4).expect_err("more than there is").kind, FaultKind::TooMany);
        assert!(rate.take("mary", 3).is_ok(), "what was refused took nothing");
        assert!(rate.take("root", 1).is_ok());
        let places = Places::new(2);
        let held = [places.take("jane".into()), places.take("jane".into())];
        assert!(held.iter().all(Option::is_some) && places.take("jane".into()).is_none());
        assert!(places.take("root".into()).is_some());
        drop(held);
        assert!(places.take("jane".into()).is_some());
        let turns = Turns::default();
        let first = turns.wait("jane").await.expect("free");
        drop(turns.wait("root").await.expect("another one's"));
        assert!(timeout(Duration::from_millis(50), turns.wait("jane")).await.is_err(), "after the first");
        drop(first);
        drop(turns.wait("jane").await.expect("now"));
    }

    #[test]
    fn a_bucket_fills_again() {
        let rate = Rate::new(1, 1_000);
        rate.take("jane", 1).expect("full");
        std::thread::sleep(Duration::from_millis(5));
        rate.take("jane", 1).expect("full again");
    }
}
