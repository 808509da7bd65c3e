//! The block cache: an LRU of whole blocks, bounded in bytes, and the blocks that are being fetched, each by one fetch.
//!
//! A block that has left the cache may still be held: by a reply on its way to the kernel, or by what waits to be written to the disk.
//! Its bytes are not the cache's any more, and are in memory all the same: they are counted as held outside.
//!
//! Locks: one, never held over a block's; completions run outside.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lru::LruCache;

use super::ContentError;
use super::block::{Block, within};
use super::buffers::{Buffer, BufferPool};
use super::object::Object;
use super::parked::ReadData;
use crate::policy::range::{BLOCK_BYTES, ByteRange};
use crate::sync::lock;

/// What a cached block costs beyond its bytes: its own record, two map entries and the allocator's rounding, rounded up.
const BLOCK_OVERHEAD_BYTES: u64 = 512;

/// All blocks: whole ones in an LRU bounded in bytes, and those that are being fetched.
pub struct BlockCache {
    state: Mutex<CacheState>,
    buffers: Arc<BufferPool>,
    /// Bytes of the buffers of `whole`, and of those that are being filled. Changed under the lock.
    cached_bytes: AtomicU64,
    budget_bytes: u64,
}

struct CacheState {
    whole: LruCache<(u64, u64), Arc<Block>>,
    coming: HashMap<(u64, u64), Arc<Block>>,
    /// Bytes of `whole` with their overhead, of the buffers that are being filled, and what is counted for requests.
    charged_bytes: u64,
    /// See [`BlockCache::reserve`].
    reserved_bytes: u64,
    peak_bytes: u64,
}

impl CacheState {
    fn find(&mut self, key: (u64, u64)) -> Option<Arc<Block>> {
        self.whole.get(&key).or(self.coming.get(&key)).cloned()
    }

    /// Takes `block` out of those on their way, if it is the one that is found there.
    fn remove_coming(&mut self, key: (u64, u64), block: &Arc<Block>) -> Option<Arc<Block>> {
        let is_coming = self.coming.get(&key).is_some_and(|coming| Arc::ptr_eq(coming, block));
        if is_coming { self.coming.remove(&key) } else { None }
    }
}

/// A block that a reader needs, and whether the reader must start its fetch.
pub(super) struct Acquired {
    pub(super) block: Arc<Block>,
    pub(super) is_new: bool,
}

impl BlockCache {
    /// An empty cache that holds at most `budget_bytes`, buffers being filled included.
    pub fn new(budget_bytes: u64) -> BlockCache {
        let state = CacheState {
            whole: LruCache::unbounded(),
            coming: HashMap::new(),
            charged_bytes: 0,
            reserved_bytes: 0,
            peak_bytes: 0,
        };
        let (buffers, cached_bytes) = (Arc::default(), AtomicU64::new(0));
        BlockCache { state: Mutex::new(state), buffers, cached_bytes, budget_bytes }
    }

    /// The bytes `range` of `object`, if all of them are in the cache. An empty range always is.
    pub fn get(&self, object: &Object, range: ByteRange) -> Option<ReadData> {
        let mut state = lock(&self.state);
        let mut pieces = Vec::with_capacity(2);
        for index in range.blocks() {
            let block = state.whole.get(&(object.number, index))?;
            let (from, to) = within(block, range);
            pieces.push(block.piece(from, to)?);
        }
        Some(ReadData::of(pieces))
    }

    /// The blocks of `indices`: whole, being fetched, or new ones whose fetch the caller must start.
    pub(super) fn acquire(&self, object: &Object, indices: std::ops::Range<u64>) -> Vec<Acquired> {
        let mut state = lock(&self.state);
        indices
            .map(|index| {
                let key = (object.number, index);
                if let Some(block) = state.find(key) {
                    return Acquired { block, is_new: false };
                }
                let block = Arc::new(Block::new(ByteRange::of_block(index, object.size())));
                state.coming.insert(key, Arc::clone(&block));
                Acquired { block, is_new: true }
            })
            .collect()
    }

    /// New blocks for those of `indices` that are neither whole nor being fetched, as runs of adjacent ones; the caller must
    /// start their fetches.
    pub(super) fn acquire_new(&self, object: &Object, indices: std::ops::Range<u64>) -> Vec<Vec<Arc<Block>>> {
        new_runs(&self.acquire(object, indices))
    }

    /// A buffer for `block`'s bytes, after making room for it.
    pub(super) fn buffer(&self, block: &Block) -> Buffer {
        self.adopt(block);
        self.unowned(block.byte_count())
    }

    /// A buffer of `len` bytes that is not the cache's, until [`BlockCache::adopt`] makes it a block's.
    pub(super) fn unowned(&self, len: usize) -> Buffer {
        self.buffers.take(len)
    }

    /// Counts a buffer for `block`'s bytes as the cache's, after making room for it.
    pub(super) fn adopt(&self, block: &Block) {
        self.charge(cost(block));
        self.cached_bytes.fetch_add(block.range.len(), Ordering::Relaxed);
    }

    /// The buffer that was taken for `block` has been given up.
    pub(super) fn refund(&self, block: &Block) {
        let mut state = lock(&self.state);
        self.leave(&mut state, block);
    }

    /// Bytes of blocks that have left the cache and are held by others.
    pub(super) fn outside_bytes(&self) -> u64 {
        self.buffers.used_bytes().saturating_sub(self.cached_bytes.load(Ordering::Relaxed))
    }

    /// `block` is no longer the cache's.
    fn leave(&self, state: &mut CacheState, block: &Block) {
        state.charged_bytes = state.charged_bytes.saturating_sub(cost(block));
        self.cached_bytes.fetch_sub(block.range.len(), Ordering::Relaxed);
    }

    /// `bytes` more of memory are in use, for a block or a request; whole blocks that nobody has looked at for longest make room.
    pub(super) fn charge(&self, bytes: u64) {
        let mut evicted = Vec::new();
        let mut state = lock(&self.state);
        state.charged_bytes += bytes;
        let mut outside = self.outside_bytes();
        while state.charged_bytes + outside.max(state.reserved_bytes) > self.budget_bytes {
            let Some((_, oldest)) = state.whole.pop_lru() else { break };
            self.leave(&mut state, &oldest);
            if oldest.is_shared() {
                outside += oldest.range.len();
            }
            evicted.push(oldest);
        }
        state.peak_bytes = state.peak_bytes.max(state.charged_bytes + outside);
        let room = self.budget_bytes.saturating_sub(state.charged_bytes + outside.max(state.reserved_bytes));
        drop(state);
        drop(evicted);
        self.buffers.shrink_to(room);
    }

    /// Sets aside so much of the budget, at least: readers may hold as much in blocks that the cache has evicted.
    pub(super) fn reserve(&self, bytes: u64) {
        lock(&self.state).reserved_bytes = bytes;
    }

    /// Nobody reads: buffers that are not in use go back to the system.
    pub(super) fn release_unused(&self) {
        self.reserve(0);
        self.buffers.shrink_to(0);
    }

    /// That memory is in use no more.
    pub(super) fn uncharge(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.charged_bytes = state.charged_bytes.saturating_sub(bytes);
    }

    /// A block's bytes are all in the buffer that was taken for it: from now on it is found whole.
    pub(super) fn complete(&self, object: &Object, block: &Arc<Block>, data: Buffer) {
        block.complete(data);
        let key = key_of(object, block);
        let mut state = lock(&self.state);
        if state.remove_coming(key, block).is_some() && !object.is_changed() {
            state.whole.put(key, Arc::clone(block));
        } else {
            self.leave(&mut state, block);
        }
    }

    /// Abandons a block that is being fetched for nobody. `false` if a read waits for it: it must be fetched then.
    pub(super) fn abandon(&self, object: &Object, block: &Arc<Block>) -> bool {
        if block.is_awaited() {
            return false;
        }
        // Out of the map first: whoever finds it given up finds another one when asking anew.
        self.forget_coming(object, block);
        block.abandon()
    }

    /// Takes a block that is being fetched out of the map; reads that wait for it go on waiting.
    pub(super) fn forget_coming(&self, object: &Object, block: &Arc<Block>) {
        let removed = lock(&self.state).remove_coming(key_of(object, block), block);
        drop(removed);
    }

    /// The fetch of `block` has failed: whoever waits is told, whoever comes now starts anew.
    pub(super) fn fail(&self, object: &Object, block: &Arc<Block>, error: &ContentError) {
        self.forget_coming(object, block);
        block.fail(error);
    }

    /// Forgets the blocks that lie within `range` of `object`: a run has left them behind, and the kernel has their pages.
    pub(super) fn retire(&self, object: &Object, range: ByteRange) {
        let indices = range.start.div_ceil(BLOCK_BYTES)..range.end / BLOCK_BYTES;
        let mut retired = Vec::new();
        let mut state = lock(&self.state);
        for index in indices {
            if let Some(block) = state.whole.pop(&(object.number, index)) {
                self.leave(&mut state, &block);
                retired.push(block);
            }
        }
        drop(state);
        drop(retired);
    }

    /// Forgets all bytes of an object that has changed.
    pub(super) fn purge(&self, object: &Object) {
        let mut state = lock(&self.state);
        let keys: Vec<(u64, u64)> =
            state.whole.iter().map(|(key, _)| *key).filter(|(number, _)| *number == object.number).collect();
        let mut purged = Vec::new();
        for key in keys {
            if let Some(block) = state.whole.pop(&key) {
                self.leave(&mut state, &block);
                purged.push(block);
            }
        }
        drop(state);
        drop(purged);
    }

    /// Bytes held now, and the most that ever were, overhead and what is held outside included.
    pub fn usage(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.charged_bytes + self.outside_bytes(), state.peak_bytes)
    }
}

fn key_of(object: &Object, block: &Block) -> (u64, u64) {
    (object.number, block.range.start / BLOCK_BYTES)
}

fn cost(block: &Block) -> u64 {
    block.range.len() + BLOCK_OVERHEAD_BYTES
}

/// The runs of adjacent new blocks.
pub(super) fn new_runs(acquired: &[Acquired]) -> Vec<Vec<Arc<Block>>> {
    acquired
        .chunk_by(|a, b| a.is_new == b.is_new)
        .filter(|run| run[0].is_new)
        .map(|run| run.iter().map(|acquired| Arc::clone(&acquired.block)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{NodeId, Version};

    #[test]
    fn block_that_others_hold_is_counted_until_they_give_it_up_and_those_that_nobody_holds_make_room() {
        let budget = 8 * (BLOCK_BYTES + BLOCK_OVERHEAD_BYTES);
        let cache = BlockCache::new(budget);
        let version = Version { size_bytes: 100 * BLOCK_BYTES, edited_ms: 0 };
        let object = Object::new(NodeId::new("f"), version);
        let mut held = Vec::new();
        for index in 0..40 {
            let acquired = cache.acquire(&object, index..index + 1);
            let block = &acquired[0].block;
            cache.complete(&object, block, cache.buffer(block));
            if index < 4 {
                held.extend(block.shared_data());
            }
            let used = cache.usage().0;
            assert!(used <= budget, "{used} with block {index}");
        }
        assert_eq!(cache.outside_bytes(), 4 * BLOCK_BYTES);
        assert!(cache.get(&object, ByteRange::of_block(39, object.size())).is_some());
        held.clear();
        assert_eq!(cache.outside_bytes(), 0);
        cache.retire(&object, ByteRange::new(0, object.size()));
        cache.purge(&object);
        assert_eq!(cache.usage().0, 0);
    }
}
