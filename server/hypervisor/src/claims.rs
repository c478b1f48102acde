//! Locks on storage in use by a command, so that a volume being deleted is not used as a backing
//! volume, and vice versa.
//!
//! Decisions are serialised: each one sees the claims of the previous ones.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use model::{Fault, Volume};
use uuid::Uuid;

use crate::{
    Hypervisor,
    error::Error,
    link::{Lane, blocking},
    places::{Identity, Places},
    storage,
    uses::Uses,
};

/// The claims of one host.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    held: Arc<Mutex<Vec<Held>>>,
    /// Held while users are read, a decision is made and a claim is taken.
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

/// A claim, released when dropped.
pub struct Claim {
    held: Arc<Mutex<Vec<Held>>>,
    number: u64,
}

impl Claims {
    /// Claims storage for a command; a `shared` claim allows other shared claims.
    ///
    /// # Errors
    /// `Busy`, with the command in progress.
    pub(crate) fn claim(
        &self,
        what: Identity,
        (verb, name): (&'static str, &str),
        shared: bool,
    ) -> Result<Claim, Fault> {
        let mut held = self.held.lock();
        if let Some(other) = held.iter().find(|other| !(other.shared && shared) && other.what.touches(&what)) {
            let reason = format!("{} of {} is in progress", other.verb, other.name);
            return Err(
                Fault::new(model::FaultKind::Busy, reason).with_next("Try again after it has finished; see Tasks")
            );
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        held.push(Held { number, what, verb, name: name.to_owned(), shared });
        Ok(Claim { held: self.held.clone(), number })
    }
}

impl Hypervisor {
    /// Claims a volume for an upload of its content, whichever pool contains it.
    ///
    /// # Errors
    /// `Busy` if another command uses it, or libvirt's error.
    pub async fn claim_for_upload(&self, id: Uuid, name: &str) -> Result<Claim, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let refused = |error: Error| error.of_command(name, self.config.id.as_str());
        let read = async {
            let pool = session.call(Lane::Around, move |connect| storage::pool(connect, id)).await?;
            let names = [name.to_owned()];
            let named = move |connect: &_| storage::named_volumes(connect, id, &names);
            Ok::<_, Error>((pool.unwrap_or_default(), session.call(Lane::Around, named).await?))
        };
        let (pool, mut volumes) = read.await.map_err(refused)?;
        let volume = volumes.pop().unwrap_or(Volume { name: name.to_owned(), ..Volume::default() });
        let root = session.root.clone();
        let identify = move || Uses::of(Places::new(root), &[], &[]).of_place(&pool, &volume);
        let what = blocking(identify).await.map_err(|_| refused(Error::Panicked))?;
        let _turn = self.shared.claims.turn.lock().await;
        self.shared.claims.claim(what, ("Upload", name), false)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.held.lock().retain(|one| one.number != self.number);
    }
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
        assert!(
            fault.kind == model::FaultKind::Busy && fault.reason == "Clone volume of a is in progress",
            "{fault:?}"
        );
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
