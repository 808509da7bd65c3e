//! Fetches runs of adjacent blocks: one ranged GET, its answer judged, its body streamed into the blocks.
//!
//! A fetch that breaks goes on at the byte where it broke. A refused link is dropped and resolved again. Pauses between
//! tries hold no thread. Knows links and the object store; knows neither handles nor replies.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::blocks::{Block, BlockCache, Object};
use super::buffers::Buffer;
use super::store::{ObjectStore, StoreAnswer};
use super::{ContentError, LinkStore};
use crate::clock::{Clock, lock};
use crate::jobs::{Class, JobQueue};
use crate::policy::pace::Pace;
use crate::policy::printable::one_line;
use crate::policy::range::{self, BLOCK_BYTES, ByteRange, Verdict};
use crate::policy::retry::{self, Decision, FailureKind};
use crate::remote::{Link, NodeId};

/// How many links in a row the store may refuse before the refusal is believed: the one at hand, which may have expired,
/// a fresh one, and one more for a store that has not seen the fresh one yet.
const REFUSALS_MAX: u32 = 3;

/// How much of an unwanted body is still read rather than the connection closed, in bytes: less than what a new
/// connection costs in round trips at 25 MB/s.
const DRAIN_MAX_BYTES: u64 = 256 * 1024;

/// What is counted for what the HTTP client holds for a request, in bytes: hyper reads up to 408 KiB at a time (its
/// `DEFAULT_MAX_BUFFER_SIZE`), and one such piece waits to be read. An allowance and no bound: of 100 readers, the allocator's heap
/// was mostly 0.9 MiB for each of 64 requests, and once, with both processors busy, 1.5 (smaps).
pub const CLIENT_BUFFER_BYTES: u64 = 1024 * 1024;

/// Fetches blocks on worker threads.
pub struct Fetcher {
    store: Arc<dyn ObjectStore>,
    links: Arc<LinkStore>,
    blocks: Arc<BlockCache>,
    clock: Arc<dyn Clock>,
    jobs: JobQueue,
    pace: Mutex<Pace>,
    ceiling: AtomicUsize,
    started: Instant,
    /// Requests on their way.
    in_flight: AtomicUsize,
}

/// One run of adjacent blocks to be fetched.
pub struct FetchJob {
    object: Arc<Object>,
    range: ByteRange,
    /// The latest deadline of those who wait.
    deadline: Mutex<Instant>,
    /// Taken by the thread that works on it.
    progress: Mutex<Option<Progress>>,
    /// Nobody wants it any more, unless somebody waits for one of its blocks.
    is_cancelled: AtomicBool,
    /// Has been queued as foreground work.
    is_urgent: AtomicBool,
}

/// How far a fetch has come.
struct Progress {
    /// The blocks that are not whole yet. The others are no longer held: their readers may be done with them.
    missing: VecDeque<Arc<Block>>,
    /// The bytes of the first of them so far: `filled` of them count.
    buffer: Option<Buffer>,
    filled: usize,
    tries: u32,
    refusals: u32,
}

impl FetchJob {
    /// A run of blocks, in order and without a gap, that must be there by `deadline`.
    pub fn new(object: Arc<Object>, blocks: Vec<Arc<Block>>, deadline: Instant) -> Arc<FetchJob> {
        let range = match (blocks.first(), blocks.last()) {
            (Some(first), Some(last)) => ByteRange::new(first.range.start, last.range.end),
            _ => ByteRange::new(0, 0),
        };
        Arc::new_cyclic(|job| {
            for block in &blocks {
                block.set_job(job);
            }
            let progress = Progress { missing: blocks.into(), buffer: None, filled: 0, tries: 0, refusals: 0 };
            FetchJob {
                object,
                range,
                deadline: Mutex::new(deadline),
                progress: Mutex::new(Some(progress)),
                is_cancelled: AtomicBool::new(false),
                is_urgent: AtomicBool::new(false),
            }
        })
    }

    /// Nobody will read what it fetches. Blocks that somebody waits for are fetched all the same.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    /// The bytes that it is to fetch.
    pub fn range(&self) -> ByteRange {
        self.range
    }

    fn is_unwanted(&self, progress: &Progress) -> bool {
        self.is_cancelled.load(Ordering::Acquire) && !progress.missing.iter().any(|block| block.is_awaited())
    }

    fn deadline(&self) -> Instant {
        *lock(&self.deadline)
    }
}

impl Fetcher {
    /// A fetcher on the threads of `jobs`.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        links: Arc<LinkStore>,
        blocks: Arc<BlockCache>,
        clock: Arc<dyn Clock>,
        jobs: JobQueue,
    ) -> Arc<Fetcher> {
        let pace = Pace::default();
        jobs.set_background_limit(pace.streams());
        let (pace, ceiling) = (Mutex::new(pace), AtomicUsize::new(usize::MAX));
        let (started, in_flight) = (clock.now(), AtomicUsize::new(0));
        Arc::new(Fetcher { store, links, blocks, clock, jobs, pace, ceiling, started, in_flight })
    }

    /// Has the links of `ids` asked for in as few calls as can be, ahead of the fetches that will need them.
    pub fn resolve_ahead(&self, ids: &[NodeId], deadline: Instant) {
        if self.links.want(ids) {
            let links = Arc::clone(&self.links);
            // Refused by a full queue, the call is made by whoever needs the first of the links.
            let _ = self.jobs.push(Class::Foreground, move || links.call_for_wanted(deadline));
        }
    }

    /// What is known of the store's pace at the moment.
    pub fn pace(&self) -> Pace {
        *lock(&self.pace)
    }

    /// No more than so many requests run ahead of the readers there are.
    pub fn set_ceiling(&self, ceiling: usize) {
        if self.ceiling.swap(ceiling, Ordering::Relaxed) != ceiling {
            self.jobs.set_background_limit(self.pace().streams().min(ceiling));
        }
    }

    /// Tells the pace what has happened, and obeys it.
    fn adjust_pace(&self, tell: impl FnOnce(&mut Pace, Duration)) {
        let now = self.clock.now().saturating_duration_since(self.started);
        let mut pace = lock(&self.pace);
        let before = pace.streams();
        tell(&mut pace, now);
        let after = pace.streams();
        drop(pace);
        if after != before {
            log::debug!("{after} requests ahead at a time, were {before}");
            self.jobs.set_background_limit(after.min(self.ceiling.load(Ordering::Relaxed)));
        }
    }

    /// Queues a job.
    pub fn start(self: &Arc<Self>, job: &Arc<FetchJob>, class: Class) {
        if class == Class::Foreground {
            job.is_urgent.store(true, Ordering::Release);
            lock(&self.pace).on_wait();
        }
        self.queue(Arc::clone(job), Duration::ZERO);
    }

    /// Somebody waits for a block of `job` until `deadline`: it is not cancelled, and it no longer waits behind others.
    pub fn hurry(self: &Arc<Self>, job: &Arc<FetchJob>, deadline: Instant) {
        lock(&self.pace).on_wait();
        job.is_cancelled.store(false, Ordering::Release);
        let mut latest = lock(&job.deadline);
        *latest = deadline.max(*latest);
        drop(latest);
        if !job.is_urgent.swap(true, Ordering::AcqRel) {
            // Whichever of its two queue entries comes first takes the progress; the other finds nothing to do.
            self.queue(Arc::clone(job), Duration::ZERO);
        }
    }

    fn queue(self: &Arc<Self>, job: Arc<FetchJob>, pause: Duration) {
        let class = if job.is_urgent.load(Ordering::Acquire) { Class::Foreground } else { Class::Background };
        let fetcher = Arc::clone(self);
        let queued = Arc::clone(&job);
        let run = move || fetcher.run(&queued);
        let pushed = match pause {
            Duration::ZERO => self.jobs.push(class, run),
            _ => self.jobs.push_after(pause, class, run),
        };
        if pushed.is_err()
            && let Some(progress) = lock(&job.progress).take()
        {
            self.give_up(&job, progress, &ContentError::Overloaded);
        }
    }

    fn run(self: &Arc<Self>, job: &Arc<FetchJob>) {
        let Some(mut progress) = lock(&job.progress).take() else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| self.attempt(job, &mut progress)));
        let error = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_panic) => ContentError::Internal,
        };
        progress.tries += 1;
        if matches!(error.failure_kind(), FailureKind::Throttled | FailureKind::Interrupted) {
            self.adjust_pace(Pace::on_refusal);
        }
        let remaining = job.deadline().saturating_duration_since(self.clock.now());
        match retry::decide(error.failure_kind(), progress.tries, remaining, error.retry_after(), fastrand::f64()) {
            Decision::Again(pause) => {
                log::debug!("fetch of {:?} failed, trying again in {pause:?}: {}", job.range(), one_line(&error));
                *lock(&job.progress) = Some(progress);
                self.queue(Arc::clone(job), pause);
            }
            Decision::GiveUp => self.give_up(job, progress, &error),
        }
    }

    /// The job ends without its remaining blocks.
    fn give_up(&self, job: &FetchJob, progress: Progress, error: &ContentError) {
        if matches!(error, ContentError::Changed) {
            job.object.set_changed();
            self.blocks.purge(&job.object);
        }
        for (number, block) in progress.missing.iter().enumerate() {
            if number == 0 && progress.buffer.is_some() {
                self.blocks.refund(block);
            }
            self.blocks.fail(&job.object, block, error);
        }
    }

    /// One try: streams until the job is complete.
    fn attempt(&self, job: &FetchJob, progress: &mut Progress) -> Result<(), ContentError> {
        while let Some(next) = progress.missing.front() {
            if job.object.is_changed() {
                return Err(ContentError::Changed);
            }
            if job.is_unwanted(progress) {
                return Err(ContentError::Cancelled);
            }
            let deadline = job.deadline();
            let link = self.links.get(&job.object.id, deadline)?;
            let wanted = ByteRange::new(next.range.start + progress.filled as u64, job.range.end);
            let asked = range::never_one_byte(wanted, job.object.size());
            let etag = job.object.etag.get().map(String::as_str);
            let _in_flight = InFlight::start(self, asked.len());
            let sent = self.clock.now();
            let answer = self.store.get(&link, asked, etag, deadline);
            let answer = answer.map_err(|error| ContentError::Store(Arc::new(error)))?;
            let waited = self.clock.now().saturating_duration_since(sent);
            match range::judge(asked, job.object.size(), answer.head()) {
                Verdict::Use { skip } => {
                    pin_etag(&job.object, answer.etag.as_deref())?;
                    progress.refusals = 0;
                    lock(&self.pace).on_first_byte(waited);
                    self.stream(job, progress, answer, skip + (wanted.start - asked.start))?;
                }
                Verdict::RefusedLink => self.note_refusal(job, progress, &link, answer.status)?,
                Verdict::Changed => return Err(ContentError::Changed),
                Verdict::Busy => return Err(ContentError::Store(Arc::new(super::store_busy(&answer)))),
                Verdict::Refused => return Err(ContentError::Refused { status: answer.status }),
                Verdict::Malformed => return Err(ContentError::Malformed { status: answer.status }),
            }
        }
        Ok(())
    }

    /// The link is no good: the next round resolves a new one, until the refusal must be believed.
    fn note_refusal(
        &self,
        job: &FetchJob,
        progress: &mut Progress,
        link: &Link,
        status: u16,
    ) -> Result<(), ContentError> {
        self.links.refuse(&job.object.id, link);
        progress.refusals += 1;
        log::debug!("link refused (HTTP {status}) for {:?}, refusal {}", job.range(), progress.refusals);
        if progress.refusals >= REFUSALS_MAX { Err(ContentError::Refused { status }) } else { Ok(()) }
    }

    /// Streams a body into the blocks, after skipping `skip` bytes of it.
    fn stream(
        &self,
        job: &FetchJob,
        progress: &mut Progress,
        mut answer: StoreAnswer,
        skip: u64,
    ) -> Result<(), ContentError> {
        let mut read = |buffer: &mut [u8]| {
            // The store's own limit ends a stall; this one ends a trickle.
            if self.clock.now() >= job.deadline() {
                return Err(ContentError::Store(Arc::new(super::store_timeout())));
            }
            match answer.body.read_some(buffer) {
                Ok(0) => Err(ContentError::Store(Arc::new(super::store_cut_short()))),
                Ok(count) => Ok(count),
                Err(error) => Err(ContentError::Store(Arc::new(error))),
            }
        };
        skip_bytes(skip, &mut read)?;
        let mut block_began = self.clock.now();
        while let Some(block) = progress.missing.front() {
            let buffer = progress.buffer.get_or_insert_with(|| self.blocks.buffer(block));
            while progress.filled < buffer.len() {
                progress.filled += read(&mut buffer[progress.filled..])?;
                // Progress: tries count failures in a row, not over the life of a long stream.
                progress.tries = 0;
                if progress.filled < buffer.len() {
                    block.offer_prefix(&buffer[..progress.filled]);
                }
            }
            if let Some(buffer) = progress.buffer.take() {
                self.blocks.complete(&job.object, block, buffer);
            }
            let now = self.clock.now();
            let (len, took) = (block.range.len(), now.saturating_duration_since(block_began));
            let in_flight = self.in_flight.load(Ordering::Relaxed);
            match len {
                BLOCK_BYTES => self.adjust_pace(|pace, now| pace.on_bytes(len, took, in_flight, now)),
                _ => self.adjust_pace(|pace, now| pace.on_short_answer(in_flight, now)),
            }
            block_began = now;
            progress.filled = 0;
            let left = job.range.end - block.range.end;
            progress.missing.pop_front();
            if left > DRAIN_MAX_BYTES && job.is_unwanted(progress) {
                return Err(ContentError::Cancelled);
            }
        }
        // An exact answer has ended now; seeing its end hands the connection back for the next request.
        if answer.status == 206 {
            let _ = answer.body.read_some(&mut [0]);
        }
        Ok(())
    }
}

/// Counts a request, and what the HTTP client holds for it, for as long as it is on its way.
struct InFlight<'a> {
    fetcher: &'a Fetcher,
    held_bytes: u64,
}

impl InFlight<'_> {
    fn start(fetcher: &Fetcher, asked_bytes: u64) -> InFlight<'_> {
        let held_bytes = asked_bytes.min(CLIENT_BUFFER_BYTES);
        fetcher.in_flight.fetch_add(1, Ordering::Relaxed);
        fetcher.blocks.charge(held_bytes);
        InFlight { fetcher, held_bytes }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.fetcher.blocks.uncharge(self.held_bytes);
        self.fetcher.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The first answer's tag is the object's; any other tag later is another version.
fn pin_etag(object: &Object, etag: Option<&str>) -> Result<(), ContentError> {
    let Some(etag) = etag else { return Ok(()) };
    let pinned = object.etag.get_or_init(|| etag.to_owned());
    if pinned == etag { Ok(()) } else { Err(ContentError::Changed) }
}

fn skip_bytes(
    mut count: u64,
    read: &mut impl FnMut(&mut [u8]) -> Result<usize, ContentError>,
) -> Result<(), ContentError> {
    let mut scratch = [0; 16 * 1024];
    while count > 0 {
        let len = usize::try_from(count).unwrap_or(usize::MAX).min(scratch.len());
        count -= read(&mut scratch[..len])? as u64;
    }
    Ok(())
}
