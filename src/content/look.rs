//! One look for the blocks of a fetch on the disk, before the object store is asked for what is not there.

use std::sync::Arc;

use super::block::Block;
use super::blocks::BlockCache;
use super::kept::KeptUnit;
use super::runs::Run;

/// Looks for the blocks of a run on the disk. When its last holder drops it, every lookup has ended, and `then` is called: it requests
/// what is still missing. So no failure of a lookup can leave a read without an answer.
pub(super) struct Look {
    run: Arc<Run>,
    blocks: Arc<BlockCache>,
    then: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Look {
    pub(super) fn new(run: Arc<Run>, blocks: Arc<BlockCache>, then: impl FnOnce() + Send + Sync + 'static) -> Look {
        Look { run, blocks, then: Some(Box::new(then)) }
    }

    /// These blocks, all in one unit, are on the disk.
    pub(super) fn take_in(&self, found: Vec<Arc<Block>>, unit: &KeptUnit) {
        for block in found {
            let Some(buffer) = unit.read(&block, &self.blocks) else { continue };
            if self.run.remove(&block) {
                self.blocks.complete(&self.run.object, &block, buffer);
            } else {
                self.blocks.refund(&block);
            }
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then();
        }
    }
}
