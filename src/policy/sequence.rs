//! Which readers go through the files of one directory one after the other, in which order, and how many files to fetch ahead of
//! each.
//!
//! Two files begun in a row, in one of the orders that programs use, make a sequence. More files are fetched ahead of it with
//! each one that it begins, until it turns out to skip half of them. Pure: a directory's [`Readers`] are told of each file that
//! is begun.

use std::collections::VecDeque;

/// How many readers of one directory are told apart.
const MAX_READERS: usize = 4;

/// A file that is at most so many places after the last one still follows it: threads of one program take turns.
const MAX_STEP: usize = 8;

/// So many files begun in a row make a sequence.
const MIN_STREAK: u32 = 2;

/// The most files that are fetched ahead of one reader.
pub const MAX_WINDOW: usize = 128;

/// After so many files it is decided anew whether fetching ahead pays.
const JUDGED_AFTER: usize = 16;

/// How many orders a directory can be read in.
const ORDERS: usize = 3;

/// The rank of one file in each order, from 0; `None` where that is not known (yet).
pub type Ranks = [Option<usize>; ORDERS];

/// Where a reader is, and how far to be ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// In which order it reads, counted as in [`Ranks`].
    pub order: usize,
    /// The rank of the last file that it began, in that order.
    pub rank: usize,
    /// How many files to fetch ahead of it; not 0.
    pub window: usize,
}

/// The readers of one directory's files, the last one to begin a file at the end.
#[derive(Clone, Debug, Default)]
pub struct Readers(VecDeque<Sequence>);

/// One reader.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// The ranks of the last file that was begun.
    at: Ranks,
    /// Decided by the second file.
    order: Option<usize>,
    streak: u32,
    window: usize,
    /// Files begun, and files passed, since it was last judged.
    begun: usize,
    passed: usize,
}

impl Readers {
    /// Notes that the file at `ranks` has been begun; returns how far to fetch ahead of its reader, if at all.
    pub fn note_begun(&mut self, ranks: Ranks) -> Option<Ahead> {
        let followed = self.0.iter().enumerate().find_map(|(nth, sequence)| Some((nth, sequence.follows(&ranks)?)));
        if let Some((nth, (order, step))) = followed
            && let Some(mut sequence) = self.0.remove(nth)
        {
            sequence.advance(ranks, order, step);
            self.0.push_back(sequence);
            return sequence.ahead();
        }
        if !self.0.iter().any(|sequence| sequence.has_passed(&ranks)) {
            if self.0.len() >= MAX_READERS {
                self.0.pop_front();
            }
            self.0.push_back(Sequence::starting(ranks));
        }
        None
    }

    /// How far to fetch ahead of the reader that was the last to begin a file.
    pub fn last(&self) -> Option<Ahead> {
        self.0.back()?.ahead()
    }
}

impl Sequence {
    fn starting(at: Ranks) -> Sequence {
        Sequence { at, order: None, streak: 1, window: 0, begun: 0, passed: 0 }
    }

    fn ahead(&self) -> Option<Ahead> {
        let order = self.order.filter(|_| self.window > 0)?;
        Some(Ahead { order, rank: self.at[order]?, window: self.window })
    }

    /// In which order, and by how many files, a file at `ranks` follows: the very next file to begin with; an established
    /// sequence may leave a few out.
    fn follows(&self, ranks: &Ranks) -> Option<(usize, usize)> {
        let max_step = if self.order.is_some() { MAX_STEP } else { 1 };
        let orders = self.order.map_or(0..ORDERS, |order| order..order + 1);
        orders
            .filter_map(|order| Some((order, ranks[order]?.checked_sub(self.at[order]?)?)))
            .find(|(_, step)| (1..=max_step).contains(step))
    }

    /// Whether a file at `ranks` is one that the sequence has only just passed.
    fn has_passed(&self, ranks: &Ranks) -> bool {
        let behind = |order: usize| self.at[order]?.checked_sub(ranks[order]?);
        self.order.and_then(behind).is_some_and(|step| step < MAX_STEP)
    }

    /// A file at `ranks` follows.
    fn advance(&mut self, ranks: Ranks, order: usize, step: usize) {
        self.passed += step;
        self.begun += 1;
        self.at = ranks;
        self.order = Some(order);
        self.streak = self.streak.saturating_add(1);
        if self.streak >= MIN_STREAK {
            self.window = (self.window * 2).clamp(2, MAX_WINDOW);
        }
        if self.passed >= JUDGED_AFTER {
            if self.begun * 2 < self.passed {
                // More than half of the files fetched ahead were skipped: start over.
                *self = Sequence::starting(ranks);
            } else {
                (self.begun, self.passed) = (0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins the files at `indices` of a directory of 10,000; how far to be ahead after each.
    fn begin(readers: &mut Readers, indices: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let ranks = |index: usize| [Some(index), Some(9_999 - index), Some(index * 7919 % 10_007)];
        let begin = |index| readers.note_begun(ranks(index)).map_or(0, |ahead| ahead.window);
        indices.into_iter().map(begin).collect()
    }

    #[test]
    fn files_begun_one_after_the_other_are_followed_by_ever_more() {
        let mut readers = Readers::default();
        assert_eq!(begin(&mut readers, 0..8), [0, 2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(readers.last(), Some(Ahead { order: 0, rank: 7, window: 128 }));
    }

    #[test]
    fn files_begun_in_another_order_are_followed_too() {
        let mut readers = Readers::default();
        assert_eq!(begin(&mut readers, (100..108).rev()), [0, 2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(readers.last(), Some(Ahead { order: 1, rank: 9_899, window: 128 }));

        let mut third: Vec<usize> = (0..10_000).collect();
        third.sort_by_key(|index| index * 7919 % 10_007);
        let mut readers = Readers::default();
        let windows = begin(&mut readers, third[500..520].iter().copied());
        assert_eq!(windows[windows.len() - 1], 128, "{windows:?}");
    }

    #[test]
    fn files_begun_at_random_are_followed_by_next_to_none() {
        let mut readers = Readers::default();
        let mut rng = fastrand::Rng::with_seed(5);
        let windows = begin(&mut readers, (0..1000).map(|_| rng.usize(..10_000)));
        assert!(windows.iter().filter(|window| **window > 0).count() <= 10);
    }

    #[test]
    fn every_fifth_file_is_not_worth_the_four_between() {
        let mut readers = Readers::default();
        begin(&mut readers, [0, 1, 2]);
        let windows = begin(&mut readers, (1..40).map(|step| 2 + step * 5));
        assert!(windows[5..].iter().filter(|window| **window > 0).count() <= 2, "{windows:?}");
    }

    #[test]
    fn two_readers_of_one_directory_do_not_confuse_one_another() {
        let mut readers = Readers::default();
        let windows = begin(&mut readers, (0..10).flat_map(|step| [step, 1000 + step]));
        assert_eq!(windows[18..], [128, 128]);
    }

    #[test]
    fn threads_that_take_turns_are_one_reader() {
        let mut readers = Readers::default();
        begin(&mut readers, [0, 1]);
        let windows = begin(&mut readers, [3, 2, 5, 4, 7, 6, 9, 8]);
        assert_eq!(windows, [4, 0, 8, 0, 16, 0, 32, 0]);
        assert_eq!(readers.0.len(), 1);
    }
}
