//! Throttling: failures are counted for accounts and addresses, and after some of them the next
//! attempt must wait. The counts are not kept across restarts.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use model::{Fault, FaultKind};

/// Failures before the next attempt must wait.
const FREE_FAILURES: u32 = 5;
/// The first delay; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The maximum delay of an address.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// The maximum delay of an account, so that no one can lock its owner out.
const LONGEST_WAIT_OF_NAME: Duration = Duration::from_secs(60);
/// Failures expire after this time.
const FORGET_AFTER: Duration = Duration::from_secs(1_800);
/// Maximum counters.
const MAX_SUSPECTS: usize = 10_000;

/// Consecutive failures, and the time of the last one.
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// The remaining delay.
    fn wait(&self, most: Duration) -> Duration {
        let Some(beyond) = self.count.checked_sub(FREE_FAILURES) else { return Duration::ZERO };
        let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(most);
        wait.saturating_sub(self.last.elapsed())
    }
}

/// What failures are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suspect {
    /// An account; the empty name stands for all invalid names.
    Name(String),
    /// Codes of an account: the password must not reset the count.
    Code(String),
    /// An IP address, for IPv6 its network.
    Address(IpAddr),
}

impl Suspect {
    /// The counters of an attempt. Local clients, and clients of a proxy that does not report
    /// addresses, are not counted by address.
    pub(super) fn of(name: &str, address: &str) -> Vec<Self> {
        let name = if model::user::check_name(name).is_ok() { name } else { "" };
        let address =
            address.parse::<IpAddr>().ok().filter(|address| !address.is_loopback()).map(|address| match address {
                IpAddr::V6(address) => {
                    let network = u128::from(address) >> 64 << 64;
                    IpAddr::from(network.to_be_bytes())
                }
                other => other,
            });
        [Self::Name(name.to_owned())].into_iter().chain(address.map(Self::Address)).collect()
    }

    fn longest_wait(&self) -> Duration {
        match self {
            Self::Name(_) => LONGEST_WAIT_OF_NAME,
            // Only a client with the password can cause delays for codes.
            Self::Address(_) | Self::Code(_) => LONGEST_WAIT,
        }
    }
}

/// All failures, and the networks of successful sign-ins.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    failures: HashMap<Suspect, Failures>,
    /// Accounts with networks they have signed in from: attempts from elsewhere do not delay them.
    homes: HashSet<[Suspect; 2]>,
}

impl Attempts {
    /// Counts an attempt, unless there were too many failures. It counts as failed until it
    /// succeeds, so that parallel attempts count.
    ///
    /// # Errors
    /// `TooMany`, with the delay.
    pub(super) fn count(&self, suspects: &[Suspect]) -> Result<(), Fault> {
        let mut known = self.0.lock();
        let Counted { failures, homes } = &mut *known;
        let at_home = <[Suspect; 2]>::try_from(suspects.to_vec()).is_ok_and(|pair| homes.contains(&pair));
        let wait = |suspect: &Suspect| Some(failures.get(suspect)?.wait(suspect.longest_wait()));
        let wait = suspects[usize::from(at_home)..].iter().filter_map(wait).max().unwrap_or_default();
        if !wait.is_zero() {
            let fault = Fault::new(FaultKind::TooMany, "Too many failed attempts");
            return Err(fault.with_next(format!("Try again in {} seconds", wait.as_secs() + 1)));
        }
        if failures.len() >= MAX_SUSPECTS {
            failures.retain(|_, failures| failures.last.elapsed() < FORGET_AFTER);
        }
        for suspect in suspects {
            let had = failures.get(suspect).filter(|failures| failures.last.elapsed() < FORGET_AFTER);
            let count = had.map_or(0, |failures| failures.count).saturating_add(1);
            failures.insert(suspect.clone(), Failures { count, last: Instant::now() });
        }
        Ok(())
    }

    /// An attempt succeeded: the account's count is reset, and its address, which may be shared,
    /// has one failure less.
    pub(super) fn succeeded(&self, suspects: &[Suspect]) {
        let mut known = self.0.lock();
        let Counted { failures, homes } = &mut *known;
        if let Ok(pair) = <[Suspect; 2]>::try_from(suspects.to_vec()) {
            if homes.len() >= MAX_SUSPECTS {
                homes.clear();
            }
            homes.insert(pair);
        }
        for suspect in suspects {
            match suspect {
                Suspect::Name(_) | Suspect::Code(_) => drop(failures.remove(suspect)),
                Suspect::Address(_) => {
                    failures.entry(suspect.clone()).and_modify(|had| had.count = had.count.saturating_sub(1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_counts_for_its_name_and_for_its_network_unless_that_is_everybodys() {
        let name = |name: &str| Suspect::Name(name.to_owned());
        assert_eq!(Suspect::of("root", "127.0.0.1"), [name("root")]);
        assert_eq!(Suspect::of("<no name>", ""), [name("")]);
        let [one, other] = ["2001:db8::1", "2001:db8::2"].map(|address| Suspect::of("root", address));
        assert_eq!((one.len(), &one), (2, &other));
        assert_ne!(one, Suspect::of("root", "2001:db8:0:1::1"));
    }

    #[test]
    fn who_guesses_elsewhere_does_not_lock_an_owner_out() {
        let attempts = Attempts::default();
        let [home, elsewhere] = ["192.0.2.1", "198.51.100.1"].map(|address| Suspect::of("root", address));
        attempts.count(&home).expect("free");
        attempts.succeeded(&home);
        while attempts.count(&elsewhere).is_ok() {}
        attempts.count(&home).expect("it is at home");
        assert!(attempts.count(&Suspect::of("root", "203.0.113.1")).is_err(), "others wait");
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        let attempts = Attempts::default();
        let root = [Suspect::Name("root".into())];
        for _ in 0..FREE_FAILURES {
            attempts.count(&root).expect("free");
        }
        let fault = attempts.count(&root).expect_err("has to wait");
        assert_eq!(fault.kind, FaultKind::TooMany);
        attempts.succeeded(&root);
        attempts.count(&root).expect("begins anew");
        // An office signs in from one address, one after the other.
        for n in 0..50 {
            let suspects = Suspect::of(&format!("user-{n}"), "192.0.2.1");
            attempts.count(&suspects).expect("nobody has failed");
            attempts.succeeded(&suspects);
        }
        let many = Failures { count: 1_000_000, last: Instant::now() };
        assert!(many.wait(LONGEST_WAIT_OF_NAME) <= LONGEST_WAIT_OF_NAME);
    }
}
