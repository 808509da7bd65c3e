//! The bytes of files: a cache of blocks, the fetches that fill it, the links that the fetches need, and read-ahead.
//!
//! Knows the remote side's links and an object store; knows neither inodes nor replies. Nothing above [`blocks`] knows
//! where a block lives.

pub mod blocks;
mod error;
pub mod fetcher;
mod links;
mod reader;
mod store;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;

use blocks::{BlockCache, Object};
pub use blocks::{ReadData, ReadDone};
pub use error::{ContentError, StoreError};
use fetcher::Fetcher;
pub use links::LinkStore;
pub use reader::FileReader;
pub use store::{ObjectStore, StoreAnswer, StoreBody};

use crate::clock::{Clock, lock};
use crate::jobs::JobQueue;
use crate::policy::retry::FailureKind;
use crate::remote::{NodeId, RemoteErrorKind, Version};

/// The most objects whose identity is remembered after their last handle was closed, so that their blocks are found
/// again: about 200 bytes each, and more than the blocks that fit into a GiB.
const OBJECTS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The longest window of one reader, in bytes: 25 MB/s on 8 connections for a second and a half.
const WINDOW_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The shortest, in bytes: below this, a stream is one request after the other.
const WINDOW_MIN_BYTES: u64 = 1024 * 1024;

/// What the content room is told at the start.
#[derive(Clone, Copy, Debug)]
pub struct ContentConfig {
    /// The budget of all cached and prefetched bytes.
    pub memory_bytes: u64,
    /// The deadline of every operation.
    pub op_timeout: Duration,
}

/// All content of one mount.
pub struct Content {
    shared: Arc<Shared>,
    links: Arc<LinkStore>,
    objects: Mutex<LruCache<(NodeId, Version), Arc<Object>>>,
}

/// What all readers share.
struct Shared {
    blocks: Arc<BlockCache>,
    fetcher: Arc<Fetcher>,
    memory_bytes: u64,
    op_timeout: Duration,
    readers: AtomicU64,
}

impl Content {
    /// Content that is read from `store` by `links`, on the threads of `jobs`.
    pub fn new(
        config: ContentConfig,
        store: Arc<dyn ObjectStore>,
        links: Arc<LinkStore>,
        jobs: JobQueue,
        clock: Arc<dyn Clock>,
    ) -> Content {
        let blocks = Arc::new(BlockCache::new(config.memory_bytes));
        let fetcher = Fetcher::new(store, Arc::clone(&links), Arc::clone(&blocks), clock, jobs);
        let ContentConfig { memory_bytes, op_timeout } = config;
        let shared = Arc::new(Shared { blocks, fetcher, memory_bytes, op_timeout, readers: AtomicU64::new(0) });
        Content { shared, links, objects: Mutex::new(LruCache::new(OBJECTS_MAX)) }
    }

    /// The links of this mount.
    pub fn links(&self) -> &Arc<LinkStore> {
        &self.links
    }

    /// Opens one version of a file. Touches no network.
    pub fn open(&self, id: &NodeId, version: Version) -> FileReader {
        let key = (id.clone(), version);
        let mut objects = lock(&self.objects);
        let object = match objects.get(&key) {
            Some(object) if !object.is_changed() => Arc::clone(object),
            _ => {
                let object = Arc::new(Object::new(id.clone(), version));
                objects.put(key, Arc::clone(&object));
                object
            }
        };
        drop(objects);
        FileReader::new(object, Arc::clone(&self.shared))
    }

    /// Bytes held now, and the most that ever were.
    pub fn memory_usage(&self) -> (u64, u64) {
        self.shared.blocks.usage()
    }
}

impl Shared {
    /// How far one reader may look ahead: its share of half the budget, so that what is fetched ahead is not evicted
    /// before it is read.
    fn window_max_bytes(&self) -> u64 {
        let readers = self.readers.load(Ordering::Relaxed).max(1);
        (self.memory_bytes / 2 / readers).clamp(WINDOW_MIN_BYTES, WINDOW_MAX_BYTES)
    }

    fn reader_opened(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    fn reader_closed(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn store_busy(answer: &StoreAnswer) -> StoreError {
    let kind = match answer.status {
        429 => RemoteErrorKind::Throttled,
        _ => RemoteErrorKind::Unavailable,
    };
    let failure = if answer.status == 429 || answer.error_code.as_deref() == Some("SlowDown") {
        FailureKind::Throttled
    } else {
        FailureKind::Transient
    };
    let context = format!(
        "the object store answered HTTP {} ({})",
        answer.status,
        answer.error_code.as_deref().unwrap_or("no code")
    );
    StoreError { kind, failure, retry_after: answer.retry_after, context }
}

fn store_timeout() -> StoreError {
    StoreError {
        kind: RemoteErrorKind::Timeout,
        failure: FailureKind::Permanent,
        retry_after: None,
        context: "the object store's answer did not end before the deadline".to_owned(),
    }
}

fn store_cut_short() -> StoreError {
    StoreError {
        kind: RemoteErrorKind::Unavailable,
        failure: FailureKind::Interrupted,
        retry_after: None,
        context: "the object store's answer ended too soon".to_owned(),
    }
}
