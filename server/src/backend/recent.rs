//! Recent readings, so that concurrent requests query a guest or network once.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use model::Fault;
use tokio::sync::OnceCell;

/// How long a reading is reused.
const FRESH_FOR: Duration = Duration::from_secs(3);

type Cell<T> = Arc<OnceCell<Result<T, Fault>>>;

/// Readings by key.
pub(super) struct Recent<K, T>(Mutex<HashMap<K, (Instant, Cell<T>)>>);

impl<K, T> Default for Recent<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Recent<K, T> {
    /// The last reading if it is recent, otherwise a new one shared by all concurrent requests.
    ///
    /// # Errors
    /// The error of the reading.
    pub(super) async fn get<F>(&self, id: &K, read: impl FnOnce() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let cell = {
            let mut kept = self.0.lock();
            kept.retain(|_, (since, _)| since.elapsed() < FRESH_FOR);
            let fresh = kept.get(id).map(|(_, cell)| cell.clone());
            fresh.unwrap_or_else(|| {
                let cell = Cell::default();
                kept.insert(id.clone(), (Instant::now(), cell.clone()));
                cell
            })
        };
        cell.get_or_init(read).await.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use model::DomainRef;

    use super::*;

    #[tokio::test]
    async fn however_many_ask_it_is_read_once() {
        let (recent, asked) = (Recent::<DomainRef, usize>::default(), AtomicUsize::new(0));
        let id: DomainRef = "atlas/9d5815f3-0942-43f7-bd25-8c0cb4800b49".parse().expect("a machine");
        let read = async || {
            tokio::task::yield_now().await;
            Ok(asked.fetch_add(1, Ordering::Relaxed))
        };
        let (first, second) = tokio::join!(recent.get(&id, read), recent.get(&id, read));
        assert_eq!((first, second, asked.load(Ordering::Relaxed)), (Ok(0), Ok(0), 1));
    }
}
