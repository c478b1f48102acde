//! A value of a machine with deferred notification. It changes at once; its readers are updated
//! when scheduled by `draw`, because rendering takes time and a thousand changes must not delay a
//! click.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use leptos::prelude::*;

/// Notifies the readers of a value.
pub(super) type Turn = Box<dyn FnOnce()>;

/// The value, and whether it has readers.
#[derive(Clone)]
pub(crate) struct Shown<T> {
    value: ArcRwSignal<T>,
    /// Whether it was read since the last notification.
    followed: Arc<AtomicBool>,
}

impl<T: Send + Sync + 'static> Shown<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: ArcRwSignal::new(value), followed: Arc::default() }
    }

    /// Passes the value to a function; reactive.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.followed.store(true, Ordering::Relaxed);
        self.value.with(look)
    }

    /// Passes the current value to a function.
    pub(crate) fn with_untracked<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.value.with_untracked(look)
    }

    /// Changes the value; returns the notification to schedule. `None` without readers, or if one
    /// is already pending.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) -> Option<Turn> {
        self.value.try_update_untracked(change);
        let value = self.followed.swap(false, Ordering::Relaxed).then(|| self.value.clone())?;
        Some(Box::new(move || value.notify()))
    }
}

impl<T: Clone + Send + Sync + 'static> Shown<T> {
    /// The value; reactive.
    pub(crate) fn get(&self) -> T {
        self.with(T::clone)
    }

    /// The current value.
    pub(crate) fn get_untracked(&self) -> T {
        self.with_untracked(T::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_with_readers_notify_and_only_once() {
        let owner = Owner::new();
        owner.set();
        let value = Shown::new(1);
        let change = |to| value.change(|value| *value = to);
        assert!(change(2).is_none(), "no reader yet");
        let shown = {
            let value = value.clone();
            Memo::new(move |_| value.get())
        };
        assert_eq!(shown.get_untracked(), 2);
        let turn = change(3).expect("a reader");
        assert!(change(4).is_none(), "a notification is pending");
        assert_eq!((shown.get_untracked(), value.get_untracked()), (2, 4));
        turn();
        assert_eq!(shown.get_untracked(), 4);
        assert!(change(5).is_some(), "read again");
    }
}
