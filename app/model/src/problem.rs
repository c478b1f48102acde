//! What needs attention about a machine: one decision for the overview, its pages and programs.

use crate::{Domain, DomainState, domain::Agent};

/// A problem of a machine, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The guest crashed.
    Crashed,
    /// It is paused after a disk I/O error.
    DiskError,
    /// It is paused because its watchdog fired.
    Watchdog,
    /// It is paused because the guest crashed.
    PausedByCrash,
    /// It was stopped by a crash.
    StoppedByCrash,
    /// It failed to start.
    FailedToStart,
    /// Its process does not answer.
    NotResponding,
    /// File systems are nearly full.
    NearlyFull,
    /// It is off although it starts with its host.
    Stopped,
    /// Its guest agent was connected and is not any more.
    AgentGone,
}

impl Problem {
    /// 0 for the worst.
    pub fn rank(self) -> usize {
        match self {
            Self::Crashed | Self::DiskError | Self::Watchdog | Self::PausedByCrash | Self::StoppedByCrash => 0,
            Self::FailedToStart | Self::NotResponding | Self::NearlyFull => 1,
            Self::Stopped => 2,
            Self::AgentGone => 3,
        }
    }

    /// It in words; `domain` is the machine that has it.
    pub fn words(self, domain: &Domain) -> String {
        let words = match self {
            Self::Crashed => "guest crashed",
            Self::DiskError => "paused after a disk I/O error; check its storage, then resume it",
            Self::Watchdog => "paused: watchdog fired",
            Self::PausedByCrash => "paused: guest crashed",
            Self::StoppedByCrash => "stopped by a crash",
            Self::FailedToStart => "failed to start",
            Self::NotResponding => "QEMU is not responding",
            Self::Stopped => "autostart is on, but the machine is stopped",
            Self::AgentGone => "guest agent disconnected",
            Self::NearlyFull => {
                let full = nearly_full(domain);
                let are = if full.len() > 1 { "are" } else { "is" };
                return format!("{} {are} nearly full", full.join(", "));
            }
        };
        words.into()
    }
}

fn nearly_full(domain: &Domain) -> &[String] {
    domain.guest.as_ref().map(|guest| guest.nearly_full.as_slice()).unwrap_or_default()
}

impl Domain {
    /// What needs attention about it.
    pub fn problem(&self) -> Option<Problem> {
        // The reasons are those of `virDomainGetState`, as worded by the hypervisor crate.
        let problem = match (self.state, self.state_reason.as_str()) {
            (DomainState::Crashed, _) => Problem::Crashed,
            (DomainState::Paused, "disk I/O error") => Problem::DiskError,
            (DomainState::Paused, "watchdog fired") => Problem::Watchdog,
            (DomainState::Paused, "guest crashed") => Problem::PausedByCrash,
            (DomainState::Stopped, "crashed") => Problem::StoppedByCrash,
            (DomainState::Stopped, "failed to start") => Problem::FailedToStart,
            _ if self.unresponsive => Problem::NotResponding,
            (DomainState::Stopped, _) if self.autostart => Problem::Stopped,
            (DomainState::Running, _) if self.agent == Agent::Disconnected && self.guest.is_some() => {
                Problem::AgentGone
            }
            (DomainState::Running, _) if !nearly_full(self).is_empty() => Problem::NearlyFull,
            _ => return None,
        };
        Some(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Guest;

    #[test]
    fn problems_have_a_reason_and_a_rank() {
        let domain = |state, autostart, unresponsive| Domain { state, autostart, unresponsive, ..Domain::default() };
        let rank = |domain: &Domain| domain.problem().map(Problem::rank);
        assert_eq!(rank(&domain(DomainState::Crashed, false, true)), Some(0));
        assert_eq!(rank(&domain(DomainState::Running, false, true)), Some(1));
        assert_eq!(rank(&domain(DomainState::Stopped, true, false)), Some(2));
        assert_eq!(rank(&domain(DomainState::Stopped, false, false)), None);
        assert_eq!(rank(&domain(DomainState::Running, true, false)), None);
        let why = |state, reason: &str| {
            let domain = Domain { state, state_reason: reason.into(), ..Domain::default() };
            let problem = domain.problem()?;
            Some((problem.rank(), problem.words(&domain).split([',', ';']).next().unwrap_or_default().to_owned()))
        };
        assert_eq!(why(DomainState::Paused, "disk I/O error"), Some((0, "paused after a disk I/O error".into())));
        assert_eq!(why(DomainState::Paused, "paused by user"), None);
        assert_eq!(why(DomainState::Stopped, "crashed"), Some((0, "stopped by a crash".into())));
        assert_eq!(why(DomainState::Stopped, "failed to start"), Some((1, "failed to start".into())));
        assert_eq!(why(DomainState::Stopped, "forced off"), None);
        let gone = Domain {
            agent: Agent::Disconnected,
            guest: Some(Default::default()),
            ..domain(DomainState::Running, false, false)
        };
        assert_eq!(rank(&gone), Some(3));
        let guest = Guest { nearly_full: vec!["/".into(), "/var".into()], ..Guest::default() };
        let full = Domain { guest: Some(guest), ..domain(DomainState::Running, false, false) };
        assert_eq!(full.problem().map(|problem| problem.words(&full)), Some("/, /var are nearly full".into()));
        assert_eq!(rank(&full), Some(1));
    }
}
