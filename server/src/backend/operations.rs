//! Commands that last longer than one call of libvirt: each is a file of its own below, which says
//! how it goes on, what cancels it, what a server that was started again makes of it, and what may
//! not be done meanwhile. `perform` keeps the order that all commands share.

pub(crate) mod fetch;
mod freeze;
mod save;
mod shutdown;
mod thaw;
pub(crate) mod upload;

use std::time::Duration;

use async_trait::async_trait;
use model::{Command, DomainRef, Fault};

use super::Backend;
use crate::tasks::Record;

/// What a command does beside its call of libvirt.
#[async_trait]
pub(super) trait Operation: Sync {
    /// The kind of its command.
    fn kind(&self) -> &'static str;

    /// Whether it begins with a call of libvirt.
    fn calls_libvirt(&self) -> bool {
        true
    }

    /// Whether libvirt does it as a job, which tells how far it is and can be given up.
    fn is_job(&self) -> bool {
        false
    }

    /// Goes on once libvirt has done its part, to the end. It tells how far it is, and ends when the
    /// record is cancelled.
    ///
    /// # Errors
    /// Why it has not worked.
    async fn go_on(&self, _backend: &Backend, _record: &Record) -> Result<(), Fault> {
        Ok(())
    }

    /// Puts right what a failed call of libvirt may have left behind. Says whether it did, so that
    /// nothing remains to be settled.
    async fn undo(&self, _backend: &Backend, _record: &Record, _fault: &Fault) -> bool {
        false
    }

    /// Takes up a request of a former process that has no outcome yet; none when the object itself has
    /// to show whether it was done.
    async fn recover(&self, _backend: &Backend, _record: &Record) -> Option<Result<(), Fault>> {
        None
    }

    /// How long an effect may still come after the server was started again.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// What becomes of it when the server stops.
    fn at_stop(&self) -> AtStop {
        AtStop::Wait
    }

    /// Whether a new command may be carried out beside those of this kind that are under way.
    ///
    /// # Errors
    /// `Denied`, with what is under way.
    fn admits(&self, _backend: &Backend, _target: &DomainRef, _command: &Command, _name: &str) -> Result<(), Fault> {
        Ok(())
    }
}

/// What becomes of an operation when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtStop {
    /// It is waited for.
    Wait,
    /// It is cancelled.
    Cancel,
    /// The next server goes on with it.
    GoOn,
}

/// All of them.
pub(super) const ALL: [&dyn Operation; 6] =
    [&shutdown::Shutdown, &save::Save, &freeze::Freeze, &thaw::Thaw, &upload::Upload, &fetch::Fetch];

/// What a command is that ends with its call of libvirt.
struct OneCall;

impl Operation for OneCall {
    fn kind(&self) -> &'static str {
        ""
    }
}

/// What a command does beside its call of libvirt.
pub(super) fn of(command: &Command) -> &'static dyn Operation {
    ALL.into_iter().find(|operation| operation.kind() == command.kind()).unwrap_or(&OneCall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_that_of_a_command() {
        for operation in ALL {
            assert!(Command::about_kind(operation.kind()).is_some(), "{}", operation.kind());
        }
    }
}
