//! Who works on which piece of storage now, so that nothing is built upon what is being deleted,
//! and nothing is deleted that is being built upon.
//!
//! Deciding takes turns: what one has claimed, the next one sees.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use model::Fault;

use crate::places::Identity;

/// The claims of one host.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    held: Arc<Mutex<Vec<Held>>>,
    /// Held while somebody reads who uses what, decides, and claims.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    next: Arc<AtomicU64>,
}

struct Held {
    number: u64,
    what: Identity,
    verb: &'static str,
    name: String,
    shared: bool,
}

/// A claim, which ends with it.
pub(crate) struct Claim {
    held: Arc<Mutex<Vec<Held>>>,
    number: u64,
}

impl Claims {
    /// Claims something for a command of that verb; `shared` lets others do so, too.
    ///
    /// # Errors
    /// `Busy`, with what is under way.
    pub(crate) fn claim(
        &self,
        what: Identity,
        (verb, name): (&'static str, &str),
        shared: bool,
    ) -> Result<Claim, Fault> {
        let mut held = lock(&self.held);
        if let Some(other) = held.iter().find(|other| !(other.shared && shared) && other.what.touches(&what)) {
            let reason = format!("{} of {} is under way", other.verb, other.name);
            return Err(
                Fault::new(model::FaultKind::Busy, reason).with_next("Try again once it has ended; see the tasks")
            );
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        held.push(Held { number, what, verb, name: name.to_owned(), shared });
        Ok(Claim { held: self.held.clone(), number })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.held).retain(|one| one.number != self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{places::Places, xml::sources::Place};

    #[test]
    fn what_is_being_copied_is_not_deleted_and_what_is_being_deleted_is_not_copied() {
        let claims = Claims::default();
        let at = |path: &str| Places::new(None).identify(&Place::Path(path.into()));
        let copy = claims.claim(at("/srv/a"), ("Clone volume", "a"), true).expect("free");
        let second = claims.claim(at("/srv/./a"), ("Clone volume", "a"), true).expect("several may copy");
        let fault = claims.claim(at("/srv//a"), ("Delete volume", "a"), false).err().expect("it is being copied");
        assert!(fault.kind == model::FaultKind::Busy && fault.reason == "Clone volume of a is under way", "{fault:?}");
        assert!(claims.claim(at("/srv"), ("Delete pool", "srv"), false).is_err(), "it lies in there");
        drop(copy);
        assert!(claims.claim(at("/srv/a"), ("Delete volume", "a"), false).is_err());
        drop(second);
        let delete = claims.claim(at("/srv/a"), ("Delete volume", "a"), false).expect("free again");
        assert!(claims.claim(at("/srv/a"), ("Clone volume", "a"), true).is_err());
        claims.claim(at("/srv/b"), ("Clone volume", "b"), true).expect("another one");
        drop(delete);
        claims.claim(at("/srv/a"), ("Clone volume", "a"), true).expect("free again");
    }
}
