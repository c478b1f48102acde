//! When to read something again that is too heavy to travel in events. It decides
//! and does nothing: times go in, steps come out.
//!
//! ```text
//!   Idle ──event──▶ Due ──quiet for a moment, or waited long enough──▶ Reading
//!    ▲                                                                  │   │
//!    └───────────────────────── answer ─────────────────────────────────┘   │
//!                     Due ◀──────────────── answer, and an event meanwhile ─┘
//! ```
//!
//! So there is one reading at a time, none is missed, a burst of events costs one
//! reading, and a flood that never ends cannot put it off for ever.

/// How long to wait for a burst to end, and how long at most, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After the last event.
    pub quiet: f64,
    /// After the first event.
    pub most: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    Due { first: f64, last: f64 },
    Reading { again: bool },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Say `tick` after so many milliseconds.
    Wait(f64),
    /// Read, then say `read`.
    Read,
}

/// The controller of one heavy thing.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    patience: Patience,
    state: State,
}

impl Refresh {
    /// One that has nothing to do.
    pub fn new(patience: Patience) -> Self {
        Self { patience, state: State::Idle }
    }

    /// Something happened that may have changed it.
    pub fn event(&mut self, now: f64) -> Step {
        match &mut self.state {
            State::Idle => {
                self.state = State::Due { first: now, last: now };
                Step::Wait(self.left(now, now, now))
            }
            // The wait that is under way will look again.
            State::Due { last, .. } => {
                *last = now;
                Step::Rest
            }
            State::Reading { again } => {
                *again = true;
                Step::Rest
            }
        }
    }

    /// The wait is over.
    pub fn tick(&mut self, now: f64) -> Step {
        let State::Due { first, last } = self.state else { return Step::Rest };
        match self.left(first, last, now) {
            left if left > 0.0 => Step::Wait(left),
            _ => {
                self.state = State::Reading { again: false };
                Step::Read
            }
        }
    }

    /// The answer came, or none; without one it is tried again.
    pub fn read(&mut self, now: f64, answered: bool) -> Step {
        let again = matches!(self.state, State::Reading { again: true });
        self.state = State::Idle;
        if again || !answered { self.event(now) } else { Step::Rest }
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
    fn a_burst_costs_one_reading_after_it_has_ended() {
        let mut refresh = Refresh::new(PATIENCE);
        assert_eq!(refresh.event(0.0), Step::Wait(100.0));
        (1..10).for_each(|n| assert_eq!(refresh.event(f64::from(n)), Step::Rest));
        assert_eq!(refresh.tick(100.0), Step::Wait(9.0));
        assert_eq!(refresh.tick(109.0), Step::Read);
        assert_eq!(refresh.read(150.0, true), Step::Rest);
        assert_eq!(refresh.tick(500.0), Step::Rest, "nothing is due");
    }

    #[test]
    fn a_flood_without_end_does_not_put_it_off_for_ever() {
        let mut refresh = Refresh::new(PATIENCE);
        let (mut now, mut due) = (0.0, 0.0);
        let read_at = loop {
            if let Step::Wait(pause) = refresh.event(now) {
                due = now + pause;
            }
            if now >= due {
                match refresh.tick(now) {
                    Step::Read => break now,
                    Step::Wait(pause) => due = now + pause,
                    Step::Rest => {}
                }
            }
            now += 10.0;
        };
        assert!((1_000.0..1_020.0).contains(&read_at), "{read_at}");
    }

    #[test]
    fn what_happens_while_it_is_read_is_read_once_more_and_never_at_the_same_time() {
        let mut refresh = Refresh::new(PATIENCE);
        refresh.event(0.0);
        assert_eq!(refresh.tick(100.0), Step::Read);
        assert_eq!(refresh.event(110.0), Step::Rest);
        assert_eq!(refresh.tick(300.0), Step::Rest, "one at a time");
        assert_eq!(refresh.read(400.0, true), Step::Wait(100.0));
        assert_eq!(refresh.tick(500.0), Step::Read);
        assert_eq!(refresh.read(510.0, true), Step::Rest);
    }

    #[test]
    fn a_reading_without_an_answer_is_tried_again() {
        let mut refresh = Refresh::new(PATIENCE);
        refresh.event(0.0);
        assert_eq!(refresh.tick(100.0), Step::Read);
        assert_eq!(refresh.read(200.0, false), Step::Wait(100.0));
    }
}
