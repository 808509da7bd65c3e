//! Writing behind: what was fetched goes to the disk on threads of its own, and in nobody's way.
//!
//! What waits is bounded in bytes; what comes then is dropped and counted, never waited for. A disk that cannot be written to is left
//! alone for a time.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustix::process::setpriority_process;

use super::adding::Written;
use super::blob;
use super::disk::{Disk, Place};
use super::identity::{Identity, SourceKey};
use super::part::Part;
use super::space::{NoRoom, Space};
use crate::clock::{Clock, Timer};
use crate::jobs::{Class, JobQueue};
use crate::policy::breaker::{Breaker, BreakerLimits};
use crate::sync::lock;

/// One thread writes while the other makes room.
const MAX_THREADS: usize = 2;

/// The priority of the threads that write (nice(1)): a third of what those get who read, where all processors are busy, and all that
/// nobody wants. At the usual priority the first reading of 1 GiB at 600 MB/s took a fifth longer on two busy processors.
const NICENESS: i32 = 5;

/// What waits for each blob beside its bytes, roughly: blobs of a few bytes are bounded, too.
const WAITING_BYTES: u64 = 512;

/// A full or broken disk fails at once and every time, so that one failure says enough.
const LIMITS: BreakerLimits =
    BreakerLimits { failures_max: 1, rest_min: Duration::from_secs(10), rest_max: Duration::from_secs(600) };

/// A blob on its way to the disk.
pub(super) struct Unwritten {
    pub identity: Identity,
    pub etag: Option<String>,
    pub complete_at: SystemTime,
    pub parts: Vec<Part>,
    /// Whether it takes the place of what has its name.
    pub replaces: bool,
}

/// Writes blobs behind.
pub(super) struct Writer {
    queue: JobQueue,
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<Disk>,
    space: Arc<Space>,
    clock: Arc<dyn Clock>,
    queue_bytes: u64,
    waiting: Mutex<Waiting>,
    all_written: Condvar,
    breaker: Mutex<Breaker>,
    /// How often each source was forgotten. Locked by whoever puts a blob into its place (shared) or takes a source away (alone).
    forgotten: RwLock<HashMap<SourceKey, u64>>,
    counts: Counts,
}

#[derive(Clone, Copy, Default)]
struct Waiting {
    blobs: u64,
    bytes: u64,
}

/// What came of the blobs.
#[derive(Default)]
pub(super) struct Counts {
    pub written: AtomicU64,
    pub written_bytes: AtomicU64,
    pub dropped: AtomicU64,
    pub dropped_bytes: AtomicU64,
}

impl Writer {
    /// Writes to `disk` as far as there is `space`; at most `queue_bytes` wait.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(
        timer: &Arc<Timer>,
        disk: &Arc<Disk>,
        space: &Arc<Space>,
        queue_bytes: u64,
    ) -> io::Result<Writer> {
        let shared = Shared {
            disk: Arc::clone(disk),
            space: Arc::clone(space),
            clock: Arc::clone(timer.clock()),
            queue_bytes,
            waiting: Mutex::default(),
            all_written: Condvar::new(),
            breaker: Mutex::new(Breaker::new(LIMITS)),
            forgotten: RwLock::default(),
            counts: Counts::default(),
        };
        Ok(Writer { queue: JobQueue::start("koofs-store", MAX_THREADS, timer)?, shared: Arc::new(shared) })
    }

    /// Has a blob written some time; `false` if it is dropped at once. Never blocks.
    pub(super) fn put(&self, blob: Unwritten) -> bool {
        let bytes = WAITING_BYTES + blob.parts.iter().map(|part| (**part).as_ref().len() as u64).sum::<u64>();
        let is_queued = self.queue_blob(blob, bytes);
        if !is_queued {
            self.shared.count_dropped(bytes);
        }
        is_queued
    }

    fn queue_blob(&self, blob: Unwritten, bytes: u64) -> bool {
        let Some(place) = InQueue::enter(&self.shared, bytes) else { return false };
        let shared = &self.shared;
        if shared.disk.usage().is_none() || !lock(&shared.breaker).allows(shared.clock.now()) {
            return false;
        }
        let epoch = shared.epoch(blob.identity.source().key());
        self.queue.push(Class::Foreground, move || place.shared.write(&blob, epoch, bytes))
    }

    /// Has the directory looked through on a thread of ours.
    pub(super) fn scan_behind(&self) {
        let shared = Arc::clone(&self.shared);
        self.queue.push(Class::Foreground, move || match shared.space.scan() {
            Ok(()) | Err(NoRoom::ReadOnly | NoRoom::Closed) => (),
            Err(error) => log::warn!("store: the cache directory cannot be looked through: {error}"),
        });
    }

    /// Takes a source away: nothing of it is found from now on, nothing that waits is written. Its files go behind.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn forget(&self, source: SourceKey) -> io::Result<()> {
        {
            let mut forgotten = self.shared.forgotten.write().unwrap_or_else(PoisonError::into_inner);
            *forgotten.entry(source).or_default() += 1;
            self.shared.disk.take_away(source)?;
        }
        let disk = Arc::clone(&self.shared.disk);
        self.queue.push(Class::Foreground, move || {
            if let Err(error) = disk.remove_gone() {
                log::debug!("store: what was forgotten goes with the next scan: {error}");
            }
        });
        Ok(())
    }

    /// Waits until all is written, `patience` at most; whether it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let waiting = lock(&self.shared.waiting);
        let is_busy = |waiting: &mut Waiting| waiting.blobs > 0;
        let waited = self.shared.all_written.wait_timeout_while(waiting, patience, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// What came of the blobs so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

/// Has this thread give way to those who read, where there are not processors enough for all: what it does can wait.
fn give_way() {
    thread_local!(static HAS_GIVEN_WAY: Cell<bool> = const { Cell::new(false) });
    if !HAS_GIVEN_WAY.replace(true)
        // Of the calling thread alone: Linux has priorities for threads.
        && let Err(error) = setpriority_process(None, NICENESS)
    {
        log::debug!("store: blobs are written at the usual priority: {error}");
    }
}

impl Shared {
    fn epoch(&self, source: SourceKey) -> u64 {
        let forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
        forgotten.get(&source).copied().unwrap_or(0)
    }

    fn write(&self, blob: &Unwritten, epoch: u64, bytes: u64) {
        give_way();
        match self.try_to_write(blob, epoch) {
            Ok(Some(written_bytes)) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
                self.counts.written_bytes.fetch_add(written_bytes, Ordering::Relaxed);
                if lock(&self.breaker).on_success() {
                    log::info!("store: the cache directory is written to again");
                }
            }
            Ok(None) => (),
            Err(error) => {
                self.count_dropped(bytes);
                if matches!(error, NoRoom::Full | NoRoom::Io(_))
                    && let Some(rest) = lock(&self.breaker).on_failure(self.clock.now())
                {
                    let path = self.disk.path().display();
                    log::warn!("store: nothing is added to the cache in {path} for {} s: {error}", rest.as_secs());
                }
            }
        }
    }

    /// How many bytes it took; `None` if it is there already, or not wanted any more.
    fn try_to_write(&self, blob: &Unwritten, epoch: u64) -> Result<Option<u64>, NoRoom> {
        let Unwritten { identity, etag, complete_at, parts, replaces } = blob;
        let source = identity.source().key();
        let place = Place { source, name: identity.name() };
        if !replaces && self.disk.has(place) {
            return Ok(None);
        }
        let data = || parts.iter().map(|part| (**part).as_ref());
        let Some(header) = blob::header(identity.bytes(), etag.as_deref(), *complete_at, data()) else {
            return Ok(None);
        };
        let len = header.len() as u64 + data().map(|part| part.len() as u64).sum::<u64>();
        let charge = self.disk.charge(len);
        self.space.make(charge)?;
        let all = std::iter::once(&header[..]).chain(data());
        let written = self.disk.write(place, identity.source().label(), charge, all, |put| {
            let forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
            if forgotten.get(&source).copied().unwrap_or(0) != epoch {
                return Ok(Written::Before);
            }
            if !replaces {
                return put();
            }
            let is_pinned = self.disk.pin_of(place)?.is_some_and(|pin| pin.is_pinned);
            self.disk.remove(place, None)?;
            let written = put()?;
            if is_pinned && let Err(error) = self.disk.set_pin(place, true) {
                log::debug!("store: what took the place of a pinned blob is not: {error}");
            }
            Ok(written)
        })?;
        Ok((written == Written::Now).then_some(charge))
    }

    fn count_dropped(&self, bytes: u64) {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        self.counts.dropped_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A blob's place among those that wait; given up when it is written or dropped.
struct InQueue {
    shared: Arc<Shared>,
    bytes: u64,
}

impl InQueue {
    fn enter(shared: &Arc<Shared>, bytes: u64) -> Option<InQueue> {
        let mut waiting = lock(&shared.waiting);
        if waiting.bytes.saturating_add(bytes) > shared.queue_bytes {
            return None;
        }
        waiting.bytes += bytes;
        waiting.blobs += 1;
        drop(waiting);
        Some(InQueue { shared: Arc::clone(shared), bytes })
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        let mut waiting = lock(&self.shared.waiting);
        waiting.bytes -= self.bytes;
        waiting.blobs -= 1;
        if waiting.blobs == 0 {
            self.shared.all_written.notify_all();
        }
    }
}
