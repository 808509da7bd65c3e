//! Work that one thread does while other threads wait for what comes of it.
//!
//! Owns the lock around the state that those threads share, the waiting, and the recording of each outcome, which happens
//! even if the work panics. Knows nothing of the work or the state. Threads: any. One lock, never held during the work.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::clock::Clock;
use crate::sync::lock;

/// A state that threads share, and the threads that wait for it to change.
pub struct SingleFlight<S> {
    state: Mutex<S>,
    landed: Condvar,
}

/// The deadline passed before the state changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl<S> SingleFlight<S> {
    /// Nobody works or waits yet.
    pub fn new(state: S) -> SingleFlight<S> {
        SingleFlight { state: Mutex::new(state), landed: Condvar::new() }
    }

    /// The state, locked. Whether there is work to do, and who does it, is up to the caller.
    pub fn state(&self) -> MutexGuard<'_, S> {
        lock(&self.state)
    }

    /// Unlocks `state`, waits until some work has ended, and locks it again. May also return earlier than that: the caller
    /// looks at the state, and waits again if it is still not what it needs.
    ///
    /// # Errors
    /// [`TimedOut`] at `deadline`, which is a time of `clock`.
    pub fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, S>,
        clock: &dyn Clock,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, S>, TimedOut> {
        let left = clock.time_until(deadline);
        if left.is_zero() {
            return Err(TimedOut);
        }
        Ok(self.landed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Does `work` on this thread, with the state unlocked. Then `land` records in the state what came of it, `None` if the
    /// work panicked, and all waiting threads look at the state.
    pub fn fly<T>(&self, work: impl FnOnce() -> T, land: impl FnOnce(&mut S, Option<T>)) {
        let mut landing = Landing { flight: self, land: Some(land), outcome: None };
        landing.outcome = Some(work());
    }
}

/// Records the outcome when it is dropped, as it is in a panic too.
struct Landing<'a, S, T, F: FnOnce(&mut S, Option<T>)> {
    flight: &'a SingleFlight<S>,
    land: Option<F>,
    outcome: Option<T>,
}

impl<S, T, F: FnOnce(&mut S, Option<T>)> Drop for Landing<'_, S, T, F> {
    fn drop(&mut self) {
        if let Some(land) = self.land.take() {
            land(&mut self.flight.state(), self.outcome.take());
        }
        self.flight.landed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::clock::BootTime;

    /// A clock that moves only when told to.
    struct StillClock {
        start: Instant,
        passed_secs: AtomicU64,
    }

    impl Clock for StillClock {
        fn now(&self) -> Instant {
            self.start + Duration::from_secs(self.passed_secs.load(Ordering::SeqCst))
        }

        fn boot(&self) -> BootTime {
            BootTime::new(Duration::ZERO)
        }

        fn utc(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn sleep(&self, _pause: Duration) {}

        fn time_until(&self, when: Instant) -> Duration {
            when.saturating_duration_since(self.now()).min(Duration::from_millis(1))
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn still() -> StillClock {
        StillClock { start: Instant::now(), passed_secs: AtomicU64::new(0) }
    }

    /// Waits until the state holds something.
    fn await_outcome(flight: &SingleFlight<Option<u8>>, clock: &StillClock, deadline: Instant) -> Result<u8, TimedOut> {
        let mut state = flight.state();
        loop {
            match *state {
                Some(outcome) => return Ok(outcome),
                None => state = flight.wait(state, clock, deadline)?,
            }
        }
    }

    #[test]
    fn waiting_thread_gets_the_outcome_of_another_threads_work() {
        let (flight, clock) = (SingleFlight::new(None), still());
        let deadline = clock.now() + HOUR;
        let (begun, has_begun) = mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                begun.send(()).expect("a receiver");
                await_outcome(&flight, &clock, deadline)
            });
            has_begun.recv().expect("a thread");
            flight.fly(|| 7, |state, outcome| *state = outcome);
            assert_eq!(waiting.join().expect("no panic"), Ok(7));
        });
    }

    #[test]
    fn wait_ends_at_its_deadline_by_the_clock_that_is_given() {
        let (flight, clock) = (SingleFlight::new(None), still());
        let deadline = clock.now() + HOUR;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| await_outcome(&flight, &clock, deadline));
            clock.passed_secs.store(HOUR.as_secs(), Ordering::SeqCst);
            assert_eq!(waiting.join().expect("no panic"), Err(TimedOut));
        });
    }

    #[test]
    fn panic_in_the_work_is_recorded_and_wakes_who_waits() {
        let (flight, clock) = (SingleFlight::new(None), still());
        let deadline = clock.now() + HOUR;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| await_outcome(&flight, &clock, deadline));
            let work = || -> u8 { panic!("on purpose") };
            let land = |state: &mut Option<u8>, outcome: Option<u8>| *state = Some(outcome.unwrap_or(0));
            catch_unwind(AssertUnwindSafe(|| flight.fly(work, land))).expect_err("it panics");
            assert_eq!(waiting.join().expect("no panic"), Ok(0));
        });
    }
}
