//! Whether a store serves ranges of one object, as far as its answers tell.
//!
//! A store that sends the whole object instead wastes, for each request, what it has sent before the connection is closed. So it
//! is asked a few times in a row, and then not for a while.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::policy::range::{ByteRange, MAX_SKIP_BYTES, RangeIgnored};
use crate::sync::lock;

/// How many answers in a row may ignore a useless range before that is believed: a few may come from one server of many, or from a
/// cache in between (of a store that ignores every third range, five in a row are one in 250). Of requests that were on their way at
/// the same time one counts.
const MAX_IGNORED: u32 = 5;

/// How long it is believed. A program that goes on reading costs one such answer in this time, and a store that serves ranges
/// again is noticed after it.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// What is known of one object. Any thread; one lock, held for a moment.
#[derive(Debug, Default)]
pub(super) struct Ranges(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last answer was the whole object.
    is_whole: bool,
    ignored_in_a_row: u32,
    /// When the last of these came.
    ignored_at: Option<Instant>,
    /// Since when, and how, ranges are believed to be ignored.
    believed: Option<(Instant, RangeIgnored)>,
}

impl Ranges {
    /// Why a request for `asked` is known to be useless at the moment; `None` if it is worth sending.
    pub(super) fn refusal(&self, asked: ByteRange, now: Instant) -> Option<RangeIgnored> {
        let (since, why) = lock(&self.0).believed?;
        let is_concerned = why == RangeIgnored::NoLength || asked.start > MAX_SKIP_BYTES;
        (is_concerned && now.saturating_duration_since(since) < BELIEVED_FOR).then_some(why)
    }

    /// The answer to a request that was sent at `sent` could not be used for `why`. `true` if that is to be believed, `false` if the
    /// store is to be asked again.
    pub(super) fn note_ignored(&self, why: RangeIgnored, sent: Instant, now: Instant) -> bool {
        let mut state = lock(&self.0);
        if state.ignored_at.is_none_or(|last| sent >= last) {
            state.ignored_in_a_row = state.ignored_in_a_row.saturating_add(1);
            state.ignored_at = Some(now);
        }
        let is_believed = state.ignored_in_a_row >= MAX_IGNORED;
        if is_believed {
            state.believed = Some((now, why));
        }
        is_believed
    }

    /// An answer was the whole object, from which a range was taken.
    pub(super) fn note_whole(&self) {
        lock(&self.0).is_whole = true;
    }

    /// The range to request for a read of `wanted` if the store sends the whole object of `size` bytes each time: all that may be
    /// used of one answer. With less, each read would request again what the one before it skipped.
    pub(super) fn widened(&self, wanted: ByteRange, size: u64) -> Option<ByteRange> {
        let is_worth_it = wanted.start <= MAX_SKIP_BYTES && lock(&self.0).is_whole;
        is_worth_it.then(|| ByteRange::clamped(0, MAX_SKIP_BYTES, size))
    }

    /// An answer was a range.
    pub(super) fn note_served(&self) {
        *lock(&self.0) = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_is_widened_while_the_whole_object_is_sent() {
        let ranges = Ranges::default();
        let (near, far) = (ByteRange::new(100, 200), ByteRange::new(MAX_SKIP_BYTES + 1, MAX_SKIP_BYTES + 2));
        assert_eq!(ranges.widened(near, 1000), None);
        ranges.note_whole();
        assert_eq!(ranges.widened(near, 1000), Some(ByteRange::new(0, 1000)));
        assert_eq!(ranges.widened(near, 1 << 40), Some(ByteRange::new(0, MAX_SKIP_BYTES)));
        assert_eq!(ranges.widened(far, 1 << 40), None);
        ranges.note_served();
        assert_eq!(ranges.widened(near, 1000), None);
    }

    #[test]
    fn ignored_range_is_believed_after_five_in_a_row_and_for_a_while() {
        let ranges = Ranges::default();
        let start = Instant::now();
        let (near, far) = (ByteRange::new(0, 10), ByteRange::new(MAX_SKIP_BYTES + 1, MAX_SKIP_BYTES + 2));
        for believed in [false, false, false, false, true] {
            assert_eq!(ranges.refusal(far, start), None);
            assert_eq!(ranges.note_ignored(RangeIgnored::TooFar, start, start), believed);
        }
        assert_eq!(ranges.refusal(far, start), Some(RangeIgnored::TooFar));
        assert_eq!(ranges.refusal(near, start), None, "can be skipped to");
        let later = start + BELIEVED_FOR;
        assert_eq!(ranges.refusal(far, later), None);
        assert!(ranges.note_ignored(RangeIgnored::NoLength, later, later), "one answer is enough then");
        assert_eq!(ranges.refusal(near, later), Some(RangeIgnored::NoLength));
        ranges.note_served();
        assert_eq!(ranges.refusal(far, later), None);
        assert!(!ranges.note_ignored(RangeIgnored::TooFar, later, later));
    }

    #[test]
    fn requests_that_were_sent_together_are_one_sign() {
        let ranges = Ranges::default();
        let sent = Instant::now();
        for number in 1..=20 {
            let now = sent + Duration::from_millis(number);
            assert!(!ranges.note_ignored(RangeIgnored::TooFar, sent, now));
        }
        for number in 2..=MAX_IGNORED {
            let again = sent + number * Duration::from_millis(50);
            assert_eq!(ranges.note_ignored(RangeIgnored::TooFar, again, again), number == MAX_IGNORED, "{number}");
        }
    }
}
