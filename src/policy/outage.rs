//! Whether something cannot be reached at all: believed after it has failed for a while, given up at its first answer.
//!
//! A failure or two is a hiccup, which whoever asks bridges by further tries. Only when nothing has been reached for as long as one
//! operation may take does everybody else stop trying: one caller tries alone then, after longer and longer pauses, sooner if
//! somebody asks. Pure: the caller has the clock.

use std::time::{Duration, Instant};

/// So many tries must have failed, however long ago the first of them was: one that was made before the machine slept says little.
pub const MIN_UNREACHED: u32 = 3;

/// How long after a first failure it is tried by itself, and the first pause between tries while nothing is reached; doubled up to the
/// most.
pub const FIRST_TRY_AFTER: Duration = Duration::from_secs(1);

/// The longest pause between tries: a network that is back is found within a minute, also by a mount that nobody uses.
pub const MAX_TRY_PAUSE: Duration = Duration::from_secs(60);

/// The shortest pause between tries when somebody asks for what cannot be had.
pub const MIN_TRY_PAUSE: Duration = Duration::from_secs(2);

/// Counts for how long nothing was reached.
#[derive(Debug)]
pub struct Outage {
    /// For how long nothing must have been reached.
    tolerance: Duration,
    state: State,
    /// When it was last tried by itself.
    tried_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// As far as is known.
    Reached,
    /// Not since then.
    Doubted { since: Instant, failures: u32, next_try: Instant },
    /// Nobody but the one who tries is to try.
    Away { next_try: Instant, pause: Duration },
}

impl Outage {
    /// One that is believed to be reached, or to be away, at `now`, and is given up after `tolerance`.
    pub fn new(tolerance: Duration, is_away: bool, now: Instant) -> Outage {
        let state = match is_away {
            true => State::Away { next_try: now + FIRST_TRY_AFTER, pause: FIRST_TRY_AFTER },
            false => State::Reached,
        };
        Outage { tolerance, state, tried_at: None }
    }

    /// Whether it is not to be asked.
    pub fn is_away(&self) -> bool {
        matches!(self.state, State::Away { .. })
    }

    /// It has answered, whatever it said. Says whether that ends a time away.
    pub fn on_answer(&mut self) -> bool {
        let was_away = self.is_away();
        self.state = State::Reached;
        was_away
    }

    /// It was not reached. Says whether it is away from now on.
    pub fn on_unreached(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Reached => {
                let next_try = self.soon(now, FIRST_TRY_AFTER);
                self.state = State::Doubted { since: now, failures: 1, next_try };
                false
            }
            State::Doubted { since, failures, .. } => {
                *failures += 1;
                let is_over = now.saturating_duration_since(*since) >= self.tolerance && *failures >= MIN_UNREACHED;
                if is_over {
                    self.state = State::Away { next_try: now + FIRST_TRY_AFTER, pause: FIRST_TRY_AFTER };
                }
                is_over
            }
            State::Away { .. } => false,
        }
    }

    /// Something else was not reached that is usually reached with it.
    pub fn doubt(&mut self, now: Instant) {
        if let State::Reached = self.state {
            let next_try = self.soon(now, FIRST_TRY_AFTER);
            self.state = State::Doubted { since: now, failures: 0, next_try };
        }
    }

    /// When it is to be tried; `None` while there is no reason to.
    pub fn next_try(&self) -> Option<Instant> {
        match self.state {
            State::Reached => None,
            State::Doubted { next_try, .. } | State::Away { next_try, .. } => Some(next_try),
        }
    }

    /// It is tried at `now`: says when the next try is due if this one fails.
    pub fn on_try(&mut self, now: Instant) {
        self.tried_at = Some(now);
        match &mut self.state {
            State::Reached => {}
            State::Doubted { next_try, .. } => *next_try = now + MIN_TRY_PAUSE,
            State::Away { next_try, pause } => {
                *next_try = now + *pause;
                *pause = (*pause * 2).min(MAX_TRY_PAUSE);
            }
        }
    }

    /// Somebody asks for what cannot be had while it is away: the next try is sooner, and its pauses are short again.
    pub fn want(&mut self, now: Instant) {
        let soon = self.soon(now, Duration::ZERO);
        if let State::Away { next_try, pause } = &mut self.state
            && soon < *next_try
        {
            (*next_try, *pause) = (soon, MIN_TRY_PAUSE);
        }
    }

    /// After `pause`, and not too soon after the last try.
    fn soon(&self, now: Instant, pause: Duration) -> Instant {
        let after_last = self.tried_at.map_or(now, |tried_at| tried_at + MIN_TRY_PAUSE);
        (now + pause).max(after_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_failures_without_an_answer_for_the_whole_time_mean_that_it_is_away() {
        let start = Instant::now();
        let mut outage = Outage::new(TOLERANCE, false, start);
        for second in 0..30 {
            assert!(!outage.on_unreached(start + SECOND * second), "{second}");
        }
        assert!(!outage.on_answer(), "it was never away");
        for second in 30..60 {
            assert!(!outage.on_unreached(start + SECOND * second), "{second}");
        }
        assert!(outage.on_unreached(start + SECOND * 60) && outage.is_away());
        assert!(!outage.on_unreached(start + SECOND * 61), "told once");
        assert!(outage.on_answer() && !outage.is_away() && outage.next_try().is_none());
    }

    #[test]
    fn few_failures_long_apart_are_no_outage() {
        let start = Instant::now();
        let mut outage = Outage::new(TOLERANCE, false, start);
        assert!(!outage.on_unreached(start) && !outage.on_unreached(start + 10 * TOLERANCE));
        assert!(outage.on_unreached(start + 10 * TOLERANCE + SECOND));
    }

    #[test]
    fn doubt_has_it_tried_and_is_no_failure() {
        let start = Instant::now();
        let mut outage = Outage::new(TOLERANCE, false, start);
        outage.doubt(start);
        assert_eq!(outage.next_try(), Some(start + FIRST_TRY_AFTER));
        outage.on_try(start + FIRST_TRY_AFTER);
        outage.on_answer();
        // Doubted again and again, it is not tried again and again.
        outage.doubt(start + FIRST_TRY_AFTER);
        assert_eq!(outage.next_try(), Some(start + FIRST_TRY_AFTER + MIN_TRY_PAUSE));
    }

    #[test]
    fn pauses_between_tries_double_up_to_the_most_and_are_short_when_somebody_asks() {
        let start = Instant::now();
        let mut outage = Outage::new(TOLERANCE, true, start);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let due = outage.next_try().expect("it is away");
            outage.on_try(due);
            pauses.push((outage.next_try().expect("it is away") - due).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let due = outage.next_try().expect("it is away");
        outage.on_try(due);
        outage.want(due + SECOND);
        assert_eq!(outage.next_try(), Some(due + MIN_TRY_PAUSE));
        outage.want(due + 10 * SECOND);
        assert_eq!(outage.next_try(), Some(due + MIN_TRY_PAUSE), "it is due already");
    }
}
