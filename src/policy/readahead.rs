//! From the reads seen on one handle to what is worth fetching: with the read itself, and ahead of it.
//!
//! Several cursors per handle: a player reads head, tail and middle in turn, two processes may share a file. Pure: offsets
//! in, ranges out.

use super::range::{BLOCK_BYTES, ByteRange};

/// The first request of a read at the start of a file, in bytes: whoever starts at 0 mostly goes on (mountpoint-s3 starts
/// with as much), and at 25 MB/s it costs the line 40 ms.
pub const FIRST_WINDOW_BYTES: u64 = 1024 * 1024;

/// The first window of a run that starts elsewhere, once its second read shows that it is a run.
const RUN_WINDOW_BYTES: u64 = 512 * 1024;

/// The largest request that is sent as one GET, in bytes. Larger ones gain nothing (measured: fuse-notes, C), and a
/// broken or overtaken one loses more.
pub const PART_BYTES: u64 = 4 * 1024 * 1024;

/// The smallest part that a window is cut into, in bytes: below this, the round trip costs more than the parallelism gains.
const PART_BYTES_MIN: u64 = 1024 * 1024;

/// How far before a cursor a read may start and still belong to it, in bytes: the kernel's asynchronous read-ahead
/// arrives shuffled, and programs step back a little.
const BACKWARD_SLACK_BYTES: u64 = 1024 * 1024;

/// How far past a cursor a read may start and still belong to it, in bytes; what is skipped is mostly on its way already.
const FORWARD_SLACK_BYTES: u64 = 4 * 1024 * 1024;

/// How many runs one handle may follow at a time: head, tail, middle, and one more.
const CURSORS_MAX: usize = 4;

/// What to fetch because of one read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The end of the stream that the read itself is served from: at least the read's own end.
    pub stream_end: u64,
    /// Further ranges worth having, nearest first, each at most [`PART_BYTES`] long.
    pub ahead: Vec<ByteRange>,
    /// What was planned for a place that nobody reads at any more.
    pub abandoned: Option<ByteRange>,
}

/// One run of reads.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// End of the furthest read: where the run goes on.
    next: u64,
    /// End of what has been planned.
    planned: u64,
    /// How far ahead of `next` to plan, in bytes; 0 for a single read that may never become a run.
    window: u64,
    /// When it was last used, counted in reads.
    used: u64,
}

/// The reads of one handle.
#[derive(Clone, Debug, Default)]
pub struct ReadAhead {
    cursors: Vec<Cursor>,
    reads: u64,
}

impl ReadAhead {
    /// Takes note of a read of `range` in a file of `size` bytes, and plans. No cursor looks further ahead than
    /// `window_max` bytes.
    pub fn on_read(&mut self, range: ByteRange, size: u64, window_max: u64) -> Plan {
        self.reads += 1;
        let used = self.reads;
        let mut plan = Plan { stream_end: range.end, ..Plan::default() };
        match self.cursors.iter_mut().filter(|cursor| cursor.covers(range)).min_by_key(|c| c.next.abs_diff(range.start))
        {
            Some(cursor) => {
                cursor.used = used;
                cursor.advance(range, size, window_max, &mut plan);
            }
            None => {
                let window = if range.start == 0 { FIRST_WINDOW_BYTES.min(window_max) } else { 0 };
                plan.stream_end = range.end.max(range.start.saturating_add(window)).min(size);
                let cursor = Cursor { next: range.end, planned: plan.stream_end, window, used };
                plan.abandoned = self.insert(cursor);
            }
        }
        plan
    }

    /// Puts a cursor in; says what the one that had to make room had planned beyond its place.
    fn insert(&mut self, cursor: Cursor) -> Option<ByteRange> {
        if self.cursors.len() < CURSORS_MAX {
            self.cursors.push(cursor);
            return None;
        }
        let oldest = self.cursors.iter_mut().min_by_key(|cursor| cursor.used)?;
        let abandoned = ByteRange::new(oldest.next, oldest.planned);
        *oldest = cursor;
        if abandoned.is_empty() { None } else { Some(abandoned) }
    }
}

impl Cursor {
    fn covers(&self, range: ByteRange) -> bool {
        range.start >= self.next.saturating_sub(BACKWARD_SLACK_BYTES)
            && range.start <= self.next.saturating_add(FORWARD_SLACK_BYTES)
    }

    /// The run has gone on: plans more once half of the window is used up, and then looks twice as far.
    fn advance(&mut self, range: ByteRange, size: u64, window_max: u64, plan: &mut Plan) {
        if range.end <= self.next {
            return;
        }
        self.next = range.end;
        self.planned = self.planned.max(range.end);
        if self.planned - self.next > self.window / 2 || self.planned >= size {
            return;
        }
        self.window = self.window.saturating_mul(2).clamp(RUN_WINDOW_BYTES.min(window_max), window_max);
        let target = round_up(self.next.saturating_add(self.window)).min(size);
        if target <= self.planned {
            return;
        }
        let mut from = self.planned;
        if from == self.next {
            // Nothing is on its way: the read's own request is extended, no round trip is added.
            plan.stream_end = target.min(range.start.saturating_add(PART_BYTES)).max(range.end);
            from = plan.stream_end;
        }
        plan.ahead = parts(ByteRange::new(from, target), self.window);
        self.planned = target;
    }
}

/// Cuts `range` into requests: about a quarter of the window each, so that several connections share it.
fn parts(range: ByteRange, window: u64) -> Vec<ByteRange> {
    let part = round_up((window / 4).clamp(PART_BYTES_MIN, PART_BYTES));
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let end = round_up(start.saturating_add(part)).min(range.end);
        parts.push(ByteRange::new(start, end));
        start = end;
    }
    parts
}

fn round_up(offset: u64) -> u64 {
    offset.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const WINDOW_MAX: u64 = 32 * MIB;

    fn read(ahead: &mut ReadAhead, start: u64, len: u64, size: u64) -> Plan {
        ahead.on_read(ByteRange::clamped(start, len, size), size, WINDOW_MAX)
    }

    #[test]
    fn first_read_at_the_start_asks_for_one_mib() {
        let plan = read(&mut ReadAhead::default(), 0, 4096, 100 * MIB);
        assert_eq!(plan, Plan { stream_end: MIB, ..Plan::default() });
    }

    #[test]
    fn small_file_is_one_request_and_never_asked_past_its_end() {
        let mut ahead = ReadAhead::default();
        assert_eq!(read(&mut ahead, 0, 4096, 10_000).stream_end, 10_000);
        assert_eq!(read(&mut ahead, 4096, 4096, 10_000).ahead, []);
    }

    #[test]
    fn random_reads_ask_for_themselves_only() {
        let mut ahead = ReadAhead::default();
        for index in 0..100_u64 {
            let start = (index * 7919 % 1000 + 1) * 64 * MIB;
            let plan = read(&mut ahead, start, 4096, 1 << 40);
            assert_eq!((plan.stream_end, plan.ahead), (start + 4096, vec![]));
        }
    }

    #[test]
    fn sequential_reads_plan_every_byte_once_and_grow_to_the_limit() {
        let size = 200 * MIB + 77;
        let mut ahead = ReadAhead::default();
        let (mut at, mut planned, mut furthest) = (0, 0, 0);
        while at < size {
            let plan = read(&mut ahead, at, 128 * 1024, size);
            let asked_end = (at + 128 * 1024).min(size);
            if plan.stream_end > asked_end || planned < asked_end {
                assert!(planned <= at.max(asked_end), "stream {plan:?} at {at} planned again");
                planned = planned.max(plan.stream_end);
            }
            for part in &plan.ahead {
                assert_eq!(part.start, planned, "a gap or an overlap at {at}");
                assert!(part.len() <= PART_BYTES && part.end <= size);
                planned = part.end;
            }
            at = asked_end;
            furthest = furthest.max(planned - at);
        }
        assert_eq!(planned, size);
        assert!((WINDOW_MAX * 3 / 4..=WINDOW_MAX).contains(&furthest), "{furthest}");
    }

    #[test]
    fn shuffled_kernel_read_ahead_does_not_look_like_a_seek() {
        let mut ahead = ReadAhead::default();
        read(&mut ahead, 0, 128 * 1024, 100 * MIB);
        for start in [256, 128, 512, 384, 768, 640] {
            let plan = read(&mut ahead, start * 1024, 128 * 1024, 100 * MIB);
            assert_eq!(plan.abandoned, None);
        }
        assert_eq!(ahead.cursors.len(), 1);
    }

    #[test]
    fn head_tail_and_middle_are_followed_side_by_side() {
        let mut ahead = ReadAhead::default();
        for step in 0..20_u64 {
            for place in [0, 90 * MIB, 50 * MIB] {
                let plan = read(&mut ahead, place + step * 128 * 1024, 128 * 1024, 100 * MIB);
                assert_eq!(plan.abandoned, None);
            }
        }
        assert_eq!(ahead.cursors.len(), 3);
    }

    #[test]
    fn place_that_is_read_no_more_is_abandoned_with_what_was_planned() {
        let mut ahead = ReadAhead::default();
        read(&mut ahead, 0, 4096, 1 << 40);
        let plans: Vec<Plan> = (1..5).map(|i| read(&mut ahead, i << 30, 4096, 1 << 40)).collect();
        assert_eq!(plans.last().and_then(|plan| plan.abandoned), Some(ByteRange::new(4096, MIB)));
    }

    #[test]
    fn offsets_near_the_end_of_the_number_line_do_not_overflow() {
        let mut ahead = ReadAhead::default();
        for start in [u64::MAX - 10, u64::MAX - 8, u64::MAX - 4] {
            let _ = ahead.on_read(ByteRange::clamped(start, 4, u64::MAX), u64::MAX, u64::MAX);
        }
    }
}
