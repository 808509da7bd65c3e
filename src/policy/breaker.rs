//! A circuit breaker: what has failed several times is not used for a while, then tried once, then not used for longer.
//!
//! For things that can be done without, such as a disk or a server that holds copies. Pure: the caller has the clock.

use std::time::{Duration, Instant};

/// How much a [`Breaker`] tolerates, and how long it then rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// So many failures in a row begin a rest; at least 1.
    pub failures_max: u32,
    /// The first rest; each further one is twice as long, until a success.
    pub rest_min: Duration,
    /// No rest is longer.
    pub rest_max: Duration,
}

/// Counts failures in a row, and says when to leave the thing alone.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    failures: u32,
    next_rest: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked freely.
    Closed,
    /// Left alone until then.
    Resting(Instant),
    /// One caller is trying it; another one may if that one has not reported by then.
    Trying(Instant),
}

impl Breaker {
    /// One that has seen no failure.
    pub fn new(limits: BreakerLimits) -> Breaker {
        Breaker { limits, failures: 0, next_rest: limits.rest_min, state: State::Closed }
    }

    /// Whether it may be used now. After a rest, one caller is told yes, and all others only after that one's success.
    pub fn allows(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Resting(until) | State::Trying(until) if now < until => false,
            State::Resting(_) | State::Trying(_) => {
                self.state = State::Trying(now + self.next_rest);
                true
            }
        }
    }

    /// Whether it rests, or is only being tried: costly preparations for using it are not worth making.
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Notes a success. Returns whether that ends a series of rests.
    pub fn on_success(&mut self) -> bool {
        let was_open = self.is_open();
        (self.failures, self.next_rest, self.state) = (0, self.limits.rest_min, State::Closed);
        was_open
    }

    /// Notes a failure. Returns the length of the rest that begins with it, if one does; failures during a rest belong to uses
    /// before it, and change nothing.
    pub fn on_failure(&mut self, now: Instant) -> Option<Duration> {
        if matches!(self.state, State::Resting(until) if now < until) {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.state == State::Closed && self.failures < self.limits.failures_max {
            return None;
        }
        let rest = self.next_rest;
        self.state = State::Resting(now + rest);
        self.next_rest = rest.saturating_mul(2).min(self.limits.rest_max);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let limits = BreakerLimits { failures_max: 3, rest_min: SECOND, rest_max: 5 * SECOND };
        (Breaker::new(limits), Instant::now())
    }

    #[test]
    fn only_failures_in_a_row_begin_a_rest() {
        let (mut breaker, now) = breaker();
        for _ in 0..10 {
            assert_eq!((breaker.on_failure(now), breaker.on_failure(now)), (None, None));
            assert!(breaker.allows(now) && !breaker.is_open() && !breaker.on_success());
        }
        assert_eq!((breaker.on_failure(now), breaker.on_failure(now)), (None, None));
        assert_eq!(breaker.on_failure(now), Some(SECOND));
        assert!(!breaker.allows(now) && breaker.is_open());
    }

    #[test]
    fn one_try_follows_each_rest_and_rests_double_up_to_the_most() {
        let (mut breaker, mut now) = breaker();
        (0..2).for_each(|_| assert_eq!(breaker.on_failure(now), None));
        for seconds in [1, 2, 4, 5, 5] {
            let rest = seconds * SECOND;
            assert_eq!(breaker.on_failure(now), Some(rest));
            assert_eq!(breaker.on_failure(now), None, "asked before the rest");
            assert!(!breaker.allows(now + rest - Duration::from_nanos(1)));
            now += rest;
            assert!(breaker.allows(now) && !breaker.allows(now), "one at a time");
        }
        assert!(breaker.on_success() && breaker.allows(now) && breaker.allows(now));
        assert_eq!((breaker.on_failure(now), breaker.on_failure(now)), (None, None));
        assert_eq!(breaker.on_failure(now), Some(SECOND), "rests begin anew");
    }

    #[test]
    fn try_that_is_never_heard_of_holds_up_the_next_one_for_a_rest() {
        let (mut breaker, now) = breaker();
        (0..3).for_each(|_| _ = breaker.on_failure(now));
        let tried = now + SECOND;
        assert!(breaker.allows(tried) && !breaker.allows(tried + SECOND));
        assert!(breaker.allows(tried + 2 * SECOND));
    }
}
