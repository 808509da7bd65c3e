//! A ticket: one piece of work that is attempted until it is done, cannot be done, or its time is over.
//!
//! Whoever holds the ticket can make the work urgent, or say that nobody wants it any more, and need not know what it is. The
//! ticket decides by [`crate::policy::retry`] which failure is worth another attempt, and has it queued after a pause that holds
//! no thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::queue::{Class, JobQueue, Place, Shared, Side};
use crate::clock::lock;
use crate::policy::retry::{self, Decision, FailureKind};

/// What a ticket stands for. Shared by the thread that works on it and those who ask about it.
pub trait Task: Send + Sync + 'static {
    /// Makes one attempt, on a worker thread, which it may block until `deadline`. No other attempt of this task runs meanwhile.
    fn attempt(&self, ticket: &Ticket, deadline: Instant) -> Attempt;

    /// The task is over without being done. Called once, on any thread, and never by [`Ticket::start`]; no attempt follows.
    fn end(&self, why: End);

    /// Whether a failed guess is tried again, as what somebody waits for is.
    fn retries_guesses(&self) -> bool;
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    /// There is nothing left to do.
    Done,
    /// A part is done, and the next one is queued behind what waits by then, with tries and time of its own.
    Next,
    /// A part is done, and there is no need for more as long as this is a guess.
    Enough,
    /// The task has seen that nobody wants it, and given up.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

/// A failed attempt, as far as the next one depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What the failure means.
    pub kind: FailureKind,
    /// The pause that the other side asked for.
    pub retry_after: Option<Duration>,
    /// Something came in before it failed: tries count failures in a row.
    pub has_progressed: bool,
}

/// Why a task ended without being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its last attempt failed, and another is not worth it or does not fit into its time.
    Failed,
    /// It gave up, as nobody wanted it.
    Cancelled,
    /// An attempt panicked.
    Panicked,
    /// The queue was closed.
    Closed,
}

/// Whether somebody waits for a task.
#[derive(Clone, Copy, Debug)]
pub enum Urgency {
    /// Somebody does, until then.
    Awaited(Instant),
    /// Nobody does (yet). Its time starts to run with its first attempt.
    Guess,
}

/// The right to one task. Clones stand for the same task.
#[derive(Clone)]
pub struct Ticket(Arc<Inner>);

struct Inner {
    queue: Arc<Shared>,
    /// What each part may take.
    timeout: Duration,
    state: Mutex<State>,
}

struct State {
    /// None once it is over: the task may hold what holds the ticket.
    task: Option<Arc<dyn Task>>,
    stage: Stage,
    class: Class,
    /// The latest deadline of those who wait; of a guess, none before its first attempt.
    deadline: Option<Instant>,
    tries: u32,
    is_cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not started.
    New,
    Queued(Place),
    /// Waits for the time of its next attempt.
    Paused,
    Running,
    /// A guess that has gone far enough; not counted as under way.
    Parked,
    Over,
}

impl JobQueue {
    /// A ticket for `task`, each part of which may take `timeout`; see [`Ticket::start`].
    pub fn ticket(&self, task: Arc<dyn Task>, timeout: Duration) -> Ticket {
        let state = State {
            task: Some(task),
            stage: Stage::New,
            class: Class::Background,
            deadline: None,
            tries: 0,
            is_cancelled: false,
        };
        Ticket(Arc::new(Inner { queue: Arc::clone(self.shared()), timeout, state: Mutex::new(state) }))
    }
}

impl Ticket {
    /// Has the task queued. To be called once; [`JobQueue::has_room`] is for the caller to ask.
    pub fn start(&self, urgency: Urgency) {
        let mut state = lock(&self.0.state);
        debug_assert_eq!(state.stage, Stage::New);
        if let Urgency::Awaited(until) = urgency {
            state.class = Class::Foreground;
            state.deadline = Some(until);
        }
        self.0.queue.enter(state.class);
        self.queue(&mut state, Side::Back);
    }

    /// Somebody waits for the task until `until`: from now on it is foreground work, it is not cancelled, and its time ends no
    /// sooner. `false` if the task is over: what it was for is there, or must be asked for anew.
    pub fn promote(&self, until: Instant) -> bool {
        let mut state = lock(&self.0.state);
        let is_under_way = match state.stage {
            Stage::Over => return false,
            Stage::New | Stage::Parked => false,
            Stage::Queued(_) | Stage::Paused | Stage::Running => true,
        };
        state.is_cancelled = false;
        state.deadline = state.deadline.max(Some(until));
        if state.class == Class::Background {
            state.class = Class::Foreground;
            state.tries = 0;
            if is_under_way {
                self.0.queue.leave(Class::Background);
            }
            if state.stage != Stage::New {
                self.0.queue.enter(Class::Foreground);
            }
            match state.stage {
                // If its place is empty, a thread has just taken it, and is about to run it.
                Stage::Queued(place) if self.0.queue.take(place).is_none() => {}
                Stage::Queued(_) | Stage::Parked => self.queue(&mut state, Side::Back),
                Stage::New | Stage::Paused | Stage::Running | Stage::Over => {}
            }
        }
        true
    }

    /// Nobody will ask for what the task brings. It is the task's to see that, and to give up.
    pub fn cancel(&self) {
        lock(&self.0.state).is_cancelled = true;
    }

    /// Whether it was cancelled, and nobody has asked for it since.
    pub fn is_cancelled(&self) -> bool {
        lock(&self.0.state).is_cancelled
    }

    /// Whether nobody has asked for it.
    pub fn is_guess(&self) -> bool {
        lock(&self.0.state).class == Class::Background
    }

    /// When its time is over, as known at the moment; none for a guess that was never attempted.
    pub fn deadline(&self) -> Option<Instant> {
        lock(&self.0.state).deadline
    }

    /// Puts it into the queue. If that is closed nobody will run it, and nobody is told: its filesystem is gone.
    fn queue(&self, state: &mut State, side: Side) {
        let ticket = self.clone();
        state.stage = match self.0.queue.place(state.class, side, Box::new(move || ticket.run())) {
            Some(place) => Stage::Queued(place),
            None => Stage::Over,
        };
    }

    /// Makes an attempt, and what follows from it.
    fn run(&self) {
        let (task, deadline) = {
            let mut state = lock(&self.0.state);
            let Some(task) = state.task.clone() else { return };
            state.stage = Stage::Running;
            let start = self.0.queue.timer.clock().now();
            (task, *state.deadline.get_or_insert(start + self.0.timeout))
        };
        let attempt = catch_unwind(AssertUnwindSafe(|| task.attempt(self, deadline)));
        // The task's completions have run; none of them runs under the ticket's lock.
        if let Some(why) = self.conclude(attempt.ok(), &*task) {
            task.end(why);
        }
    }

    /// What follows from an attempt; `None` stands for one that panicked. Says why the task is over, if it is and was not done.
    fn conclude(&self, attempt: Option<Attempt>, task: &dyn Task) -> Option<End> {
        let mut state = lock(&self.0.state);
        let is_guess = state.class == Class::Background;
        let now = self.0.queue.timer.clock().now();
        match attempt {
            Some(Attempt::Done) => return self.finish(state, None),
            None => return self.finish(state, Some(End::Panicked)),
            Some(Attempt::Cancelled) => return self.finish(state, Some(End::Cancelled)),
            Some(Attempt::Enough) if is_guess => {
                state.stage = Stage::Parked;
                (state.tries, state.deadline) = (0, None);
                self.0.queue.leave(Class::Background);
            }
            Some(Attempt::Next | Attempt::Enough) => {
                state.tries = 0;
                state.deadline = if is_guess { None } else { state.deadline.max(Some(now + self.0.timeout)) };
                self.queue(&mut state, Side::Back);
            }
            Some(Attempt::Failed(failure)) => {
                state.tries = if failure.has_progressed { 1 } else { state.tries + 1 };
                let left = state.deadline.unwrap_or(now).saturating_duration_since(now);
                let decision = if is_guess && !task.retries_guesses() {
                    Decision::GiveUp
                } else {
                    retry::decide(failure.kind, state.tries, left, failure.retry_after, fastrand::f64())
                };
                match decision {
                    Decision::GiveUp => return self.finish(state, Some(End::Failed)),
                    Decision::Again(Duration::ZERO) => self.queue(&mut state, Side::Back),
                    Decision::Again(pause) => {
                        state.stage = Stage::Paused;
                        drop(state);
                        let ticket = self.clone();
                        self.0.queue.timer.at(now + pause, move || ticket.resume());
                        return None;
                    }
                }
            }
        }
        // A closed queue has dropped it.
        if state.stage == Stage::Over { self.finish(state, Some(End::Closed)) } else { None }
    }

    /// The task is over: lets go of it, outside the lock, and counts it off.
    fn finish(&self, mut state: std::sync::MutexGuard<'_, State>, why: Option<End>) -> Option<End> {
        state.stage = Stage::Over;
        let (class, task) = (state.class, state.task.take());
        drop(state);
        drop(task);
        self.0.queue.leave(class);
        why
    }

    /// The pause before the next attempt is over.
    fn resume(&self) {
        let mut state = lock(&self.0.state);
        if state.stage == Stage::Paused {
            self.queue(&mut state, Side::Front);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{BootTime, Clock, SystemClock, Timer};
    use std::collections::VecDeque;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::SystemTime;

    const PATIENCE: Duration = Duration::from_secs(20);
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A clock that stands still until it is moved.
    struct StillClock {
        start: Instant,
        passed: Mutex<Duration>,
    }

    impl Clock for StillClock {
        fn now(&self) -> Instant {
            self.start + *lock(&self.passed)
        }

        fn boot(&self) -> BootTime {
            BootTime::new(*lock(&self.passed))
        }

        fn utc(&self) -> SystemTime {
            SystemTime::now()
        }

        fn sleep(&self, _pause: Duration) {}
    }

    /// What happens to a scripted task, in order.
    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        /// An attempt, with so much time left.
        Attempt(Duration),
        End(End),
    }

    /// Answers each attempt by the next of its script; without one it panics.
    struct Scripted {
        script: Mutex<VecDeque<Attempt>>,
        clock: Arc<StillClock>,
        seen: Sender<Seen>,
        retries_guesses: bool,
    }

    impl Task for Scripted {
        fn attempt(&self, _ticket: &Ticket, deadline: Instant) -> Attempt {
            let _ = self.seen.send(Seen::Attempt(deadline.saturating_duration_since(self.clock.now())));
            let next = lock(&self.script).pop_front();
            next.unwrap_or_else(|| panic!("scripted"))
        }

        fn end(&self, why: End) {
            let _ = self.seen.send(Seen::End(why));
        }

        fn retries_guesses(&self) -> bool {
            self.retries_guesses
        }
    }

    struct Bench {
        clock: Arc<StillClock>,
        timer: Arc<Timer>,
        queue: JobQueue,
    }

    impl Bench {
        fn new() -> Bench {
            let clock = Arc::new(StillClock { start: Instant::now(), passed: Mutex::default() });
            let timer = Timer::new(Arc::clone(&clock) as _);
            let queue = JobQueue::start("test", 1, &timer).unwrap_or_else(|error| panic!("{error}"));
            queue.set_background_limit(1);
            Bench { queue, clock, timer }
        }

        fn ticket(&self, script: impl IntoIterator<Item = Attempt>, retries_guesses: bool) -> (Ticket, Receiver<Seen>) {
            let (seen, saw) = channel();
            let script = Mutex::new(script.into_iter().collect());
            let task = Scripted { script, clock: Arc::clone(&self.clock), seen, retries_guesses };
            (self.queue.ticket(Arc::new(task), TIMEOUT), saw)
        }

        /// Keeps the only thread busy until what it returns is dropped.
        fn occupy(&self) -> Sender<()> {
            let (release, gate) = channel();
            let (started, running) = channel();
            self.queue.push(Class::Foreground, move || {
                started.send(()).unwrap_or_default();
                gate.recv().unwrap_or_default();
            });
            next(&running);
            release
        }

        fn pass(&self, time: Duration) {
            *lock(&self.clock.passed) += time;
            self.timer.run_due();
        }

        /// Waits until the queue has done what was pushed before.
        fn settle(&self) {
            drop(self.occupy());
        }
    }

    fn next<T>(receiver: &Receiver<T>) -> T {
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}"))
    }

    fn failed(kind: FailureKind) -> Attempt {
        Attempt::Failed(Failure { kind, retry_after: None, has_progressed: false })
    }

    #[test]
    fn time_of_a_guess_starts_with_its_first_attempt_and_anew_for_who_asks() {
        let bench = Bench::new();
        let (guess, saw) = bench.ticket([Attempt::Done], false);
        let busy = bench.occupy();
        guess.start(Urgency::Guess);
        bench.pass(TIMEOUT * 2);
        drop(busy);
        assert_eq!(next(&saw), Seen::Attempt(TIMEOUT));

        let (guess, saw) = bench.ticket([Attempt::Done], false);
        let busy = bench.occupy();
        guess.start(Urgency::Guess);
        bench.pass(TIMEOUT / 2);
        assert!(guess.promote(bench.clock.now() + TIMEOUT * 3));
        drop(busy);
        assert_eq!(next(&saw), Seen::Attempt(TIMEOUT * 3));
    }

    #[test]
    fn promoted_guess_goes_before_other_guesses() {
        let bench = Bench::new();
        let busy = bench.occupy();
        let tickets: Vec<_> = (0..3).map(|_| bench.ticket([Attempt::Done], false)).collect();
        let order = Arc::new(Mutex::new(Vec::new()));
        for (ticket, _) in &tickets {
            ticket.start(Urgency::Guess);
        }
        assert!(tickets[2].0.promote(bench.clock.now() + TIMEOUT));
        let seen = Arc::clone(&order);
        bench.queue.push(Class::Foreground, move || lock(&seen).push("after the promoted one"));
        drop(busy);
        next(&tickets[2].1);
        bench.settle();
        assert_eq!(lock(&order).len(), 1);
        next(&tickets[0].1);
        next(&tickets[1].1);
    }

    #[test]
    fn ticket_that_is_over_cannot_be_promoted_and_lets_go_of_its_task() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket([Attempt::Done], false);
        ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
        next(&saw);
        bench.settle();
        assert!(!ticket.promote(bench.clock.now() + TIMEOUT));
        assert_eq!(saw.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn guess_that_has_gone_far_enough_goes_on_when_somebody_asks() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket([Attempt::Next, Attempt::Enough, Attempt::Enough, Attempt::Done], false);
        ticket.start(Urgency::Guess);
        next(&saw);
        next(&saw);
        bench.settle();
        assert!(saw.try_recv().is_err(), "parked");
        assert!(ticket.promote(bench.clock.now() + TIMEOUT));
        next(&saw);
        next(&saw);
        bench.settle();
        assert!(!ticket.promote(bench.clock.now() + TIMEOUT));
    }

    #[test]
    fn failed_attempt_is_made_again_after_its_pause_and_holds_no_thread_meanwhile() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket([failed(FailureKind::Transient), Attempt::Done], false);
        ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
        next(&saw);
        bench.settle();
        assert!(saw.try_recv().is_err());
        bench.pass(retry::FIRST_PAUSE);
        assert_eq!(next(&saw), Seen::Attempt(TIMEOUT - retry::FIRST_PAUSE));
    }

    #[test]
    fn tries_end_with_the_deadline_and_the_task_is_told_once() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket(vec![failed(FailureKind::Transient); 1000], false);
        ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
        let mut attempts = 0;
        loop {
            match saw.recv_timeout(Duration::from_millis(10)) {
                Ok(Seen::Attempt(_)) => attempts += 1,
                Ok(Seen::End(why)) => break assert_eq!(why, End::Failed),
                Err(_) => bench.pass(Duration::from_millis(100)),
            }
        }
        assert!((5..100).contains(&attempts), "{attempts}");
        assert!(*lock(&bench.clock.passed) < TIMEOUT);
        bench.settle();
        assert!(saw.try_recv().is_err());
    }

    #[test]
    fn failed_guess_is_tried_again_only_if_its_task_says_so_or_somebody_asks() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket([failed(FailureKind::Transient)], false);
        ticket.start(Urgency::Guess);
        next(&saw);
        assert_eq!(next(&saw), Seen::End(End::Failed));
        assert!(!ticket.promote(bench.clock.now() + TIMEOUT));

        let (ticket, saw) = bench.ticket([failed(FailureKind::Interrupted), Attempt::Done], true);
        ticket.start(Urgency::Guess);
        next(&saw);
        next(&saw);

        let (ticket, saw) = bench.ticket([failed(FailureKind::Interrupted), Attempt::Done], false);
        let busy = bench.occupy();
        ticket.start(Urgency::Guess);
        assert!(ticket.promote(bench.clock.now() + TIMEOUT));
        drop(busy);
        next(&saw);
        next(&saw);
    }

    #[test]
    fn panic_in_an_attempt_ends_the_task() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket([], false);
        ticket.start(Urgency::Awaited(bench.clock.now() + TIMEOUT));
        next(&saw);
        assert_eq!(next(&saw), Seen::End(End::Panicked));
        bench.settle();
    }

    #[test]
    fn cancelled_ticket_is_wanted_again_once_it_is_promoted() {
        let bench = Bench::new();
        let (ticket, saw) = bench.ticket([Attempt::Cancelled], false);
        ticket.cancel();
        assert!(ticket.is_cancelled());
        assert!(ticket.promote(Instant::now()));
        assert!(!ticket.is_cancelled());
        ticket.start(Urgency::Guess);
        next(&saw);
        assert_eq!(next(&saw), Seen::End(End::Cancelled));
    }

    #[test]
    fn system_clock_runs_tickets_too() {
        let timer = Timer::new(Arc::new(SystemClock));
        let running = Arc::clone(&timer);
        let thread = std::thread::spawn(move || running.run());
        let queue = JobQueue::start("test", 1, &timer).unwrap_or_else(|error| panic!("{error}"));
        let (seen, saw) = channel();
        let clock = Arc::new(StillClock { start: Instant::now(), passed: Mutex::default() });
        let script = Mutex::new([failed(FailureKind::Transient), Attempt::Done].into());
        let ticket = queue.ticket(Arc::new(Scripted { script, clock, seen, retries_guesses: false }), TIMEOUT);
        ticket.start(Urgency::Awaited(Instant::now() + TIMEOUT));
        next(&saw);
        next(&saw);
        timer.close();
        drop(thread.join());
    }
}
