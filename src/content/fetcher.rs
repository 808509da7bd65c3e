//! Fetches runs of adjacent blocks: one ranged GET, its answer judged, its body streamed into the blocks.
//!
//! A fetch that breaks goes on at the byte where it broke. A refused link is dropped and resolved again. Knows links and the
//! object store; knows neither handles nor replies.

mod handover;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::block::Block;
use super::blocks::BlockCache;
use super::in_flight::InFlight;
use super::kept::KeptBlocks;
use super::limiter::{Limiter, Turn};
use super::limits::ContentConfig;
use super::look::Look;
use super::object::Object;
use super::object_store::{self, ObjectStore, StoreAnswer};
use super::pacer::Pacer;
use super::progress::{Held, Progress};
use super::runs::{Run, Runs};
use super::{ContentError, LinkStore};
use crate::clock::Clock;
use crate::jobs::{Attempt, Class, End, Failure, JobQueue, Task, Ticket, Urgency};
use crate::policy::pace::Pace;
use crate::policy::printable::one_line;
use crate::policy::range::{self, BLOCK_BYTES, ByteRange, Verdict};
use crate::policy::retry::FailureKind;
use crate::remote::{Link, RemoteErrorKind, Revision};
use crate::sync::lock;

/// How much of an unwanted body is still read rather than the connection closed, in bytes: less than what a new
/// connection costs in round trips at 25 MB/s.
const DRAIN_MAX_BYTES: u64 = 256 * 1024;

/// Fetches blocks on worker threads.
pub struct Fetcher {
    store: Arc<dyn ObjectStore>,
    links: Arc<LinkStore>,
    blocks: Arc<BlockCache>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) jobs: JobQueue,
    op_timeout: Duration,
    pub(super) pacer: Pacer,
    pub(super) limiter: Limiter,
    /// Requests on their way.
    in_flight: InFlight,
    /// What is on the disk, which is asked first.
    pub(super) kept: Option<Arc<KeptBlocks>>,
    /// What is being fetched.
    runs: Runs,
}

/// Files whose links are to be asked for together.
pub(super) type Upcoming = Arc<[Revision]>;

/// The fetch of one run of blocks.
struct FetchTask {
    fetcher: Arc<Fetcher>,
    run: Arc<Run>,
    /// Empty while a thread works on it.
    progress: Mutex<Option<Progress>>,
}

impl Task for FetchTask {
    fn attempt(&self, ticket: &Ticket, deadline: Instant) -> Attempt {
        let mut held = Held::of(&self.progress);
        let Some(progress) = held.progress.as_mut() else { return Attempt::Done };
        progress.has_progressed = false;
        let _entered = self.fetcher.runs.enter(&self.run);
        let error = match self.fetcher.fetch(ticket, deadline, &self.run, progress) {
            Ok(()) => None,
            Err(ContentError::Cancelled) => return Attempt::Cancelled,
            Err(error) => Some(error),
        };
        // A fetch from which all was taken over has nothing left to fail of.
        let Some(error) = error.filter(|_| !self.run.is_done()) else {
            self.fetcher.give_up_filling(progress);
            return Attempt::Done;
        };
        let (kind, retry_after, has_progressed) = (error.failure_kind(), error.retry_after(), progress.has_progressed);
        if kind != FailureKind::Permanent {
            log::debug!("fetch of {:?} failed: {}", self.run.wanted(), one_line(&error));
        }
        progress.error = Some(error);
        Attempt::Failed(Failure { kind, retry_after, has_progressed })
    }

    fn end(&self, why: End) {
        let mut progress = lock(&self.progress).take().unwrap_or_default();
        let error = match why {
            End::Failed => progress.error.take().unwrap_or(ContentError::Internal),
            End::Panicked => ContentError::Internal,
            End::Cancelled | End::Closed => ContentError::Cancelled,
        };
        let object = &self.run.object;
        if matches!(error, ContentError::Changed) {
            self.fetcher.forget_kept(object);
            object.set_changed();
            self.fetcher.blocks.purge(object);
        }
        self.fetcher.give_up_filling(&mut progress);
        for block in &self.run.take_all() {
            self.fetcher.blocks.fail(object, block, &error);
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
        config: ContentConfig,
        kept: Option<KeptBlocks>,
    ) -> Arc<Fetcher> {
        let pacer = Pacer::new(clock.now());
        let limiter = Limiter::new(config.bytes_per_second, Arc::clone(&clock));
        jobs.set_background_limit(limiter.at_most(pacer.streams()));
        Arc::new(Fetcher {
            store,
            links,
            blocks,
            clock,
            runs: Runs::default(),
            jobs,
            op_timeout: config.op_timeout,
            pacer,
            limiter,
            in_flight: InFlight::default(),
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
        self.pacer.planned()
    }

    /// The longest request worth making at the moment, in bytes.
    pub(super) fn part_bytes(&self) -> u64 {
        self.pacer.part_bytes()
    }

    /// No more than so many requests run ahead of the readers.
    pub(super) fn set_max_streams(&self, max: usize) {
        self.adjust_pace(|pace, _| pace.set_max_streams(max));
    }

    /// Tells the pace what has happened, and applies the limits that follow.
    fn adjust_pace(&self, tell: impl FnOnce(&mut Pace, Duration)) {
        if let Some(streams) = self.pacer.adjust(self.clock.now(), tell) {
            self.jobs.set_background_limit(self.limiter.at_most(streams));
        }
    }

    /// Whether another fetch may be started that somebody waits for, or that is a guess.
    pub(super) fn has_room(&self, class: Class) -> bool {
        let may_look = class == Class::Foreground || self.kept.as_ref().is_none_or(|kept| kept.has_room());
        may_look && self.jobs.has_room(class)
    }

    /// What is on its way, and how many attempts were made again.
    pub(super) fn under_way(&self) -> (&InFlight, u64) {
        (&self.in_flight, self.jobs.retries())
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
        let _in_flight = self.in_flight.start(&self.blocks, asked);
        self.ask(link, asked, etag, deadline)
    }

    /// Asks the object store, unless nothing can be reached at all.
    fn ask(
        &self,
        link: &Link,
        asked: ByteRange,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<StoreAnswer, ContentError> {
        self.links.reachable()?;
        self.store.get(link, asked, etag, deadline).map_err(|error| {
            if error.kind == RemoteErrorKind::Unreachable {
                self.links.doubt_service();
            }
            ContentError::Store(Arc::new(error))
        })
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
        let run = Arc::new(Run::new(object, missing.clone()));
        let ticket = self.new_fetch(&run);
        let awaited_until = missing.iter().filter_map(|block| block.set_ticket(&ticket)).max();
        if let Some(until) = awaited_until {
            ticket.promote(until);
        }
        let (fetcher, upcoming) = (Arc::clone(self), upcoming.cloned());
        let (later_run, later_ticket) = (Arc::clone(&run), ticket.clone());
        let then = move || fetcher.start_request(&later_run, &later_ticket, urgency, upcoming.as_ref());
        let look = Arc::new(Look::new(run, Arc::clone(&self.blocks), then));
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.is_trusted(object)) {
            let found = || {
                let look = Arc::clone(&look);
                move |found| look.take_in(found)
            };
            kept.look_up(object, &missing, &self.blocks, found);
        }
        ticket
    }

    fn new_fetch(self: &Arc<Self>, run: &Arc<Run>) -> Ticket {
        let progress = Mutex::new(Some(Progress::default()));
        let task = FetchTask { fetcher: Arc::clone(self), run: Arc::clone(run), progress };
        self.jobs.ticket(Arc::new(task), self.op_timeout)
    }

    /// Requests from the object store what the disk does not have of `run`.
    fn start_request(self: &Arc<Self>, run: &Arc<Run>, ticket: &Ticket, urgency: Urgency, upcoming: Option<&Upcoming>) {
        if run.is_done() {
            return ticket.close();
        }
        run.object.set_kept(false);
        if let Some(upcoming) = upcoming
            && (self.links.has_guesses() || self.links.lacks(&run.object.revision()))
        {
            self.resolve_ahead(upcoming, self.clock.now() + self.op_timeout);
        }
        if matches!(urgency, Urgency::Awaited(_)) || !ticket.is_guess() {
            self.pacer.note_wait();
        }
        if let Urgency::Awaited(until) = urgency {
            self.share_among_young_connections(run, until);
        }
        ticket.start(urgency);
    }

    /// [`Pace::are_connections_young`]
    pub(super) fn are_connections_young(&self) -> bool {
        self.pacer.are_connections_young(self.clock.now())
    }

    /// How long a read may wait for `block` before it is overdue.
    pub(super) fn patience(&self, block: &Arc<Block>) -> Duration {
        let bytes_before = self.runs.bytes_before(block).unwrap_or(self.part_bytes());
        let has_idle = self.in_flight.count() < self.pacer.streams();
        self.pacer.usual().patience(bytes_before, has_idle)
    }

    /// The object store has another version of `object`: nothing of it is found on the disk any more, and its blobs go behind.
    fn forget_kept(&self, object: &Arc<Object>) {
        if let Some(kept) = self.kept.clone() {
            let object = Arc::clone(object);
            kept.distrust(&object);
            self.jobs.push(Class::Foreground, move || kept.remove_all(&object));
        }
    }

    /// Abandons blocks, from the last one back to the first that a read waits for; `true` if none is left.
    fn abandon(&self, run: &Run, progress: &mut Progress) -> bool {
        while let Some(last) = run.last() {
            if !self.blocks.abandon(&run.object, &last) {
                return false;
            }
            run.remove(&last);
        }
        self.give_up_filling(progress);
        true
    }

    /// The block that is being filled is no longer this fetch's.
    fn give_up_filling(&self, progress: &mut Progress) {
        progress.filled = 0;
        if let Some((block, _buffer)) = progress.filling.take() {
            self.blocks.refund(&block);
        }
    }

    /// One attempt: streams until nothing is missing.
    fn fetch(
        &self,
        ticket: &Ticket,
        deadline: Instant,
        run: &Arc<Run>,
        progress: &mut Progress,
    ) -> Result<(), ContentError> {
        let object = &run.object;
        while !run.is_done() {
            if object.is_changed() {
                return Err(ContentError::Changed);
            }
            if ticket.is_cancelled() && self.abandon(run, progress) {
                return Err(ContentError::Cancelled);
            }
            if progress.filling.as_ref().is_some_and(|(block, _)| !run.is_first(block)) {
                self.give_up_filling(progress);
            }
            let deadline = ticket.deadline().unwrap_or(deadline);
            if let Err(offline) = self.links.reachable() {
                // A block that was begun on the line is begun again when the line is back.
                self.give_up_filling(progress);
                if let Some(kept) = &self.kept {
                    kept.take_all(run, &self.blocks, self.clock.as_ref(), deadline);
                }
                return if run.is_done() { Ok(()) } else { Err(offline) };
            }
            let link = self.links.get(&object.revision(), deadline)?;
            let whole = run.wanted();
            let wanted = ByteRange::new(whole.start + progress.filled as u64, whole.end);
            if wanted.is_empty() {
                continue;
            }
            let asked = range::never_one_byte(wanted, object.size());
            if let Some(why) = object.ranges.refusal(asked, self.clock.now()) {
                return Err(ContentError::RangeIgnored(why));
            }
            let etag = object.etag.get().map(String::as_str);
            let sent = self.clock.now();
            let _in_flight = self.in_flight.start(&self.blocks, asked).of(object, asked, sent);
            run.note_sent(sent);
            let answer = self.ask(&link, asked, etag, deadline)?;
            let waited = self.clock.now().saturating_duration_since(sent);
            match range::judge(asked, object.size(), answer.head()) {
                Verdict::Use { .. } if !object.is_same_version(answer.etag.as_deref()) => {
                    progress.doubt_link(&self.links, object, &link, ContentError::Changed)?;
                }
                Verdict::Use { skip } => {
                    progress.refusals = 0;
                    match answer.status {
                        206 => object.ranges.note_served(),
                        _ => object.ranges.note_whole(),
                    }
                    self.adjust_pace(|pace, now| pace.on_first_byte(waited, asked.len(), now));
                    self.stream(ticket, run, progress, answer, skip + (wanted.start - asked.start), wanted.end, sent)?;
                }
                Verdict::RefusedLink => progress.note_refusal(&self.links, object, &link, answer.status)?,
                Verdict::Changed => progress.doubt_link(&self.links, object, &link, ContentError::Changed)?,
                Verdict::OtherSize(stored) => {
                    progress.doubt_link(&self.links, object, &link, object.other_size(stored))?;
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
        self.adjust_pace(|pace, now| pace.on_refusal(self.in_flight.count(), now));
    }

    /// Streams a body, which goes on to `end`, into the blocks, after skipping `skip` bytes of it.
    #[expect(clippy::too_many_arguments, reason = "one answer, and what it is for")]
    fn stream(
        &self,
        ticket: &Ticket,
        run: &Arc<Run>,
        progress: &mut Progress,
        mut answer: StoreAnswer,
        skip: u64,
        end: u64,
        sent: Instant,
    ) -> Result<(), ContentError> {
        let object = &run.object;
        let mut read = |buffer: &mut [u8]| {
            // The store's own limit ends a stall; this one ends a trickle.
            if ticket.deadline().is_some_and(|deadline| self.clock.now() >= deadline) {
                return Err(ContentError::Store(Arc::new(object_store::timeout())));
            }
            let failed = |error| ContentError::Store(Arc::new(error));
            let count = answer.body.read_some(self.limiter.piece(buffer)).map_err(failed)?;
            if count == 0 {
                return Err(failed(object_store::cut_short()));
            }
            let until = ticket.deadline().unwrap_or(sent + self.op_timeout);
            self.limiter.pay(count, || Turn::of(run, ticket), until);
            run.note_active(self.clock.now());
            Ok(count)
        };
        object_store::skip(skip, &mut read)?;
        let mut block_began = self.clock.now();
        let mut is_first = true;
        while let Some(block) = run.first().filter(|block| block.range.start < end) {
            let (_, buffer) = progress.filling.get_or_insert_with(|| (Arc::clone(&block), self.blocks.buffer(&block)));
            while progress.filled < buffer.len() {
                progress.filled += read(&mut buffer[progress.filled..])?;
                progress.has_progressed = true;
                if progress.filled < buffer.len() {
                    block.offer_prefix(&buffer[..progress.filled]);
                    if !run.is_first(&block) {
                        break;
                    }
                }
            }
            if !run.remove(&block) {
                // Another request was to bring it: all after it is that one's, too. What is left of this body is not read.
                self.give_up_filling(progress);
                return Ok(());
            }
            if let Some((_, buffer)) = progress.filling.take() {
                self.blocks.complete(object, &block, buffer);
                if let Some(kept) = &self.kept {
                    kept.add(object, &block);
                }
            }
            let now = self.clock.now();
            let (len, took) = (block.range.len(), now.saturating_duration_since(block_began));
            let in_flight = self.in_flight.count();
            self.adjust_pace(|pace, at| match len {
                BLOCK_BYTES => pace.on_block(took, in_flight, at),
                _ if is_first => pace.on_short_answer(took, now.saturating_duration_since(sent), in_flight, at),
                _ => {} // The end of a file says nothing that the blocks before it have not said.
            });
            (is_first, block_began, progress.filled) = (false, now, 0);
            if run.wanted().len() > DRAIN_MAX_BYTES && ticket.is_cancelled() && self.abandon(run, progress) {
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
