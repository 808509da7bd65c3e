//! The bytes of files: a cache of blocks, the fetches that fill it, the links that the fetches need, and read-ahead.
//!
//! Knows the remote side's links and an object store; knows neither inodes nor replies. Nothing above [`blocks`] knows
//! where a block lives.

mod block;
pub mod blocks;
mod buffers;
mod current;
mod error;
pub mod fetcher;
mod held;
mod in_flight;
mod kept;
mod limiter;
mod limits;
mod links;
mod look;
mod object;
mod object_store;
mod pacer;
mod parked;
mod prefetcher;
mod progress;
mod ranges;
mod reader;
mod running;
mod runs;
mod sizes;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use blocks::BlockCache;
use current::{Current, Objects};
pub use error::{ContentError, StoreError};
use fetcher::{Fetcher, Upcoming};
pub use in_flight::Fetch;
pub use kept::{KeptBlocks, NotPinned};
pub use limits::ContentConfig;
pub use links::LinkStore;
pub use object_store::{ObjectStore, StoreAnswer, StoreBody};
pub use parked::{ReadData, ReadDone};
use prefetcher::Prefetcher;
pub use reader::FileReader;
pub use sizes::SizeDone;
use sizes::Sizes;

use crate::clock::Clock;
use crate::jobs::{Class, JobQueue};
use crate::policy::range::ByteRange;
use crate::remote::{NodeId, Revision, Version};
use crate::stats::Report;

/// The content of one version of a file: once it has been read, of one object of the store and no other. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FileContent(Arc<Current>);

impl FileContent {
    /// Whether the store has shown that this content is no longer the file's: no more of it can be read.
    pub fn is_changed(&self) -> bool {
        let object = self.0.object();
        object.is_changed() && !self.0.can_renew(&object)
    }
}

/// All content of one mount.
pub struct Content {
    prefetcher: Arc<Prefetcher>,
    links: Arc<LinkStore>,
    objects: Arc<Objects>,
    sizes: Arc<Sizes>,
}

impl Content {
    /// Content that is read from `store` by links of `remote`, on the threads of `jobs`; blocks in `kept` are taken from there,
    /// and all others are put there.
    pub fn new(
        config: ContentConfig,
        store: Arc<dyn ObjectStore>,
        links: Arc<LinkStore>,
        jobs: JobQueue,
        clock: Arc<dyn Clock>,
        kept: Option<KeptBlocks>,
    ) -> Content {
        let budget = config.budget;
        let blocks = Arc::new(BlockCache::new(budget.bytes()));
        let fetcher =
            Fetcher::new(store, Arc::clone(&links), Arc::clone(&blocks), Arc::clone(&clock), jobs, config, kept);
        let prefetcher = Arc::new(Prefetcher::new(blocks, fetcher, budget, clock));
        Content { prefetcher, links, objects: Arc::default(), sizes: Arc::default() }
    }

    /// The links of this mount.
    pub fn links(&self) -> &Arc<LinkStore> {
        &self.links
    }

    /// The content of one version of a file, to be held for as long as anybody may have bytes of it: all of them are of one object
    /// of the store. Touches no network.
    pub fn of(&self, id: &NodeId, version: Version) -> FileContent {
        FileContent(Arc::new(Current::new(self.objects.get(id, version))))
    }

    /// The length of a file that is listed without one, if it was asked for before.
    pub fn known_size(&self, id: &NodeId, edited_ms: i64) -> Option<u64> {
        self.sizes.known(&Revision { id: id.clone(), edited_ms })
    }

    /// The object of that file has turned out to be another: its length is to be asked for again.
    pub fn forget_size(&self, id: &NodeId, edited_ms: i64) {
        self.sizes.forget(&Revision { id: id.clone(), edited_ms });
    }

    /// Asks the store for that length: one small request, and a link if there is none. The caller answers for the deadline; past it,
    /// nothing is asked any more on this account.
    pub fn ask_size(&self, id: &NodeId, edited_ms: i64, deadline: Instant, done: SizeDone) {
        self.sizes.ask(&self.prefetcher.fetcher, Revision { id: id.clone(), edited_ms }, deadline, done);
    }

    /// Opens a file. Touches no network.
    pub fn open(&self, content: &FileContent) -> FileReader {
        FileReader::new(Arc::clone(&content.0), Arc::clone(&self.objects), Arc::clone(&self.prefetcher))
    }

    /// How many bytes of it are in memory or on the disk. Blocks as long as the disk takes, until `until` at most.
    pub fn held_bytes(&self, content: &FileContent, until: Instant) -> u64 {
        let Prefetcher { blocks, fetcher, .. } = self.prefetcher.as_ref();
        held::held_bytes(&content.0.object(), blocks, fetcher.kept.as_deref(), fetcher.clock.as_ref(), until)
    }

    /// Requests the first `len` bytes of each file, in this order, at a lower priority than any read that waits. Blocks that are
    /// whole or being fetched are left alone; `len` is at least 1 and at most the file's length.
    ///
    /// `upcoming` are these files and more that come after them: where the service gives several links in one call, theirs are
    /// requested together.
    pub fn fetch_ahead(&self, files: Vec<(NodeId, Version, u64)>, upcoming: &[Revision]) {
        let upcoming: Option<Upcoming> = self.links.is_batching().then(|| upcoming.into());
        for (id, version, len) in files {
            if self.links.is_refused(&Revision::new(&id, version)) {
                continue;
            }
            let object = self.objects.get(&id, version);
            self.prefetcher.fetch_missing(&object, ByteRange::new(0, len), upcoming.as_ref(), |_, _| {});
        }
    }

    /// What is being fetched, the oldest first; as many as there are threads for it, at most.
    pub fn fetches(&self) -> Vec<Fetch> {
        self.prefetcher.fetcher.under_way().0.fetches()
    }

    /// Says how it is.
    pub fn tell(&self, report: &mut Report) {
        let (used, peak) = self.memory_usage();
        report.number("memory.used_bytes", used);
        report.number("memory.peak_bytes", peak);
        report.number("memory.budget_bytes", self.memory_budget());
        report.number("retries.content", self.prefetcher.fetcher.under_way().1);
        report.number("links.renewed", self.links.outlived());
    }

    /// Has `work`, which waits for nothing but the disk, done on a thread of the content's. Dropped if too much waits.
    pub fn soon(&self, work: impl FnOnce() + Send + 'static) {
        self.prefetcher.fetcher.jobs.push(Class::Foreground, work);
    }

    /// The most bytes that the disk keeps; `None` if nothing is kept.
    pub fn kept_limit(&self) -> Option<u64> {
        self.prefetcher.fetcher.kept.as_ref().map(|kept| kept.limit_bytes())
    }

    /// The budget of all cached and prefetched bytes.
    pub fn memory_budget(&self) -> u64 {
        self.prefetcher.budget().bytes()
    }

    /// Bytes held now, and the most that ever were.
    pub fn memory_usage(&self) -> (u64, u64) {
        self.prefetcher.blocks.usage()
    }
}
