//! When to open the stream, when to give it up, and when to poll instead. A pure state machine:
//! times go in, steps come out.
//!
//! ```text
//!            join               first frame
//!   Idle ─────────▶ Connecting ────────────▶ Live
//!                    │  ▲    │                │  error, or silence for 40 s
//!             error  │  │    │                │
//!                    ▼  │    │                │
//!                   Waiting ◀┼────────────────┘   pause with full jitter
//!                       ▲    │ open but nothing comes for 5 s,
//!                       │    ▼ or cut early three times in a row
//!                error  └─ Polling ──────────▶ Live
//!                                  a stream that works again, tried once a minute
//!
//!   any ──────────▶ SignedOut ──▶ Connecting     on request, or after 30 s
//!        401 or 403
//! ```
//!
//! A proxy that buffers streams lets short responses through. The same log is then polled by its
//! cursor.

/// Silence after which a stream counts as dead, in milliseconds.
const SILENCE: f64 = 40_000.0;
/// The server sends at once; a stream without data for this long is blocked. In milliseconds.
const GREETING: f64 = 5_000.0;
/// A stream that ends earlier was cut by something in between. In milliseconds.
const SHORT: f64 = 15_000.0;
/// Number of short streams in a row before polling is used.
const SHORT_LIVES: u32 = 3;
/// Interval of stream attempts while polling, in milliseconds.
const TRY_AGAIN: f64 = 60_000.0;
/// Interval of attempts after sign-out, in milliseconds; another tab may have signed in.
const KNOCK: f64 = 30_000.0;
/// First and longest pause before the next attempt, in milliseconds.
const PAUSE: (f64, f64) = (500.0, 30_000.0);

/// The state of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not wanted yet.
    Idle,
    /// A stream was opened and has delivered nothing yet.
    Connecting,
    /// Frames arrive.
    Live,
    /// The next attempt follows after a pause.
    Waiting,
    /// The log is polled.
    Polling,
    /// The server, or a proxy in front of it, requires sign-in.
    SignedOut,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkStep {
    /// Nothing to do.
    Rest,
    /// Open a stream from the last cursor on; an open one is closed.
    Open,
    /// Close the stream and wait this many milliseconds, then call `waited`.
    Wait(f64),
    /// Close the stream; the user has to sign in.
    Close,
    /// Poll for frames after the last cursor, then call `polled`. The first poll closes an open
    /// stream and returns at once.
    Poll {
        /// Whether it is the first poll.
        first: bool,
    },
}

/// The link.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its state.
    pub state: State,
    /// Time of the last frame.
    heard: f64,
    /// Time of the last attempt.
    opened: f64,
    attempt: i32,
    short: u32,
    /// Whether polling has returned a response.
    answered: bool,
}

impl Link {
    /// An idle link.
    pub fn new(now: f64) -> Self {
        Self { state: State::Idle, heard: now, opened: now, attempt: 0, short: 0, answered: false }
    }

    /// Whether changes arrive.
    pub fn is_live(&self) -> bool {
        self.state == State::Live || self.state == State::Polling && self.answered
    }

    /// A page was loaded: the server is reachable.
    pub fn joined(&mut self, now: f64) -> LinkStep {
        if matches!(self.state, State::Idle | State::Waiting) { self.wanted(now) } else { LinkStep::Rest }
    }

    /// An attempt is requested now.
    pub fn wanted(&mut self, now: f64) -> LinkStep {
        if self.is_live() {
            return LinkStep::Rest;
        }
        self.attempt = 0;
        self.open(now)
    }

    fn open(&mut self, now: f64) -> LinkStep {
        if !self.is_live() {
            self.state = State::Connecting;
        }
        self.opened = now;
        LinkStep::Open
    }

    /// The pause is over.
    pub fn waited(&mut self, now: f64) -> LinkStep {
        if self.state == State::Waiting { self.open(now) } else { LinkStep::Rest }
    }

    /// The stream delivered a frame.
    pub fn frame(&mut self, now: f64) {
        (self.state, self.heard, self.attempt) = (State::Live, now, 0);
    }

    /// The stream failed; `random` is between 0 and 1.
    pub fn failed(&mut self, now: f64, random: f64) -> LinkStep {
        match self.state {
            // A stream tried during polling still fails; after sign-out the state stays until a
            // frame arrives.
            State::Polling | State::SignedOut => LinkStep::Rest,
            State::Live => {
                self.short = if now - self.opened < SHORT { self.short + 1 } else { 0 };
                if self.short >= SHORT_LIVES { self.poll(now) } else { self.wait(random) }
            }
            _ => self.wait(random),
        }
    }

    /// A poll returned a response, or failed.
    pub fn polled(&mut self, now: f64, answered: bool, random: f64) -> LinkStep {
        match (self.state, answered) {
            (State::Polling, true) => {
                (self.heard, self.answered) = (now, true);
                LinkStep::Poll { first: false }
            }
            (State::Polling, false) => self.wait(random),
            _ => LinkStep::Rest,
        }
    }

    /// The server requires sign-in.
    pub fn refused(&mut self, now: f64) -> LinkStep {
        (self.state, self.opened) = (State::SignedOut, now);
        LinkStep::Close
    }

    /// Time has passed.
    pub fn tick(&mut self, now: f64) -> LinkStep {
        match self.state {
            State::Connecting if now - self.opened > GREETING => self.poll(now),
            State::Live if now - self.heard > SILENCE => {
                self.state = State::Connecting;
                self.open(now)
            }
            State::Polling if now - self.opened > TRY_AGAIN => self.open(now),
            State::SignedOut if now - self.opened > KNOCK => {
                // The state stays until the stream delivers a frame.
                self.opened = now;
                LinkStep::Open
            }
            _ => LinkStep::Rest,
        }
    }

    fn poll(&mut self, now: f64) -> LinkStep {
        (self.state, self.opened, self.short, self.answered) = (State::Polling, now, 0, false);
        LinkStep::Poll { first: true }
    }

    fn wait(&mut self, random: f64) -> LinkStep {
        let most = (PAUSE.0 * 2_f64.powi(self.attempt.min(16))).min(PAUSE.1);
        self.attempt += 1;
        self.state = State::Waiting;
        LinkStep::Wait(random * most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Link {
        let mut link = Link::new(0.0);
        assert_eq!(link.wanted(0.0), LinkStep::Open);
        link.frame(10.0);
        assert!(link.is_live());
        link
    }

    #[test]
    fn pauses_double_up_to_30_s_and_reset_after_success() {
        let mut link = live();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let LinkStep::Wait(pause) = link.failed(20_000.0, 1.0) else { panic!("it waits") };
            pauses.push(pause);
            assert_eq!(link.waited(20_000.0), LinkStep::Open);
        }
        assert_eq!(pauses[..3], [500.0, 1_000.0, 2_000.0]);
        assert_eq!(pauses[8], 30_000.0);
        link.frame(21_000.0);
        assert_eq!(link.failed(60_000.0, 0.5), LinkStep::Wait(250.0), "full jitter");
    }

    #[test]
    fn a_silent_stream_is_reopened() {
        let mut link = live();
        assert_eq!(link.tick(30_000.0), LinkStep::Rest);
        assert_eq!(link.tick(40_011.0), LinkStep::Open);
        assert_eq!(link.state, State::Connecting);
    }

    #[test]
    fn a_blocked_stream_is_replaced_by_polling_until_a_stream_works() {
        let mut link = Link::new(0.0);
        link.wanted(0.0);
        assert_eq!(link.tick(4_000.0), LinkStep::Rest);
        assert_eq!(link.tick(5_001.0), LinkStep::Poll { first: true });
        assert!(!link.is_live(), "live after the first response");
        assert_eq!(link.polled(6_000.0, true, 0.5), LinkStep::Poll { first: false });
        assert!(link.is_live());
        assert_eq!(link.tick(66_000.0), LinkStep::Open, "a stream is tried during polling");
        assert_eq!(link.failed(66_100.0, 0.5), LinkStep::Rest, "its failure changes nothing");
        assert_eq!(link.polled(67_000.0, true, 0.5), LinkStep::Poll { first: false });
        assert_eq!(link.tick(127_000.0), LinkStep::Open);
        link.frame(127_100.0);
        assert_eq!((link.state, link.polled(128_000.0, true, 0.5)), (State::Live, LinkStep::Rest), "polling ends");
    }

    #[test]
    fn a_stream_that_is_cut_repeatedly_is_replaced_by_polling() {
        let mut link = live();
        for round in 1..3 {
            assert!(matches!(link.failed(f64::from(round) * 10_000.0, 0.0), LinkStep::Wait(_)));
            link.waited(f64::from(round) * 10_000.0);
            link.frame(f64::from(round) * 10_000.0 + 50.0);
        }
        assert_eq!(link.failed(30_000.0, 0.0), LinkStep::Poll { first: true });
    }

    #[test]
    fn a_signed_out_link_retries_slowly() {
        let mut link = live();
        assert_eq!(link.refused(1_000.0), LinkStep::Close);
        assert_eq!((link.state, link.is_live()), (State::SignedOut, false));
        assert_eq!(link.failed(1_100.0, 1.0), LinkStep::Rest, "the closed stream changes nothing");
        assert_eq!(link.tick(31_000.0), LinkStep::Rest);
        assert_eq!(link.tick(31_001.0), LinkStep::Open, "another tab may have signed in");
        assert_eq!(link.state, State::SignedOut, "until a frame arrives");
        link.frame(31_100.0);
        assert!(link.is_live());
        link.refused(32_000.0);
        assert_eq!(link.wanted(32_001.0), LinkStep::Open);
        assert_eq!(link.state, State::Connecting);
    }

    #[test]
    fn a_failed_poll_is_retried_after_a_pause() {
        let mut link = Link::new(0.0);
        link.wanted(0.0);
        link.tick(6_000.0);
        assert!(matches!(link.polled(7_000.0, false, 1.0), LinkStep::Wait(_)));
        assert_eq!(link.wanted(7_001.0), LinkStep::Open, "at once on request");
    }
}
