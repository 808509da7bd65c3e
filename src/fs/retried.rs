//! Reads that have only just failed: a repeated read of the same bytes shares what is left of the first one's time.
//!
//! Linux reads a page by read-ahead first. If that fails it asks for the same page once more, by itself, and so does each
//! further process that waits for the page, one after the other (filemap_update_page, mm/filemap.c). With a time of its own for
//! each of these, a process would wait for several deadlines: 45 s were measured where one operation may take 30.
//! Locks: one, for the length of a search.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::FsError;
use super::inode::Ino;
use crate::policy::range::ByteRange;
use crate::policy::retry::MIN_ATTEMPT;
use crate::sync::lock;

/// For how long a failure counts: long enough for the kernel's own further tries, which come at once.
const KEPT: Duration = Duration::from_secs(1);

/// The most failures that are remembered: far more reads than the kernel has in flight at once (`max_background` 64, and one for each
/// process that waits).
const MAX_FAILURES: usize = 1024;

/// The failed reads of the last moment.
#[derive(Default)]
pub struct FailedReads {
    failures: Mutex<VecDeque<Failure>>,
}

struct Failure {
    ino: Ino,
    range: ByteRange,
    /// When the time of the first of its tries is over.
    deadline: Instant,
    at: Instant,
    error: FsError,
}

impl FailedReads {
    /// A read of `range` has failed at `now`, whose time was over at `deadline`.
    pub fn note(&self, ino: Ino, range: ByteRange, deadline: Instant, error: &FsError, now: Instant) {
        let mut failures = lock(&self.failures);
        if failures.len() >= MAX_FAILURES {
            failures.pop_front();
        }
        failures.push_back(Failure { ino, range, deadline, at: now, error: error.clone() });
    }

    /// The deadline of a read of `range` that starts at `now`: after `time`, or, where a read of these bytes (and more) has only
    /// just failed, that one's deadline.
    ///
    /// # Errors
    /// How that one failed, if there is too little time left to try again.
    pub fn deadline(&self, ino: Ino, range: ByteRange, now: Instant, time: Duration) -> Result<Instant, FsError> {
        let mut failures = lock(&self.failures);
        failures.retain(|failure| now.saturating_duration_since(failure.at) < KEPT);
        let covers = |failed: ByteRange| failed.start <= range.start && range.end <= failed.end;
        match failures.iter().rfind(|failure| failure.ino == ino && covers(failure.range)) {
            Some(first) if first.deadline < now + MIN_ATTEMPT => Err(first.error.clone()),
            Some(first) => Ok(first.deadline.min(now + time)),
            None => Ok(now + time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(30);

    #[test]
    fn failure_takes_its_time_from_further_tries_for_its_bytes_of_its_file_and_for_a_moment() {
        let failed = FailedReads::default();
        let (start, range) = (Instant::now(), ByteRange::new(100, 200));
        let then = start + TIME / 2;
        failed.note(Ino(7), range, start + TIME, &FsError::Internal, then);
        let left = |ino, from, to, after| {
            let now = then + after;
            failed.deadline(Ino(ino), ByteRange::new(from, to), now, TIME).map(|end| end - now).ok()
        };
        assert_eq!(left(7, 100, 200, Duration::ZERO), Some(TIME / 2));
        assert_eq!(left(7, 150, 160, KEPT / 2), Some(TIME / 2 - KEPT / 2));
        assert_eq!(left(8, 100, 200, Duration::ZERO), Some(TIME), "another file");
        assert_eq!(left(7, 99, 200, Duration::ZERO), Some(TIME), "other bytes");
        assert_eq!(left(7, 100, 201, Duration::ZERO), Some(TIME), "other bytes");
        assert_eq!(left(7, 100, 200, KEPT), Some(TIME), "later");
    }

    #[test]
    fn without_time_for_a_try_the_failure_is_told_again() {
        let failed = FailedReads::default();
        let (start, range) = (Instant::now(), ByteRange::new(0, 1));
        failed.note(Ino(7), range, start, &FsError::DeadlinePassed, start);
        assert!(matches!(failed.deadline(Ino(7), range, start, TIME), Err(FsError::DeadlinePassed)));
        failed.note(Ino(8), range, start + MIN_ATTEMPT / 2, &FsError::Internal, start);
        assert!(matches!(failed.deadline(Ino(8), range, start, TIME), Err(FsError::Internal)));
    }

    #[test]
    fn failures_are_bounded() {
        let failed = FailedReads::default();
        let now = Instant::now();
        for number in 0..MAX_FAILURES as u64 + 9 {
            failed.note(Ino(number), ByteRange::new(0, 1), now, &FsError::DeadlinePassed, now);
        }
        assert_eq!(lock(&failed.failures).len(), MAX_FAILURES);
    }
}
