//! Requests bytes before anybody waits for them, within the limits of the pace and of the memory budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blocks::BlockCache;
use super::fetcher::{Fetcher, Upcoming};
use super::kept;
use super::object::Object;
use super::running::{Activity, Running};
use crate::clock::Clock;
use crate::jobs::{Class, Ticket, Urgency};
use crate::policy::budget::Budget;
use crate::policy::range::ByteRange;
use crate::policy::readahead::Window;

/// The blocks of a mount, their fetcher, and their readers. Shared by all readers.
pub(super) struct Prefetcher {
    pub(super) blocks: Arc<BlockCache>,
    pub(super) fetcher: Arc<Fetcher>,
    running: Running,
    next_reader: AtomicU64,
}

impl Prefetcher {
    /// For readers that share `budget`; nobody reads yet.
    pub(super) fn new(
        blocks: Arc<BlockCache>,
        fetcher: Arc<Fetcher>,
        budget: Budget,
        clock: Arc<dyn Clock>,
    ) -> Prefetcher {
        fetcher.set_max_streams(budget.max_streams());
        Prefetcher { blocks, fetcher, running: Running::new(budget, clock), next_reader: AtomicU64::new(0) }
    }

    /// The budget of all cached and prefetched bytes.
    pub(super) fn budget(&self) -> Budget {
        self.running.budget()
    }

    /// A new reader's number, which no other reader has.
    pub(super) fn next_reader(&self) -> u64 {
        self.next_reader.fetch_add(1, Ordering::Relaxed)
    }

    /// How far reader `number`, which reads `object`, may look ahead.
    pub(super) fn window(&self, number: u64, activity: &Arc<Activity>, object: &Object) -> Window {
        if let Some(shares) = self.running.note_read(number, activity) {
            self.blocks.reserve(shares.replies_bytes);
        }
        let window_bytes = self.running.window_bytes(self.blocks.outside_bytes());
        if object.is_kept() {
            return kept::window(window_bytes);
        }
        Window::new(self.fetcher.planned(), self.fetcher.part_bytes(), window_bytes)
    }

    /// Requests the missing blocks of `range` at a lower priority than any read that waits, and calls `started` with each fetch.
    /// Requests nothing while the limit of requests ahead is reached. `upcoming` is for [`Fetcher::start`].
    pub(super) fn fetch_missing(
        &self,
        object: &Arc<Object>,
        range: ByteRange,
        upcoming: Option<&Upcoming>,
        mut started: impl FnMut(ByteRange, Ticket),
    ) {
        if !self.fetcher.has_room(Class::Background) {
            return;
        }
        for run in self.blocks.acquire_new(object, range.blocks()) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let range = ByteRange::new(first.range.start, last.range.end);
            started(range, self.fetcher.start(object, run, Urgency::Guess, upcoming));
        }
    }

    /// Reader `number` is closed.
    pub(super) fn note_closed(&self, number: u64) {
        match self.running.note_closed(number) {
            Some(shares) => self.blocks.reserve(shares.replies_bytes),
            None => self.blocks.release_unused(),
        }
    }
}
