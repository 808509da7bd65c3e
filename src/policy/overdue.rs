//! When a block that a read waits for is overdue, and what of its fetch another request should take over.
//!
//! One connection of many may be much slower than the others, or stand still: a packet was lost, a server of the store hangs. The
//! others go on, but the reader needs its bytes in order and waits for that one. What counts as slow follows from what requests to
//! this store usually take. Pure: times come in.

use std::time::Duration;

use super::range::BLOCK_BYTES;

/// A block is overdue when it has taken so many times what it usually takes: new connections take three or four round trips where the
/// usual request takes one.
const OVERDUE_FACTOR: f64 = 4.0;

/// The same while other connections have nothing to do: then another request costs little, and a new connection is worth being
/// overtaken by an older one (over a round trip of 200 ms it takes 1.7 s for the 2 MiB that an older one brings in 0.3).
const IDLE_OVERDUE_FACTOR: f64 = 1.5;

/// No block is overdue sooner: lost packets are sent again in this time (Linux' least retransmission time-out is 200 ms).
const MIN_PATIENCE: Duration = Duration::from_millis(300);

/// A connection that brought nothing for this time, or for [`OVERDUE_FACTOR`] times the usual wait, stands still.
const MIN_STALL: Duration = Duration::from_millis(1000);

/// Both are never longer than this.
const MAX_PATIENCE: Duration = Duration::from_secs(5);

/// Before anything is known of a store.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// What requests to one store usually take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usual {
    /// From a request to its first byte; `None` before the first answer.
    pub wait: Option<Duration>,
    /// For a block of [`BLOCK_BYTES`]; zero before that is known.
    pub block_time: Duration,
}

/// What to do about a block that a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is known that would be faster: wait on.
    Wait,
    /// Another request should bring what its fetch has planned from this block on, but for the block that is being filled.
    TakeRest,
    /// Its connection stands still: another request should bring all that its fetch still has to fill.
    TakeAll,
}

impl Usual {
    /// How long a read may wait for a block that comes after `bytes_before` bytes of the same fetch, before anything is done about it;
    /// `has_idle` says that fewer requests run than may.
    pub fn patience(&self, bytes_before: u64, has_idle: bool) -> Duration {
        let Some(wait) = self.wait else { return FIRST_PATIENCE };
        let blocks = u32::try_from(bytes_before / BLOCK_BYTES + 1).unwrap_or(u32::MAX);
        let usual = wait.saturating_add(self.block_time.saturating_mul(blocks));
        let factor = if has_idle { IDLE_OVERDUE_FACTOR } else { OVERDUE_FACTOR };
        usual.min(MAX_PATIENCE).mul_f64(factor).clamp(MIN_PATIENCE, MAX_PATIENCE)
    }

    /// After how long without a byte a connection stands still.
    pub fn stall(&self) -> Duration {
        let Some(wait) = self.wait else { return FIRST_PATIENCE };
        wait.saturating_add(self.block_time).min(MAX_PATIENCE).mul_f64(OVERDUE_FACTOR).clamp(MIN_STALL, MAX_PATIENCE)
    }

    /// What to do about a block whose patience is over. `idle` is how long its connection has brought nothing; `filling_for` is how long
    /// it has been the one that is being filled, if it is that.
    pub fn remedy(&self, idle: Duration, filling_for: Option<Duration>) -> Remedy {
        if idle >= self.stall() {
            return Remedy::TakeAll;
        }
        match filling_for {
            None => Remedy::TakeRest,
            Some(filling_for) if self.is_far_slower(filling_for) => Remedy::TakeAll,
            Some(_) if self.block_time.is_zero() => Remedy::Wait,
            Some(_) => Remedy::TakeRest,
        }
    }

    /// Whether a block that is not in after so long comes far more slowly than usual. What another request would bring anew is lost, so
    /// this has no upper bound, and nothing is slow before it is known what is usual: on a slow line no connection is faster.
    fn is_far_slower(&self, filling_for: Duration) -> bool {
        let usual = self.wait.unwrap_or_default().saturating_add(self.block_time);
        !self.block_time.is_zero()
            && filling_for >= MIN_STALL
            && usual.as_secs_f64() * OVERDUE_FACTOR <= filling_for.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Usual = Usual { wait: Some(Duration::from_millis(60)), block_time: Duration::from_millis(40) };

    #[test]
    fn patience_grows_with_what_comes_before_and_has_both_bounds() {
        assert_eq!(USUAL.patience(0, false), Duration::from_millis(400));
        assert_eq!(USUAL.patience(5 * BLOCK_BYTES, true), Duration::from_millis(450));
        assert_eq!(USUAL.patience(10 * BLOCK_BYTES, false), Duration::from_millis(2000));
        assert_eq!(USUAL.patience(u64::MAX, false), MAX_PATIENCE);
        let near = Usual { wait: Some(Duration::from_micros(200)), block_time: Duration::ZERO };
        assert_eq!((near.patience(0, true), near.stall()), (MIN_PATIENCE, MIN_STALL));
        assert_eq!(Usual::default().patience(0, true), FIRST_PATIENCE);
    }

    #[test]
    fn connection_that_stands_still_loses_all_and_a_slow_one_what_comes_later() {
        let (second, moment) = (Duration::from_secs(1), Duration::from_millis(10));
        assert_eq!(USUAL.remedy(second, Some(second)), Remedy::TakeAll);
        assert_eq!(USUAL.remedy(second, None), Remedy::TakeAll);
        assert_eq!(USUAL.remedy(moment, None), Remedy::TakeRest);
        assert_eq!(USUAL.remedy(moment, Some(second / 2)), Remedy::TakeRest);
        assert_eq!(USUAL.remedy(moment, Some(second)), Remedy::TakeAll);
    }

    #[test]
    fn block_that_comes_as_slowly_as_others_stays_with_its_connection() {
        let moment = Duration::from_millis(10);
        let slow = Usual { wait: Some(moment), block_time: Duration::from_secs(14) };
        assert_eq!(slow.remedy(moment, Some(Duration::from_secs(29))), Remedy::TakeRest);
        let unknown = Usual { wait: Some(moment), block_time: Duration::ZERO };
        assert_eq!(unknown.remedy(moment, Some(Duration::from_secs(29))), Remedy::Wait);
    }
}
