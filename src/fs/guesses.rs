//! How many listings may be under way without anybody's asking: fewer after a refusal, none for as long as the service asks for a
//! pause, more again as pages come in.
//!
//! Knows the listings' queue, and nothing of what is listed. Locks: one, for the length of a look.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Timer};
use crate::jobs::{Class, JobQueue};
use crate::policy::budget::{MAX_LISTINGS_AHEAD, START_LISTINGS_AHEAD};
use crate::sync::lock;

/// So many pages must come in before one more listing is loaded ahead again: the most are reached after 128 pages without a refusal.
const PAGES_PER_RAISE: usize = 8;

/// How long nothing is listed ahead after a refusal that named no pause, the first time; doubled for each further one, up to the
/// most, until a page comes in.
const MIN_REST: Duration = Duration::from_secs(1);
const MAX_REST: Duration = Duration::from_secs(60);

/// The longest pause that a service can ask for, as far as listings ahead are concerned: one that asks for more is asked again
/// after an hour.
const MAX_ASKED_REST: Duration = Duration::from_secs(3600);

/// What the service puts up with.
pub(super) struct Guesses {
    jobs: Arc<JobQueue>,
    timer: Arc<Timer>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    /// Pages since the limit was last raised.
    pages: usize,
    /// Nothing is listed ahead before this.
    rests_until: Option<Instant>,
    /// How long the next rest is.
    rest: Duration,
}

impl Guesses {
    /// The service has not been met yet.
    pub(super) fn new(jobs: &Arc<JobQueue>, timer: &Arc<Timer>) -> Arc<Guesses> {
        jobs.set_background_limit(START_LISTINGS_AHEAD);
        let state = Mutex::new(State { limit: START_LISTINGS_AHEAD, pages: 0, rests_until: None, rest: MIN_REST });
        let (jobs, timer, clock) = (Arc::clone(jobs), Arc::clone(timer), Arc::clone(timer.clock()));
        Arc::new(Guesses { jobs, timer, clock, state })
    }

    /// Whether another listing may be loaded without anybody's asking: not while the service asks for a pause, nor while as many
    /// guesses as may be are under way.
    pub(super) fn may_guess(&self) -> bool {
        !self.is_resting() && self.jobs.has_room(Class::Background)
    }

    /// Whether the service has asked for a pause that is not over.
    pub(super) fn is_resting(&self) -> bool {
        lock(&self.state).rests_until.is_some_and(|until| self.clock.now() < until)
    }

    /// A page has come in: after enough of them, one more listing may be loaded ahead.
    pub(super) fn raise(&self) {
        let mut state = lock(&self.state);
        state.pages += 1;
        state.rest = MIN_REST;
        if state.pages < PAGES_PER_RAISE || state.limit >= MAX_LISTINGS_AHEAD {
            return;
        }
        (state.limit, state.pages) = (state.limit + 1, 0);
        self.apply(&state);
    }

    /// The service asks for fewer requests: nothing is listed ahead for as long as it says, then half as many as before.
    pub(super) fn lower(self: &Arc<Self>, asked: Option<Duration>) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let pause = asked.unwrap_or(Duration::ZERO).min(MAX_ASKED_REST).max(state.rest);
        (state.limit, state.pages) = ((state.limit / 2).max(1), 0);
        state.rest = (state.rest * 2).min(MAX_REST);
        let until = now + pause;
        if state.rests_until.is_some_and(|earlier| until <= earlier) {
            return;
        }
        state.rests_until = Some(until);
        self.apply(&state);
        drop(state);
        log::debug!("the service asks for fewer requests: nothing is listed ahead for {pause:?}");
        let guesses = Arc::clone(self);
        self.timer.at(until, move || guesses.end_rest(until));
    }

    fn end_rest(&self, until: Instant) {
        let mut state = lock(&self.state);
        if state.rests_until == Some(until) {
            state.rests_until = None;
            self.apply(&state);
        }
    }

    fn apply(&self, state: &State) {
        self.jobs.set_background_limit(if state.rests_until.is_some() { 0 } else { state.limit });
    }
}
