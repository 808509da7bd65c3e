//! The bytes of files: a cache of blocks, the fetches that fill it, the links that the fetches need, and read-ahead.
//!
//! Knows the remote side's links and an object store; knows neither inodes nor replies. Nothing above [`blocks`] knows
//! where a block lives.

mod block;
pub mod blocks;
mod buffers;
mod error;
pub mod fetcher;
mod links;
mod object;
mod parked;
mod ranges;
mod reader;
mod running;
mod sizes;
mod store;

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use blocks::BlockCache;
pub use error::{ContentError, StoreError};
use fetcher::Fetcher;
pub use links::LinkStore;
use object::Object;
pub use parked::{ReadData, ReadDone};
pub use reader::FileReader;
use running::{Activity, Running};
pub use sizes::SizeDone;
use sizes::Sizes;
pub use store::{ObjectStore, StoreAnswer, StoreBody};

use crate::clock::{Clock, lock};
use crate::jobs::{Class, JobQueue, Ticket, Urgency};
use crate::policy::budget::{Budget, MAX_STREAMS_PER_READER, Shares};
use crate::policy::range::ByteRange;
use crate::policy::readahead::Window;
use crate::policy::retry::FailureKind;
use crate::remote::{NodeId, RemoteErrorKind, Version};

/// The most objects whose identity is remembered after their last handle was closed, so that their blocks are found
/// again: about 200 bytes each, and more than the blocks that fit into a GiB.
const OBJECTS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// What the content room is told at the start.
#[derive(Clone, Copy, Debug)]
pub struct ContentConfig {
    /// The budget of all cached and prefetched bytes.
    pub budget: Budget,
    /// The deadline of every operation.
    pub op_timeout: Duration,
}

/// The content of one version of a file: once it has been read, of one object of the store and no other. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileContent(Arc<Object>);

impl FileContent {
    /// Whether the store has shown that this content is no longer the file's: no more of it can be read.
    pub fn is_changed(&self) -> bool {
        self.0.is_changed()
    }
}

/// All content of one mount.
pub struct Content {
    shared: Arc<Shared>,
    links: Arc<LinkStore>,
    objects: Mutex<LruCache<(NodeId, Version), Arc<Object>>>,
    sizes: Arc<Sizes>,
}

/// What all readers share.
struct Shared {
    blocks: Arc<BlockCache>,
    fetcher: Arc<Fetcher>,
    op_timeout: Duration,
    clock: Arc<dyn Clock>,
    next_reader: AtomicU64,
    running: Running,
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
        let ContentConfig { budget, op_timeout } = config;
        let blocks = Arc::new(BlockCache::new(budget.bytes()));
        let fetcher =
            Fetcher::new(store, Arc::clone(&links), Arc::clone(&blocks), Arc::clone(&clock), jobs, op_timeout);
        let (next_reader, running) = (AtomicU64::new(0), Running::new(budget, Arc::clone(&clock)));
        let shared = Arc::new(Shared { blocks, fetcher, op_timeout, clock, next_reader, running });
        Content { shared, links, objects: Mutex::new(LruCache::new(OBJECTS_MAX)), sizes: Arc::default() }
    }

    /// The links of this mount.
    pub fn links(&self) -> &Arc<LinkStore> {
        &self.links
    }

    /// The content of one version of a file, to be held for as long as anybody may have bytes of it: all of them are of one object
    /// of the store. Touches no network.
    pub fn of(&self, id: &NodeId, version: Version) -> FileContent {
        FileContent(self.object(id, version))
    }

    /// The length of a file that is listed without one, if it was asked for before.
    pub fn known_size(&self, id: &NodeId, edited_ms: i64) -> Option<u64> {
        self.sizes.known(&(id.clone(), edited_ms))
    }

    /// The object of that file has turned out to be another: its length is to be asked for again.
    pub fn forget_size(&self, id: &NodeId, edited_ms: i64) {
        self.sizes.forget(&(id.clone(), edited_ms));
    }

    /// Asks the store for that length: one small request, and a link if there is none. The caller answers for the deadline; past it,
    /// nothing is asked any more on this account.
    pub fn ask_size(&self, id: &NodeId, edited_ms: i64, deadline: Instant, done: SizeDone) {
        self.sizes.ask(&self.shared.fetcher, (id.clone(), edited_ms), deadline, done);
    }

    /// Opens a file. Touches no network.
    pub fn open(&self, content: &FileContent) -> FileReader {
        FileReader::new(Arc::clone(&content.0), Arc::clone(&self.shared))
    }

    fn object(&self, id: &NodeId, version: Version) -> Arc<Object> {
        let key = (id.clone(), version);
        let mut objects = lock(&self.objects);
        match objects.get(&key) {
            Some(object) if !object.is_changed() => Arc::clone(object),
            _ => {
                let object = Arc::new(Object::new(id.clone(), version));
                objects.put(key, Arc::clone(&object));
                object
            }
        }
    }

    /// Has the first `len` bytes of each file fetched, in this order, behind whatever somebody waits for. What is there or on
    /// its way is left alone; `len` is at least 1 and at most the file's length.
    ///
    /// `upcoming` are the ids of these files and of more that come after them: where the service gives several links for one
    /// call, those are asked for together.
    pub fn fetch_ahead(&self, files: Vec<(NodeId, Version, u64)>, upcoming: &[NodeId]) {
        let deadline = self.shared.clock.now() + self.shared.op_timeout;
        let has_wishes = || self.links.has_guesses() || files.iter().any(|(id, ..)| self.links.lacks(id));
        if self.links.is_batching() && has_wishes() {
            self.shared.fetcher.resolve_ahead(upcoming, deadline);
        }
        for (id, version, len) in files.into_iter().filter(|(id, ..)| !self.links.is_refused(id)) {
            let object = self.object(&id, version);
            self.shared.fetch_missing(&object, ByteRange::new(0, len), |_, _| {});
        }
    }

    /// The budget of all cached and prefetched bytes.
    pub fn memory_budget(&self) -> u64 {
        self.shared.running.budget().bytes()
    }

    /// Bytes held now, and the most that ever were.
    pub fn memory_usage(&self) -> (u64, u64) {
        self.shared.blocks.usage()
    }
}

impl Shared {
    /// How far reader `number`, which reads, may look ahead.
    fn window(&self, number: u64, activity: &Arc<Activity>) -> Window {
        if let Some(shares) = self.running.note_read(number, activity) {
            self.keep_to(shares);
        }
        let requests = self.fetcher.planned().min(MAX_STREAMS_PER_READER);
        Window::new(requests, self.fetcher.part_bytes(), self.running.window_bytes())
    }

    fn keep_to(&self, shares: Shares) {
        self.fetcher.set_max_streams(shares.max_streams);
        self.blocks.reserve(shares.replies_bytes);
    }

    /// Has what is missing of `range` fetched behind whatever somebody waits for; `started` is shown each fetch. Nothing is fetched
    /// while as many guesses as may be are under way.
    fn fetch_missing(&self, object: &Arc<Object>, range: ByteRange, mut started: impl FnMut(ByteRange, Ticket)) {
        if !self.fetcher.has_room(Class::Background) {
            return;
        }
        for run in self.blocks.acquire_new(object, range.blocks()) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let range = ByteRange::new(first.range.start, last.range.end);
            started(range, self.fetcher.start(object, run, Urgency::Guess));
        }
    }

    fn reader_closed(&self, number: u64) {
        match self.running.note_closed(number) {
            Some(shares) => self.keep_to(shares),
            None => self.blocks.release_unused(),
        }
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
