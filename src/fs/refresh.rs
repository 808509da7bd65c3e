//! Freshness: listings that are refreshed behind their readers, what is forgotten on demand, and what the kernel is told.
//!
//! The kernel keeps names, known and absent, for as long as they were said to be valid. What changes before that is told to
//! it by whoever takes the [`Changes`]: a thread of its own, as telling may block while an operation on the same directory
//! is under way (measured: fuse-notes, D).
//! Locks: none of its own.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::FsError;
use super::dir::{Answer, Listing, ListingCache};
use super::inode::{Entry, Ino, InodeTable};
use super::lister::Lister;
use super::owed::Owed;
use crate::clock::{Clock, lock};
use crate::content::ContentError;
use crate::policy::name::EntryName;
use crate::remote::{NodeId, NodeKind, RemoteErrorKind, Version};

/// The most changes that may wait to be told. Each is a directory's; what does not fit is found out when the kernel's own
/// time for it is up.
const CHANGES_MAX: usize = 4096;

/// Something that the kernel may still believe and that is no longer so.
pub enum Change {
    /// These names of a directory: gone, new, or another file's by now.
    Names(Ino, Vec<Box<str>>),
    /// The attributes of an inode.
    Attributes(Ino),
    /// All that came before has been told.
    Told(Box<dyn FnOnce() + Send>),
}

/// What is to be told to the kernel, in order. Ends with the filesystem.
pub type Changes = Receiver<Change>;

/// A directory whose listing brought nothing new about a changed file is not listed anew for the same reason before this has passed,
/// twice as long each time: a file that the service withholds stays another than listed, and each read of it would list its whole
/// directory.
const DISPUTE_PAUSE_MIN: Duration = Duration::from_secs(30);
const DISPUTE_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// For how many directories it is remembered why they were listed anew.
const DISPUTES_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Why a directory was listed anew: a file that was another than listed.
struct Dispute {
    name: EntryName,
    id: NodeId,
    version: Version,
    not_before: Instant,
    pause: Duration,
}

impl Dispute {
    /// Whether the directory's listing says something else of the file by now.
    fn has_news(&self, listing: Option<&Listing>) -> bool {
        let Some(listing) = listing else { return false };
        match listing.find(self.name.as_str()) {
            Answer::Found(entry) => entry.id != self.id || entry.version != self.version,
            Answer::Absent => true,
            Answer::NotYet | Answer::Failed(_) => false,
        }
    }
}

/// Keeps listings fresh.
pub(super) struct Freshness {
    listings: Arc<ListingCache>,
    lister: Arc<Lister>,
    inodes: Arc<InodeTable>,
    clock: Arc<dyn Clock>,
    changes: SyncSender<Change>,
    untold: Mutex<Option<Changes>>,
    /// By directory.
    disputes: Mutex<LruCache<Ino, Dispute>>,
}

impl Freshness {
    /// Nothing has changed yet.
    pub(super) fn new(
        listings: Arc<ListingCache>,
        lister: Arc<Lister>,
        inodes: Arc<InodeTable>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Freshness> {
        let (changes, untold) = sync_channel(CHANGES_MAX);
        let (untold, disputes) = (Mutex::new(Some(untold)), Mutex::new(LruCache::new(DISPUTES_MAX)));
        Arc::new(Freshness { listings, lister, inodes, clock, changes, untold, disputes })
    }

    /// The changes, for whoever tells them; `None` if somebody has them already.
    pub(super) fn take_changes(&self) -> Option<Changes> {
        lock(&self.untold).take()
    }

    /// Loads a listing anew that is still believed but no longer young; its readers are not kept waiting. When the new one is
    /// complete it takes the old one's place, and the kernel is told the difference. A failure changes nothing.
    pub(super) fn refresh_behind(self: &Arc<Self>, old: &Arc<Listing>) {
        if !self.lister.may_load_behind() || !old.begin_refresh() {
            return;
        }
        let new = Arc::new(Listing::new(old.dir, old.id.clone(), &self.inodes));
        self.lister.load_behind(&new);
        // The new one is kept alive by its own waiter, until it has ended.
        let (freshness, old, ended) = (Arc::clone(self), Arc::clone(old), Arc::clone(&new));
        new.when_ended(Box::new(move || freshness.replace(&old, &ended)));
    }

    fn replace(&self, old: &Arc<Listing>, new: &Arc<Listing>) {
        if !new.is_complete() {
            log::debug!("a directory could not be listed anew behind its readers");
            return;
        }
        if self.listings.replace(old, new) {
            for change in difference(old, new) {
                self.tell(change);
            }
        }
    }

    /// What the failure of a read of `file` comes to. One that shows that the file is not (any more) what its directory says outdates
    /// it; if the directory has been listed anew for that reason in vain, it is an error that a new open will not mend.
    pub(super) fn judge(&self, file: &Entry, error: FsError) -> FsError {
        let FsError::Content(error) = error else { return error };
        if !matches!(error.kind(), RemoteErrorKind::Changed | RemoteErrorKind::NotFound) {
            return FsError::Content(error);
        }
        let may_list_anew = self.may_list_anew(file);
        if matches!(error, ContentError::OtherSize { .. }) && !may_list_anew {
            return FsError::Disputed(error);
        }
        if self.inodes.outdate(file.ino) {
            self.rename(file, may_list_anew);
        }
        FsError::Content(error)
    }

    /// A file cannot be opened by its inode, as the store has other content by now.
    pub(super) fn refuse(&self, file: &Entry) {
        if self.inodes.outdate(file.ino) {
            self.rename(file, self.may_list_anew(file));
        }
    }

    /// `file` is an inode that cannot be opened any more. Its name gets another one for the next open: out of a new listing of the
    /// directory, or out of the one there is, which says nothing new.
    fn rename(&self, file: &Entry, list_anew: bool) {
        if list_anew {
            drop(self.listings.take_out(|dir| dir == file.parent));
        } else if let Some(listing) = self.listings.peek(file.parent, self.clock.now()) {
            listing.renew(file);
        }
        self.tell(Change::Names(file.parent, vec![file.name.as_str().into()]));
    }

    /// Whether `file`'s directory may be listed anew because the store has another version of it.
    fn may_list_anew(&self, file: &Entry) -> bool {
        let now = self.clock.now();
        let listing = self.listings.peek(file.parent, now);
        let mut disputes = lock(&self.disputes);
        let pause = match disputes.get(&file.parent) {
            Some(last) if last.has_news(listing.as_deref()) => DISPUTE_PAUSE_MIN,
            Some(last) if now < last.not_before => return false,
            Some(last) => (last.pause * 2).min(DISPUTE_PAUSE_MAX),
            None => DISPUTE_PAUSE_MIN,
        };
        let dispute = Dispute {
            name: file.name.clone(),
            id: file.id.clone(),
            version: file.version,
            not_before: now + pause,
            pause,
        };
        disputes.put(file.parent, dispute);
        true
    }

    /// Forgets the listings of `dir` and of all that is below it, and tells the kernel; `owed` is answered
    /// when that is done.
    pub(super) fn forget_below(&self, dir: Ino, owed: Owed<()>) {
        for listing in self.listings.take_out(|listed| self.inodes.is_below(listed, dir)) {
            self.tell(Change::Names(listing.dir, listing.known_names()));
            self.tell(Change::Attributes(listing.dir));
        }
        let told = Change::Told(Box::new(move || owed.answer_with(|| Ok(()))));
        match self.changes.try_send(told) {
            Ok(()) => {}
            // Nobody tells the kernel anything, or too slowly to wait for.
            Err(TrySendError::Disconnected(change) | TrySendError::Full(change)) => {
                if let Change::Told(told) = change {
                    told();
                }
            }
        }
    }

    fn tell(&self, change: Change) {
        if self.changes.try_send(change).is_err() {
            log::debug!("a change is not told to the kernel, which finds out when its time for it is up");
        }
    }
}

/// What the kernel may believe after `old` and should not after `new`.
fn difference(old: &Listing, new: &Listing) -> Vec<Change> {
    let before: HashMap<Box<str>, Arc<Entry>> =
        old.entries().into_iter().map(|entry| (entry.name.as_str().into(), entry)).collect();
    let mut names: Vec<Box<str>> = old.absent_names();
    let mut changes = Vec::new();
    let mut still_there = 0;
    for entry in new.entries() {
        match before.get(entry.name.as_str()) {
            Some(known) if known.ino == entry.ino => {
                still_there += 1;
                if entry.kind == NodeKind::Directory && known.version != entry.version {
                    changes.push(Change::Attributes(entry.ino));
                }
            }
            Some(_) => names.push(entry.name.as_str().into()),
            None => {}
        }
    }
    if still_there < before.len() {
        names.extend(before.into_keys().filter(|name| new.index_of(name).is_none()));
    }
    if !names.is_empty() || new.len() != old.len() {
        changes.push(Change::Names(old.dir, names));
        changes.push(Change::Attributes(old.dir));
    }
    changes
}
