//! The block cache: a byte-bounded LRU of blocks, at most one fetch for each, and the readers that wait for them.
//!
//! A block is either on its way or whole; its bytes are written once, by the one fetch that fills it, and are shared from
//! then on without a copy. Readers are woken as soon as *their* bytes are in.
//! Locks: the cache's, then nothing; a block's, then nothing. Completions run outside both.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use lru::LruCache;

use super::ContentError;
use super::buffers::{Buffer, BufferPool, Joined};
use super::ranges::Ranges;
use crate::clock::lock;
use crate::jobs::Ticket;
use crate::policy::range::{BLOCK_BYTES, ByteRange};
use crate::remote::{NodeId, Version};

/// What a cached block costs beyond its bytes: its own record, two map entries and the allocator's rounding, rounded up.
const BLOCK_OVERHEAD_BYTES: u64 = 512;

/// One version of one file's content, shared by all its handles and blocks.
#[derive(Debug)]
pub struct Object {
    /// Tells it from every other object of this process.
    number: u64,
    /// The file.
    pub id: NodeId,
    /// The version that the listing promised.
    pub version: Version,
    /// The store's version tag, pinned by the first answer; every later answer must carry the same.
    pub etag: OnceLock<String>,
    /// Whether the store serves ranges of it.
    pub(super) ranges: Ranges,
    /// The store has shown another version: no more bytes may come from this one.
    changed: AtomicBool,
}

impl Object {
    /// An object that nothing is known of but the listing's word.
    pub fn new(id: NodeId, version: Version) -> Object {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let (etag, ranges, changed) = (OnceLock::new(), Ranges::default(), AtomicBool::new(false));
        Object { number, id, version, etag, ranges, changed }
    }

    /// The object's length in bytes.
    pub fn size(&self) -> u64 {
        self.version.size_bytes
    }

    /// Whether the store has shown another version.
    pub fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// The store has shown another version.
    pub fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }
}

/// One block of an object: on its way, whole, or failed.
pub struct Block {
    /// Which bytes of the object it holds; never empty.
    pub range: ByteRange,
    data: OnceLock<Buffer>,
    state: Mutex<BlockState>,
}

#[derive(Default)]
struct BlockState {
    failure: Option<ContentError>,
    waiters: Vec<Waiter>,
    /// The fetch that fills it, once it is started.
    ticket: Option<Ticket>,
    /// Until when somebody waits for a fetch that is not started yet.
    awaited_until: Option<Instant>,
}

/// Bytes `from..to` of a block, for one part of a parked read.
struct Waiter {
    from: usize,
    to: usize,
    part: usize,
    read: Arc<ParkedRead>,
}

impl Block {
    fn new(range: ByteRange) -> Block {
        Block { range, data: OnceLock::new(), state: Mutex::default() }
    }

    /// The block's length in bytes.
    pub fn len(&self) -> usize {
        usize::try_from(self.range.len()).unwrap_or(usize::MAX)
    }

    /// Never: a block has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether all its bytes are in.
    pub fn is_whole(&self) -> bool {
        self.data.get().is_some()
    }

    /// Says which fetch fills the block, before that is started; until when somebody waits for it already.
    pub(super) fn set_ticket(&self, ticket: &Ticket) -> Option<Instant> {
        let mut state = lock(&self.state);
        state.ticket = Some(ticket.clone());
        state.awaited_until
    }

    /// Somebody waits for the block until `until`: its fetch becomes urgent. `false` if that is over without having filled the
    /// block, so that it must be fetched anew.
    pub(super) fn hurry(&self, until: Instant) -> bool {
        let mut state = lock(&self.state);
        let Some(ticket) = state.ticket.clone() else {
            state.awaited_until = state.awaited_until.max(Some(until));
            return true;
        };
        drop(state);
        ticket.promote(until) || self.is_whole()
    }

    /// Whether somebody waits for it.
    fn is_awaited(&self) -> bool {
        !lock(&self.state).waiters.is_empty()
    }

    /// Gives the block up, unless somebody waits for it: whoever comes later is told to ask anew. Whether it was given up.
    fn abandon(&self) -> bool {
        let mut state = lock(&self.state);
        let is_unwanted = state.waiters.is_empty();
        if is_unwanted {
            state.failure = Some(ContentError::Cancelled);
        }
        is_unwanted
    }

    /// The block's first bytes are in: whoever needs no more gets a copy.
    pub(super) fn offer_prefix(&self, prefix: &[u8]) {
        let mut state = lock(&self.state);
        if state.waiters.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut state.waiters);
        let (served, waiting): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|waiter| waiter.to <= prefix.len());
        state.waiters = waiting;
        drop(state);
        for waiter in served {
            waiter.read.deliver(waiter.part, Piece::Copied(prefix[waiter.from..waiter.to].into()));
        }
    }

    /// All bytes are in.
    pub(super) fn complete(self: &Arc<Block>, data: Buffer) {
        debug_assert_eq!(data.len(), self.len());
        let _ = self.data.set(data);
        let waiters = std::mem::take(&mut lock(&self.state).waiters);
        for waiter in waiters {
            waiter.read.deliver(waiter.part, Piece::shared(self, waiter.from, waiter.to));
        }
    }

    /// The fetch has failed.
    pub(super) fn fail(&self, error: &ContentError) {
        let waiters = {
            let mut state = lock(&self.state);
            state.failure = Some(error.clone());
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.read.fail(error.clone());
        }
    }

    /// Has bytes `from..to` of the block delivered as part `part` of `read`, now or when they are in.
    ///
    /// # Errors
    /// If the block has failed; nothing will be delivered.
    pub(super) fn deliver_to(
        self: &Arc<Block>,
        read: &Arc<ParkedRead>,
        part: usize,
        from: usize,
        to: usize,
    ) -> Result<(), ContentError> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        // Looked at under the lock: `complete` sets the data first and takes the waiters after.
        if self.is_whole() {
            drop(state);
            read.deliver(part, Piece::shared(self, from, to));
        } else {
            state.waiters.push(Waiter { from, to, part, read: Arc::clone(read) });
        }
        Ok(())
    }
}

/// Some bytes of a read's result.
enum Piece {
    /// Part of a whole block.
    Shared { block: Arc<Block>, from: usize, to: usize },
    /// Copied out of a block that is still being filled.
    Copied(Box<[u8]>),
}

impl Piece {
    fn shared(block: &Arc<Block>, from: usize, to: usize) -> Piece {
        Piece::Shared { block: Arc::clone(block), from, to }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Shared { block, from, to } => block.data.get().map_or(&[], |data| &data[*from..*to]),
            Piece::Copied(bytes) => bytes,
        }
    }
}

/// The bytes that a read asked for: exactly as many as it asked for.
pub struct ReadData {
    pieces: Vec<Piece>,
}

impl ReadData {
    /// No bytes: the end of the file.
    pub fn empty() -> ReadData {
        ReadData { pieces: Vec::new() }
    }

    /// The bytes as one slice: without a copy where they lie in one block.
    pub fn bytes(&self) -> ReadBytes<'_> {
        match &self.pieces[..] {
            [] => ReadBytes::Slice(&[]),
            [piece] => ReadBytes::Slice(piece.bytes()),
            pieces => ReadBytes::Joined(Joined::of(pieces.iter().map(Piece::bytes))),
        }
    }
}

/// The bytes of a read as one slice.
pub enum ReadBytes<'a> {
    /// Part of one block.
    Slice(&'a [u8]),
    /// Put together from several.
    Joined(Joined),
}

impl Deref for ReadBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            ReadBytes::Slice(bytes) => bytes,
            ReadBytes::Joined(bytes) => bytes,
        }
    }
}

/// What is to be done with a read's result.
pub type ReadDone = Box<dyn FnOnce(Result<ReadData, ContentError>) + Send>;

/// A read that waits for one or more blocks. Answered once: with all its parts, or with the first failure.
pub(super) struct ParkedRead {
    state: Mutex<ParkedState>,
}

struct ParkedState {
    parts: Vec<Option<Piece>>,
    missing: usize,
    done: Option<ReadDone>,
}

impl ParkedRead {
    /// A read in so many parts.
    pub(super) fn new(parts: usize, done: ReadDone) -> Arc<ParkedRead> {
        let state = ParkedState {
            parts: std::iter::repeat_with(|| None).take(parts).collect(),
            missing: parts,
            done: Some(done),
        };
        Arc::new(ParkedRead { state: Mutex::new(state) })
    }

    fn deliver(&self, part: usize, piece: Piece) {
        let mut state = lock(&self.state);
        if state.parts[part].replace(piece).is_none() {
            state.missing -= 1;
        }
        if state.missing > 0 {
            return;
        }
        let done = state.done.take();
        let pieces = std::mem::take(&mut state.parts).into_iter().flatten().collect();
        drop(state);
        if let Some(done) = done {
            done(Ok(ReadData { pieces }));
        }
    }

    /// Answers with `error`, unless it is answered already.
    pub(super) fn fail(&self, error: ContentError) {
        let done = lock(&self.state).done.take();
        if let Some(done) = done {
            done(Err(error));
        }
    }

    /// Takes the completion back, so that the read can be tried anew.
    pub(super) fn take_back(&self) -> Option<ReadDone> {
        lock(&self.state).done.take()
    }
}

/// All blocks: whole ones in a byte-bounded LRU, and those on their way.
pub struct BlockCache {
    state: Mutex<CacheState>,
    buffers: Arc<BufferPool>,
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

/// A block that a reader needs, and whether the reader must have it fetched.
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
        BlockCache { state: Mutex::new(state), buffers: Arc::default(), budget_bytes }
    }

    /// The bytes `range` of `object`, if all of them are in. An empty range always is.
    pub fn get(&self, object: &Object, range: ByteRange) -> Option<ReadData> {
        let mut state = lock(&self.state);
        let mut pieces = Vec::with_capacity(2);
        for index in range.blocks() {
            let block = state.whole.get(&(object.number, index))?;
            let (from, to) = within(block, range);
            pieces.push(Piece::shared(block, from, to));
        }
        Some(ReadData { pieces })
    }

    /// The blocks of `indices`: whole, coming, or new ones that the caller must have fetched.
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

    /// The runs of adjacent blocks of `indices` that are neither whole nor coming: new ones, which the caller must have fetched.
    pub(super) fn acquire_new(&self, object: &Object, indices: std::ops::Range<u64>) -> Vec<Vec<Arc<Block>>> {
        new_runs(&self.acquire(object, indices))
    }

    /// A buffer for `block`'s bytes, after making room for it.
    pub(super) fn buffer(&self, block: &Block) -> Buffer {
        self.charge(cost(block));
        self.buffers.take(block.len())
    }

    /// The buffer that was taken for `block` has been given up.
    pub(super) fn refund(&self, block: &Block) {
        self.uncharge(cost(block));
    }

    /// `bytes` more of memory are in use, for a block or a request; whole blocks that nobody has looked at for longest make room.
    pub(super) fn charge(&self, bytes: u64) {
        let mut evicted = Vec::new();
        let mut state = lock(&self.state);
        state.charged_bytes += bytes;
        while state.charged_bytes + state.reserved_bytes > self.budget_bytes {
            let Some((_, oldest)) = state.whole.pop_lru() else { break };
            state.charged_bytes -= cost(&oldest);
            evicted.push(oldest);
        }
        state.peak_bytes = state.peak_bytes.max(state.charged_bytes);
        let room = self.budget_bytes.saturating_sub(state.charged_bytes + state.reserved_bytes);
        drop(state);
        drop(evicted);
        self.buffers.make_do_with(room);
    }

    /// So much of the budget is not for blocks: readers may hold as much of blocks that the cache has given up.
    pub(super) fn reserve(&self, bytes: u64) {
        lock(&self.state).reserved_bytes = bytes;
    }

    /// Nobody reads: buffers that are not in use go back to the system.
    pub(super) fn rest(&self) {
        self.reserve(0);
        self.buffers.make_do_with(0);
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
            state.charged_bytes = state.charged_bytes.saturating_sub(cost(block));
        }
    }

    /// Gives up a block that is being fetched for nobody. `false` if somebody waits for it: it must be fetched then.
    pub(super) fn abandon(&self, object: &Object, block: &Arc<Block>) -> bool {
        if block.is_awaited() {
            return false;
        }
        // Out of the map first: whoever finds it given up finds another one when asking anew.
        self.forget_coming(object, block);
        block.abandon()
    }

    /// A block on its way is not found any more; who waits for it goes on waiting.
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
                state.charged_bytes = state.charged_bytes.saturating_sub(cost(&block));
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
                state.charged_bytes = state.charged_bytes.saturating_sub(cost(&block));
                purged.push(block);
            }
        }
        drop(state);
        drop(purged);
    }

    /// Bytes held now, and the most that ever were, overhead included.
    pub fn usage(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.charged_bytes, state.peak_bytes)
    }
}

fn key_of(object: &Object, block: &Block) -> (u64, u64) {
    (object.number, block.range.start / BLOCK_BYTES)
}

fn cost(block: &Block) -> u64 {
    block.range.len() + BLOCK_OVERHEAD_BYTES
}

/// Which bytes of `block` belong to `range`, counted from the block's start.
pub(super) fn within(block: &Block, range: ByteRange) -> (usize, usize) {
    let from = range.start.max(block.range.start) - block.range.start;
    let to = range.end.min(block.range.end).saturating_sub(block.range.start);
    (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(usize::MAX))
}

/// The runs of adjacent new blocks.
pub(super) fn new_runs(acquired: &[Acquired]) -> Vec<Vec<Arc<Block>>> {
    acquired
        .chunk_by(|a, b| a.is_new == b.is_new)
        .filter(|run| run[0].is_new)
        .map(|run| run.iter().map(|acquired| Arc::clone(&acquired.block)).collect())
        .collect()
}
