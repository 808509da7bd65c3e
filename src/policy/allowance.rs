//! A limit on unused guesses: so many a minute whose result nobody has used (yet).
//!
//! A guess that is used is given back, so a walker that opens what comes next is never held up; one that skips things, or goes
//! away, soon has used up its allowance. Pure: times come in.

use std::time::Duration;

/// What is counted at once, and then forgotten.
const PERIOD: Duration = Duration::from_secs(60);

/// The guesses of one walker, or of all.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    unused_max: usize,
    /// Guesses of this period that nobody has used.
    unused: usize,
    /// When the period began, counted from any fixed instant.
    since: Duration,
}

impl Allowance {
    /// So many guesses may be unused in a minute.
    pub fn new(unused_max: usize) -> Allowance {
        Allowance { unused_max, unused: 0, since: Duration::ZERO }
    }

    /// Whether another guess may be made at `now`.
    pub fn has_left(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= PERIOD {
            (self.since, self.unused) = (now, 0);
        }
        self.unused < self.unused_max
    }

    /// A guess is made.
    pub fn spend(&mut self) {
        self.unused += 1;
    }

    /// What was guessed is used.
    pub fn regain(&mut self) {
        self.unused = self.unused.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(allowance: &mut Allowance, now: Duration) -> bool {
        let may = allowance.has_left(now);
        if may {
            allowance.spend();
        }
        may
    }

    #[test]
    fn walker_that_uses_every_guess_is_never_held_up() {
        let mut allowance = Allowance::new(8);
        for _ in 0..8 {
            assert!(guess(&mut allowance, Duration::ZERO));
        }
        for step in 0..10_000 {
            allowance.regain();
            assert!(guess(&mut allowance, Duration::from_millis(step)));
        }
    }

    #[test]
    fn guesses_that_nobody_uses_end_soon_and_go_on_in_the_next_minute_only() {
        let mut allowance = Allowance::new(64);
        let made = (0..3_600).filter(|second| guess(&mut allowance, Duration::from_secs(second / 60))).count();
        assert_eq!(made, 64, "within a minute");
        let made = (0..600).filter(|second| guess(&mut allowance, Duration::from_secs(100 + second))).count();
        assert!(made <= 64 * 11, "{made}");
    }
}
