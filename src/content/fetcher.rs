//! Fetches runs of adjacent blocks: one ranged GET, its answer judged, its body streamed into the blocks.
//!
//! A fetch that breaks goes on at the byte where it broke. A refused link is dropped and resolved again. Knows links and the
//! object store; knows neither handles nor replies.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::block::Block;
use super::blocks::BlockCache;
use super::in_flight::InFlight;
use super::kept::{KeptBlocks, KeptUnit};
use super::object::Object;
use super::object_store::{self, ObjectStore, StoreAnswer};
use super::progress::Progress;
use super::{ContentError, LinkStore};
use crate::clock::Clock;
use crate::jobs::{Attempt, Class, End, Failure, JobQueue, Task, Ticket, Urgency};
use crate::policy::pace::Pace;
use crate::policy::printable::one_line;
use crate::policy::range::{self, BLOCK_BYTES, ByteRange, Verdict};
use crate::policy::retry::FailureKind;
use crate::remote::{Link, RemoteErrorKind, Revision};
use crate::sync::lock;

/// How many links in a row the store may refuse before the refusal is believed: the one at hand, which may have expired,
/// a fresh one, and one more for a store that has not seen the fresh one yet.
pub(super) const MAX_REFUSALS: u32 = 3;

/// How much of an unwanted body is still read rather than the connection closed, in bytes: less than what a new
/// connection costs in round trips at 25 MB/s.
const DRAIN_MAX_BYTES: u64 = 256 * 1024;

/// Fetches blocks on worker threads.
pub struct Fetcher {
    store: Arc<dyn ObjectStore>,
    links: Arc<LinkStore>,
    blocks: Arc<BlockCache>,
    clock: Arc<dyn Clock>,
    jobs: JobQueue,
    op_timeout: Duration,
    pace: Mutex<Pace>,
    /// [`Pace::planned`] and [`Pace::part_bytes`] as they last were, for reads that need no lock for them.
    planned: AtomicUsize,
    part_bytes: AtomicU64,
    started: Instant,
    /// Requests on their way.
    in_flight: AtomicUsize,
    /// What is on the disk, which is asked first.
    kept: Option<Arc<KeptBlocks>>,
}

/// Files whose links are to be asked for together.
pub(super) type Upcoming = Arc<[Revision]>;

/// One run of adjacent blocks to be fetched.
struct FetchTask {
    fetcher: Arc<Fetcher>,
    object: Arc<Object>,
    /// Empty while a thread works on it.
    progress: Mutex<Option<Progress>>,
}

/// A fetch's progress in the hands of the thread that works on it. Put back in any case, so that after a panic, too, it is known
/// which blocks are missing.
struct Held<'a> {
    task: &'a FetchTask,
    progress: Option<Progress>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(&self.task.progress) = self.progress.take();
    }
}

impl Task for FetchTask {
    fn attempt(&self, ticket: &Ticket, deadline: Instant) -> Attempt {
        let mut held = Held { task: self, progress: lock(&self.progress).take() };
        let Some(progress) = held.progress.as_mut() else { return Attempt::Done };
        progress.has_progressed = false;
        let error = match self.fetcher.fetch(ticket, deadline, &self.object, progress) {
            Ok(()) => return Attempt::Done,
            Err(ContentError::Cancelled) => return Attempt::Cancelled,
            Err(error) => error,
        };
        let (kind, retry_after, has_progressed) = (error.failure_kind(), error.retry_after(), progress.has_progressed);
        if kind != FailureKind::Permanent {
            log::debug!("fetch of {:?} failed: {}", progress.wanted(), one_line(&error));
        }
        progress.error = Some(error);
        Attempt::Failed(Failure { kind, retry_after, has_progressed })
    }

    fn end(&self, why: End) {
        let Some(progress) = lock(&self.progress).take() else { return };
        let error = match why {
            End::Failed => progress.error.unwrap_or(ContentError::Internal),
            End::Panicked => ContentError::Internal,
            End::Cancelled | End::Closed => ContentError::Cancelled,
        };
        if matches!(error, ContentError::Changed) {
            self.object.set_changed();
            self.fetcher.blocks.purge(&self.object);
            self.fetcher.forget_kept(&self.object);
        }
        if let (Some(block), Some(_)) = (progress.missing.front(), &progress.buffer) {
            self.fetcher.blocks.refund(block);
        }
        for block in &progress.missing {
            self.fetcher.blocks.fail(&self.object, block, &error);
        }
    }

    fn retries_guesses(&self) -> bool {
        true
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
        op_timeout: Duration,
        kept: Option<KeptBlocks>,
    ) -> Arc<Fetcher> {
        let pace = Pace::default();
        jobs.set_background_limit(pace.streams());
        Arc::new(Fetcher {
            store,
            links,
            blocks,
            started: clock.now(),
            clock,
            jobs,
            op_timeout,
            planned: AtomicUsize::new(pace.planned()),
            part_bytes: AtomicU64::new(pace.part_bytes()),
            pace: Mutex::new(pace),
            in_flight: AtomicUsize::new(0),
            kept: kept.map(Arc::new),
        })
    }

    /// Requests the links of `files` in as few calls as possible, ahead of the fetches that will need them.
    pub fn resolve_ahead(&self, files: &[Revision], deadline: Instant) {
        self.links.want(files);
        if self.links.has_guesses() {
            let links = Arc::clone(&self.links);
            // Refused by a full queue, the call is made by whoever needs the first of the links.
            self.jobs.push(Class::Foreground, move || links.call_ahead(deadline));
        }
    }

    /// How many requests are worth planning ahead of one reader at the moment.
    pub(super) fn planned(&self) -> usize {
        self.planned.load(Ordering::Relaxed)
    }

    /// The longest request worth making at the moment, in bytes.
    pub(super) fn part_bytes(&self) -> u64 {
        self.part_bytes.load(Ordering::Relaxed)
    }

    /// No more than so many requests run ahead of the readers.
    pub(super) fn set_max_streams(&self, max: usize) {
        self.adjust_pace(|pace, _| pace.set_max_streams(max));
    }

    /// Tells the pace what has happened, and applies the limits that follow.
    fn adjust_pace(&self, tell: impl FnOnce(&mut Pace, Duration)) {
        let now = self.clock.now().saturating_duration_since(self.started);
        let mut pace = lock(&self.pace);
        let before = pace.streams();
        tell(&mut pace, now);
        self.planned.store(pace.planned(), Ordering::Relaxed);
        self.part_bytes.store(pace.part_bytes(), Ordering::Relaxed);
        let after = pace.streams();
        if after != before {
            self.jobs.set_background_limit(after);
            drop(pace);
            log::debug!("{after} requests ahead at a time, were {before}");
        }
    }

    /// Whether another fetch may be started that somebody waits for, or that is a guess.
    pub(super) fn has_room(&self, class: Class) -> bool {
        let may_look = class == Class::Foreground || self.kept.as_ref().is_none_or(|kept| kept.has_room());
        may_look && self.jobs.has_room(class)
    }

    /// The links of the objects.
    pub(super) fn links(&self) -> &LinkStore {
        &self.links
    }

    /// A ticket for other work with the object store, on the same threads.
    pub(super) fn ticket(&self, task: Arc<dyn Task>) -> Ticket {
        self.jobs.ticket(task, self.op_timeout)
    }

    /// Sends one request, which counts as one on its way until its head is in.
    pub(super) fn request(
        &self,
        link: &Link,
        asked: ByteRange,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<StoreAnswer, ContentError> {
        let _in_flight = InFlight::start(&self.in_flight, &self.blocks, asked.len());
        self.store.get(link, asked, etag, deadline).map_err(|error| ContentError::Store(Arc::new(error)))
    }

    /// Starts to fetch a run of new blocks of `object`, in order and without a gap: from the disk, and the rest from the object
    /// store. Where the object has no link yet, those of `upcoming` are requested in the same call.
    pub(super) fn start(
        self: &Arc<Self>,
        object: &Arc<Object>,
        blocks: Vec<Arc<Block>>,
        urgency: Urgency,
        upcoming: Option<&Upcoming>,
    ) -> Ticket {
        let missing: VecDeque<Arc<Block>> = blocks.into();
        let progress = Progress::new(missing.clone());
        let task =
            FetchTask { fetcher: Arc::clone(self), object: Arc::clone(object), progress: Mutex::new(Some(progress)) };
        let task = Arc::new(task);
        let ticket = self.jobs.ticket(Arc::clone(&task) as Arc<dyn Task>, self.op_timeout);
        let awaited_until = missing.iter().filter_map(|block| block.set_ticket(&ticket)).max();
        if let Some(until) = awaited_until {
            ticket.promote(until);
        }
        let look = Arc::new(Look { task, ticket: ticket.clone(), urgency, upcoming: upcoming.cloned() });
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.is_trusted(object)) {
            let found = || {
                let look = Arc::clone(&look);
                move |blocks: Vec<Arc<Block>>, unit: KeptUnit| look.take_in(blocks, &unit)
            };
            kept.look_up(object, &missing, found);
        }
        ticket
    }

    /// The object store has another version of `object`: removes its blobs from the disk, in the background.
    fn forget_kept(&self, object: &Arc<Object>) {
        if let Some(kept) = self.kept.clone() {
            let object = Arc::clone(object);
            self.jobs.push(Class::Foreground, move || kept.remove_all(&object));
        }
    }

    /// A reader waits for bytes that are not in yet.
    pub(super) fn note_wait(&self) {
        lock(&self.pace).on_wait();
    }

    /// Abandons blocks, from the last one back to the first that a read waits for; `true` if none is left.
    fn abandon(&self, object: &Object, progress: &mut Progress) -> bool {
        while let Some(last) = progress.missing.back() {
            if !self.blocks.abandon(object, last) {
                return false;
            }
            if progress.missing.len() == 1 && progress.buffer.take().is_some() {
                self.blocks.refund(last);
            }
            progress.missing.pop_back();
        }
        true
    }

    /// One attempt: streams until nothing is missing.
    fn fetch(
        &self,
        ticket: &Ticket,
        deadline: Instant,
        object: &Arc<Object>,
        progress: &mut Progress,
    ) -> Result<(), ContentError> {
        while !progress.missing.is_empty() {
            if object.is_changed() {
                return Err(ContentError::Changed);
            }
            if ticket.is_cancelled() && self.abandon(object, progress) {
                return Err(ContentError::Cancelled);
            }
            let deadline = ticket.deadline().unwrap_or(deadline);
            let link = self.links.get(&object.revision(), deadline)?;
            let wanted = progress.wanted();
            let asked = range::never_one_byte(wanted, object.size());
            if let Some(why) = object.ranges.refusal(asked, self.clock.now()) {
                return Err(ContentError::RangeIgnored(why));
            }
            let etag = object.etag.get().map(String::as_str);
            let _in_flight = InFlight::start(&self.in_flight, &self.blocks, asked.len());
            let sent = self.clock.now();
            let answer = self.store.get(&link, asked, etag, deadline);
            let answer = answer.map_err(|error| ContentError::Store(Arc::new(error)))?;
            let waited = self.clock.now().saturating_duration_since(sent);
            match range::judge(asked, object.size(), answer.head()) {
                Verdict::Use { .. } if !object.is_same_version(answer.etag.as_deref()) => {
                    self.doubt_link(object, progress, &link, ContentError::Changed)?;
                }
                Verdict::Use { skip } => {
                    progress.refusals = 0;
                    match answer.status {
                        206 => object.ranges.note_served(),
                        _ => object.ranges.note_whole(),
                    }
                    self.adjust_pace(|pace, now| pace.on_first_byte(waited, asked.len(), now));
                    self.stream(ticket, object, progress, answer, skip + (wanted.start - asked.start), sent)?;
                }
                Verdict::RefusedLink => self.note_refusal(object, progress, &link, answer.status)?,
                Verdict::Changed => self.doubt_link(object, progress, &link, ContentError::Changed)?,
                Verdict::OtherSize(stored) => {
                    self.doubt_link(object, progress, &link, object.other_size(stored))?;
                }
                // Dropped unread, which closes the connection.
                Verdict::RangeIgnored(why) => {
                    log::debug!("range {asked:?} of {} bytes: {why}", object.size());
                    if object.ranges.note_ignored(why, sent, self.clock.now()) {
                        return Err(ContentError::RangeIgnored(why));
                    }
                }
                Verdict::Throttled => {
                    self.note_one_too_many();
                    return Err(object_store::busy(&answer, RemoteErrorKind::Throttled));
                }
                Verdict::Unavailable => {
                    // Many stores and gateways say no more than this when they are asked for too much at a time.
                    if answer.status == 503 {
                        self.note_one_too_many();
                    }
                    return Err(object_store::busy(&answer, RemoteErrorKind::Unavailable));
                }
                Verdict::Refused => return Err(ContentError::Refused { status: answer.status }),
                Verdict::Malformed => return Err(ContentError::Malformed { status: answer.status }),
            }
        }
        Ok(())
    }

    /// The store has refused a request because too many are running.
    fn note_one_too_many(&self) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.adjust_pace(|pace, now| pace.on_refusal(in_flight, now));
    }

    /// What the link leads to is not the object: the next round tries a fresh link, once, and then it is so.
    fn doubt_link(
        &self,
        object: &Object,
        progress: &mut Progress,
        link: &Link,
        error: ContentError,
    ) -> Result<(), ContentError> {
        if std::mem::replace(&mut progress.has_doubted_link, true) {
            return Err(error);
        }
        log::debug!("{}; a fresh link is asked for", one_line(&error));
        self.links.refuse(&object.revision(), link);
        Ok(())
    }

    /// The store refuses the link: the next round resolves a new one, up to [`MAX_REFUSALS`] in a row.
    fn note_refusal(
        &self,
        object: &Object,
        progress: &mut Progress,
        link: &Link,
        status: u16,
    ) -> Result<(), ContentError> {
        self.links.refuse(&object.revision(), link);
        progress.refusals += 1;
        log::debug!("link refused (HTTP {status}) for {:?}, refusal {}", progress.wanted(), progress.refusals);
        if progress.refusals >= MAX_REFUSALS { Err(ContentError::Refused { status }) } else { Ok(()) }
    }

    /// Streams a body into the blocks, after skipping `skip` bytes of it.
    fn stream(
        &self,
        ticket: &Ticket,
        object: &Arc<Object>,
        progress: &mut Progress,
        mut answer: StoreAnswer,
        skip: u64,
        sent: Instant,
    ) -> Result<(), ContentError> {
        let mut read = |buffer: &mut [u8]| {
            // The store's own limit ends a stall; this one ends a trickle.
            if ticket.deadline().is_some_and(|deadline| self.clock.now() >= deadline) {
                return Err(ContentError::Store(Arc::new(object_store::timeout())));
            }
            match answer.body.read_some(buffer) {
                Ok(0) => Err(ContentError::Store(Arc::new(object_store::cut_short()))),
                Ok(count) => Ok(count),
                Err(error) => Err(ContentError::Store(Arc::new(error))),
            }
        };
        object_store::skip(skip, &mut read)?;
        let mut block_began = self.clock.now();
        let mut is_first = true;
        let end = progress.wanted().end;
        while let Some(block) = progress.missing.front().filter(|block| block.range.start < end) {
            let buffer = progress.buffer.get_or_insert_with(|| self.blocks.buffer(block));
            while progress.filled < buffer.len() {
                progress.filled += read(&mut buffer[progress.filled..])?;
                progress.has_progressed = true;
                if progress.filled < buffer.len() {
                    block.offer_prefix(&buffer[..progress.filled]);
                }
            }
            if let Some(buffer) = progress.buffer.take() {
                self.blocks.complete(object, block, buffer);
                if let Some(kept) = &self.kept {
                    kept.add(object, block);
                }
            }
            let now = self.clock.now();
            let (len, took) = (block.range.len(), now.saturating_duration_since(block_began));
            let in_flight = self.in_flight.load(Ordering::Relaxed);
            self.adjust_pace(|pace, at| match len {
                BLOCK_BYTES => pace.on_block(took, in_flight, at),
                _ if is_first => pace.on_short_answer(took, now.saturating_duration_since(sent), in_flight, at),
                // The end of a file says nothing that the blocks before it have not said.
                _ => {}
            });
            is_first = false;
            block_began = now;
            progress.filled = 0;
            progress.missing.pop_front();
            if progress.wanted().len() > DRAIN_MAX_BYTES && ticket.is_cancelled() && self.abandon(object, progress) {
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

/// Looks for the blocks of a fetch on the disk. When its last holder drops it, every lookup has ended, and `drop` requests what
/// is still missing from the object store: no failure of a lookup can leave a read without an answer.
struct Look {
    task: Arc<FetchTask>,
    ticket: Ticket,
    urgency: Urgency,
    upcoming: Option<Upcoming>,
}

impl Look {
    /// These blocks, all in one unit, are on the disk.
    fn take_in(&self, blocks: Vec<Arc<Block>>, unit: &KeptUnit) {
        let FetchTask { fetcher, object, progress } = &*self.task;
        for block in blocks {
            let Some(buffer) = unit.read(&block, &fetcher.blocks) else { continue };
            if let Some(progress) = &mut *lock(progress) {
                progress.missing.retain(|missing| !Arc::ptr_eq(missing, &block));
            }
            fetcher.blocks.complete(object, &block, buffer);
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let FetchTask { fetcher, object, progress } = &*self.task;
        if lock(progress).as_ref().is_none_or(|progress| progress.missing.is_empty()) {
            return self.ticket.close();
        }
        if let Some(upcoming) = &self.upcoming
            && (fetcher.links.has_guesses() || fetcher.links.lacks(&object.revision()))
        {
            fetcher.resolve_ahead(upcoming, fetcher.clock.now() + fetcher.op_timeout);
        }
        if matches!(self.urgency, Urgency::Awaited(_)) || !self.ticket.is_guess() {
            fetcher.note_wait();
        }
        self.ticket.start(self.urgency);
    }
}
