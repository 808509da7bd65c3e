//! Requests to the object store that have not ended: how many, and what the HTTP client holds for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::blocks::BlockCache;
use crate::policy::budget::CLIENT_BUFFER_BYTES;

/// Counts a request, and charges the budget for what the HTTP client holds for it, for as long as it is on its way.
pub(super) struct InFlight<'a> {
    count: &'a AtomicUsize,
    blocks: &'a BlockCache,
    held_bytes: u64,
}

impl<'a> InFlight<'a> {
    /// A request for `asked_bytes` goes out; `count` has those on their way, and `blocks` the budget.
    pub(super) fn start(count: &'a AtomicUsize, blocks: &'a BlockCache, asked_bytes: u64) -> InFlight<'a> {
        let held_bytes = asked_bytes.min(CLIENT_BUFFER_BYTES);
        count.fetch_add(1, Ordering::Relaxed);
        blocks.charge(held_bytes);
        InFlight { count, blocks, held_bytes }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.blocks.uncharge(self.held_bytes);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
