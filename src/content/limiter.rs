//! `--bwlimit`: all fetches of content together take no more of the line than was said. What a read waits for goes before what nobody
//! waits for yet.
//!
//! The limit is where bodies are read: what is not read is not sent, but for what the system's buffers hold. Threads: those that fetch,
//! which wait here. Locks: one, for the length of a computation.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::runs::Run;
use crate::clock::Clock;
use crate::jobs::Ticket;
use crate::policy::bandwidth::Bandwidth;
use crate::sync::lock;

/// The longest sleep: whether a read waits by now, or nobody wants it any more, is looked at so often.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A read waits for them.
    Awaited,
    /// Nobody waits for them yet.
    Ahead,
    /// Nobody wants them any more.
    Unwanted,
}

impl Turn {
    /// Whose the bytes are that a fetch brings next.
    pub(super) fn of(run: &Run, ticket: &Ticket) -> Turn {
        match run.first() {
            Some(block) if block.is_awaited() => Turn::Awaited,
            Some(_) if !ticket.is_cancelled() => Turn::Ahead,
            _ => Turn::Unwanted,
        }
    }
}

/// The limit of one mount, if there is one.
pub(super) struct Limiter {
    line: Option<Mutex<Bandwidth>>,
    clock: Arc<dyn Clock>,
    started: Instant,
}

impl Limiter {
    /// So many bytes per second, or no limit.
    pub(super) fn new(bytes_per_second: Option<u64>, clock: Arc<dyn Clock>) -> Limiter {
        let line = bytes_per_second.map(|bytes| Mutex::new(Bandwidth::new(bytes)));
        Limiter { line, started: clock.now(), clock }
    }

    /// As much of `buffer` as is to be read at a time.
    pub(super) fn piece<'a>(&self, buffer: &'a mut [u8]) -> &'a mut [u8] {
        let Some(line) = &self.line else { return buffer };
        let piece = usize::try_from(lock(line).piece_bytes()).unwrap_or(usize::MAX);
        let len = buffer.len().min(piece);
        &mut buffer[..len]
    }

    /// How many of `requests` are worth making at a time.
    pub(super) fn at_most(&self, requests: usize) -> usize {
        self.line.as_ref().map_or(requests, |line| requests.min(lock(line).max_requests()))
    }

    /// Whether fetches wait for the limit now, and not for the line.
    pub(super) fn is_busy(&self) -> bool {
        let at = self.clock.now().saturating_duration_since(self.started);
        self.line.as_ref().is_some_and(|line| !lock(line).in_use(at).is_zero())
    }

    /// Blocks for as long as the line takes for `bytes` that have been read, until `until` at most. `turn` is asked again and again.
    pub(super) fn pay(&self, bytes: usize, turn: impl Fn() -> Turn, until: Instant) {
        let Some(line) = &self.line else { return };
        let mut paid_until = None;
        loop {
            let (now, turn) = (self.clock.now(), turn());
            let end = match paid_until {
                Some(end) => end,
                None => {
                    let mut line = lock(line);
                    let at = now.saturating_duration_since(self.started);
                    let in_use = line.in_use(at);
                    // What nobody waits for yet goes when nothing else does.
                    if turn == Turn::Awaited || in_use.is_zero() {
                        *paid_until.insert(now + line.take(bytes as u64, at))
                    } else {
                        now + in_use
                    }
                }
            };
            let left = end.min(until).saturating_duration_since(now);
            if turn == Turn::Unwanted || now >= until || (paid_until.is_some() && left.is_zero()) {
                return;
            }
            self.clock.sleep(left.min(MAX_SLEEP));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::BootTime;

    /// Goes on by sleeping only.
    struct Sleeper {
        start: Instant,
        slept: Mutex<Duration>,
    }

    impl Clock for Sleeper {
        fn now(&self) -> Instant {
            self.start + *lock(&self.slept)
        }
        fn boot(&self) -> BootTime {
            unreachable!("nothing grows old here")
        }
        fn utc(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
        fn sleep(&self, pause: Duration) {
            assert!(pause > Duration::ZERO && pause <= MAX_SLEEP, "{pause:?}");
            *lock(&self.slept) += pause;
        }
    }

    fn limiter(bytes_per_second: Option<u64>) -> (Limiter, Arc<Sleeper>) {
        let clock = Arc::new(Sleeper { start: Instant::now(), slept: Mutex::default() });
        (Limiter::new(bytes_per_second, Arc::clone(&clock) as _), clock)
    }

    fn slept(clock: &Sleeper) -> Duration {
        *lock(&clock.slept)
    }

    #[test]
    fn without_a_limit_nobody_sleeps_and_a_piece_is_all_that_is_asked_for() {
        let (limiter, clock) = limiter(None);
        limiter.pay(usize::MAX, || Turn::Ahead, clock.now() + Duration::from_secs(9));
        assert_eq!((slept(&clock), limiter.at_most(64)), (Duration::ZERO, 64));
        assert_eq!(limiter.piece(&mut [0; 1000]).len(), 1000);
    }

    #[test]
    fn bytes_take_their_time_and_no_longer_than_the_deadline() {
        let (limiter, clock) = limiter(Some(100_000));
        let until = clock.now() + Duration::from_secs(60);
        limiter.pay(200_000, || Turn::Awaited, until);
        assert_eq!(slept(&clock), Duration::from_secs(2));
        limiter.pay(10_000_000, || Turn::Awaited, clock.now() + Duration::from_secs(1));
        assert_eq!(slept(&clock), Duration::from_secs(3));
        assert_eq!(limiter.piece(&mut vec![0; 1 << 20]).len(), 5000);
        assert_eq!(limiter.at_most(64), 1);
    }

    #[test]
    fn what_nobody_waits_for_goes_when_the_line_is_free_or_when_somebody_does() {
        let (limiter, clock) = limiter(Some(100_000));
        let until = clock.now() + Duration::from_secs(60);
        // Another fetch has the line for five seconds.
        if let Some(line) = &limiter.line {
            lock(line).take(500_000, Duration::ZERO);
        }
        limiter.pay(100_000, || Turn::Ahead, until);
        assert_eq!(slept(&clock), Duration::from_secs(6), "behind it");
        if let Some(line) = &limiter.line {
            lock(line).take(500_000, slept(&clock));
        }
        let at = slept(&clock) + Duration::from_secs(1);
        limiter.pay(100_000, || if slept(&clock) < at { Turn::Ahead } else { Turn::Unwanted }, until);
        assert_eq!(slept(&clock), at, "it costs nothing that it is unwanted");
        let turn = || if slept(&clock) < at + Duration::from_secs(1) { Turn::Ahead } else { Turn::Awaited };
        limiter.pay(100_000, turn, until);
        assert_eq!(slept(&clock), at + Duration::from_secs(5), "behind what was taken before, and that is its turn");
    }
}
