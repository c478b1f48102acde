//! When to read data again that is too large for events. A pure state machine: times go in, steps
//! come out.
//!
//! ```text
//!   Idle ──event──▶ Due ──quiet for a moment, or waited long enough──▶ Reading
//!    ▲                                                                  │   │
//!    └───────────────────────── answer ─────────────────────────────────┘   │
//!                     Due ◀──────────────── answer, and an event meanwhile ─┘
//! ```
//!
//! So there is one read at a time, no change is missed, a burst of events costs one read, and an
//! endless series of events cannot postpone it forever.

/// How long to wait for a burst of events to end, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After the last event.
    pub quiet: f64,
    /// At most, after the first event.
    pub most: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    Due { first: f64, last: f64 },
    Reading { again: bool },
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RefreshStep {
    /// Nothing to do.
    Rest,
    /// Call `tick` after this many milliseconds.
    Wait(f64),
    /// Read, then call `read`.
    Read,
}

/// The controller of one read.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    patience: Patience,
    state: State,
}

impl Refresh {
    /// An idle controller.
    pub fn new(patience: Patience) -> Self {
        Self { patience, state: State::Idle }
    }

    /// An event that may have changed the data.
    pub fn event(&mut self, now: f64) -> RefreshStep {
        match &mut self.state {
            State::Idle => {
                self.state = State::Due { first: now, last: now };
                RefreshStep::Wait(self.left(now, now, now))
            }
            // The wait in progress will check again.
            State::Due { last, .. } => {
                *last = now;
                RefreshStep::Rest
            }
            State::Reading { again } => {
                *again = true;
                RefreshStep::Rest
            }
        }
    }

    /// The wait is over.
    pub fn tick(&mut self, now: f64) -> RefreshStep {
        let State::Due { first, last } = self.state else { return RefreshStep::Rest };
        match self.left(first, last, now) {
            left if left > 0.0 => RefreshStep::Wait(left),
            _ => {
                self.state = State::Reading { again: false };
                RefreshStep::Read
            }
        }
    }

    /// The read has ended; without a response it is repeated.
    pub fn read(&mut self, now: f64, answered: bool) -> RefreshStep {
        let again = matches!(self.state, State::Reading { again: true });
        self.state = State::Idle;
        if again || !answered { self.event(now) } else { RefreshStep::Rest }
    }

    fn left(&self, first: f64, last: f64, now: f64) -> f64 {
        (last + self.patience.quiet).min(first + self.patience.most) - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { quiet: 100.0, most: 1_000.0 };

    #[test]
    fn a_burst_costs_one_read() {
        let mut refresh = Refresh::new(PATIENCE);
        assert_eq!(refresh.event(0.0), RefreshStep::Wait(100.0));
        (1..10).for_each(|n| assert_eq!(refresh.event(f64::from(n)), RefreshStep::Rest));
        assert_eq!(refresh.tick(100.0), RefreshStep::Wait(9.0));
        assert_eq!(refresh.tick(109.0), RefreshStep::Read);
        assert_eq!(refresh.read(150.0, true), RefreshStep::Rest);
        assert_eq!(refresh.tick(500.0), RefreshStep::Rest, "nothing is due");
    }

    #[test]
    fn an_endless_burst_does_not_postpone_the_read() {
        let mut refresh = Refresh::new(PATIENCE);
        let (mut now, mut due) = (0.0, 0.0);
        let read_at = loop {
            if let RefreshStep::Wait(pause) = refresh.event(now) {
                due = now + pause;
            }
            if now >= due {
                match refresh.tick(now) {
                    RefreshStep::Read => break now,
                    RefreshStep::Wait(pause) => due = now + pause,
                    RefreshStep::Rest => {}
                }
            }
            now += 10.0;
        };
        assert!((1_000.0..1_020.0).contains(&read_at), "{read_at}");
    }

    #[test]
    fn an_event_during_a_read_causes_another_one_afterwards() {
        let mut refresh = Refresh::new(PATIENCE);
        refresh.event(0.0);
        assert_eq!(refresh.tick(100.0), RefreshStep::Read);
        assert_eq!(refresh.event(110.0), RefreshStep::Rest);
        assert_eq!(refresh.tick(300.0), RefreshStep::Rest, "one at a time");
        assert_eq!(refresh.read(400.0, true), RefreshStep::Wait(100.0));
        assert_eq!(refresh.tick(500.0), RefreshStep::Read);
        assert_eq!(refresh.read(510.0, true), RefreshStep::Rest);
    }

    #[test]
    fn a_failed_read_is_repeated() {
        let mut refresh = Refresh::new(PATIENCE);
        refresh.event(0.0);
        assert_eq!(refresh.tick(100.0), RefreshStep::Read);
        assert_eq!(refresh.read(200.0, false), RefreshStep::Wait(100.0));
    }
}
