//! Sentences for what happened.

use model::{Event, Task, TaskState};

use crate::{backend::PastEvent, format};

/// How a line is marked: the class of its picture.
pub(super) type Mark = &'static str;

/// One event as a line; none for what is of no interest to people.
pub(super) fn event(past: &PastEvent) -> Option<(Mark, String)> {
    let Ok(Some(event)) = Event::parse(&past.kind, &past.data) else {
        return (past.kind == "gap")
            .then(|| ("unknown", "Events are missing here: they could not be written in time".into()));
    };
    match event {
        Event::TaskCreated(task) => Some(("check", format!("{} of {} was asked for", task.label(), task.target_name))),
        Event::TaskCompleted(task) => Some((mark(&task), outcome(&task))),
        other => other.line(),
    }
}

/// The picture of how a task ended.
pub(super) fn mark(task: &Task) -> Mark {
    match task.state {
        TaskState::Succeeded => "check",
        TaskState::Failed => "crashed",
        TaskState::Unknown => "unknown",
        TaskState::Accepted | TaskState::Running => "reboot",
    }
}

/// How a task ended, as a sentence.
pub(super) fn outcome(task: &Task) -> String {
    let (what, took) = (format!("{} of {}", task.label(), task.target_name), format::took(task.duration_ms));
    match (task.state, &task.fault) {
        (TaskState::Succeeded, _) => format!("{what} succeeded after {took}"),
        (TaskState::Failed, Some(fault)) => format!("{what} failed after {took}: {}", fault.sentence()),
        (TaskState::Failed, None) => format!("{what} failed after {took}"),
        (TaskState::Unknown, _) => format!("{what} was interrupted, and how it ended is not known"),
        (TaskState::Accepted | TaskState::Running, _) => format!("{what} is under way"),
    }
}

/// What happened beside commands: what the server did, and what was done with accounts.
pub(super) fn own(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "serverStarted" => "Belvedere was started",
        "serverStopped" => "Belvedere was stopped",
        "journalWorksAgain" => "The journal could be written again",
        "recordsForgotten" => "Old records were forgotten",
        "loggedIn" => "Logged in",
        "loggedInByLink" => "Logged in by link",
        "loggedInByProvider" => "Logged in by a provider",
        "loggedInBySystem" => "Logged in with the system's password",
        "loggedInByRecoveryCode" => "Logged in by recovery code",
        "loggedOut" => "Logged out",
        "logInFailed" => "Failed to log in",
        "sessionEnded" => "Session was ended",
        "passwordChanged" => "Password was changed",
        "secondFactorOn" => "Second factor was turned on",
        "secondFactorOff" => "Second factor was turned off",
        "userAdded" => "Account was added",
        "userRemoved" => "Account was removed",
        "roleChanged" => "Role was changed",
        "loginLinkMade" => "Link to log in was made",
        "volumeDownloaded" => "Content of a volume was read",
        "consoleOpened" => "Console was opened",
        "passwordsRead" => "Passwords of a machine were read",
        "tokenCreated" => "Token was made",
        "tokenRevoked" => "Token was revoked",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_in_words() {
        let past = |kind: &str, data: &str| PastEvent { at: 0, kind: kind.into(), host: None, data: data.into() };
        let gone =
            r#"{"hostId":"a","vmId":"00000000-0000-0000-0000-000000000007","vmName":"<b>","version":1,"timestamp":2}"#;
        assert_eq!(event(&past("vm-deleted", gone)), Some(("close", "<b> is gone".to_owned())));
        assert_eq!(event(&past("gap", "{}")).map(|(mark, _)| mark), Some("unknown"));
        assert_eq!(event(&past("vm-deleted", "{}")), None, "what cannot be read is left out");
        assert_eq!(event(&past("of-a-later-version", "{}")), None);
    }
}
