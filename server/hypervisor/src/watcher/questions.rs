//! Schedules guest queries: one at a time per machine, and at most one waiting, however many
//! requests there are. The responses belong to the watcher.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use model::HostId;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;

use crate::{Sink, error::Error, guest::GuestReading};

/// Query interval of a guest whose data is complete.
const REFRESH: Duration = Duration::from_secs(30);
/// Query interval while the guest's page is open.
const REFRESH_IN_SIGHT: Duration = Duration::from_secs(3);
/// Query interval without an agent, where only leases and neighbours are available.
const REFRESH_WITHOUT_AGENT: Duration = Duration::from_secs(120);
/// Pauses in seconds between queries while data is incomplete.
const RETRY: [u64; 7] = [1, 2, 3, 5, 8, 15, 30];
/// The first pause for a guest that was not just started.
const RUNS_ALREADY: usize = 3;
/// Minimum pause after an agent did not respond, because each query blocks others.
const SILENCE: Duration = Duration::from_secs(10);
/// Interval of checks for subscribers.
const LOOK: Duration = Duration::from_secs(5);
/// Interval of checks for open pages.
const LOOK_IN_SIGHT: Duration = Duration::from_millis(500);
/// The event kind with guest data.
const KIND: &str = "guest-info-updated";

pub(super) struct Questions {
    host: HostId,
    sink: Arc<dyn Sink>,
    tasks: JoinSet<Done>,
    plans: HashMap<Uuid, Plan>,
    /// Machines with complete data that are queried again once there are subscribers.
    resting: HashSet<Uuid>,
    look: Interval,
    in_sight: Interval,
}

#[derive(Default)]
struct Plan {
    stage: Stage,
    /// Number of consecutive queries without complete data.
    asked: usize,
    /// Earliest time of the next query because its page is open.
    again_from: Option<Instant>,
}

#[derive(Default)]
enum Stage {
    /// Nothing is scheduled or running.
    #[default]
    Idle,
    Waits(AbortHandle),
    /// A query is running; another one may be requested.
    Asked {
        again: bool,
    },
}

/// The result of a query.
#[derive(Clone, Copy, Default)]
pub(super) struct Answer {
    /// Whether all obtainable data was read.
    pub(super) complete: bool,
    /// Whether there is an agent.
    pub(super) agent: bool,
    /// Whether it did not respond in time.
    pub(super) silent: bool,
}

/// The next action.
pub(super) enum QuestionStep {
    /// A query of this machine is due; call `begin` or `forget`.
    Due(Uuid),
    /// A query returned; call `answered` or `forget`.
    Read(Uuid, Result<GuestReading, Error>),
}

/// The result of a task.
enum Done {
    Waited(Uuid, Duration),
    Read(Uuid, Result<GuestReading, Error>),
}

impl Questions {
    pub(super) fn new(host: HostId, sink: Arc<dyn Sink>) -> Self {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        Self {
            host,
            sink,
            tasks: JoinSet::new(),
            plans: HashMap::new(),
            resting: HashSet::new(),
            look: every(LOOK),
            in_sight: every(LOOK_IN_SIGHT),
        }
    }

    /// Queries a machine as soon as possible, and with pauses until its data is complete; short
    /// pauses if it or its agent was just started.
    pub(super) fn ask(&mut self, id: Uuid, just_now: bool) {
        let plan = self.plans.entry(id).or_default();
        plan.asked = if just_now { 0 } else { RUNS_ALREADY };
        match &mut plan.stage {
            Stage::Asked { again } => *again = true,
            Stage::Idle | Stage::Waits(_) => self.plan(id, Duration::ZERO),
        }
    }

    /// Schedules the only query of a machine without a running one.
    fn plan(&mut self, id: Uuid, pause: Duration) {
        self.resting.remove(&id);
        let timer = self.tasks.spawn(async move {
            sleep(pause).await;
            Done::Waited(id, pause)
        });
        if let Stage::Waits(before) =
            std::mem::replace(&mut self.plans.entry(id).or_default().stage, Stage::Waits(timer))
        {
            before.abort();
        }
    }

    /// The next action; waits while nothing is scheduled.
    pub(super) async fn next(&mut self) -> QuestionStep {
        loop {
            tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Waited(id, pause)) if pause >= REFRESH && !self.sink.wants(KIND) => {
                        self.resting.insert(id);
                    }
                    Ok(Done::Waited(id, _)) => return QuestionStep::Due(id),
                    Ok(Done::Read(id, read)) => return QuestionStep::Read(id, read),
                    // A schedule that was replaced.
                    Err(_) => {}
                },
                _ = self.look.tick(), if !self.resting.is_empty() => {
                    if self.sink.wants(KIND) {
                        for id in std::mem::take(&mut self.resting) {
                            self.plan(id, Duration::ZERO);
                        }
                    }
                }
                _ = self.in_sight.tick(), if !self.plans.is_empty() => self.ask_in_sight(),
                else => std::future::pending().await,
            }
        }
    }

    /// Queries guests whose page is open more often.
    fn ask_in_sight(&mut self) {
        for id in self.sink.watched(&self.host) {
            let due = self.plans.get_mut(&id).filter(|plan| matches!(plan.stage, Stage::Waits(_) | Stage::Idle));
            let due = due.and_then(|plan| plan.again_from.take_if(|from| *from <= Instant::now()));
            if due.is_some() {
                self.plan(id, Duration::ZERO);
            }
        }
    }

    /// Starts the due query of a machine.
    pub(super) fn begin(&mut self, id: Uuid, ask: impl Future<Output = Result<GuestReading, Error>> + Send + 'static) {
        let plan = self.plans.entry(id).or_default();
        // A timer that ended while it was replaced.
        if matches!(plan.stage, Stage::Asked { .. }) {
            return;
        }
        // A timer that ran out while it was replaced is followed by another one.
        if let Stage::Waits(timer) = std::mem::replace(&mut plan.stage, Stage::Asked { again: false }) {
            timer.abort();
        }
        self.tasks.spawn(async move { Done::Read(id, ask.await) });
    }

    /// Schedules the next query of a machine.
    pub(super) fn answered(&mut self, id: Uuid, answer: Answer) {
        let plan = self.plans.entry(id).or_default();
        let again = matches!(std::mem::take(&mut plan.stage), Stage::Asked { again: true });
        let pause = match RETRY.get(plan.asked) {
            _ if again => Duration::ZERO,
            Some(seconds) if !answer.complete => Duration::from_secs(*seconds),
            _ if answer.agent => REFRESH,
            _ => REFRESH_WITHOUT_AGENT,
        };
        plan.again_from = Some(Instant::now() + if answer.silent { SILENCE } else { REFRESH_IN_SIGHT });
        if !again {
            plan.asked = if answer.complete { 0 } else { plan.asked + 1 };
        }
        self.plan(id, if answer.silent { pause.max(SILENCE) } else { pause });
    }

    /// Cancels the schedule of a machine.
    pub(super) fn forget(&mut self, id: Uuid) {
        self.resting.remove(&id);
        if let Some(Plan { stage: Stage::Waits(timer), .. }) = self.plans.remove(&id) {
            timer.abort();
        }
    }

    /// Cancels all schedules; running queries are ignored.
    pub(super) fn clear(&mut self) {
        self.tasks = JoinSet::new();
        self.plans.clear();
        self.resting.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use model::Event;
    use tokio::time::timeout;

    use super::*;

    const ALL: Answer = Answer { complete: true, agent: true, silent: false };

    #[derive(Default)]
    struct Listener(AtomicBool, AtomicBool);

    impl Sink for Listener {
        fn publish(&self, _: Vec<Event>) {}

        fn wants(&self, _: &str) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn watched(&self, _: &HostId) -> Vec<Uuid> {
            self.1.load(Ordering::Relaxed).then_some(Uuid::from_u128(1)).into_iter().collect()
        }
    }

    fn of(listener: Arc<Listener>) -> Questions {
        Questions::new("atlas".parse().expect("a name"), listener)
    }

    async fn is_due(questions: &mut Questions, within: u64) -> bool {
        match timeout(Duration::from_secs(within), questions.next()).await {
            Ok(QuestionStep::Due(_)) => true,
            Ok(QuestionStep::Read(..)) => panic!("nothing was read"),
            Err(_) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_is_asked_one_question_at_a_time_however_often_it_is_wanted() {
        let mut questions = of(Arc::default());
        let id = Uuid::from_u128(1);
        for _ in 0..100 {
            questions.ask(id, true);
        }
        assert!(is_due(&mut questions, 1).await && !is_due(&mut questions, 3_600).await);
        questions.begin(id, async {
            sleep(Duration::from_secs(60)).await;
            Ok(GuestReading::default())
        });
        for _ in 0..100 {
            questions.ask(id, true);
        }
        assert!(!is_due(&mut questions, 59).await, "it has not answered");
        assert!(matches!(questions.next().await, QuestionStep::Read(..)));
        questions.answered(id, ALL);
        assert!(is_due(&mut questions, 1).await, "what was wanted meanwhile");
        assert!(!is_due(&mut questions, 3_600).await, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_told_everything_is_asked_again_while_somebody_listens() {
        let listener = Arc::new(Listener::default());
        let mut questions = of(listener.clone());
        let id = Uuid::from_u128(1);
        questions.answered(id, ALL);
        assert!(!is_due(&mut questions, 3_600).await, "nobody listens");
        listener.0.store(true, Ordering::Relaxed);
        assert!(is_due(&mut questions, 6).await);
        questions.answered(id, ALL);
        assert!(!is_due(&mut questions, 29).await && is_due(&mut questions, 2).await);
        questions.answered(id, Answer { agent: false, ..ALL });
        assert!(!is_due(&mut questions, 119).await && is_due(&mut questions, 2).await, "leases last");
        questions.answered(id, ALL);
        questions.forget(id);
        assert!(!is_due(&mut questions, 3_600).await, "it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_whose_page_is_open_is_asked_within_five_seconds() {
        let listener = Arc::new(Listener::default());
        let mut questions = of(listener.clone());
        let id = Uuid::from_u128(1);
        listener.0.store(true, Ordering::Relaxed);
        questions.answered(id, ALL);
        assert!(!is_due(&mut questions, 29).await, "nobody has it open");
        listener.1.store(true, Ordering::Relaxed);
        assert!(is_due(&mut questions, 2).await, "somebody came");
        questions.begin(id, async { Ok(GuestReading::default()) });
        assert!(matches!(questions.next().await, QuestionStep::Read(..)));
        questions.answered(id, ALL);
        assert!(!is_due(&mut questions, 2).await && is_due(&mut questions, 2).await);
        questions.begin(id, async { Ok(GuestReading::default()) });
        assert!(matches!(questions.next().await, QuestionStep::Read(..)));
        questions.answered(id, Answer { silent: true, ..ALL });
        assert!(!is_due(&mut questions, 9).await && is_due(&mut questions, 2).await, "a silent one has its pause");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_is_silent_has_longer_pauses() {
        let mut questions = of(Arc::default());
        let id = Uuid::from_u128(1);
        let mut pauses = Vec::new();
        for silent in [false, false, true] {
            questions.answered(id, Answer { silent, ..Answer::default() });
            let began = Instant::now();
            assert!(is_due(&mut questions, 60).await);
            pauses.push(began.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 10]);
        // A running machine is not urgent.
        questions.ask(id, false);
        assert!(is_due(&mut questions, 1).await);
        questions.answered(id, Answer::default());
        assert!(!is_due(&mut questions, 4).await && is_due(&mut questions, 2).await);
    }
}
