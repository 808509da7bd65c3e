//! Blocks that outlive the mount: looked up on the disk before the object store is asked, and stored there when they have come
//! from it.
//!
//! A blob of [`crate::store`] is a MiB of one version of a file, or a shorter file as a whole: a unit. It is stored when all its
//! blocks have come from the object store, by whichever fetches; a unit of which only some blocks are read is not kept. Blobs
//! whose version disagrees with the object store are removed, and this mount keeps nothing of that version any more. Locks: two,
//! of the units that are being put together and of what disagreed, none held while the store is called.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::block::Block;
use super::blocks::BlockCache;
use super::buffers::Buffer;
use super::object::Object;
use super::parked::ReadData;
use super::runs::Run;
use crate::clock::Clock;
use crate::policy::range::{BLOCK_BYTES, ByteRange};
use crate::policy::readahead::Window;
use crate::remote::{NodeId, Version};
pub use crate::store::NotPinned;
use crate::store::identity::{BLOB_BYTES, FileVersion, Identity, Source};
use crate::store::{Blob, Part, Store};
use crate::sync::lock;

/// The most lookups under way for blocks fetched ahead. Above 256 at a time the store answers "not asked", which leads to a
/// request to the service: the rest is left for reads that wait.
const MAX_LOOKUPS_AHEAD: usize = 192;

/// So many units are read ahead from the disk: enough for all threads that look up, and little enough that none waits for long behind the
/// others, as a lookup that is not answered in time leads to a request.
const UNITS_AHEAD: usize = 16;

/// How many versions are remembered that disagreed with the object store.
const MAX_DISAGREED: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// How often a unit is put again that finds no room among those that wait to be written: others who wait as well put theirs first.
const MAX_PUTS: u32 = 256;

/// How long somebody who waits for the disk to have written waits at most, each time.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

/// The blocks of one source on the disk.
pub struct KeptBlocks {
    store: Arc<Store>,
    source: Source,
    units: Mutex<Units>,
    disagreed: Mutex<LruCache<(NodeId, Version), ()>>,
    lookups: AtomicUsize,
}

/// Units of which some blocks have come from the line.
struct Units {
    parts: LruCache<(u64, u64), Vec<Option<Arc<Buffer>>>>,
    bytes: u64,
    bytes_max: u64,
}

impl KeptBlocks {
    /// The blocks of `source` in `store`; units that are not complete take `bytes_max` of memory at most.
    pub fn new(store: Arc<Store>, source: Source, bytes_max: u64) -> KeptBlocks {
        let units = Mutex::new(Units { parts: LruCache::unbounded(), bytes: 0, bytes_max });
        let disagreed = Mutex::new(LruCache::new(MAX_DISAGREED));
        KeptBlocks { store, source, units, disagreed, lookups: AtomicUsize::new(0) }
    }

    /// The most bytes that the disk keeps.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.store.stats().limit_bytes
    }

    /// Whether the unit with byte `offset` of `object` is on the disk, whole and of its version. Blocks until `until` at most.
    pub(super) fn has(&self, object: &Object, offset: u64, until: Instant) -> bool {
        let identity = self.identity(object, offset / BLOB_BYTES).filter(|_| self.is_trusted(object));
        let blob = identity.as_ref().and_then(|identity| self.store.get_by(identity, until));
        identity.zip(blob).is_some_and(|(identity, blob)| self.agrees(object, blob.etag.as_deref(), &identity))
    }

    /// Whether the disk has something under the name of the unit with byte `offset`; it is not read. Blocks as long as the disk takes.
    pub(super) fn has_name(&self, object: &Object, offset: u64) -> bool {
        let identity = self.identity(object, offset / BLOB_BYTES).filter(|_| self.is_trusted(object));
        identity.is_some_and(|identity| self.store.has_name(&identity))
    }

    /// Puts a unit that has been read, unless it is there by now, and waits until it is written. Says whether it is there.
    pub(super) fn put_now(&self, object: &Object, offset: u64, data: &ReadData, until: Instant) -> bool {
        let Some(identity) = self.identity(object, offset / BLOB_BYTES) else { return false };
        // What has come from the line is most often on its way.
        self.store.flush(WRITTEN_WITHIN);
        if self.has(object, offset, until) {
            return true;
        }
        if object.is_changed() || !self.is_trusted(object) {
            return false;
        }
        let parts: Vec<Part> = vec![Arc::new(data.bytes().to_vec())];
        let etag = object.etag.get().map(String::as_str);
        for _ in 0..MAX_PUTS {
            let is_queued = self.store.put_block(&identity, etag, parts.clone());
            self.store.flush(WRITTEN_WITHIN);
            if is_queued {
                return self.has(object, offset, until);
            }
        }
        false
    }

    /// Has the unit with byte `offset` of `object`, which is on the disk, stay there. An empty one needs nothing.
    pub(super) fn pin(&self, object: &Object, offset: u64) -> Result<(), NotPinned> {
        self.identity(object, offset / BLOB_BYTES).map_or(Ok(()), |identity| self.store.pin(&identity))
    }

    /// Lets that unit go like others again.
    pub(super) fn unpin(&self, object: &Object, offset: u64) -> io::Result<()> {
        self.identity(object, offset / BLOB_BYTES).map_or(Ok(()), |identity| self.store.unpin(&identity))
    }

    /// Whether more may be looked for that nobody waits for.
    pub(super) fn has_room(&self) -> bool {
        self.lookups.load(Ordering::Relaxed) < MAX_LOOKUPS_AHEAD
    }

    /// Whether blocks of `object` may be found, and may be put.
    pub(super) fn is_trusted(&self, object: &Object) -> bool {
        !lock(&self.disagreed).contains(&(object.id.clone(), object.version))
    }

    /// Has `found` told, for each unit that has some of `blocks`, these blocks and their bytes, if they are there and of the version that
    /// `object` is of. The buffers are `cache`'s, to be adopted. Never blocks; `found` is called on threads of the store's or on this one.
    pub(super) fn look_up<F>(
        self: &Arc<Self>,
        object: &Arc<Object>,
        blocks: &VecDeque<Arc<Block>>,
        cache: &Arc<BlockCache>,
        found: impl Fn() -> F,
    ) where
        F: FnOnce(Vec<(Arc<Block>, Buffer)>) + Send + 'static,
    {
        let blocks: Vec<&Arc<Block>> = blocks.iter().collect();
        for blocks in blocks.chunk_by(|a, b| unit_of(a.range) == unit_of(b.range)) {
            let Some(index) = blocks.first().map(|block| unit_of(block.range)) else { continue };
            let Some(identity) = self.identity(object, index) else { continue };
            let blocks: Vec<Arc<Block>> = blocks.iter().map(|block| Arc::clone(block)).collect();
            let (kept, object, found, named) = (Arc::clone(self), Arc::clone(object), found(), identity.clone());
            let unit = unit_around(index * BLOB_BYTES, object.size());
            let cache = Arc::clone(cache);
            let buffers = move || block_lengths(unit).map(|len| cache.unowned(len)).collect();
            self.lookups.fetch_add(1, Ordering::Relaxed);
            self.store.look_up(&identity, buffers, move |unit_found| {
                kept.lookups.fetch_sub(1, Ordering::Relaxed);
                if let Some(kept_unit) = unit_found
                    && kept.agrees(&object, kept_unit.etag.as_deref(), &named)
                {
                    found(wanted_of(unit, kept_unit.parts, blocks));
                }
            });
        }
    }

    /// Nobody else can be asked: takes what the disk has of the blocks that `run` lacks, up to the first that it has not. A disk that is
    /// slow is waited for, until `until`. Blocks: for worker threads.
    pub(super) fn take_all(&self, run: &Run, blocks: &BlockCache, clock: &dyn Clock, until: Instant) {
        while let Some(block) = run.first() {
            let unit = self.get_patiently(&run.object, &block, clock, until);
            let Some(buffer) = unit.and_then(|unit| unit.read(&block, blocks)) else { return };
            if run.remove(&block) {
                blocks.complete(&run.object, &block, buffer);
            } else {
                blocks.refund(&block);
            }
        }
    }

    fn get_patiently(&self, object: &Object, block: &Block, clock: &dyn Clock, until: Instant) -> Option<KeptUnit> {
        let index = unit_of(block.range);
        let identity = self.identity(object, index).filter(|_| self.is_trusted(object))?;
        let blob = self.store.get_patiently(&identity, clock, until)?;
        self.agrees(object, blob.etag.as_deref(), &identity).then_some(KeptUnit { blob, start: index * BLOB_BYTES })
    }

    /// Whether the blob of `identity`, which has this ETag, is of the version of the object store that the object is of: the first that is
    /// known of it. One that is not is removed.
    fn agrees(&self, object: &Object, etag: Option<&str>, identity: &Identity) -> bool {
        let is_same = match etag {
            Some(etag) => {
                if object.etag.get().is_none() {
                    object.set_from_disk();
                }
                object.is_same_version(Some(etag))
            }
            None => object.etag.get().is_none(),
        };
        if !is_same {
            log::debug!("a block on the disk is of another version than the object store has by now: it is removed");
            if let Err(error) = self.store.remove(identity) {
                log::debug!("it stays: {error}");
            }
        }
        is_same && !object.is_changed()
    }

    /// A block of `object` has come from the line.
    pub(super) fn add(&self, object: &Object, block: &Block) {
        let Some(data) = block.shared_data().filter(|_| !object.is_changed()) else { return };
        let index = unit_of(block.range);
        let unit = ByteRange::clamped(index * BLOB_BYTES, BLOB_BYTES, object.size());
        let parts = if unit == block.range {
            vec![data]
        } else {
            let at = usize::try_from((block.range.start - unit.start) / BLOCK_BYTES).unwrap_or(usize::MAX);
            let count = unit.blocks().count();
            let Some(parts) = lock(&self.units).add((object.number, index), at, count, data) else { return };
            parts
        };
        if !self.is_trusted(object) {
            return;
        }
        if let Some(identity) = self.identity(object, index) {
            let parts = parts.into_iter().map(|part| part as Part).collect();
            // Dropped if too much waits to be written.
            self.store.put_block(&identity, object.etag.get().map(String::as_str), parts);
        }
    }

    /// The object store has another version of `object` than some of its bytes are of: nothing is kept of it any more.
    pub(super) fn distrust(&self, object: &Object) {
        lock(&self.disagreed).put((object.id.clone(), object.version), ());
    }

    /// Removes what is kept of `object`. Blocks as long as the disk takes for the names of all its blobs.
    pub(super) fn remove_all(&self, object: &Object) {
        for index in 0..object.size().div_ceil(BLOB_BYTES) {
            let Some(identity) = self.identity(object, index) else { return };
            if let Err(error) = self.store.remove(&identity) {
                log::debug!("a block on the disk that may be out of date stays: {error}");
                return;
            }
        }
    }

    fn identity(&self, object: &Object, index: u64) -> Option<Identity> {
        let Version { size_bytes, edited_ms } = object.version;
        let version = FileVersion { size_bytes, edited_ms, sha256: None };
        Identity::block(&self.source, object.id.as_str(), &version, index, BLOB_BYTES)
    }
}

impl Units {
    /// Adds block `at` of `count` to a unit; gives all of them back once they are there. Units that grew longest ago make room.
    fn add(&mut self, key: (u64, u64), at: usize, count: usize, data: Arc<Buffer>) -> Option<Vec<Arc<Buffer>>> {
        let len = data.len() as u64;
        let parts = self.parts.get_or_insert_mut(key, || vec![None; count]);
        if parts.get_mut(at)?.replace(data).is_none() {
            self.bytes += len;
        }
        let complete = if parts.iter().all(Option::is_some) { self.parts.pop(&key) } else { None };
        if let Some(complete) = complete {
            self.bytes -= byte_count(&complete);
            return Some(complete.into_iter().flatten().collect());
        }
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.parts.pop_lru()
        {
            self.bytes -= byte_count(&oldest);
        }
        None
    }
}

fn byte_count(parts: &[Option<Arc<Buffer>>]) -> u64 {
    parts.iter().flatten().map(|part| part.len() as u64).sum()
}

/// A unit as it was found on the disk.
pub(super) struct KeptUnit {
    blob: Blob,
    /// Where it begins in the file.
    start: u64,
}

impl KeptUnit {
    /// The bytes of `block`, which is one of this unit, in a buffer of `blocks`.
    pub(super) fn read(&self, block: &Block, blocks: &BlockCache) -> Option<Buffer> {
        let from = usize::try_from(block.range.start.checked_sub(self.start)?).ok()?;
        let bytes = self.blob.data().get(from..from.checked_add(block.byte_count())?)?;
        let mut buffer = blocks.buffer(block);
        buffer.copy_from_slice(bytes);
        Some(buffer)
    }
}

/// How far a reader looks ahead that finds its blocks on the disk, within `memory_bytes`.
pub(super) fn window(memory_bytes: u64) -> Window {
    Window::new(UNITS_AHEAD, BLOB_BYTES, memory_bytes)
}

/// The unit of a file of `size` bytes that holds byte `offset`; empty behind its end.
pub(super) fn unit_around(offset: u64, size: u64) -> ByteRange {
    ByteRange::clamped(offset / BLOB_BYTES * BLOB_BYTES, BLOB_BYTES, size)
}

/// How long the blocks of a unit are, in order.
fn block_lengths(unit: ByteRange) -> impl Iterator<Item = usize> {
    unit.blocks().map(move |index| {
        let start = (index * BLOCK_BYTES).max(unit.start);
        usize::try_from((start + BLOCK_BYTES).min(unit.end) - start).unwrap_or(usize::MAX)
    })
}

/// The buffers of those blocks of `unit` that are wanted.
fn wanted_of(unit: ByteRange, parts: Vec<Buffer>, mut wanted: Vec<Arc<Block>>) -> Vec<(Arc<Block>, Buffer)> {
    let numbered = unit.blocks().zip(parts);
    let of_block = |(index, buffer): (u64, Buffer)| {
        let at = wanted.iter().position(|block| block.range.start / BLOCK_BYTES == index)?;
        let block = wanted.swap_remove(at);
        (block.byte_count() == buffer.len()).then_some((block, buffer))
    };
    numbered.filter_map(of_block).collect()
}

fn unit_of(range: ByteRange) -> u64 {
    range.start / BLOB_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::buffers::BufferPool;
    use super::*;

    #[test]
    fn unit_is_whole_with_its_last_block_and_those_begun_longest_ago_make_room() {
        let pool = Arc::new(BufferPool::default());
        let data = || Arc::new(pool.take(128 * 1024));
        let mut units = Units { parts: LruCache::unbounded(), bytes: 0, bytes_max: 8 * BLOCK_BYTES };
        for at in [3, 0, 0, 2] {
            assert!(units.add((1, 0), at, 4, data()).is_none());
        }
        assert_eq!(units.bytes, 3 * BLOCK_BYTES);
        assert_eq!(units.add((1, 0), 1, 4, data()).map(|parts| parts.len()), Some(4));
        assert_eq!((units.bytes, units.parts.len()), (0, 0));
        assert!(units.add((1, 0), 4, 4, data()).is_none(), "no such block");
        for unit in 0..20 {
            assert!(units.add((2, unit), 0, 4, data()).is_none());
            assert!(units.bytes <= units.bytes_max);
        }
        assert!(units.parts.len() <= 9 && units.add((2, 19), 1, 2, data()).is_none());
    }
}
