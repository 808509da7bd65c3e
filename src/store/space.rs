//! Room for blobs: the limits, and which blobs go first.
//!
//! Room is counted before a blob is written, and where there is none, what was used least recently goes. Which that is, a scan of the
//! directory says: the times of last use stand there, for all mounts and over restarts. A scan remembers the oldest blobs, each is
//! looked at once more before it goes, and another scan is made only when they are used up.

use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::disk::{Disk, Found, Place};
use super::usage::Reserved;
use crate::policy::room;
use crate::sync::lock;

/// The most blobs that a scan remembers: 48 bytes each, 12 MiB. A cache of 10 GiB in blobs of 4 KiB is scanned about ten times
/// while it is replaced once.
const MAX_CANDIDATES: usize = 1 << 18;

/// The most bytes that go for one blob: enough for some, little enough that it is over soon where a disk was filled by others, and
/// the whole store would have to go.
const MAX_EVICTED_BYTES: u64 = 64 << 20;

/// The most scans for one blob: what is remembered may be out of date once.
const MAX_SCANS: u32 = 2;

/// So often room is made and then found to be taken by another mount, or not to be there (filesystems that free later).
const MAX_TRIES: u32 = 8;

/// Why there is no room.
#[derive(Debug)]
pub(super) enum NoRoom {
    /// Nothing may be written there.
    ReadOnly,
    /// It is more than there may be in all.
    TooLong,
    /// All that may go has gone, and others need it just as much.
    Full,
    /// Much has to go, and a part of it has gone.
    Later,
    /// The store is closing.
    Closed,
    Io(io::Error),
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoom::ReadOnly => f.write_str("read-only"),
            NoRoom::TooLong => f.write_str("longer than the cache may be"),
            NoRoom::Full => f.write_str("the disk is full"),
            NoRoom::Later => f.write_str("much has to go first"),
            NoRoom::Closed => f.write_str("closing"),
            NoRoom::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for NoRoom {
    fn from(error: io::Error) -> NoRoom {
        NoRoom::Io(error)
    }
}

/// The room of one store.
pub(super) struct Space {
    disk: Arc<Disk>,
    limit_bytes: u64,
    /// Oldest first. Also the lock of whoever scans.
    oldest: Mutex<VecDeque<Candidate>>,
    scans: AtomicU64,
    evicted_blobs: AtomicU64,
    closed: AtomicBool,
    /// What is pinned, as far as it was counted. Also the lock of whoever pins (`pins`).
    pinned_bytes: Mutex<Option<u64>>,
}

/// A blob that may go. Ordered by its last use.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Candidate {
    used_at: u64,
    place: Place,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> std::cmp::Ordering {
        (self.used_at, self.place.name).cmp(&(other.used_at, other.place.name))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Space {
    /// Room for `limit_bytes` in all.
    pub(super) fn new(disk: Arc<Disk>, limit_bytes: u64) -> Space {
        Space {
            disk,
            limit_bytes,
            oldest: Mutex::default(),
            scans: AtomicU64::new(0),
            evicted_blobs: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            pinned_bytes: Mutex::default(),
        }
    }

    /// Counts `charge` bytes that are going to be written, and makes room for them. May scan the directory.
    ///
    /// # Errors
    /// If there is no room, and why.
    pub(super) fn make(&self, charge: u64) -> Result<(), NoRoom> {
        let usage = self.disk.usage().ok_or(NoRoom::ReadOnly)?;
        if charge > self.limit_bytes {
            return Err(NoRoom::TooLong);
        }
        let (mut scans, mut evicted) = (0, 0);
        for _ in 0..MAX_TRIES {
            let room::Short { mut bytes, files } = room::short(self.disk.left()?, charge);
            let mut is_known = true;
            if bytes == 0 && files == 0 {
                match usage.reserve(charge, self.limit_bytes)? {
                    Reserved::Yes => return Ok(()),
                    Reserved::Short(short) => bytes = short,
                    Reserved::Unknown => is_known = false,
                }
            }
            let mut oldest = lock(&self.oldest);
            let goal = bytes.min(MAX_EVICTED_BYTES.saturating_sub(evicted));
            let freed = if is_known { self.evict(&mut oldest, goal, files)? } else { None };
            match freed {
                Some(freed) => evicted += freed,
                None if scans == MAX_SCANS => return Err(NoRoom::Full),
                None => {
                    self.scan_locked(&mut oldest)?;
                    scans += 1;
                }
            }
            if evicted >= MAX_EVICTED_BYTES {
                break;
            }
        }
        Err(NoRoom::Later)
    }

    /// Has blobs go until `bytes` and `files` are free; says how many bytes went. `None` if no candidate is left before.
    fn evict(&self, oldest: &mut VecDeque<Candidate>, bytes: u64, files: u64) -> Result<Option<u64>, NoRoom> {
        let (mut freed, mut count) = (0, 0);
        while freed < bytes || count < files {
            if self.closed.load(Ordering::Relaxed) {
                return Err(NoRoom::Closed);
            }
            let Some(candidate) = oldest.pop_front() else { return Ok((freed > 0).then_some(freed)) };
            if let Some(charge) = self.disk.remove(candidate.place, Some(candidate.used_at))? {
                freed += charge;
                count += 1;
            }
            if freed >= MAX_EVICTED_BYTES {
                break;
            }
        }
        self.evicted_blobs.fetch_add(count, Ordering::Relaxed);
        Ok(Some(freed))
    }

    /// Looks at all blobs: corrects the count, and remembers the oldest ones.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn scan(&self) -> Result<(), NoRoom> {
        let mut oldest = lock(&self.oldest);
        self.scan_locked(&mut oldest)
    }

    fn scan_locked(&self, oldest: &mut MutexGuard<'_, VecDeque<Candidate>>) -> Result<(), NoRoom> {
        let usage = self.disk.usage().ok_or(NoRoom::ReadOnly)?;
        self.disk.remove_gone()?;
        let before = usage.count()?;
        let mut newest_first = BinaryHeap::new();
        let found = self.disk.scan(&mut |Found { place, used_at, is_pinned, .. }| {
            let candidate = Candidate { used_at, place };
            if is_pinned {
                // Never goes.
            } else if newest_first.len() < MAX_CANDIDATES {
                newest_first.push(candidate);
            } else if let Some(mut newest) = newest_first.peek_mut()
                && candidate < *newest
            {
                *newest = candidate;
            }
            !self.closed.load(Ordering::Relaxed)
        })?;
        let found = found.ok_or(NoRoom::Closed)?;
        usage.settle(before, found)?;
        **oldest = newest_first.into_sorted_vec().into();
        self.scans.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// No more room; a scan that is under way ends.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// How many blobs went to make room.
    pub(super) fn evicted_blobs(&self) -> u64 {
        self.evicted_blobs.load(Ordering::Relaxed)
    }

    /// The directory.
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What is pinned, as far as it was counted.
    pub(super) fn pinned_bytes(&self) -> &Mutex<Option<u64>> {
        &self.pinned_bytes
    }

    /// How often the whole directory was looked at.
    pub(super) fn scans(&self) -> u64 {
        self.scans.load(Ordering::Relaxed)
    }

    /// The memory that is taken for what a scan remembers, used or not; zero while somebody scans.
    pub(super) fn index_bytes(&self) -> u64 {
        let capacity = self.oldest.try_lock().map_or(0, |oldest| oldest.capacity());
        (capacity * size_of::<Candidate>()) as u64
    }

    /// The most bytes.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}
