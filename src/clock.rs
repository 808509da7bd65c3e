//! Time as the rooms see it. Owns the [`Clock`] trait, so that tests can hold time still, and the timer that owns deadlines.

use std::time::{Duration, Instant, SystemTime};

/// The two times a filesystem needs: a monotonic one for deadlines and a civil one for expiry dates.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic: for deadlines, ages and pauses.
    fn now(&self) -> Instant;

    /// Civil: for the expiry dates of links and the service's dates. May jump.
    fn utc(&self) -> SystemTime;

    /// Blocks this thread for `pause`. Worker threads only.
    fn sleep(&self, pause: Duration);
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn utc(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}
