//! One open file: answers reads from blocks, parks them until their blocks arrive, and starts the fetches that its read-ahead
//! plans.
//!
//! Owns the handle's read-ahead state and the tickets of the fetches that run ahead of it. Locks: one, for planning only.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::ContentError;
use super::block::within;
use super::blocks::{Acquired, BlockCache, new_runs};
use super::current::{Current, Objects};
use super::fetcher::Fetcher;
use super::kept::{NotPinned, unit_around};
use super::object::Object;
use super::parked::{ParkedRead, ReadData, ReadDone};
use super::prefetcher::Prefetcher;
use super::running::Activity;
use super::watch::Watch;
use crate::jobs::{Class, Ticket, Urgency};
use crate::policy::range::ByteRange;
use crate::policy::readahead::{Plan, ReadAhead};
use crate::sync::lock;

/// How often a read may find that its block was cancelled between its two looks at it, before that is called a fault.
const MAX_REACQUIRES: u32 = 8;

/// The most fetches ahead that a handle remembers in order to cancel them; older ones are done or nearly so.
const MAX_TICKETS: usize = 64;

/// An open file, as its reads see it.
pub struct FileReader {
    /// Tells it from every other reader of this mount.
    number: u64,
    content: Arc<Current>,
    objects: Arc<Objects>,
    prefetcher: Arc<Prefetcher>,
    activity: Arc<Activity>,
    plans: Mutex<Plans>,
}

#[derive(Default)]
struct Plans {
    read_ahead: ReadAhead,
    /// The fetches that run ahead, and what each brings.
    ahead: VecDeque<(ByteRange, Ticket)>,
}

impl FileReader {
    pub(super) fn new(content: Arc<Current>, objects: Arc<Objects>, prefetcher: Arc<Prefetcher>) -> FileReader {
        FileReader {
            number: prefetcher.next_reader(),
            content,
            objects,
            prefetcher,
            activity: Arc::default(),
            plans: Mutex::default(),
        }
    }

    /// The bytes of `range`, which must lie within the file, if all of them are in memory. Plans ahead either way.
    ///
    /// Costs two locks, of the cache and of this handle, and about 120 ns by one thread or by four on two processors; 140 and 200
    /// when each read computed the shares of the budget anew (tests/bench/hits.rs, medians of three).
    pub fn read_cached(&self, range: ByteRange) -> Option<ReadData> {
        let object = self.content.object();
        if object.is_changed() {
            return None;
        }
        let data = self.blocks().get(&object, range)?;
        if !self.content.settle(&object) {
            return None;
        }
        let plan = self.plan(&object, range, false);
        self.fetch_ahead(&object, plan);
        Some(data)
    }

    /// The bytes that are kept together with byte `offset`.
    pub fn piece(&self, offset: u64) -> ByteRange {
        unit_around(offset, self.content.object().size())
    }

    /// Whether the piece with byte `offset` is on the disk; an empty one always is. Blocks as long as the disk takes, until `until` at
    /// most.
    pub fn is_kept(&self, offset: u64, until: Instant) -> bool {
        self.piece(offset).is_empty()
            || self.fetcher().kept.as_ref().is_some_and(|kept| kept.has(&self.content.object(), offset, until))
    }

    /// Puts `data`, which was read from here, on the disk as the piece with byte `offset`, unless it is there by now. Says whether it
    /// is in the end. Blocks as [`FileReader::is_kept`].
    pub fn keep(&self, offset: u64, data: &ReadData, until: Instant) -> bool {
        self.fetcher().kept.as_ref().is_some_and(|kept| kept.put_now(&self.content.object(), offset, data, until))
    }

    /// Has the piece with byte `offset`, which is on the disk, stay there. Blocks as long as the disk takes.
    ///
    /// # Errors
    /// Why it is not pinned.
    pub fn pin(&self, offset: u64) -> Result<(), NotPinned> {
        self.fetcher().kept.as_ref().map_or(Err(NotPinned::NotThere), |kept| kept.pin(&self.content.object(), offset))
    }

    /// Lets that piece go like others again. Blocks as long as the disk takes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn unpin(&self, offset: u64) -> io::Result<()> {
        self.fetcher().kept.as_ref().map_or(Ok(()), |kept| kept.unpin(&self.content.object(), offset))
    }

    /// Reads `range`, which must lie within the file: calls `done` with exactly its bytes, or with why they cannot be had.
    /// The caller answers for the deadline; past it, nothing is fetched any more on this read's account.
    pub fn read(&self, range: ByteRange, deadline: Instant, done: ReadDone) {
        if range.is_empty() {
            return done(Ok(ReadData::empty()));
        }
        let object = self.content.object();
        if object.is_changed() {
            let is_superseded = self.content.renew(&object, &self.objects);
            return done(Err(if is_superseded { ContentError::Superseded } else { ContentError::Changed }));
        }
        if !self.fetcher().has_room(Class::Foreground) {
            return done(Err(ContentError::Overloaded));
        }
        if let Some(widened) = object.ranges.widened(range, object.size()) {
            // The read finds its blocks being fetched, and promotes these fetches.
            self.prefetcher.fetch_missing(&object, widened, None, |_, _| {});
        }
        let plan = self.plan(&object, range, true);
        let stream = ByteRange::new(range.start, plan.stream_end.max(range.end));
        let mut done = self.settled(&object, done);
        for _ in 0..MAX_REACQUIRES {
            match self.park(&object, range, stream, deadline, done) {
                Ok(()) => return self.fetch_ahead(&object, plan),
                Err(taken_back) => done = taken_back,
            }
        }
        done(Err(ContentError::Cancelled));
    }

    /// `done`, told nothing of `object` that another has taken the place of.
    fn settled(&self, object: &Arc<Object>, done: ReadDone) -> ReadDone {
        if self.content.is_settled() {
            return done;
        }
        let (content, objects, object) = (Arc::clone(&self.content), Arc::clone(&self.objects), Arc::clone(object));
        Box::new(move |result| {
            done(match result {
                Ok(data) if content.settle(&object) => Ok(data),
                Ok(_) => Err(ContentError::Superseded),
                Err(ContentError::Changed) if content.renew(&object, &objects) => Err(ContentError::Superseded),
                Err(error) => Err(error),
            });
        })
    }

    /// Parks the read on its blocks and requests the missing blocks of `stream`. Gives the completion back if one of the blocks
    /// was given up in the same moment.
    fn park(
        &self,
        object: &Arc<Object>,
        range: ByteRange,
        stream: ByteRange,
        deadline: Instant,
        done: ReadDone,
    ) -> Result<(), ReadDone> {
        let acquired = self.blocks().acquire(object, stream.blocks());
        let awaited = range.blocks().count();
        let read = ParkedRead::new(awaited, done);
        let mut is_lost = false;
        for (part, Acquired { block, .. }) in acquired.iter().take(awaited).enumerate() {
            let (from, to) = within(block, range);
            match block.deliver_to(&read, part, from, to) {
                Ok(()) => {}
                Err(ContentError::Cancelled) => is_lost = true,
                Err(error) => read.fail(error),
            }
        }
        // Parked first, so that a fetch that is about to be given up sees that it is awaited.
        for Acquired { block, is_new } in acquired.iter().take(awaited) {
            if *is_new || block.is_whole() {
                continue;
            }
            if block.is_requested() {
                self.fetcher().pacer.note_wait();
            }
            if !block.hurry(deadline) {
                // Its fetch has just ended without it, for a reason that need not hold for one that somebody waits for.
                self.blocks().forget_coming(object, block);
                is_lost = true;
            }
        }
        for run in new_runs(&acquired) {
            self.fetcher().start(object, run, Urgency::Awaited(deadline), None);
        }
        let awaited = acquired.iter().take(awaited).map(|acquired| Arc::clone(&acquired.block));
        Watch::start(self.fetcher(), self.fetcher().jobs.timer(), object, awaited, deadline);
        if is_lost && let Some(done) = read.take_back() { Err(done) } else { Ok(()) }
    }

    fn plan(&self, object: &Object, range: ByteRange, must_wait: bool) -> Plan {
        let mut window = self.prefetcher.window(self.number, &self.activity, object);
        if must_wait && self.fetcher().are_connections_young() {
            window = window.of_young_connections();
        }
        let mut plans = lock(&self.plans);
        let plan = plans.read_ahead.on_read(range, object.size(), window, must_wait);
        if let Some(abandoned) = plan.abandoned {
            plans.cancel_within(abandoned);
        }
        drop(plans);
        if let Some(behind) = plan.behind {
            self.blocks().retire(object, behind);
        }
        plan
    }

    fn fetch_ahead(&self, object: &Arc<Object>, plan: Plan) {
        for range in plan.ahead {
            let remember = |range, ticket| lock(&self.plans).remember(range, ticket);
            self.prefetcher.fetch_missing(object, range, None, remember);
        }
    }

    fn blocks(&self) -> &BlockCache {
        &self.prefetcher.blocks
    }

    fn fetcher(&self) -> &Arc<Fetcher> {
        &self.prefetcher.fetcher
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        lock(&self.plans).cancel_within(ByteRange::new(0, u64::MAX));
        self.prefetcher.note_closed(self.number);
    }
}

impl Plans {
    fn remember(&mut self, range: ByteRange, ticket: Ticket) {
        if self.ahead.len() >= MAX_TICKETS {
            self.ahead.pop_front();
        }
        self.ahead.push_back((range, ticket));
    }

    fn cancel_within(&mut self, abandoned: ByteRange) {
        self.ahead.retain(|(range, ticket)| {
            let is_within = (abandoned.start..abandoned.end).contains(&range.start);
            if is_within {
                ticket.cancel();
            }
            !is_within
        });
    }
}
