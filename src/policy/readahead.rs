//! Read-ahead: from the reads seen on one handle to the ranges worth requesting, with the read itself and ahead of it.
//!
//! Several cursors per handle: a player reads head, tail and middle in turn, two processes may share a file. A cursor that
//! turns out to be a run looks ahead in proportion to what it has read, up to what the line and the memory allow. Pure:
//! offsets in, ranges out.

use super::budget::START_STREAMS;
use super::linux::{DEFAULT_READ_AHEAD_BYTES, MAX_REQUEST_BYTES, READ_AHEAD_KIB};
use super::range::{BLOCK_BYTES, ByteRange};

/// The first request of a read at the start of a file, in bytes: whoever starts at 0 mostly goes on (mountpoint-s3 starts
/// with as much), and at 25 MB/s it costs the line 40 ms.
pub const FIRST_WINDOW_BYTES: u64 = MIB;

/// A first request of so many bytes at the start of a file means that it is read as a whole: the kernel asks for as much when a
/// program reads 128 KiB at a time (cat, cp), and for less when a program looks at the head.
const COPIER_BYTES: u64 = 512 * 1024;

/// How far a run looks ahead at first, in bytes.
const RUN_WINDOW_BYTES: u64 = 4 * MIB;

/// The look-ahead limit of a run, as a multiple of the bytes that it had read when it last had to wait. This bounds what is
/// fetched in vain when the run stops, and a player that never waits needs no more.
const AHEAD_FACTOR: u64 = 8;

/// How far ahead a file is fetched at once that is read as a whole, in bytes: one short part for each of the requests that a store is
/// first met with. Connections are slowest when they are new, so all of them are opened at the start, and not one after the other while
/// the window grows (256 MiB over a round trip of 200 ms: 6.3 s if only eight parts share a window that grows, half of it this way).
const COPIER_WINDOW_BYTES: u64 = START_STREAMS as u64 * MIN_PART_BYTES;

/// The shortest part, in bytes, for runs that look ahead only a little: several connections share the window.
const MIN_PART_BYTES: u64 = MIB;

/// The least window, in bytes: however many readers share the memory, each has the block it reads and the one after it.
const MIN_WINDOW_BYTES: u64 = 2 * BLOCK_BYTES;

/// For each so many requests one more part is planned than requests may run, so that a connection that ends early gets its next
/// request at once.
const SPARE_PARTS: usize = 8;

/// The last parts of a file are shorter, down to the others' length divided by this, so that all connections end at about the
/// same time.
const LAST_PART: u64 = 2;

/// How far before a cursor a read may start and still belong to it, in bytes: the kernel's asynchronous read-ahead, two
/// windows at the most, arrives shuffled, and programs step back a little.
const BACKWARD_SLACK_BYTES: u64 = 2 * READ_AHEAD_KIB as u64 * 1024;

/// So much is kept in memory behind a run, in bytes: what shuffled requests may still want, and a step back of as much.
const KEPT_BEHIND_BYTES: u64 = 2 * BACKWARD_SLACK_BYTES;

/// What is left behind is given up in steps of so much, in bytes: it costs a look at each block.
const FORGET_STEP_BYTES: u64 = MIB;

/// How far past a cursor a read may start and still belong to it, in bytes; what is skipped is mostly on its way already.
const FORWARD_SLACK_BYTES: u64 = 4 * MIB;

/// How far past a single read the next one may start and make it a run, in bytes: a read of the kernel's default read-ahead.
const FIRST_GAP_BYTES: u64 = DEFAULT_READ_AHEAD_BYTES;

/// How many runs one handle may follow at a time: head, tail, middle, and one more.
const MAX_CURSORS: usize = 4;

const MIB: u64 = 1024 * 1024;

/// How far a run may look ahead, and how long its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    max_bytes: u64,
    part_bytes: u64,
    are_connections_young: bool,
}

impl Window {
    /// Work for so many `requests` at a time, of at most `part_bytes` each, within `memory_bytes`; but two blocks at least.
    pub fn new(requests: usize, part_bytes: u64, memory_bytes: u64) -> Window {
        let parts = (requests + requests.div_ceil(SPARE_PARTS)).max(1) as u64;
        let part_bytes = part_bytes.min(memory_bytes / parts).max(MIN_PART_BYTES);
        let max_bytes = part_bytes.saturating_mul(parts).min(memory_bytes).max(MIN_WINDOW_BYTES);
        Window { max_bytes, part_bytes: part_bytes.min(max_bytes), are_connections_young: false }
    }

    /// The same where connections are young: a read that waits needs those that are warm, so what lies ahead of a new run is requested
    /// with its next read only.
    #[must_use]
    pub fn of_young_connections(self) -> Window {
        Window { are_connections_young: true, ..self }
    }
}

/// What to fetch because of one read, and what to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The end of the stream that the read itself is served from: at least the read's own end.
    pub stream_end: u64,
    /// Further ranges worth having, nearest first, each no longer than a part of the window.
    pub ahead: Vec<ByteRange>,
    /// A range that was planned for a run that has ended.
    pub abandoned: Option<ByteRange>,
    /// A range that a run has passed: the kernel has it, so its blocks are no longer needed.
    pub behind: Option<ByteRange>,
}

/// One run of reads.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Where the first read was.
    start: u64,
    /// End of the furthest read: where the run goes on.
    next: u64,
    /// End of what has been planned.
    planned: u64,
    /// How much the run had read when it last had to wait.
    awaited: u64,
    /// More than one read belongs to it, or it began at the start of the file.
    is_run: bool,
    /// Up to here, what was read has been given up.
    forgotten: u64,
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
    /// Takes note of a read of `range` in a file of `size` bytes, and plans. `must_wait` says that not all of its bytes are in.
    /// No cursor looks further ahead than `window`.
    pub fn on_read(&mut self, range: ByteRange, size: u64, window: Window, must_wait: bool) -> Plan {
        self.reads += 1;
        let used = self.reads;
        let mut plan = Plan { stream_end: range.end, ..Plan::default() };
        let covering = |cursor: &&mut Cursor| cursor.covers(range) || cursor.is_preceded_by(range);
        match self.cursors.iter_mut().filter(covering).min_by_key(|cursor| cursor.next.abs_diff(range.start)) {
            Some(cursor) => {
                cursor.used = used;
                if cursor.is_preceded_by(range) {
                    cursor.extend_back(range, size, window, &mut plan);
                } else {
                    cursor.advance(range, size, window, must_wait, &mut plan);
                }
            }
            None => {
                let first = if range.start == 0 { FIRST_WINDOW_BYTES.min(window.max_bytes) } else { 0 };
                plan.stream_end = range.end.max(range.start.saturating_add(first)).min(size);
                let mut cursor = Cursor {
                    start: range.start,
                    next: range.end,
                    planned: plan.stream_end,
                    awaited: range.len(),
                    is_run: range.start == 0,
                    forgotten: range.start - range.start % BLOCK_BYTES,
                    used,
                };
                if range.start == 0 && range.len() >= COPIER_BYTES {
                    cursor.awaited = cursor.awaited.max(COPIER_WINDOW_BYTES / AHEAD_FACTOR);
                    cursor.plan_ahead(size, window, &mut plan);
                }
                plan.abandoned = self.insert(cursor);
            }
        }
        plan
    }

    /// Puts a cursor in; says what the one that had to make room had planned beyond its place.
    fn insert(&mut self, cursor: Cursor) -> Option<ByteRange> {
        if self.cursors.len() < MAX_CURSORS {
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
    /// Whether a read belongs to the run. A single read somewhere becomes one only by a read that goes on nearly where it
    /// ended: two random reads are often closer than the slack of a run.
    fn covers(&self, range: ByteRange) -> bool {
        let (back, forward) =
            if self.is_run { (BACKWARD_SLACK_BYTES, FORWARD_SLACK_BYTES) } else { (0, FIRST_GAP_BYTES) };
        range.start >= self.next.saturating_sub(back) && range.start <= self.next.saturating_add(forward)
    }

    /// Whether a read is the first half of one whose second half came first.
    fn is_preceded_by(&self, range: ByteRange) -> bool {
        !self.is_run && range.end == self.start && range.len() >= u64::from(MAX_REQUEST_BYTES)
    }

    /// The run has gone on.
    fn advance(&mut self, range: ByteRange, size: u64, window: Window, must_wait: bool, plan: &mut Plan) {
        if range.end <= self.next {
            return;
        }
        self.is_run = true;
        self.next = range.end;
        if must_wait {
            self.awaited = self.next - self.start;
        }
        if self.planned < range.end && range.end < size {
            // Nothing is on its way: the read's own request is extended, no round trip is added.
            let part = self.narrowed(window).part_bytes;
            plan.stream_end = round_up(range.start.saturating_add(part)).clamp(range.end, size);
        }
        self.planned = self.planned.max(plan.stream_end);
        // What a copier reads is no less (see COPIER_BYTES).
        let is_new = self.awaited < FIRST_WINDOW_BYTES;
        if !(is_new && window.are_connections_young) {
            self.plan_ahead(size, window, plan);
        }
        self.forget_behind(plan);
    }

    /// The first half of the run's first read has come after the second.
    fn extend_back(&mut self, range: ByteRange, size: u64, window: Window, plan: &mut Plan) {
        self.is_run = true;
        self.start = range.start;
        self.forgotten = range.start;
        self.awaited = self.next - self.start;
        self.plan_ahead(size, window, plan);
    }

    /// The window in proportion to what was read with waiting, and its parts.
    fn narrowed(&self, window: Window) -> Window {
        let max_bytes = self.awaited.saturating_mul(AHEAD_FACTOR).max(RUN_WINDOW_BYTES).min(window.max_bytes);
        let part_bytes = (max_bytes / START_STREAMS as u64).max(MIN_PART_BYTES).min(window.part_bytes);
        Window { max_bytes, part_bytes, ..window }
    }

    /// Plans whole parts for as long as they fit into the window.
    fn plan_ahead(&mut self, size: u64, window: Window, plan: &mut Plan) {
        let Window { max_bytes, part_bytes, .. } = self.narrowed(window);
        let limit = self.next.saturating_add(max_bytes);
        let parts = (window.max_bytes / window.part_bytes).max(1);
        let shortest = (part_bytes / LAST_PART).max(MIN_PART_BYTES).min(part_bytes);
        while self.planned < size {
            let part = part_bytes.min((size - self.planned) / parts).max(shortest);
            // Parts end between blocks; the shortest is of several.
            let end = self.planned.saturating_add(part);
            let end = (end - end % BLOCK_BYTES).min(size);
            if end > limit {
                break;
            }
            plan.ahead.push(ByteRange::new(self.planned, end));
            self.planned = end;
        }
    }

    /// Gives up what a run at speed has left behind, but for what a step back may want.
    fn forget_behind(&mut self, plan: &mut Plan) {
        let keep_from = self.next.saturating_sub(KEPT_BEHIND_BYTES);
        let keep_from = keep_from - keep_from % BLOCK_BYTES;
        if keep_from >= self.forgotten.saturating_add(FORGET_STEP_BYTES) {
            // From further back, for blocks that came in after they were left behind.
            let from = self.forgotten.saturating_sub(BACKWARD_SLACK_BYTES).max(self.start);
            plan.behind = Some(ByteRange::new(from, keep_from));
            self.forgotten = keep_from;
        }
    }
}

fn round_up(offset: u64) -> u64 {
    offset.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { max_bytes: 192 * MIB, part_bytes: 4 * MIB, are_connections_young: false };
    const STEP: u64 = 128 * 1024;

    fn read(ahead: &mut ReadAhead, start: u64, len: u64, size: u64) -> Plan {
        ahead.on_read(ByteRange::clamped(start, len, size), size, WINDOW, true)
    }

    #[test]
    fn first_read_at_the_start_asks_for_one_mib() {
        let plan = read(&mut ReadAhead::default(), 0, 4096, 100 * MIB);
        assert_eq!(plan, Plan { stream_end: MIB, ..Plan::default() });
    }

    #[test]
    fn large_first_read_at_the_start_is_taken_for_a_run() {
        let plan = read(&mut ReadAhead::default(), 0, COPIER_BYTES, 100 * MIB);
        assert_eq!(plan.stream_end, MIB);
        let all_at_once: Vec<_> = (1..16).map(|mib| ByteRange::new(mib * MIB, (mib + 1) * MIB)).collect();
        assert_eq!(plan.ahead, all_at_once);
        assert_eq!(read(&mut ReadAhead::default(), 7 * MIB, COPIER_BYTES, 100 * MIB).ahead, []);
    }

    #[test]
    fn new_run_on_young_connections_looks_ahead_with_its_next_read_and_a_copier_at_once() {
        let young = WINDOW.of_young_connections();
        let mut ahead = ReadAhead::default();
        for (start, len) in [(0, 64 * 1024), (900 * MIB, STEP), (500 * MIB, STEP), (500 * MIB + STEP, 4 * STEP)] {
            assert_eq!(ahead.on_read(ByteRange::new(start, start + len), 1 << 30, young, true).ahead, [], "{start}");
        }
        let next = ByteRange::new(500 * MIB + 5 * STEP, 500 * MIB + 13 * STEP);
        assert!(!ahead.on_read(next, 1 << 30, young, true).ahead.is_empty());
        let copier = ReadAhead::default().on_read(ByteRange::new(0, COPIER_BYTES), 1 << 30, young, true);
        assert_eq!(copier.ahead.len(), 15);
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
    fn random_reads_near_each_other_are_no_run() {
        let mut ahead = ReadAhead::default();
        for start in [500, 503, 498, 501, 505].map(|mib| mib * MIB) {
            let plan = read(&mut ahead, start, 4096, 1 << 40);
            assert_eq!((plan.stream_end, plan.ahead), (start + 4096, vec![]));
        }
    }

    #[test]
    fn run_plans_every_byte_once_and_looks_ahead_as_far_as_it_may() {
        for (size, window) in [
            (1024 * MIB + 77, WINDOW),
            (200 * MIB, Window::new(32, 4 * MIB, 3 * MIB)),
            (50 * MIB + 1, Window::new(4, 4 * MIB, 700 * 1024)),
            (50 * MIB + 1, Window::new(4, 4 * MIB, 0)),
        ] {
            let Window { max_bytes, part_bytes, .. } = window;
            let mut ahead = ReadAhead::default();
            let (mut at, mut planned, mut furthest) = (0, 0, 0);
            while at < size {
                let plan = ahead.on_read(ByteRange::clamped(at, STEP, size), size, window, true);
                let end = (at + STEP).min(size);
                if plan.stream_end > end || planned < end {
                    assert!(planned <= end, "planned again at {at}: {plan:?}");
                    planned = plan.stream_end;
                }
                for part in &plan.ahead {
                    assert_eq!(part.start, planned, "a gap or an overlap at {at}");
                    assert!(!part.is_empty() && part.len() <= part_bytes && part.end <= size, "{part:?}");
                    planned = part.end;
                }
                at = end;
                furthest = furthest.max(planned - at);
            }
            assert_eq!(planned, size);
            assert!((max_bytes * 3 / 4..=max_bytes).contains(&furthest), "{furthest} of {window:?}");
        }
    }

    #[test]
    fn run_that_stops_early_has_fetched_little_for_nothing() {
        let mut ahead = ReadAhead::default();
        let mut planned = 0;
        for step in 0..8 {
            let plan = read(&mut ahead, step * STEP, STEP, 1 << 40);
            planned = plan.ahead.last().map_or(planned.max(plan.stream_end), |part| part.end);
        }
        assert!(planned <= 8 * STEP * (1 + AHEAD_FACTOR), "{planned}");
    }

    #[test]
    fn run_that_never_waits_looks_no_further_ahead() {
        let mut ahead = ReadAhead::default();
        let size = 1 << 40;
        let mut planned = 0;
        for step in 0..1000 {
            let range = ByteRange::clamped(step * STEP, STEP, size);
            let plan = ahead.on_read(range, size, WINDOW, step < 16);
            planned = plan.ahead.last().map_or(planned.max(plan.stream_end), |part| part.end);
            assert!(planned <= range.end + 16 * STEP * AHEAD_FACTOR, "{planned} at {range:?}");
        }
        assert!(planned > 1000 * STEP + 4 * MIB, "{planned}");
    }

    #[test]
    fn shuffled_kernel_read_ahead_does_not_look_like_a_seek() {
        let mut ahead = ReadAhead::default();
        read(&mut ahead, 0, STEP, 100 * MIB);
        for start in [256, 128, 512, 384, 768, 640] {
            let plan = read(&mut ahead, start * 1024, STEP, 100 * MIB);
            assert_eq!(plan.abandoned, None);
        }
        assert_eq!(ahead.cursors.len(), 1);
    }

    #[test]
    fn two_halves_of_a_first_read_are_a_run_in_either_order() {
        for halves in [[0, 1], [1, 0]] {
            let mut ahead = ReadAhead::default();
            let planned: Vec<u64> = halves
                .iter()
                .flat_map(|half| read(&mut ahead, (half + 7) * MIB, MIB, 1 << 40).ahead)
                .map(|part| part.len())
                .collect();
            assert!(planned.iter().sum::<u64>() >= 8 * MIB, "{planned:?}");
        }
    }

    #[test]
    fn backward_reads_of_pages_are_no_run() {
        let mut ahead = ReadAhead::default();
        for step in (100..200).rev() {
            assert_eq!(read(&mut ahead, step * STEP, STEP, 1 << 40).ahead, []);
        }
    }

    #[test]
    fn last_parts_of_a_file_are_shorter() {
        let mut ahead = ReadAhead::default();
        let size = 512 * MIB;
        let parts: Vec<u64> = (0..size / STEP)
            .flat_map(|step| read(&mut ahead, step * STEP, STEP, size).ahead)
            .map(|p| p.len())
            .collect();
        assert_eq!(parts.iter().max(), Some(&WINDOW.part_bytes));
        let last = &parts[parts.len() - 11..parts.len() - 1];
        assert!(last.iter().all(|len| (WINDOW.part_bytes / LAST_PART..WINDOW.part_bytes).contains(len)), "{last:?}");
    }

    #[test]
    fn head_tail_and_middle_are_followed_side_by_side() {
        let mut ahead = ReadAhead::default();
        for step in 0..20 {
            for place in [0, 90 * MIB, 50 * MIB] {
                let plan = read(&mut ahead, place + step * STEP, STEP, 100 * MIB);
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
    fn run_keeps_what_a_step_back_may_want_and_gives_up_the_rest() {
        let mut ahead = ReadAhead::default();
        let mut forgotten = 0;
        for step in 0..400 {
            let next = (step + 1) * STEP;
            if let Some(behind) = read(&mut ahead, step * STEP, STEP, 100 * MIB).behind {
                assert!(behind.start <= forgotten && behind.end <= next - KEPT_BEHIND_BYTES, "{behind:?} at {next}");
                forgotten = behind.end;
            }
            assert!(next - forgotten <= KEPT_BEHIND_BYTES + FORGET_STEP_BYTES, "{forgotten} at {next}");
        }
    }

    #[test]
    fn offsets_near_the_end_of_the_number_line_do_not_overflow() {
        let mut ahead = ReadAhead::default();
        for start in [u64::MAX - 10, u64::MAX - 8, u64::MAX - 4] {
            let range = ByteRange::clamped(start, 4, u64::MAX);
            let _ = ahead.on_read(range, u64::MAX, Window::new(usize::MAX >> 8, u64::MAX, u64::MAX), true);
        }
    }
}
