//! Freshness: listings that are refreshed in the background, what is forgotten on demand, and what the kernel is told.
//!
//! The kernel keeps names, known and absent, for as long as they were said to be valid. What changes before that is told to it by
//! whoever takes the [`Changes`]: a thread of its own, as telling may block while an operation on the same directory is under way
//! (measured: src/kernel/LINUX.md, section 7). A listing that is no longer current says so ([`Listing::set_outdated`]) before the
//! kernel is told: what is still answered from it is not to be believed, and an answer that overtook the telling is told again.
//! Locks: none of its own; `dispute` has one.

mod dispute;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dispute::Disputes;

use super::FsError;
use super::dir::{Listing, ListingCache};
use super::inode::{Entry, Ino, InodeTable};
use super::lister::Lister;
use super::owed::Owed;
use crate::clock::{BootTime, Clock};
use crate::content::ContentError;
use crate::remote::{NodeKind, RemoteErrorKind};
use crate::sync::lock;

/// The most changes that may wait to be told. Each is a directory's, or all that one refresh forgets. One that does not fit is
/// found out when the kernel's own time for it is up; a refresh that does not fit fails.
const MAX_CHANGES: usize = 4096;

/// The least difference between the clock that goes on during a suspension and the one that does not which counts as a
/// suspension: the two are not read in the same moment.
const MIN_SUSPENDED: Duration = Duration::from_secs(1);

/// Something that the kernel may have cached and that is no longer true.
pub enum Change {
    /// These names of a directory: gone, new, or another file's by now.
    Names(Ino, Vec<Box<str>>),
    /// The attributes of a directory, and its entries as the kernel has kept them for readers.
    Directory(Ino),
    /// All that was ever told of these directories.
    Forgotten(Vec<Arc<Listing>>),
    /// Files that nobody has asked for in a long time: their directory, and their name. There are too many that the kernel knows.
    Surplus(Vec<(Ino, Box<str>)>),
    /// All that came before has been told.
    Told(Box<dyn FnOnce() + Send>),
}

/// What is to be told to the kernel, in order. Ends with the filesystem.
pub type Changes = Receiver<Change>;

/// Keeps listings fresh.
pub(super) struct Freshness {
    listings: Arc<ListingCache>,
    lister: Arc<Lister>,
    inodes: Arc<InodeTable>,
    clock: Arc<dyn Clock>,
    changes: SyncSender<Change>,
    untold: Mutex<Option<Changes>>,
    disputes: Disputes,
    /// For how long the machine has been suspended, as far as noticed.
    suspended: Mutex<Duration>,
    /// When both clocks were read first.
    started: (Instant, BootTime),
}

impl Freshness {
    /// Nothing has changed yet.
    pub(super) fn new(
        listings: Arc<ListingCache>,
        lister: Arc<Lister>,
        inodes: Arc<InodeTable>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Freshness> {
        let (changes, untold) = sync_channel(MAX_CHANGES);
        let (untold, disputes) = (Mutex::new(Some(untold)), Disputes::default());
        let (suspended, started) = (Mutex::default(), (clock.now(), clock.boot()));
        Arc::new(Freshness { listings, lister, inodes, clock, changes, untold, disputes, suspended, started })
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

    /// The listing of a directory alone that tells of names that are not in `old`, which has come with a subtree. When it is complete it
    /// takes the old one's place, and the kernel is told the difference.
    pub(super) fn confirmation(self: &Arc<Self>, old: &Arc<Listing>) -> Arc<Listing> {
        let (new, is_new) = self.listings.confirmation(old, self.clock.boot());
        if is_new {
            self.lister.load_anew(&new);
            let (freshness, old, ended) = (Arc::clone(self), Arc::clone(old), Arc::clone(&new));
            new.when_ended(Box::new(move || freshness.replace(&old, &ended)));
        }
        new
    }

    fn replace(&self, old: &Arc<Listing>, new: &Arc<Listing>) {
        if !new.is_complete() {
            log::debug!("a directory could not be listed anew behind its readers");
            return;
        }
        if self.listings.replace(old, new) {
            old.set_outdated();
            for change in difference(old, new) {
                self.tell(change);
            }
        }
    }

    /// Entries were answered from `listing`, which is outdated since: the kernel may have been told of that before they came.
    pub(super) fn tell_again(&self, listing: &Arc<Listing>) {
        self.tell(Change::Forgotten(vec![Arc::clone(listing)]));
    }

    /// The same for one name of `dir`.
    pub(super) fn tell_name_again(&self, dir: Ino, name: &str) {
        self.tell(Change::Names(dir, vec![name.into()]));
    }

    /// These names of `dir` are something else than was told of them.
    pub(super) fn tell_names(&self, dir: Ino, names: Vec<Box<str>>) {
        self.tell(Change::Names(dir, names));
    }

    /// The listing of `dir` that the kernel keeps for readers is no longer to be believed.
    pub(super) fn expire(&self, dir: Ino) {
        self.tell(Change::Directory(dir));
    }

    /// Tells the kernel to give up files if it knows too many.
    pub(super) fn trim(&self) {
        let surplus = self.inodes.take_surplus();
        if !surplus.is_empty() {
            self.tell(Change::Surplus(surplus.iter().map(|file| (file.parent, file.name.as_str().into())).collect()));
        }
    }

    /// Notices that the machine was suspended. The kernel's own times stood still then, and it would believe what it was told for
    /// longer than it was to.
    pub(super) fn notice_suspension(&self) {
        let (now, boot) = self.started;
        let awake = self.clock.now().saturating_duration_since(now);
        let asleep = self.clock.boot().since(boot).saturating_sub(awake);
        let is_new = {
            let mut noticed = lock(&self.suspended);
            let is_new = asleep >= *noticed + MIN_SUSPENDED;
            if is_new {
                *noticed = asleep;
            }
            is_new
        };
        if is_new {
            log::info!("this machine was suspended: names are looked up anew");
            self.doubt_all();
        }
    }

    /// What the kernel was told of any directory is no longer to be believed without asking.
    pub(super) fn doubt_all(&self) {
        self.tell(Change::Forgotten(self.listings.all()));
    }

    /// What the failure of a read of `file` comes to. One that shows that the file is not (any more) what its directory says
    /// outdates it; if the directory has been listed anew for that reason in vain, it is an error that a new open will not mend.
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

    fn may_list_anew(&self, file: &Entry) -> bool {
        let now = self.clock.boot();
        self.disputes.may_list_anew(file, self.listings.peek(file.parent, now).as_deref(), now)
    }

    /// `file` is an inode that cannot be opened any more. The next open of its name gets another one: from a new listing of the
    /// directory, or from the current one if that cannot say anything new.
    fn rename(&self, file: &Entry, list_anew: bool) {
        if list_anew {
            let given_up = self.listings.take_out(&[file.parent]);
            given_up.iter().for_each(|listing| listing.set_outdated());
            // Once it is given up, a refresh does not know any more which other names the kernel has from it.
            self.tell(Change::Forgotten(given_up));
        } else if let Some(listing) = self.listings.peek(file.parent, self.clock.boot()) {
            listing.substitute(file, file.version);
        }
        self.tell(Change::Names(file.parent, vec![file.name.as_str().into()]));
    }

    /// Forgets the listings of `dir` and of all that is below it, and tells the kernel; `owed` is answered
    /// when that is done: with an error if the kernel cannot be told.
    pub(super) fn forget_below(&self, dir: Ino, owed: Owed<()>) {
        // A listing that begins after this look was asked for after the refresh, and is fresh.
        let mut below = self.listings.dirs();
        below.retain(|listed| self.inodes.is_below(*listed, dir));
        let forgotten = self.listings.take_out(&below);
        forgotten.iter().for_each(|listing| listing.set_outdated());
        let when_told = owed.clone();
        let told = Change::Told(Box::new(move || when_told.answer_with(|| Ok(()))));
        for change in [Change::Forgotten(forgotten), told] {
            match self.changes.try_send(change) {
                Ok(()) => {}
                // There is nobody to be told: no kernel, or its mount is gone.
                Err(TrySendError::Disconnected(Change::Told(told))) => told(),
                Err(TrySendError::Disconnected(_)) => {}
                // `owed` goes with the change, and answers that it was dropped.
                Err(TrySendError::Full(_)) => {
                    log::warn!("the kernel is told too slowly: a refresh failed, try it again")
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
                    changes.push(Change::Directory(entry.ino));
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
        changes.push(Change::Directory(old.dir));
    }
    changes
}
