//! Commands that last longer than one libvirt call. Each is a separate file below: what follows the
//! call, cancelling, recovery after a restart, and what it blocks meanwhile. `perform` keeps the
//! order common to all commands.

pub(crate) mod fetch;
mod freeze;
mod save;
mod shutdown;
mod thaw;
pub(crate) mod upload;

use std::time::Duration;

use async_trait::async_trait;
use model::{Command, Fault, ObjectRef};

use super::Backend;
use crate::tasks::Record;

/// What a command does besides its libvirt call.
#[async_trait]
pub(super) trait Operation: Sync {
    /// The kind of its command.
    fn kind(&self) -> &'static str;

    /// Whether it starts with a libvirt call.
    fn calls_libvirt(&self) -> bool {
        true
    }

    /// Whether libvirt runs it as a job with progress that can be aborted.
    fn is_job(&self) -> bool {
        false
    }

    /// Continues after libvirt's call, to the end. It reports progress, and ends when the record is
    /// cancelled.
    ///
    /// # Errors
    /// Why it failed.
    async fn go_on(&self, _backend: &Backend, _record: &Record) -> Result<(), Fault> {
        Ok(())
    }

    /// Cleans up after a failed libvirt call. Returns whether it did, so that nothing remains to be
    /// settled.
    async fn undo(&self, _backend: &Backend, _record: &Record, _fault: &Fault) -> bool {
        false
    }

    /// Takes over a request of an earlier process without an outcome; none if the object itself
    /// must show the result.
    async fn recover(&self, _backend: &Backend, _record: &Record) -> Option<Result<(), Fault>> {
        None
    }

    /// How long an effect may still appear after a restart of the server.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// What happens to it when the server stops.
    fn at_stop(&self) -> AtStop {
        AtStop::Wait
    }

    /// Whether a new command is allowed while operations of this kind are in progress.
    ///
    /// # Errors
    /// `Denied`, with the operation.
    fn admits(&self, _backend: &Backend, _target: &ObjectRef, _command: &Command, _name: &str) -> Result<(), Fault> {
        Ok(())
    }

    /// How many operations of this kind an account may have in progress.
    fn most_of_one(&self) -> usize {
        usize::MAX
    }
}

/// What happens to an operation when the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtStop {
    /// The stop waits for it.
    Wait,
    /// It is cancelled.
    Cancel,
    /// The next server continues it.
    GoOn,
}

/// All of them.
pub(super) const ALL: [&dyn Operation; 6] =
    [&shutdown::Shutdown, &save::Save, &freeze::Freeze, &thaw::Thaw, &upload::Upload, &fetch::Fetch];

/// A command that consists of its libvirt call.
struct OneCall;

impl Operation for OneCall {
    fn kind(&self) -> &'static str {
        ""
    }
}

/// The operation of a command.
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
