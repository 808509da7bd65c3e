//! What the filesystem counts of what it is asked: one relaxed atomic for each question that memory answers.

use super::FsError;
use crate::stats::{Counter, Report};

/// How many kinds of failures are told.
const FAILURES: usize = 11;

/// The figures of one mount.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) reads_from_memory: Counter,
    pub(super) reads_waited: Counter,
    pub(super) lookups_from_memory: Counter,
    pub(super) lookups_waited: Counter,
    failures: [Counter; FAILURES],
}

/// A kind of failure: its place, and its name in a report. `None` for what is an everyday answer to an everyday question.
fn failure(error: &FsError) -> Option<(usize, &'static str)> {
    Some(match error {
        FsError::NotFound
        | FsError::NotADirectory
        | FsError::IsADirectory
        | FsError::NameTooLong
        | FsError::Killed
        | FsError::NothingIsKept
        | FsError::TooMuchPinned => return None,
        FsError::BadHandle => (0, "bad_handle"),
        FsError::Outdated => (1, "outdated"),
        FsError::Disputed(_) => (2, "disputed"),
        FsError::DeadlinePassed => (3, "deadline_passed"),
        FsError::Overloaded => (4, "overloaded"),
        FsError::Unreadable(_) => (5, "unreadable"),
        FsError::Listing(_) => (6, "listing"),
        FsError::EndlessListing => (7, "endless_listing"),
        FsError::Content(_) => (8, "content"),
        FsError::Internal => (9, "internal"),
        FsError::NotKept => (10, "not_kept"),
    })
}

/// All their names, by place.
const NAMES: [&str; FAILURES] = [
    "bad_handle",
    "outdated",
    "disputed",
    "deadline_passed",
    "overloaded",
    "unreadable",
    "listing",
    "endless_listing",
    "content",
    "internal",
    "not_kept",
];

impl Figures {
    /// A program was answered with `error`.
    pub(super) fn note_failure(&self, error: &FsError) {
        if let Some(counter) = failure(error).and_then(|(place, _)| self.failures.get(place)) {
            counter.count();
        }
    }

    /// Says all of it; failures that have never been are left out.
    pub(super) fn tell(&self, report: &mut Report) {
        report.number("reads.from_memory", self.reads_from_memory.get());
        report.number("reads.waited", self.reads_waited.get());
        report.number("lookups.from_memory", self.lookups_from_memory.get());
        report.number("lookups.waited", self.lookups_waited.get());
        for (name, counter) in NAMES.iter().zip(&self.failures) {
            if let count @ 1.. = counter.get() {
                report.number(&format!("errors.{name}"), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_their_places() {
        let errors =
            [FsError::BadHandle, FsError::Outdated, FsError::DeadlinePassed, FsError::Overloaded, FsError::Internal];
        for (place, name) in errors.iter().filter_map(failure) {
            assert_eq!(NAMES.get(place), Some(&name));
        }
        assert_eq!(failure(&FsError::NotFound), None);
    }
}
