//! A value of a machine that pages show. It is known at once and shown when it is its turn,
//! because drawing is what takes time: a thousand changes must keep no click waiting. Who gives
//! the turns is `draw`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use leptos::prelude::*;

/// Tells all who show a value that it is another one.
pub(super) type Turn = Box<dyn FnOnce()>;

/// The value, and whether anybody shows it.
#[derive(Clone)]
pub(crate) struct Shown<T> {
    value: ArcRwSignal<T>,
    /// Whether somebody read it since that was told last, and so shows it.
    followed: Arc<AtomicBool>,
}

impl<T: Send + Sync + 'static> Shown<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: ArcRwSignal::new(value), followed: Arc::default() }
    }

    /// Gives it to a function, reactive to its changes.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.followed.store(true, Ordering::Relaxed);
        self.value.with(look)
    }

    /// The same as it is now.
    pub(crate) fn with_untracked<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.value.with_untracked(look)
    }

    /// Changes it; gives what tells that to those who show it. There is none when nobody does,
    /// or when the change before is not told yet.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) -> Option<Turn> {
        self.value.try_update_untracked(change);
        let value = self.followed.swap(false, Ordering::Relaxed).then(|| self.value.clone())?;
        Some(Box::new(move || value.notify()))
    }
}

impl<T: Clone + Send + Sync + 'static> Shown<T> {
    /// The value, reactive to its changes.
    pub(crate) fn get(&self) -> T {
        self.with(T::clone)
    }

    /// The value as it is now.
    pub(crate) fn get_untracked(&self) -> T {
        self.with_untracked(T::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_shows_has_to_be_told_and_only_once() {
        let owner = Owner::new();
        owner.set();
        let value = Shown::new(1);
        let change = |to| value.change(|value| *value = to);
        assert!(change(2).is_none(), "nobody shows it");
        let shown = {
            let value = value.clone();
            Memo::new(move |_| value.get())
        };
        assert_eq!(shown.get_untracked(), 2);
        let turn = change(3).expect("it is shown");
        assert!(change(4).is_none(), "it waits for its turn already");
        assert_eq!((shown.get_untracked(), value.get_untracked()), (2, 4));
        turn();
        assert_eq!(shown.get_untracked(), 4);
        assert!(change(5).is_some(), "it is shown again");
    }
}
