//! One look for the blocks of a fetch on the disk, before the object store is asked for what is not there.

use std::sync::Arc;

use super::block::Block;
use super::blocks::BlockCache;
use super::buffers::Buffer;
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

    /// These blocks were on the disk, and their bytes are in buffers that the cache does not own yet.
    pub(super) fn take_in(&self, found: Vec<(Arc<Block>, Buffer)>) {
        self.run.object.set_kept(true);
        for (block, buffer) in found {
            if self.run.remove(&block) {
                self.blocks.adopt(&block);
                self.blocks.complete(&self.run.object, &block, buffer);
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
