//! Looks after the blocks that a read waits for: when one is overdue, another request brings it (`policy/overdue.rs`).

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::block::Block;
use super::fetcher::Fetcher;
use super::object::Object;
use crate::clock::Timer;

/// How often a block is looked after: each time after twice as long, so that the last looks are seconds apart.
const MAX_CHECKS: u32 = 5;

/// The blocks of one read that is parked until `deadline`. Kept alive by nothing but the read.
pub(super) struct Watch {
    fetcher: Weak<Fetcher>,
    timer: Weak<Timer>,
    object: Weak<Object>,
    blocks: VecDeque<Weak<Block>>,
    deadline: Instant,
}

impl Watch {
    /// Looks after `blocks` from now on, one after the other, for as long as a read waits for them.
    pub(super) fn start(
        fetcher: &Arc<Fetcher>,
        timer: &Arc<Timer>,
        object: &Arc<Object>,
        blocks: impl Iterator<Item = Arc<Block>>,
        deadline: Instant,
    ) {
        let watch = Watch {
            fetcher: Arc::downgrade(fetcher),
            timer: Arc::downgrade(timer),
            object: Arc::downgrade(object),
            blocks: blocks.map(|block| Arc::downgrade(&block)).collect(),
            deadline,
        };
        watch.next_block();
    }

    /// Goes on to the first block that is awaited.
    fn next_block(mut self) {
        let Some(fetcher) = self.fetcher.upgrade() else { return };
        while let Some(block) = self.blocks.front() {
            match block.upgrade().filter(|block| block.is_awaited()) {
                Some(block) => return self.look_after(fetcher.patience(&block), 0),
                None => self.blocks.pop_front(),
            };
        }
    }

    /// Looks at the first block once `patience` is over.
    fn look_after(self, patience: Duration, checks: u32) {
        let Some(timer) = self.timer.upgrade() else { return };
        let at = timer.clock().now() + patience;
        if checks < MAX_CHECKS && at < self.deadline {
            timer.at(at, move || self.look(patience, checks));
        }
    }

    fn look(self, patience: Duration, checks: u32) {
        let (Some(fetcher), Some(object)) = (self.fetcher.upgrade(), self.object.upgrade()) else { return };
        match self.blocks.front().and_then(Weak::upgrade).filter(|block| block.is_awaited()) {
            Some(block) => {
                // Another connection brings nothing sooner while all of them wait for `--bwlimit`.
                if !fetcher.limiter.is_busy() {
                    fetcher.take_over(&object, &block);
                }
                self.look_after(2 * patience, checks + 1);
            }
            None => self.next_block(),
        }
    }
}
