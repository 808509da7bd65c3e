//! Buffers for blocks, used again and again: a fresh 128 KiB from the system costs 32 page faults, which was a fifth of
//! the processor time of a fast read (measured with perf).
//!
//! Whole blocks are mapped from the system and unmapped when they are not needed again. From the allocator they would come
//! with its leftovers: 694 MiB stayed resident at a budget of 256 (scripts/bench, 100 files at once).
//!
//! Locks: one, for the length of a push or a pop.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use memmap2::MmapMut;

use crate::policy::range::BLOCK_BYTES;
use crate::sync::lock;

/// The most unused buffers that are kept where the budget has room, 32 MiB in all: by so much the need of a fast run of reads
/// varies from one moment to the next.
const MAX_UNUSED: usize = 256;

/// As many are kept in any case, 4 MiB in all: what runs give up behind them in one step, four times.
const MIN_UNUSED: usize = 32;

/// Hands out buffers and takes them back.
#[derive(Default)]
pub(super) struct BufferPool {
    unused: Mutex<Unused>,
    /// The bytes of all buffers that are in use.
    used_bytes: AtomicU64,
}

struct Unused {
    buffers: Vec<MmapMut>,
    max: usize,
}

impl Default for Unused {
    fn default() -> Unused {
        Unused { buffers: Vec::new(), max: MIN_UNUSED }
    }
}

/// The bytes of one block; returns to its pool when dropped.
pub(super) struct Buffer {
    bytes: Bytes,
    pool: Arc<BufferPool>,
}

enum Bytes {
    /// A whole block, if the system has a mapping to give.
    Mapped(MmapMut),
    Allocated(Box<[u8]>),
}

impl BufferPool {
    /// A buffer of `len` bytes with any content.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let mapped = if is_pooled(len) { self.mapped(len) } else { None };
        let bytes = mapped.map_or_else(|| Bytes::Allocated(vec![0; len].into_boxed_slice()), Bytes::Mapped);
        self.used_bytes.fetch_add(len as u64, Ordering::Relaxed);
        Buffer { bytes, pool: Arc::clone(self) }
    }

    fn mapped(&self, len: usize) -> Option<MmapMut> {
        let used = lock(&self.unused).buffers.pop();
        used.or_else(|| MmapMut::map_anon(len).ok())
    }

    /// The bytes of all buffers that are in use, whoever holds them.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Keeps no more unused buffers than fit into `bytes`, but a few in any case.
    pub(super) fn shrink_to(&self, bytes: u64) {
        let max = usize::try_from(bytes / BLOCK_BYTES).unwrap_or(usize::MAX).clamp(MIN_UNUSED, MAX_UNUSED);
        let mut unused = lock(&self.unused);
        unused.max = max;
        let surplus = unused.buffers.len().saturating_sub(max);
        let dropped: Vec<MmapMut> = unused.buffers.drain(..surplus).collect();
        drop(unused);
        drop(dropped);
    }
}

/// Whole blocks only: shorter ones are the ends of files, each of its own length.
fn is_pooled(len: usize) -> bool {
    len as u64 == BLOCK_BYTES
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Allocated(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Allocated(bytes) => bytes,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.used_bytes.fetch_sub(self.len() as u64, Ordering::Relaxed);
        if let Bytes::Mapped(bytes) = std::mem::replace(&mut self.bytes, Bytes::Allocated(Box::default())) {
            let mut unused = lock(&self.pool.unused);
            if unused.buffers.len() < unused.max {
                unused.buffers.push(bytes);
            }
        }
    }
}

/// The most joined buffers that are kept unused, of up to 1 MiB each: what a few readers have in use at one moment.
const MAX_UNUSED_JOINED: usize = 4;

/// Joined buffers that are not in use. One for the process: a reply knows no cache.
static JOINED_UNUSED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The bytes of a read that lies in several blocks, one after the other; the buffer is used again.
pub struct Joined(Vec<u8>);

impl Joined {
    /// All bytes of `pieces`.
    pub(super) fn of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Joined {
        let mut bytes = lock(&JOINED_UNUSED).pop().unwrap_or_default();
        bytes.clear();
        pieces.for_each(|piece| bytes.extend_from_slice(piece));
        Joined(bytes)
    }
}

impl Deref for Joined {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut unused = lock(&JOINED_UNUSED);
        if unused.len() < MAX_UNUSED_JOINED {
            unused.push(std::mem::take(&mut self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_block_buffer_is_used_again_and_others_are_not_kept() {
        let pool = Arc::new(BufferPool::default());
        let mut first = pool.take(128 * 1024);
        first[0] = 7;
        drop(first);
        assert_eq!(pool.take(128 * 1024)[0], 7);
        drop(pool.take(5));
        assert_eq!(pool.take(5).len(), 5);
        assert_eq!(lock(&pool.unused).buffers.len(), 1);
    }

    #[test]
    fn unused_buffers_are_bounded_by_what_room_there_is() {
        let pool = Arc::new(BufferPool::default());
        for (room, kept) in [(0, MIN_UNUSED), (100 * BLOCK_BYTES, 100), (u64::MAX, MAX_UNUSED), (0, MIN_UNUSED)] {
            pool.shrink_to(room);
            let buffers: Vec<Buffer> = (0..2 * MAX_UNUSED).map(|_| pool.take(128 * 1024)).collect();
            drop(buffers);
            assert_eq!(lock(&pool.unused).buffers.len(), kept);
        }
        pool.shrink_to(u64::MAX);
        drop((0..MAX_UNUSED).map(|_| pool.take(128 * 1024)).collect::<Vec<Buffer>>());
        pool.shrink_to(50 * BLOCK_BYTES);
        assert_eq!(lock(&pool.unused).buffers.len(), 50);
    }
}
