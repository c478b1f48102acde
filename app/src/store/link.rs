//! When to open the stream, when to give it up, and when to do without it. It
//! decides and does nothing: times go in, steps come out.
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
//!   any ──────────▶ SignedOut ──▶ Connecting     when somebody asks, or after 30 s
//!        401 or 403
//! ```
//!
//! Something between here and the server that keeps a stream to itself lets short
//! answers through, so the same log is then read by its position, answer by answer.

/// Silence after which a stream is taken for dead, in milliseconds.
const SILENCE: f64 = 40_000.0;
/// The server speaks at once; a stream that brings nothing for so long is held back.
const GREETING: f64 = 5_000.0;
/// A stream that ends before this was cut by something on its way.
const SHORT: f64 = 15_000.0;
/// How many short streams in a row make polling the better way.
const SHORT_LIVES: u32 = 3;
/// How often a stream is tried while polling.
const TRY_AGAIN: f64 = 60_000.0;
/// How often the door is tried after it was closed; another tab may have signed in.
const KNOCK: f64 = 30_000.0;
/// First and longest pause before the next attempt.
const PAUSE: (f64, f64) = (500.0, 30_000.0);

/// Where the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody wants it yet.
    Idle,
    /// A stream was opened and has brought nothing yet.
    Connecting,
    /// Frames arrive.
    Live,
    /// The next attempt comes after a pause.
    Waiting,
    /// The log is read answer by answer.
    Polling,
    /// The server, or a door before it, wants to know first who this is.
    SignedOut,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Open a stream from the last position on; an open one is closed.
    Open,
    /// Close the stream and wait so many milliseconds, then say `waited`.
    Wait(f64),
    /// Close the stream; whoever looks at the page has to do something.
    Close,
    /// Ask for what follows the last position, then say `polled`. The first time an
    /// open stream is closed and the answer is wanted at once.
    Poll {
        /// Whether it is the first time.
        first: bool,
    },
}

/// The link.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Where it is.
    pub state: State,
    /// When the last frame came.
    heard: f64,
    /// When the last stream was opened.
    opened: f64,
    attempt: i32,
    short: u32,
    /// Whether polling has brought an answer.
    answered: bool,
}

impl Link {
    /// A link that nobody wants yet.
    pub fn new(now: f64) -> Self {
        Self { state: State::Idle, heard: now, opened: now, attempt: 0, short: 0, answered: false }
    }

    /// Whether changes arrive.
    pub fn is_live(&self) -> bool {
        self.state == State::Live || self.state == State::Polling && self.answered
    }

    /// A page has come: the server is there.
    pub fn joined(&mut self, now: f64) -> Step {
        if matches!(self.state, State::Idle | State::Waiting) { self.wanted(now) } else { Step::Rest }
    }

    /// Somebody wants it now.
    pub fn wanted(&mut self, now: f64) -> Step {
        if self.is_live() {
            return Step::Rest;
        }
        self.attempt = 0;
        self.open(now)
    }

    fn open(&mut self, now: f64) -> Step {
        if !self.is_live() {
            self.state = State::Connecting;
        }
        self.opened = now;
        Step::Open
    }

    /// The pause is over.
    pub fn waited(&mut self, now: f64) -> Step {
        if self.state == State::Waiting { self.open(now) } else { Step::Rest }
    }

    /// The stream brought a frame.
    pub fn frame(&mut self, now: f64) {
        (self.state, self.heard, self.attempt) = (State::Live, now, 0);
    }

    /// The stream broke; `random` is between 0 and 1.
    pub fn failed(&mut self, now: f64, random: f64) -> Step {
        match self.state {
            // The stream that was tried beside does not work yet; a closed door stays
            // closed until it is known better.
            State::Polling | State::SignedOut => Step::Rest,
            State::Live => {
                self.short = if now - self.opened < SHORT { self.short + 1 } else { 0 };
                if self.short >= SHORT_LIVES { self.poll(now) } else { self.wait(random) }
            }
            _ => self.wait(random),
        }
    }

    /// An answer came, or none.
    pub fn polled(&mut self, now: f64, answered: bool, random: f64) -> Step {
        match (self.state, answered) {
            (State::Polling, true) => {
                (self.heard, self.answered) = (now, true);
                Step::Poll { first: false }
            }
            (State::Polling, false) => self.wait(random),
            _ => Step::Rest,
        }
    }

    /// The server answered that it does not know who this is.
    pub fn refused(&mut self, now: f64) -> Step {
        (self.state, self.opened) = (State::SignedOut, now);
        Step::Close
    }

    /// Time has passed.
    pub fn tick(&mut self, now: f64) -> Step {
        match self.state {
            State::Connecting if now - self.opened > GREETING => self.poll(now),
            State::Live if now - self.heard > SILENCE => {
                self.state = State::Connecting;
                self.open(now)
            }
            State::Polling if now - self.opened > TRY_AGAIN => self.open(now),
            State::SignedOut if now - self.opened > KNOCK => {
                // Nothing is told until the stream brings a frame.
                self.opened = now;
                Step::Open
            }
            _ => Step::Rest,
        }
    }

    fn poll(&mut self, now: f64) -> Step {
        (self.state, self.opened, self.short, self.answered) = (State::Polling, now, 0, false);
        Step::Poll { first: true }
    }

    fn wait(&mut self, random: f64) -> Step {
        let most = (PAUSE.0 * 2_f64.powi(self.attempt.min(16))).min(PAUSE.1);
        self.attempt += 1;
        self.state = State::Waiting;
        Step::Wait(random * most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Link {
        let mut link = Link::new(0.0);
        assert_eq!(link.wanted(0.0), Step::Open);
        link.frame(10.0);
        assert!(link.is_live());
        link
    }

    #[test]
    fn pauses_double_up_to_half_a_minute_and_begin_anew_after_success() {
        let mut link = live();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let Step::Wait(pause) = link.failed(20_000.0, 1.0) else { panic!("it waits") };
            pauses.push(pause);
            assert_eq!(link.waited(20_000.0), Step::Open);
        }
        assert_eq!(pauses[..3], [500.0, 1_000.0, 2_000.0]);
        assert_eq!(pauses[8], 30_000.0);
        link.frame(21_000.0);
        assert_eq!(link.failed(60_000.0, 0.5), Step::Wait(250.0), "full jitter");
    }

    #[test]
    fn a_stream_that_falls_silent_is_opened_anew() {
        let mut link = live();
        assert_eq!(link.tick(30_000.0), Step::Rest);
        assert_eq!(link.tick(40_011.0), Step::Open);
        assert_eq!(link.state, State::Connecting);
    }

    #[test]
    fn where_the_stream_is_held_back_the_log_is_polled_until_a_stream_works() {
        let mut link = Link::new(0.0);
        link.wanted(0.0);
        assert_eq!(link.tick(4_000.0), Step::Rest);
        assert_eq!(link.tick(5_001.0), Step::Poll { first: true });
        assert!(!link.is_live(), "an answer shows that it works");
        assert_eq!(link.polled(6_000.0, true, 0.5), Step::Poll { first: false });
        assert!(link.is_live());
        assert_eq!(link.tick(66_000.0), Step::Open, "a stream is tried beside");
        assert_eq!(link.failed(66_100.0, 0.5), Step::Rest, "which changes nothing when it fails");
        assert_eq!(link.polled(67_000.0, true, 0.5), Step::Poll { first: false });
        assert_eq!(link.tick(127_000.0), Step::Open);
        link.frame(127_100.0);
        assert_eq!((link.state, link.polled(128_000.0, true, 0.5)), (State::Live, Step::Rest), "polling ends");
    }

    #[test]
    fn a_stream_that_is_cut_again_and_again_gives_way_to_polling() {
        let mut link = live();
        for round in 1..3 {
            assert!(matches!(link.failed(f64::from(round) * 10_000.0, 0.0), Step::Wait(_)));
            link.waited(f64::from(round) * 10_000.0);
            link.frame(f64::from(round) * 10_000.0 + 50.0);
        }
        assert_eq!(link.failed(30_000.0, 0.0), Step::Poll { first: true });
    }

    #[test]
    fn who_is_signed_out_is_not_asked_for_again_and_again() {
        let mut link = live();
        assert_eq!(link.refused(1_000.0), Step::Close);
        assert_eq!((link.state, link.is_live()), (State::SignedOut, false));
        assert_eq!(link.failed(1_100.0, 1.0), Step::Rest, "the closed stream changes nothing");
        assert_eq!(link.tick(31_000.0), Step::Rest);
        assert_eq!(link.tick(31_001.0), Step::Open, "another tab may have signed in");
        assert_eq!(link.state, State::SignedOut, "which is believed when a frame comes");
        link.frame(31_100.0);
        assert!(link.is_live());
        link.refused(32_000.0);
        assert_eq!(link.wanted(32_001.0), Step::Open);
        assert_eq!(link.state, State::Connecting);
    }

    #[test]
    fn a_server_that_does_not_answer_polls_either_is_waited_for() {
        let mut link = Link::new(0.0);
        link.wanted(0.0);
        link.tick(6_000.0);
        assert!(matches!(link.polled(7_000.0, false, 1.0), Step::Wait(_)));
        assert_eq!(link.wanted(7_001.0), Step::Open, "and asked at once when somebody says so");
    }
}
