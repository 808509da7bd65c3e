//! A ticket: one piece of work that is attempted until it is done, cannot be done, or its time is over.
//!
//! Whoever holds the ticket can make the work urgent, or say that nobody wants it any more, and need not know what it is. The
//! ticket decides by [`crate::policy::retry`] which failure is worth another attempt, and has it queued after a pause that holds
//! no thread.

mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::queue::{Class, JobQueue, Place, Shared, Side};
use crate::policy::retry::{self, Decision, FailureKind};
use crate::sync::lock;

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
    /// A part is done. The next one is queued behind the work that waits by then, with its own attempts and deadline.
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

    /// Nobody waits for the task any more: it is a guess again. For the task itself, within an attempt; whoever waits after all promotes
    /// it.
    pub fn demote(&self) {
        let mut state = lock(&self.0.state);
        debug_assert_eq!(state.stage, Stage::Running);
        if state.class == Class::Foreground {
            state.class = Class::Background;
            self.0.queue.leave(Class::Foreground);
            self.0.queue.enter(Class::Background);
        }
    }

    /// Ends a task that is no longer needed before it was started. To be called instead of [`Ticket::start`].
    pub fn close(&self) {
        let mut state = lock(&self.0.state);
        debug_assert_eq!(state.stage, Stage::New);
        state.stage = Stage::Over;
        let task = state.task.take();
        drop(state);
        drop(task);
    }

    /// Whether it was started, or closed.
    pub fn is_started(&self) -> bool {
        lock(&self.0.state).stage != Stage::New
    }

    /// Cancels the task: nobody will ask for its result. The task itself notices that, and gives up.
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

    /// Puts it into the queue. A closed queue drops it without calling anybody: the filesystem is gone.
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
                if decision != Decision::GiveUp {
                    self.0.queue.retries.count();
                }
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

    /// The task is over: drops it, outside the lock, and counts it off.
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
