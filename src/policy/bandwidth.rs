//! A limit on the bytes of a second. Pure: times come in.

use std::time::Duration;

/// So much of the line's time may be made up for: who has paid sleeps a little longer than asked.
const CREDIT: Duration = Duration::from_millis(100);

/// A piece that is paid for at once takes so long, so that others' turns come soon.
const PIECE_TIME: Duration = Duration::from_millis(50);

/// The shortest piece: shorter ones cost more than they bring.
const MIN_PIECE_BYTES: u64 = 4 << 10;

/// The longest: as much as is asked for at a time.
const MAX_PIECE_BYTES: u64 = 256 << 10;

/// A request of a file's content brings a block of so many bytes at least; more of them at once than the line brings in a second are of
/// no use, and delay each other.
const REQUEST_BYTES: u64 = 256 << 10;

/// What is used of a line that brings so much and no more.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth {
    bytes_per_second: u64,
    /// When all that was taken has come.
    free_at: Duration,
}

impl Bandwidth {
    /// A line that nobody uses, of at least one byte per second.
    pub fn new(bytes_per_second: u64) -> Bandwidth {
        Bandwidth { bytes_per_second: bytes_per_second.max(1), free_at: Duration::ZERO }
    }

    /// The most bytes that are worth taking at a time.
    pub fn piece_bytes(&self) -> u64 {
        let millis = u64::try_from(PIECE_TIME.as_millis()).unwrap_or(1);
        (self.bytes_per_second.saturating_mul(millis) / 1000).clamp(MIN_PIECE_BYTES, MAX_PIECE_BYTES)
    }

    /// The most requests that are worth making at a time.
    pub fn max_requests(&self) -> usize {
        usize::try_from(self.bytes_per_second / REQUEST_BYTES).unwrap_or(usize::MAX).max(1)
    }

    /// How long the line is in use from `now` on.
    pub fn in_use(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// Takes so many bytes; how long they take from `now` on, behind all that was taken before.
    pub fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.bytes_per_second);
        let takes = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now.saturating_sub(CREDIT)).saturating_add(takes);
        self.in_use(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bytes_take_as_long_as_the_line_needs_for_all_of_them() {
        let mut line = Bandwidth::new(1000);
        let mut now = SECOND;
        for _ in 0..100 {
            now += line.take(100, now);
        }
        let took = now - SECOND;
        assert!(took >= 10 * SECOND - CREDIT && took <= 10 * SECOND, "{took:?}");
    }

    #[test]
    fn late_sleepers_are_made_up_for_and_idle_time_is_not_saved() {
        let mut line = Bandwidth::new(1000);
        let mut now = SECOND;
        for _ in 0..100 {
            now += line.take(100, now) + Duration::from_millis(5);
        }
        assert!(now - SECOND <= 10 * SECOND + CREDIT, "{now:?}");
        now += 3600 * SECOND;
        assert_eq!(line.in_use(now), Duration::ZERO);
        assert!(line.take(1000, now) >= SECOND - CREDIT);
        assert!(line.take(1000, now) >= 2 * SECOND - CREDIT, "behind the other");
    }

    #[test]
    fn pieces_and_requests_are_few_on_a_slow_line_and_bounded_on_a_fast_one() {
        let of = |rate| (Bandwidth::new(rate).piece_bytes(), Bandwidth::new(rate).max_requests());
        assert_eq!(of(0), (MIN_PIECE_BYTES, 1));
        assert_eq!(of(64 << 10), (MIN_PIECE_BYTES, 1));
        assert_eq!(of(1 << 20).1, 4);
        assert_eq!(of(u64::MAX).0, MAX_PIECE_BYTES);
        let mut line = Bandwidth::new(1);
        assert!(line.take(u64::MAX, SECOND) > SECOND && line.take(u64::MAX, SECOND) > SECOND);
    }
}
