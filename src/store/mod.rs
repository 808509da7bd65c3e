//! What was read once, on the disk: blobs that outlive the mount, by what they are of.
//!
//! Three kinds of blobs, blocks of files, complete listings and what the opening of a source has told, each a file of its own that says what it is and is checked as a whole
//! whenever it is read: what is not exactly as it was written is a miss, and goes. Several mounts of one user share a directory
//! without knowing of each other. A store is never needed: whatever is wrong with it is a miss, and nothing waits for it long.
//!
//! [`identity`] says what a blob is of, `blob` what stands in its file, `disk`, `adding` and `scan` where the files lie, `usage` how many bytes
//! they take, `space` which go for others and `pins` which never do, `writer` how they come and `lookup` how they are asked for; [`upkeep`] is for the
//! commands. Knows nothing of what a listing holds, nor of who asks. Threads: two that write, up to eight that look up.
//!
//! Locks: `space`'s (the oldest blobs) is held while files are removed, `writer`'s of what was forgotten while a file is renamed;
//! both are waited for by the threads of the writer only. No lock is held while somebody is answered.

mod adding;
mod blob;
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
pub mod identity;
mod limits;
mod lookup;
mod part;
mod pin;
mod pins;
mod scan;
mod space;
pub mod upkeep;
mod usage;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use blob::Damage;
use disk::{Disk, Place};
pub use error::StoreError;
use identity::{Identity, Source, SourceKey};
use limits::MAX_HEADER_BYTES;
pub use limits::MAX_LISTING_BYTES;
use lookup::{Lookups, NoAnswer};
pub use part::Part;
pub use pins::NotPinned;
use space::Space;
use writer::{Unwritten, Writer};

use crate::clock::{Clock, Timer};
use crate::policy::room;
use crate::sync::lock;

/// After so long a disk that was not asked is asked again by whoever has nobody else to ask.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where. Made if it is not there.
    pub directory: PathBuf,
    /// The most bytes that it takes on the disk; `None` for a tenth of what is free, at most 10 GiB.
    pub limit_bytes: Option<u64>,
    /// The most bytes that wait to be written, in memory.
    pub queue_bytes: u64,
    /// How long a lookup may take. A request to the service takes about as long: whoever has waited so long for the disk in vain
    /// has lost at most as much again.
    pub patience: Duration,
}

/// A directory of blobs.
pub struct Store {
    disk: Arc<Disk>,
    space: Arc<Space>,
    writer: Writer,
    lookups: Lookups,
    timer: Arc<Timer>,
    /// Sources that are not read because they could not be taken away.
    hidden: Mutex<HashSet<SourceKey>>,
    counts: Arc<LookupCounts>,
}

#[derive(Default)]
struct LookupCounts {
    hits: AtomicU64,
    misses: AtomicU64,
    late: AtomicU64,
    damaged: AtomicU64,
}

impl LookupCounts {
    fn counted<T>(&self, answer: Result<Option<T>, NoAnswer>) -> Option<T> {
        let count = match &answer {
            Ok(Some(_)) => &self.hits,
            Ok(None) => &self.misses,
            Err(NoAnswer::Late | NoAnswer::NotAsked | NoAnswer::Failed) => &self.late,
        };
        count.fetch_add(1, Ordering::Relaxed);
        answer.ok().flatten()
    }
}

/// A blob that was found, and found to be whole.
pub struct Blob {
    file: Vec<u8>,
    data_at: usize,
    /// The ETag of the object when the block was fetched, as it was put.
    pub etag: Option<String>,
    /// When it was complete, as it was put, in milliseconds.
    pub complete_at: SystemTime,
}

/// A block that was found, and found to be whole, in the parts that it was read into.
pub struct Block<B> {
    /// Its bytes, one part after the other.
    pub parts: Vec<B>,
    /// The ETag of the object when the block was fetched, as it was put.
    pub etag: Option<String>,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Lookups that found a blob.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Lookups that were not made, or not in time.
    pub late: u64,
    /// Blobs that were not as they were written.
    pub damaged: u64,
    /// Blobs that were written.
    pub written: u64,
    /// What they take, in bytes.
    pub written_bytes: u64,
    /// Blobs that were dropped instead of being written.
    pub dropped: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Blobs that went to make room.
    pub evicted: u64,
    /// How often the whole directory was looked through.
    pub scans: u64,
    /// What is remembered of that, in bytes of memory. Zero while it is being looked through.
    pub index_bytes: u64,
    /// The most bytes that the store takes.
    pub limit_bytes: u64,
    /// What it takes, as this process has last seen it; `None` if it was never counted.
    pub used_bytes: Option<u64>,
}

impl Blob {
    /// Its bytes.
    pub fn data(&self) -> &[u8] {
        &self.file[self.data_at..]
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.data().len())
    }
}

impl Store {
    /// Opens the store, without looking at what is there: that is counted on a thread of the store's.
    ///
    /// # Errors
    /// A directory that cannot be used, and what to do about it. Whoever asks goes on without a store.
    pub fn open(config: Config, timer: &Arc<Timer>) -> Result<Store, StoreError> {
        let disk = Arc::new(Disk::open(&config.directory)?);
        let io = |source| StoreError::Io { path: config.directory.clone(), source };
        let limit_bytes = match config.limit_bytes {
            Some(limit) => limit,
            None => {
                let count = disk.usage().map(usage::Usage::count).transpose().map_err(io)?.flatten();
                room::default_limit(disk.left().map_err(io)?, count.map_or(0, usage::Count::in_use))
            }
        };
        let space = Arc::new(Space::new(Arc::clone(&disk), limit_bytes));
        let writer = Writer::start(timer, &disk, &space, config.queue_bytes).map_err(StoreError::Threads)?;
        let lookups = Lookups::start(timer, config.patience).map_err(StoreError::Threads)?;
        writer.scan_behind();
        Ok(Store {
            disk,
            space,
            writer,
            lookups,
            timer: Arc::clone(timer),
            hidden: Mutex::default(),
            counts: Arc::default(),
        })
    }

    /// Has `done` told the block of `identity`, if there is one and it is whole; exactly once, and within the configured patience:
    /// by a thread of the store's, by the timer's, or at once by this one if the disk is not asked at all. Never blocks. The bytes are
    /// read into what `parts` gives, which together is as long as the block.
    pub fn look_up<B>(
        &self,
        identity: &Identity,
        parts: impl FnOnce() -> Vec<B> + Send + 'static,
        done: impl FnOnce(Option<Block<B>>) + Send + 'static,
    ) where
        B: AsMut<[u8]> + AsRef<[u8]> + Send + 'static,
    {
        if self.is_hidden(identity) {
            return done(None);
        }
        let (disk, identity, counts) = (Arc::clone(&self.disk), identity.clone(), Arc::clone(&self.counts));
        let (now, counted) = (self.timer.clock().utc(), Arc::clone(&self.counts));
        let look = move || look_into(&disk, &identity, parts, now, &counts.damaged);
        self.lookups.tell(look, move |answer| done(counted.counted(answer)));
    }

    /// The blob of `identity`, if there is one and it is whole. Blocks for the configured patience at most: never to be called by a
    /// thread of the kernel's.
    pub fn get(&self, identity: &Identity) -> Option<Blob> {
        let look = self.look(identity)?;
        self.counts.counted(self.lookups.get(look))
    }

    /// The same where nobody else has it: a disk that is slow, or is asked for too much, is asked again until `until`.
    pub fn get_patiently(&self, identity: &Identity, clock: &dyn Clock, until: Instant) -> Option<Blob> {
        loop {
            let answer = self.lookups.get(self.look(identity)?);
            let is_over = clock.now() + AGAIN_AFTER >= until;
            if is_over || !matches!(answer, Err(NoAnswer::Late | NoAnswer::NotAsked)) {
                return self.counts.counted(answer);
            }
            clock.sleep(AGAIN_AFTER);
        }
    }

    /// [`Store::get_patiently`] by the store's own clock.
    pub fn get_by(&self, identity: &Identity, until: Instant) -> Option<Blob> {
        self.get_patiently(identity, self.timer.clock().as_ref(), until)
    }

    /// What looks for a blob; `None` if it must not be found.
    fn look(&self, identity: &Identity) -> Option<impl FnOnce() -> io::Result<Option<Blob>> + Send + use<>> {
        if self.is_hidden(identity) {
            return None;
        }
        let (disk, identity, counts) = (Arc::clone(&self.disk), identity.clone(), Arc::clone(&self.counts));
        let now = self.timer.clock().utc();
        Some(move || look(&disk, &identity, now, &counts.damaged))
    }

    fn is_hidden(&self, identity: &Identity) -> bool {
        lock(&self.hidden).contains(&identity.source().key())
    }

    /// Keeps the block of `identity`, which is `parts` one after the other, and the ETag under which its object was fetched. Never
    /// blocks: it is written some time, or dropped (`false` where that is known at once). A block of another length than its
    /// identity says is dropped.
    pub fn put_block(&self, identity: &Identity, etag: Option<&str>, parts: Vec<Part>) -> bool {
        let bytes: u64 = parts.iter().map(|part| (**part).as_ref().len() as u64).sum();
        if identity.range().map(|range| range.len()) != Some(bytes) {
            return false;
        }
        let complete_at = self.timer.clock().utc();
        self.put(Unwritten {
            identity: identity.clone(),
            etag: etag.map(str::to_owned),
            complete_at,
            parts,
            replaces: false,
        })
    }

    /// Keeps a listing that was complete at `complete_at`, instead of an earlier one. As [`Store::put_block`].
    pub fn put_listing(&self, identity: &Identity, complete_at: SystemTime, listing: Vec<u8>) -> bool {
        if identity.range().is_some() || listing.len() as u64 > MAX_LISTING_BYTES {
            return false;
        }
        let parts: Vec<Part> = vec![Arc::new(listing)];
        self.put(Unwritten { identity: identity.clone(), etag: None, complete_at, parts, replaces: true })
    }

    fn put(&self, blob: Unwritten) -> bool {
        !self.is_hidden(&blob.identity) && self.writer.put(blob)
    }

    /// Whether there is a file for the blob of `identity`, whole or not. Blocks as long as the disk takes.
    pub fn has_name(&self, identity: &Identity) -> bool {
        !lock(&self.hidden).contains(&identity.source().key()) && self.disk.has(place(identity))
    }

    /// Removes the blob of `identity`, if there is one. Blocks as long as the disk takes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self, identity: &Identity) -> io::Result<()> {
        self.disk.remove(place(identity), None).map(|_| ())
    }

    /// Has the blob of `identity` stay until [`Store::unpin`], whatever else there is room for. Blocks as long as the disk takes; for the
    /// first one, to look through the directory.
    ///
    /// # Errors
    /// Why it is not pinned.
    pub fn pin(&self, identity: &Identity) -> Result<(), NotPinned> {
        self.space.pin(place(identity))
    }

    /// Takes the pin off the blob of `identity`, if there is one. Blocks as long as the disk takes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn unpin(&self, identity: &Identity) -> io::Result<()> {
        self.space.unpin(place(identity))
    }

    /// Takes all pins off a source. Blocks as long as it takes to look through the directory.
    ///
    /// # Errors
    /// What the disk says.
    pub fn unpin_all(&self, source: &Source) -> io::Result<()> {
        self.space.unpin_source(source.key())
    }

    /// Forgets all of a source: from now on nothing that was kept of it is found, by any mount. Blocks as long as the disk takes to
    /// rename a directory. Where the disk fails, this store at least finds nothing of it any more.
    ///
    /// # Errors
    /// What the disk says: another mount may still find it.
    pub fn forget(&self, source: &Source) -> io::Result<()> {
        lock(&self.hidden).insert(source.key());
        self.writer.forget(source.key())?;
        lock(&self.hidden).remove(&source.key());
        Ok(())
    }

    /// Waits until all that was put is written or dropped, `patience` at most; whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        self.writer.flush(patience)
    }

    /// What it has done so far.
    pub fn stats(&self) -> StoreStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (lookups, writes) = (&self.counts, self.writer.counts());
        StoreStats {
            hits: read(&lookups.hits),
            misses: read(&lookups.misses),
            late: read(&lookups.late),
            damaged: read(&lookups.damaged),
            written: read(&writes.written),
            written_bytes: read(&writes.written_bytes),
            dropped: read(&writes.dropped),
            dropped_bytes: read(&writes.dropped_bytes),
            evicted: self.space.evicted_blobs(),
            scans: self.space.scans(),
            index_bytes: self.space.index_bytes(),
            limit_bytes: self.space.limit_bytes(),
            used_bytes: self.disk.usage().and_then(usage::Usage::last_known),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.space.close();
    }
}

fn place(identity: &Identity) -> Place {
    Place { source: identity.source().key(), name: identity.name() }
}

/// Reads the blob of `identity`. One that is not exactly as it was written goes.
fn look(disk: &Disk, identity: &Identity, now: SystemTime, damaged: &AtomicU64) -> io::Result<Option<Blob>> {
    let place = place(identity);
    let data_bytes = identity.range().map(|range| range.len());
    let len_max = data_bytes.unwrap_or(MAX_LISTING_BYTES) + MAX_HEADER_BYTES;
    let file = match disk.read(place, len_max, Some(now)) {
        Ok(None) => return Ok(None),
        Ok(Some(file)) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Damage::Length),
        Err(error) => return Err(error),
    };
    let content = file.and_then(|file| {
        let content = blob::content_of(&file, identity.bytes())?;
        let is_whole = data_bytes.is_none_or(|bytes| bytes == (file.len() - content.data_at) as u64);
        if is_whole { Ok((file, content)) } else { Err(Damage::Length) }
    });
    match content {
        Ok((file, content)) => {
            Ok(Some(Blob { file, data_at: content.data_at, etag: content.etag, complete_at: content.complete_at }))
        }
        Err(damage) => {
            remove_damaged(disk, place, damage, damaged);
            Ok(None)
        }
    }
}

/// Reads the block of `identity` into what `parts` gives. One that is not exactly as it was written goes.
fn look_into<B: AsMut<[u8]> + AsRef<[u8]>>(
    disk: &Disk,
    identity: &Identity,
    parts: impl FnOnce() -> Vec<B>,
    now: SystemTime,
    damaged: &AtomicU64,
) -> io::Result<Option<Block<B>>> {
    let place = place(identity);
    // Before there is memory for it: most lookups of a first reading find nothing.
    if !disk.has(place) {
        return Ok(None);
    }
    let mut parts = parts();
    let header = match disk.read_into(place, &mut parts, MAX_HEADER_BYTES, now) {
        Ok(None) => return Ok(None),
        Ok(Some(header)) => Ok(header),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Damage::Length),
        Err(error) => return Err(error),
    };
    let content =
        header.and_then(|header| blob::content_in_parts(&header, parts.iter().map(AsRef::as_ref), identity.bytes()));
    match content {
        Ok(content) => Ok(Some(Block { parts, etag: content.etag })),
        Err(damage) => {
            remove_damaged(disk, place, damage, damaged);
            Ok(None)
        }
    }
}

fn remove_damaged(disk: &Disk, place: Place, damage: Damage, damaged: &AtomicU64) {
    damaged.fetch_add(1, Ordering::Relaxed);
    log::warn!("store: {} is removed: {}", disk.shown(place), damage.text());
    if let Err(error) = disk.remove(place, None) {
        log::debug!("store: it stays: {error}");
    }
}
