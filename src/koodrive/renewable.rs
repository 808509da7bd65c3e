//! A value that the service may refuse and that can be fetched anew: one fetch at a time, whoever else needs it waits for that;
//! and whether a refused call is worth a renewal.
//!
//! Knows nothing of what the value is. Threads: any. One lock, never held during a fetch.

use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::single_flight::{SingleFlight, TimedOut};

/// How long no other value is fetched after a new one was refused at once: the value is not the reason then, or no value helps, and
/// repeated calls must not exceed the service's limit of attempts.
const USELESS_PAUSE: Duration = Duration::from_secs(60);

/// For how long after a renewal that did not help each refusal is first answered with a check whether the value in use is still
/// good: without it, a directory of files that the service refuses one by one would cause a renewal for each of them.
const CHECK_FIRST_FOR: Duration = Duration::from_secs(60);

/// How many renewals in that time may be useless. More than one can be if the check itself is refused for a reason of its own.
const MAX_USELESS_RENEWALS: u32 = 3;

/// What to do about a refused call, where the value may be what was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Renew the value.
    Renew,
    /// Repeat a call that was accepted before, and renew the value if that is refused as well.
    CheckFirst,
    /// Keep the value: new ones have not helped.
    Keep,
}

/// The value in use. `E` is how a fetch fails.
pub(super) struct Renewable<T, E>(SingleFlight<State<T, E>>);

struct State<T, E> {
    value: T,
    /// Counts values, so that a refusal of the one before last does not cost another fetch.
    generation: u64,
    /// Some call with this value has succeeded.
    accepted: bool,
    /// A thread is fetching a value.
    in_flight: bool,
    /// Counts finished fetches, so that a waiting thread knows that the one it waited for is over.
    flights: u64,
    /// Until when no other value is fetched, because the last one did not help.
    useless_until: Option<Instant>,
    /// Useless renewals: how many, until when they count, and which value the last one gave.
    useless_renewals: u32,
    check_first_until: Option<Instant>,
    useless_generation: Option<u64>,
    /// How the last fetch failed, and until when that is the answer to everybody.
    failure: Option<E>,
    failed_until: Option<Instant>,
}

/// The value to use, with its generation.
#[derive(Clone)]
pub(super) struct Held<T> {
    pub(super) value: T,
    generation: u64,
}

/// Why there is no new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missed<E> {
    /// A new value was refused as well, not long ago.
    Useless,
    /// Another thread's fetch did not end before the deadline.
    TooLate,
    /// Another thread's fetch ended in a panic.
    Lost,
    /// The fetch failed.
    Failed(E),
}

impl<T: Clone, E: Clone> Renewable<T, E> {
    pub(super) fn new(value: T) -> Renewable<T, E> {
        let state = State {
            value,
            generation: 0,
            accepted: false,
            in_flight: false,
            flights: 0,
            useless_until: None,
            useless_renewals: 0,
            check_first_until: None,
            useless_generation: None,
            failure: None,
            failed_until: None,
        };
        Renewable(SingleFlight::new(state))
    }

    /// What to use now.
    pub(super) fn current(&self) -> Held<T> {
        let state = self.0.state();
        Held { value: state.value.clone(), generation: state.generation }
    }

    /// Whether some thread is fetching.
    pub(super) fn is_in_flight(&self) -> bool {
        self.0.state().in_flight
    }

    /// A value that is newer than `refused`: one that another thread has fetched since, or is fetching, or what `fetch` gets
    /// now. Waits until `deadline` at most for another thread. A failure is the answer for `failure_lasts` from then on.
    pub(super) fn renew(
        &self,
        refused: &Held<T>,
        clock: &dyn Clock,
        deadline: Instant,
        failure_lasts: Duration,
        fetch: impl FnOnce() -> Result<T, E>,
    ) -> Result<Held<T>, Missed<E>> {
        let mut state = self.0.state();
        let flight = state.flights;
        loop {
            let now = clock.now();
            if state.generation != refused.generation {
                return Ok(Held { value: state.value.clone(), generation: state.generation });
            }
            if state.useless_until.is_some_and(|until| now < until) {
                return Err(Missed::Useless);
            }
            if state.flights != flight || state.failed_until.is_some_and(|until| now < until) {
                return Err(state.failure.clone().map_or(Missed::Lost, Missed::Failed));
            }
            if !state.in_flight {
                break;
            }
            state = self.0.wait(state, clock, deadline).map_err(|TimedOut| Missed::TooLate)?;
        }
        state.in_flight = true;
        drop(state);
        let mut failure = None;
        let work = || fetch().inspect_err(|error| failure = Some(error.clone()));
        self.0.fly(work, |state, outcome| state.land(outcome, clock.now() + failure_lasts));
        failure.map_or_else(|| Ok(self.current()), |failure| Err(Missed::Failed(failure)))
    }

    /// Notes that a call with this value succeeded.
    pub(super) fn was_accepted(&self, held: &Held<T>) {
        let mut state = self.0.state();
        if state.generation == held.generation {
            state.accepted = true;
            state.useless_until = None;
        }
    }

    /// Notes that a call was refused with `fresh` as well, which [`Renewable::renew`] had just given. One that was good for
    /// another call may just live for a short time.
    pub(super) fn was_useless(&self, fresh: &Held<T>, now: Instant) {
        let mut state = self.0.state();
        // Many calls may have waited for one renewal.
        if state.useless_generation != Some(fresh.generation) {
            if state.check_first_until.is_none_or(|until| now >= until) {
                state.useless_renewals = 0;
                state.check_first_until = Some(now + CHECK_FIRST_FOR);
            }
            state.useless_renewals += 1;
            state.useless_generation = Some(fresh.generation);
        }
        if state.generation == fresh.generation && !state.accepted {
            state.useless_until = Some(now + USELESS_PAUSE);
        }
    }

    /// What to do about a call that was refused at `now`.
    pub(super) fn reaction(&self, now: Instant) -> Reaction {
        let state = self.0.state();
        let is_ahead = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if is_ahead(state.useless_until) {
            Reaction::Keep
        } else if !is_ahead(state.check_first_until) {
            Reaction::Renew
        } else if state.useless_renewals < MAX_USELESS_RENEWALS {
            Reaction::CheckFirst
        } else {
            Reaction::Keep
        }
    }
}

impl<T, E> State<T, E> {
    /// Records how a fetch ended: `None` if it panicked. A failure is the answer to everybody until `failed_until`.
    fn land(&mut self, outcome: Option<Result<T, E>>, failed_until: Instant) {
        self.in_flight = false;
        self.flights += 1;
        self.failure = None;
        self.failed_until = None;
        match outcome {
            Some(Ok(value)) => {
                self.value = value;
                self.generation += 1;
                self.accepted = false;
            }
            Some(Err(failure)) => {
                self.failure = Some(failure);
                self.failed_until = Some(failed_until);
            }
            None => {}
        }
    }
}
