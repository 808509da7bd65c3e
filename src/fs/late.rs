//! Reads that have used up their time: what failed so late fails again at once, for a moment.
//!
//! Linux reads a page by read-ahead first. If that fails it asks for the same page once more, by itself, and so does each
//! further process that waits for the page, one after the other (filemap_update_page, mm/filemap.c). Each of these would
//! wait for another deadline: measured, 12 s for one reader at `--op-timeout 6`.
//! Locks: one, for the length of a search.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::FsError;
use super::inode::Ino;
use crate::clock::lock;
use crate::policy::range::ByteRange;

/// For how long a late failure answers for its bytes: long enough for the kernel's own further tries, which come at once.
const KEPT: Duration = Duration::from_secs(1);

/// The most late failures that are remembered: far more reads than the kernel has in flight at once (`max_background` 64,
/// and one for each process that waits).
const FAILURES_MAX: usize = 1024;

/// The late failures of the last moment.
#[derive(Default)]
pub struct LateFailures {
    failures: Mutex<VecDeque<Failure>>,
}

struct Failure {
    ino: Ino,
    range: ByteRange,
    at: Instant,
    error: FsError,
}

impl LateFailures {
    /// A read of `range` has failed at `now`, so late that it is not worth another try.
    pub fn note(&self, ino: Ino, range: ByteRange, error: &FsError, now: Instant) {
        let mut failures = lock(&self.failures);
        if failures.len() >= FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back(Failure { ino, range, at: now, error: error.clone() });
    }

    /// Why a read of `range` fails at `now`, if a read of these bytes (and more) has only just failed late.
    pub fn of(&self, ino: Ino, range: ByteRange, now: Instant) -> Option<FsError> {
        let mut failures = lock(&self.failures);
        failures.retain(|failure| now.saturating_duration_since(failure.at) < KEPT);
        let covers = |failed: ByteRange| failed.start <= range.start && range.end <= failed.end;
        failures.iter().find(|failure| failure.ino == ino && covers(failure.range)).map(|failure| failure.error.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_failure_answers_for_its_bytes_of_its_file_and_for_a_moment() {
        let late = LateFailures::default();
        let (then, range) = (Instant::now(), ByteRange::new(100, 200));
        late.note(Ino(7), range, &FsError::DeadlinePassed, then);
        let is_known = |ino, start, end, after| late.of(Ino(ino), ByteRange::new(start, end), then + after).is_some();
        assert!(is_known(7, 100, 200, Duration::ZERO) && is_known(7, 150, 160, KEPT / 2));
        assert!(!is_known(8, 100, 200, Duration::ZERO), "another file");
        assert!(!is_known(7, 99, 200, Duration::ZERO) && !is_known(7, 100, 201, Duration::ZERO), "other bytes");
        assert!(!is_known(7, 100, 200, KEPT), "later");
    }

    #[test]
    fn late_failures_are_bounded() {
        let late = LateFailures::default();
        for number in 0..FAILURES_MAX as u64 + 9 {
            late.note(Ino(number), ByteRange::new(0, 1), &FsError::DeadlinePassed, Instant::now());
        }
        assert_eq!(lock(&late.failures).len(), FAILURES_MAX);
    }
}
