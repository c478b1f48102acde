//! Sentences for events and audit records.

use model::{Event, Task, TaskState};

use crate::{backend::PastEvent, format};

/// The icon of a line.
pub(super) type Mark = &'static str;

/// An event as a line; `None` for events that are not shown.
pub(super) fn event(past: &PastEvent) -> Option<(Mark, String)> {
    let Ok(Some(event)) = Event::parse(&past.kind, &past.data) else {
        return (past.kind == "gap")
            .then(|| ("unknown", "Events are missing here: they could not be written in time".into()));
    };
    match event {
        Event::TaskCreated(task) => Some(("check", format!("{} of {} was requested", task.label(), task.target_name))),
        Event::TaskCompleted(task) => Some((mark(&task), outcome(&task))),
        other => other.line(),
    }
}

/// The icon of a task's outcome.
pub(super) fn mark(task: &Task) -> Mark {
    match task.state {
        TaskState::Succeeded => "check",
        TaskState::Failed => "crashed",
        TaskState::Unknown => "unknown",
        TaskState::Accepted | TaskState::Running => "reboot",
    }
}

/// A task's outcome as a sentence.
pub(super) fn outcome(task: &Task) -> String {
    let (what, took) = (format!("{} of {}", task.label(), task.target_name), format::took(task.duration_ms));
    match (task.state, &task.fault) {
        (TaskState::Succeeded, _) => format!("{what} succeeded after {took}"),
        (TaskState::Failed, Some(fault)) => format!("{what} failed after {took}: {}", fault.sentence()),
        (TaskState::Failed, None) => format!("{what} failed after {took}"),
        (TaskState::Unknown, _) => format!("{what} was interrupted; its outcome is unknown"),
        (TaskState::Accepted | TaskState::Running, _) => format!("{what} is in progress"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_worded() {
        let past = |kind: &str, data: &str| PastEvent { at: 0, kind: kind.into(), host: None, data: data.into() };
        let gone =
            r#"{"hostId":"a","vmId":"00000000-0000-0000-0000-000000000007","vmName":"<b>","version":1,"timestamp":2}"#;
        assert_eq!(event(&past("vm-deleted", gone)), Some(("close", "<b> was removed".to_owned())));
        assert_eq!(event(&past("gap", "{}")).map(|(mark, _)| mark), Some("unknown"));
        assert_eq!(event(&past("vm-deleted", "{}")), None, "unreadable events are skipped");
        assert_eq!(event(&past("of-a-later-version", "{}")), None);
    }
}
