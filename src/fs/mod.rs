//! The filesystem itself, free of kernel types: names, inodes, directories, handles and their operations.
//!
//! Every operation either answers at once from memory, on the caller's thread, or leaves its completion to other threads and
//! returns; none ever waits. Such a completion has a deadline ([`owed`]). Knows the traits of the remote side and the content
//! room; knows neither fuser nor HTTP nor JSON.

mod ahead;
pub mod attr;
mod belief;
mod config;
pub mod dir;
mod error;
mod figures;
mod fresh;
mod from_end;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod guesses;
pub mod handle;
pub mod inode;
mod keeping;
mod killed;
pub mod lister;
mod lookup;
mod orders;
pub mod owed;
mod probe;
mod readdir;
mod remembered;
pub mod retried;
mod subtrees;
mod told;
mod users;
mod xattr;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ahead::Ahead;
pub use attr::Attr;
use belief::Belief;
pub use config::FsConfig;
use dir::{Answer, Listing, ListingCache};
pub use error::FsError;
use figures::Figures;
use fresh::Freshness;
pub use fresh::{Change, Changes};
pub use handle::Fh;
use handle::{DirHandle, FileHandle, HandleMap};
pub use inode::Ino;
use inode::{Entry, InodeTable};
pub use keeping::Keep;
use killed::Killed;
use lister::Lister;
use lookup::Finder;
pub use lookup::Lookup;
pub use owed::Done;
use owed::Owed;
use readdir::{DOT_ENTRIES, Emitter};
pub use readdir::{DirItem, DirSink};
pub use remembered::Remembered;
use retried::FailedReads;
use subtrees::Subtrees;
pub use users::Process;
use users::Users;

use crate::clock::{BootTime, Clock, Timer};
use crate::content::{Content, ContentError, ReadData};
use crate::jobs::JobQueue;
use crate::policy::name::MAX_NAME_BYTES;
use crate::policy::range::ByteRange;
use crate::remote::{Capacity, NodeKind, Remote};

/// What a listing is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// One name.
    Lookup,
    /// All entries, in order: for the process that opens it now, or for one that has it open.
    Read(Option<u32>),
}

/// One mounted drive.
pub struct DriveFs {
    config: FsConfig,
    belief: Belief,
    remote: Arc<dyn Remote>,
    inodes: Arc<InodeTable>,
    listings: Arc<ListingCache>,
    lister: Arc<Lister>,
    ahead: Arc<Ahead>,
    subtrees: Arc<Subtrees>,
    freshness: Arc<Freshness>,
    content: Arc<Content>,
    files: HandleMap<FileHandle>,
    dirs: HandleMap<DirHandle>,
    failed_reads: Arc<FailedReads>,
    figures: Figures,
    users: Users,
    killed: Arc<Killed>,
    timer: Arc<Timer>,
    clock: Arc<dyn Clock>,
}

impl DriveFs {
    /// A filesystem over `remote`, reading through `content`, listing on the threads of `jobs`; what is `remembered` is shown first.
    /// Touches no network yet.
    pub fn new(
        config: FsConfig,
        remote: Arc<dyn Remote>,
        content: Arc<Content>,
        jobs: JobQueue,
        timer: Arc<Timer>,
        remembered: Option<Remembered>,
    ) -> DriveFs {
        let clock = Arc::clone(timer.clock());
        let mounted_ms = clock.utc().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
        let inodes = Arc::new(InodeTable::new(remote.root(), i64::try_from(mounted_ms).unwrap_or(0)));
        let belief = Belief::new(config.ttl, config.offline_for, &remote);
        let listings = Arc::new(ListingCache::new(&inodes, belief.clone()));
        let links = Arc::clone(content.links());
        let lister =
            Lister::new(Arc::clone(&remote), links, Arc::clone(&listings), jobs, &timer, config.op_timeout, remembered);
        let subtrees = Subtrees::new(
            &remote,
            (&listings, &lister, &inodes),
            &timer,
            (config.ttl, config.op_timeout),
            config.is_alive,
        );
        let ahead = Ahead::new(
            Arc::clone(&listings),
            (Arc::clone(&lister), Arc::clone(&subtrees)),
            Arc::clone(&inodes),
            Arc::clone(&content),
            Arc::clone(&clock),
            config.is_alive,
        );
        let freshness =
            Freshness::new(Arc::clone(&listings), Arc::clone(&lister), Arc::clone(&inodes), Arc::clone(&clock));
        let refresher = Arc::downgrade(&freshness);
        lister.set_when_ageing(move |listing| {
            if let Some(freshness) = refresher.upgrade() {
                freshness.refresh_behind(listing);
            }
        });
        let teller = Arc::downgrade(&freshness);
        lister.set_when_contradicted(move |dir, names| {
            if let Some(freshness) = teller.upgrade() {
                freshness.tell_names(dir, names);
            }
        });
        let (files, dirs, failed_reads) = (HandleMap::default(), HandleMap::default(), Arc::default());
        DriveFs {
            config,
            belief,
            remote,
            inodes,
            listings,
            lister,
            ahead,
            subtrees,
            freshness,
            content,
            files,
            dirs,
            failed_reads,
            figures: Figures::default(),
            users: Users::new(config.process_of),
            killed: Killed::new(&timer, config.is_killed),
            timer,
            clock,
        }
    }

    /// Finds `name` in the directory `parent`, for a thread that may be killed meanwhile. Answers as soon as the name is seen; says that it is absent only after a
    /// complete listing.
    pub fn lookup(&self, parent: Ino, name: &[u8], thread: u32, done: Done<Lookup>) {
        if name.len() > MAX_NAME_BYTES {
            return done(Err(FsError::NameTooLong));
        }
        let dir = match self.directory(parent) {
            Ok(dir) => dir,
            Err(error) => return done(Err(error)),
        };
        // All our names are UTF-8, so any other is absent whatever the listing says.
        let Ok(name) = std::str::from_utf8(name) else {
            return done(Ok(Lookup::Absent(self.config.ttl)));
        };
        let (listing, _) = self.current_listing(&dir, Use::Lookup);
        let finder = Finder {
            listing,
            inodes: Arc::clone(&self.inodes),
            freshness: Arc::clone(&self.freshness),
            content: Arc::clone(&self.content),
            clock: Arc::clone(&self.clock),
            config: self.config,
            belief: self.belief.clone(),
            name: name.into(),
        };
        match finder.listing.find(name) {
            Answer::NotYet => {
                self.figures.lookups_waited.count();
                let owed = self.owe(thread, done);
                let listing = Arc::clone(&finder.listing);
                listing.when_name(name, Box::new(move || finder.finish(owed)));
                // It may have come to rest before it was seen that somebody waits.
                self.lister.hurry(&listing);
                if listing.is_taken_over() {
                    self.subtrees.give_back(&listing, None);
                }
                self.lister.ask_for_names(&listing);
            }
            Answer::Found(entry) if entry.kind == NodeKind::Unsized => finder.finish(self.owe(thread, done)),
            Answer::Absent if finder.listing.is_of_subtree() => {
                self.subtrees.note_absent();
                finder.finish(self.owe(thread, done));
            }
            _ => {
                self.figures.lookups_from_memory.count();
                finder.answer(|result| done(result()));
            }
        }
    }

    /// The kernel has forgotten so many lookups of each inode.
    pub fn forget(&self, forgotten: impl IntoIterator<Item = (Ino, u64)>) {
        self.inodes.forget(forgotten);
    }

    /// The attributes of an inode, always from memory, and for how long they may be believed.
    ///
    /// # Errors
    /// [`FsError::NotFound`] for a number that is not alive, [`FsError::Unreadable`].
    pub fn getattr(&self, ino: Ino) -> Result<(Attr, Duration), FsError> {
        let entry = self.inodes.get(ino).ok_or(FsError::NotFound)?;
        entry.readable()?;
        Ok((Attr::of(&entry), self.config.ttl))
    }

    /// Opens a directory for the process `pid`: pins its current listing, or starts one. Never waits.
    ///
    /// # Errors
    /// [`FsError::NotFound`] and [`FsError::NotADirectory`]. That the directory cannot be listed shows in `readdir`.
    pub fn opendir(&self, ino: Ino, pid: u32) -> Result<Fh, FsError> {
        self.freshness.notice_suspension();
        self.freshness.trim();
        let dir = self.directory(ino)?;
        self.users.of(pid).opens_directory();
        let (listing, was_guess) = self.current_listing(&dir, Use::Read(Some(pid)));
        // After its own listing is on its way: what may come next never goes before what is asked for.
        self.ahead.dir_opened(&dir, pid, was_guess);
        Ok(self.dirs.insert(DirHandle::new(ino, listing)))
    }

    /// Whether the kernel may keep the entries that it reads through this handle, and whether it has them already: both only
    /// while the listing is complete and current.
    pub fn dir_keeping(&self, fh: Fh) -> (bool, bool) {
        let Ok(handle) = self.dirs.get(fh) else { return (false, false) };
        let listing = handle.listing();
        match listing.expires_at(self.belief.time()) {
            Some(expires_at) if !listing.is_outdated() => {
                let expires_at = expires_at.min(self.clock.boot() + self.config.ttl);
                self.expire_with(&handle, expires_at);
                (true, listing.set_kept())
            }
            _ => (false, false),
        }
    }

    /// Tells the kernel to drop its copy of a directory once it has expired, if the handle is still open: otherwise a reader that
    /// goes back to the beginning would be answered by the kernel alone.
    fn expire_with(&self, handle: &Arc<DirHandle>, expires_at: BootTime) {
        let left = expires_at.since(self.clock.boot());
        let (freshness, open) = (Arc::clone(&self.freshness), Arc::downgrade(handle));
        let expire = move || {
            if let Some(handle) = open.upgrade() {
                freshness.expire(handle.dir);
            }
        };
        handle.set_expiry(&self.timer, self.timer.at(self.clock.now() + left, expire));
    }

    /// What the kernel is to be told, for the one thread that tells it; `None` if there is one already.
    pub fn take_changes(&self) -> Option<Changes> {
        self.freshness.take_changes()
    }

    /// Puts the entries from `cookie` on into `sink`, as many as are in and fit; waits only if there is none.
    pub fn readdir(&self, fh: Fh, cookie: u64, thread: u32, sink: Box<dyn DirSink>) {
        let handle = match self.dirs.get(fh) {
            Ok(handle) => handle,
            Err(error) => return sink.finish(Err(error)),
        };
        if cookie == 0 {
            self.repin_if_outdated(&handle);
        }
        let listing = handle.listing();
        let emitter = Emitter {
            validity: self.belief.validity(&listing, self.clock.boot()),
            listing,
            inodes: Arc::clone(&self.inodes),
            freshness: Arc::clone(&self.freshness),
            cookie,
        };
        // "." and ".." alone are not worth a reply: the first page is on its way.
        let first_index = usize::try_from(cookie.saturating_sub(DOT_ENTRIES)).unwrap_or(usize::MAX);
        match emitter.listing.entries_from(first_index, 1) {
            Answer::NotYet => {
                let listing = Arc::clone(&emitter.listing);
                let owed = self.owe(thread, Box::new(move |result| emitter.emit(sink, result)));
                listing.when_index(first_index, Box::new(move || owed.answer_with(|| Ok(()))));
            }
            _ => emitter.emit(sink, Ok(())),
        }
    }

    /// Forgets a directory handle.
    pub fn releasedir(&self, fh: Fh) {
        self.dirs.remove(fh);
    }

    /// Opens a file for reading, for the process `pid`. Touches no network.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsADirectory`], [`FsError::Unreadable`], and [`FsError::Outdated`] for an inode whose content
    /// is no longer the file's: its name has another one by now.
    pub fn open(&self, ino: Ino, pid: u32) -> Result<Fh, FsError> {
        self.freshness.notice_suspension();
        let (entry, content) =
            self.inodes.open(ino, |entry| self.content.of(&entry.id, entry.version)).inspect_err(|error| {
                if let (FsError::Outdated, Some(entry)) = (error, self.inodes.get(ino)) {
                    self.freshness.refuse(&entry);
                }
            })?;
        let (reader, user) = (self.content.open(&content), self.users.of(pid));
        user.opens_file();
        Ok(self.files.insert(FileHandle::new(entry, reader, user)))
    }

    /// Reads `len` bytes from `offset`: exactly so many, or all up to the end of the file, or an error. Where a read of these
    /// bytes has only just failed, this one shares what is left of that one's time.
    pub fn read(&self, fh: Fh, offset: u64, len: u32, thread: u32, done: Done<ReadData>) {
        let handle = match self.files.get(fh) {
            Ok(handle) => handle,
            Err(error) => return done(Err(error)),
        };
        let range = ByteRange::clamped(offset, u64::from(len), handle.entry.version.size_bytes);
        let begins = offset == 0 && !handle.has_begun.swap(true, Ordering::Relaxed);
        if let Some(data) = handle.reader.read_cached(range) {
            handle.user.reads(range.len(), false);
            self.figures.reads_from_memory.count();
            done(Ok(data));
        } else {
            handle.user.reads(range.len(), true);
            self.figures.reads_waited.count();
            self.read_missing(&handle, range, thread, done);
        }
        if begins {
            self.ahead.file_begun(&handle.entry);
        }
    }

    fn read_missing(&self, handle: &Arc<FileHandle>, range: ByteRange, thread: u32, done: Done<ReadData>) {
        let ino = handle.entry.ino;
        let deadline = match self.failed_reads.deadline(ino, range, self.clock.now(), self.config.op_timeout) {
            Ok(deadline) => deadline,
            Err(error) => return done(Err(error)),
        };
        let (failed_reads, clock) = (Arc::clone(&self.failed_reads), Arc::clone(&self.clock));
        let (freshness, content) = (Arc::clone(&self.freshness), Arc::clone(&self.content));
        let entry = Arc::clone(&handle.entry);
        let finish = move |result: Result<ReadData, FsError>| {
            let result = result.map_err(|error| freshness.judge(&entry, error));
            if let Err(error) = &result {
                // Where its length was asked for, that was another object's.
                if let FsError::Content(ContentError::OtherSize { .. }) | FsError::Disputed(_) = error {
                    content.forget_size(&entry.id, entry.version.edited_ms);
                }
                // Whoever was killed has not learned that the bytes cannot be read, and others may want them.
                if !matches!(error, FsError::Killed) {
                    failed_reads.note(ino, range, deadline, error, clock.now());
                }
            }
            done(result);
        };
        let owed = Owed::new(&self.timer, deadline, Box::new(finish)).of_thread(thread, &self.killed);
        let again = Arc::clone(handle);
        let answered = move |result| match result {
            // Nothing was returned of what the disk had: the same read gives the bytes that the store has, once.
            Err(ContentError::Superseded) => {
                let finish = move |result: Result<_, _>| owed.answer_with(|| result.map_err(FsError::Content));
                again.reader.read(range, deadline, Box::new(finish));
            }
            result => owed.answer_with(|| result.map_err(FsError::Content)),
        };
        handle.reader.read(range, deadline, Box::new(answered));
    }

    /// Forgets a file handle.
    pub fn release(&self, fh: Fh) {
        self.files.remove(fh);
    }

    /// Figures for `df`, from memory; `None` where the service does not tell them.
    pub fn statfs(&self) -> Option<Capacity> {
        self.remote.capacity()
    }

    /// Bytes of content held now, and the most that ever were.
    pub fn memory_usage(&self) -> (u64, u64) {
        self.content.memory_usage()
    }

    /// A program was answered with `error`.
    pub fn note_failure(&self, error: &FsError) {
        self.figures.note_failure(error);
    }

    /// The path of an inode, for log lines.
    pub fn path(&self, ino: Ino) -> String {
        self.inodes.path(ino)
    }

    /// The path of an open file, for log lines.
    pub fn path_of_file(&self, fh: Fh) -> String {
        self.files.get(fh).map_or_else(|_| "?".to_owned(), |handle| self.inodes.path(handle.entry.ino))
    }

    fn owe<T: 'static>(&self, thread: u32, done: Done<T>) -> Owed<T> {
        Owed::new(&self.timer, self.clock.now() + self.config.op_timeout, done).of_thread(thread, &self.killed)
    }

    fn directory(&self, ino: Ino) -> Result<Arc<Entry>, FsError> {
        let entry = self.inodes.get(ino).ok_or(FsError::NotFound)?;
        entry.readable()?;
        if entry.kind == NodeKind::Directory { Ok(entry) } else { Err(FsError::NotADirectory) }
    }

    /// The current listing of a directory, which is on its way from here on, and whether it had been listed ahead.
    fn current_listing(&self, dir: &Entry, usage: Use) -> (Arc<Listing>, bool) {
        loop {
            let (listing, is_new) = self.listings.current(dir.ino, &dir.id, self.clock.boot());
            let reader = match usage {
                Use::Read(pid) => {
                    listing.set_read();
                    pid
                }
                Use::Lookup => None,
            };
            if is_new {
                if !reader.is_some_and(|pid| self.subtrees.takes_over(&listing, pid)) {
                    self.lister.load(&listing);
                }
                return (listing, false);
            }
            if usage != Use::Read(None) && listing.is_taken_over() {
                self.subtrees.give_back(&listing, reader);
            }
            let was_guess = listing.is_guess();
            if !self.lister.hurry(&listing) {
                // The next round makes a new one, unless another thread has.
                self.listings.discard(&listing);
                continue;
            }
            if self.listings.is_ageing(&listing, self.clock.boot()) {
                self.freshness.refresh_behind(&listing);
            }
            return (listing, was_guess);
        }
    }

    /// A reader that starts again, or late, is not shown what is out of date or has failed.
    fn repin_if_outdated(&self, handle: &DirHandle) {
        if let Ok(dir) = self.directory(handle.dir) {
            let (current, _) = self.current_listing(&dir, Use::Read(None));
            if !Arc::ptr_eq(&current, &handle.listing()) {
                handle.repin(current);
            }
        }
    }
}
