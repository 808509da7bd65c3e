//! One directory's listing: the entries so far, who waits for more, how fresh it is.
//!
//! A listing only grows, so a cookie means the same entry for as long as somebody holds the listing. It ends by being
//! complete or by failing as a whole; it is never passed off as a shorter directory.
//! Knows nothing of replies. Locks: one; waiters are woken outside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::super::FsError;
use super::super::inode::{Entry, Ino, InodeTable};
use super::ino_order::InoOrder;
use super::state::{Answer, Progress, State, Wake, Wanted, wake_settled};
use crate::clock::BootTime;
use crate::jobs::Ticket;
use crate::policy::name::EntryName;
use crate::remote::{Cursor, Endless, Node, NodeId, Version};
use crate::sync::lock;

/// The most names that a listing remembers having reported absent: if one of them appears later, the kernel is told.
const MAX_ABSENT: usize = 1024;

/// For how long a failed listing answers with its error: a program that asks for fifty names of a broken directory waits for one
/// failure, not for fifty.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// For how long a failed guess keeps its directory from being guessed again.
const FAILED_GUESS_RESTS: Duration = Duration::from_secs(60);

/// For how long a listing of which only the first pages were loaded ahead may be continued: its cursor may not live longer, and
/// the directory may change meanwhile.
const PARTIAL_GUESS_KEPT: Duration = Duration::from_secs(20);

/// Whether there is another page to fetch.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The listing has ended, well or not.
    Ended,
    /// Go on here.
    Page(Cursor),
}

/// The listing of one directory at one time.
pub struct Listing {
    /// The directory's number.
    pub dir: Ino,
    /// The directory's id.
    pub id: NodeId,
    inodes: Arc<InodeTable>,
    state: Mutex<State>,
    /// Another one is being loaded to take its place.
    is_refreshed: AtomicBool,
    /// What it says is no longer to be believed: it was forgotten, or another one has taken its place.
    is_outdated: AtomicBool,
    /// Its entries have been given to the kernel to keep.
    is_kept: AtomicBool,
    /// The order by inode number, once the listing is complete.
    ino_order: OnceLock<InoOrder>,
    /// Nobody has asked for it yet: its failure is nobody's answer.
    is_guess: AtomicBool,
    /// It has come with a subtree: that a name is not in it is no proof.
    is_of_subtree: AtomicBool,
    /// It has come from the disk.
    is_recalled: AtomicBool,
    /// It is to come with a subtree that is on its way.
    is_taken_over: AtomicBool,
    /// The listing of its directory alone that is to tell of names that are not in this one.
    confirmation: Mutex<Option<Arc<Listing>>>,
    /// Its loading, once that is started.
    ticket: OnceLock<Ticket>,
}

impl Listing {
    /// An empty listing that is about to be loaded.
    pub fn new(dir: Ino, id: NodeId, inodes: &Arc<InodeTable>) -> Listing {
        let (is_guess, ticket) = (AtomicBool::new(false), OnceLock::new());
        let (is_refreshed, is_kept) = (AtomicBool::new(false), AtomicBool::new(false));
        let is_outdated = AtomicBool::new(false);
        let state = Mutex::new(State::new());
        let (is_of_subtree, is_taken_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let confirmation = Mutex::default();
        let (ino_order, inodes) = (OnceLock::new(), Arc::clone(inodes));
        Listing {
            dir,
            id,
            inodes,
            state,
            is_refreshed,
            is_outdated,
            is_kept,
            ino_order,
            is_guess,
            is_of_subtree,
            is_recalled: AtomicBool::new(false),
            is_taken_over,
            confirmation,
            ticket,
        }
    }

    /// The path of its directory, for log lines.
    pub fn path(&self) -> String {
        self.inodes.path(self.dir)
    }

    /// Up to `count` entries from `index` on. `Found` with at least one, `Absent` at the end of the directory.
    pub fn entries_from(&self, index: usize, count: usize) -> Answer<Vec<Arc<Entry>>> {
        let state = lock(&self.state);
        match state.entries.get(index..) {
            Some(rest) if !rest.is_empty() => Answer::Found(rest.iter().take(count).cloned().collect()),
            _ => state.ended(),
        }
    }

    /// The entry called `name`.
    pub fn find(&self, name: &str) -> Answer<Arc<Entry>> {
        let state = lock(&self.state);
        match state.find(name) {
            Some(entry) => Answer::Found(Arc::clone(entry)),
            None => state.ended(),
        }
    }

    /// Calls `wake` as soon as entry `index` is there or the listing has ended; at once if that is so already.
    pub fn when_index(&self, index: usize, wake: Wake) {
        self.when(Wanted::Index(index), wake);
    }

    /// Calls `wake` as soon as `name` is there or the listing has ended; at once if that is so already.
    pub fn when_name(&self, name: &str, wake: Wake) {
        self.when(Wanted::Name(name.into()), wake);
    }

    /// Calls `wake` when the listing has ended, well or not; at once if it has already.
    pub fn when_ended(&self, wake: Wake) {
        self.when(Wanted::End, wake);
    }

    fn when(&self, wanted: Wanted, wake: Wake) {
        let mut state = lock(&self.state);
        if state.settles(&wanted) {
            drop(state);
            wake();
        } else {
            state.waiters.push((wanted, wake));
        }
    }

    /// For how long, from `now`, what the listing says may be believed; zero if not at all.
    pub fn validity(&self, now: BootTime, ttl: Duration) -> Duration {
        if self.is_outdated() {
            return Duration::ZERO;
        }
        match lock(&self.state).progress {
            Progress::Loading => ttl,
            Progress::Complete(at) => ttl.saturating_sub(now.since(at)),
            Progress::Failed(..) => Duration::ZERO,
        }
    }

    /// Whether a new caller may be answered from it: it is loading, fresh, or has only just failed.
    pub(super) fn is_current(&self, now: BootTime, ttl: Duration) -> bool {
        let state = lock(&self.state);
        match state.progress {
            Progress::Loading => {
                let is_partial = state.paged_at.is_some_and(|at| now.since(at) >= PARTIAL_GUESS_KEPT);
                !(is_partial && self.is_guess())
            }
            Progress::Complete(at) => now.since(at) < ttl,
            Progress::Failed(at, _) => !self.is_guess() && now.since(at) < FAILURE_KEPT,
        }
    }

    /// Whether its directory is not to be listed ahead: a failed guess rests.
    pub(super) fn is_resting(&self, now: BootTime) -> bool {
        let at = match lock(&self.state).progress {
            Progress::Failed(at, _) => at,
            Progress::Loading | Progress::Complete(_) => return false,
        };
        self.is_guess() && now.since(at) < FAILED_GUESS_RESTS
    }

    /// Whether it is complete and more than half of its time is over.
    pub(super) fn is_ageing(&self, now: BootTime, ttl: Duration) -> bool {
        matches!(lock(&self.state).progress, Progress::Complete(at) if now.since(at) >= ttl / 2)
    }

    /// What it says is no longer to be believed. To be said before the kernel is told of the change.
    pub(in crate::fs) fn set_outdated(&self) {
        self.is_outdated.store(true, Ordering::SeqCst);
    }

    /// Whether what it says is no longer to be believed.
    pub(in crate::fs) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::SeqCst)
    }

    /// When what it says ends to be valid, if it is complete.
    pub(in crate::fs) fn expires_at(&self, ttl: Duration) -> Option<BootTime> {
        match lock(&self.state).progress {
            Progress::Complete(at) => Some(at + ttl),
            Progress::Loading | Progress::Failed(..) => None,
        }
    }

    /// When it was complete, if it is.
    pub(in crate::fs) fn complete_at(&self) -> Option<BootTime> {
        match lock(&self.state).progress {
            Progress::Complete(at) => Some(at),
            Progress::Loading | Progress::Failed(..) => None,
        }
    }

    /// How it has failed, if it has.
    pub(in crate::fs) fn failure(&self) -> Option<FsError> {
        match &lock(&self.state).progress {
            Progress::Failed(_, error) => Some(error.clone()),
            Progress::Loading | Progress::Complete(_) => None,
        }
    }

    /// Marks that another one is being loaded to replace it; `false` if that was marked already.
    pub(in crate::fs) fn begin_refresh(&self) -> bool {
        !self.is_refreshed.swap(true, Ordering::AcqRel)
    }

    /// The kernel is about to keep its entries; returns whether it has them already.
    pub(in crate::fs) fn set_kept(&self) -> bool {
        self.is_kept.swap(true, Ordering::AcqRel)
    }

    /// Remembers that `name` is reported absent; returns for how long that may be believed, at most `validity`: not at all when
    /// no more names can be remembered, as the kernel could not be told of a change.
    pub(in crate::fs) fn note_absent(&self, name: &str, validity: Duration) -> Duration {
        let mut state = lock(&self.state);
        if state.absent.len() >= MAX_ABSENT && !state.absent.contains(name) {
            return Duration::ZERO;
        }
        state.absent.insert(name.into());
        validity
    }

    /// All entries that are in.
    pub(in crate::fs) fn entries(&self) -> Vec<Arc<Entry>> {
        lock(&self.state).entries.clone()
    }

    /// The names that were told to be absent.
    pub(in crate::fs) fn absent_names(&self) -> Vec<Box<str>> {
        lock(&self.state).absent.iter().cloned().collect()
    }

    /// All names that the kernel may know of this directory, present and absent.
    pub fn known_names(&self) -> Vec<Box<str>> {
        let state = lock(&self.state);
        let present = state.entries.iter().chain(state.probed()).map(|entry| Box::from(entry.name.as_str()));
        present.chain(state.absent.iter().cloned()).collect()
    }

    /// Whether nobody has asked for it yet.
    pub(in crate::fs) fn is_guess(&self) -> bool {
        self.is_guess.load(Ordering::Acquire)
    }

    /// Nobody asks for it (yet).
    pub(in crate::fs) fn set_guess(&self) {
        self.is_guess.store(true, Ordering::Release);
    }

    /// Somebody asks for it.
    pub(in crate::fs) fn set_asked(&self) {
        self.is_guess.store(false, Ordering::Release);
    }

    /// Whether it has come with a subtree: that a name is not in it is no proof.
    pub(in crate::fs) fn is_of_subtree(&self) -> bool {
        self.is_of_subtree.load(Ordering::Acquire)
    }

    /// It comes with a subtree. To be said before its entries are in.
    pub(in crate::fs) fn set_of_subtree(&self) {
        self.is_of_subtree.store(true, Ordering::Release);
    }

    /// Whether it has come from the disk.
    pub(in crate::fs) fn is_recalled(&self) -> bool {
        self.is_recalled.load(Ordering::Acquire)
    }

    /// It comes from the disk.
    pub(in crate::fs) fn set_recalled(&self) {
        self.is_recalled.store(true, Ordering::Release);
    }

    /// Whether it is to come with a subtree that is on its way.
    pub(in crate::fs) fn is_taken_over(&self) -> bool {
        self.is_taken_over.load(Ordering::Acquire)
    }

    /// It is to come with a subtree, or not any more.
    pub(in crate::fs) fn set_taken_over(&self, is_taken_over: bool) {
        self.is_taken_over.store(is_taken_over, Ordering::Release);
    }

    /// The listing that is to tell of names that are not in this one, and whether it is a new one, which the caller must have loaded.
    pub(in crate::fs) fn confirmation(&self, now: BootTime, ttl: Duration) -> (Arc<Listing>, bool) {
        let mut confirmation = lock(&self.confirmation);
        if let Some(known) = confirmation.as_ref().filter(|known| known.is_current(now, ttl)) {
            return (Arc::clone(known), false);
        }
        let new = Arc::new(Listing::new(self.dir, self.id.clone(), &self.inodes));
        let replaced = confirmation.replace(Arc::clone(&new));
        drop(confirmation);
        drop(replaced);
        (new, true)
    }

    /// Its loading, once that is started.
    pub(in crate::fs) fn ticket(&self) -> Option<&Ticket> {
        self.ticket.get()
    }

    /// Sets the ticket of its loading, before that is started; once.
    pub(in crate::fs) fn set_ticket(&self, ticket: &Ticket) {
        let _ = self.ticket.set(ticket.clone());
    }

    /// Puts the file `entry` as one of this version into its place, if that is still where it was.
    pub(in crate::fs) fn substitute(&self, entry: &Entry, version: Version) {
        let renewed = self.inodes.enlist_again(entry, version);
        let replaced = lock(&self.state).substitute(entry, renewed);
        self.inodes.delist(&[replaced]);
    }

    /// The index of the entry called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        lock(&self.state).by_name.get(name).map(|entry| entry.1 as usize)
    }

    /// Entry `index`.
    pub fn entry(&self, index: usize) -> Option<Arc<Entry>> {
        lock(&self.state).entries.get(index).cloned()
    }

    /// The order of the entries by inode number, which is that of `cp -r`, and of `find` in large directories; `None` before
    /// the listing is complete.
    pub(in crate::fs) fn ino_order(&self) -> Option<&InoOrder> {
        self.ino_order.get()
    }

    /// How many entries there are; `None` before the listing is complete.
    pub(in crate::fs) fn complete_len(&self) -> Option<usize> {
        let state = lock(&self.state);
        matches!(state.progress, Progress::Complete(_)).then_some(state.entries.len())
    }

    /// The first subdirectory at or after entry `index`, with its own index.
    pub fn subdir_from(&self, index: usize) -> Option<(usize, Arc<Entry>)> {
        let state = lock(&self.state);
        let nth = state.subdirs.partition_point(|subdir| (*subdir as usize) < index);
        let found = *state.subdirs.get(nth)? as usize;
        Some((found, Arc::clone(&state.entries[found])))
    }

    /// The last subdirectory before entry `index`, with its own index.
    pub fn subdir_before(&self, index: usize) -> Option<(usize, Arc<Entry>)> {
        let state = lock(&self.state);
        let nth = state.subdirs.partition_point(|subdir| (*subdir as usize) < index);
        let found = *state.subdirs.get(nth.checked_sub(1)?)? as usize;
        Some((found, Arc::clone(&state.entries[found])))
    }

    /// Whether all entries are in.
    pub fn is_complete(&self) -> bool {
        matches!(lock(&self.state).progress, Progress::Complete(_))
    }

    /// Takes in the next page; says where to go on. One loader at a time calls this.
    pub fn accept(&self, nodes: Vec<Node>, next: Option<Cursor>, now: BootTime) -> Next {
        let (named, next) = {
            let mut state = lock(&self.state);
            let State { by_name, pages, .. } = &mut *state;
            (pages.name(nodes, |name| by_name.contains(name)), pages.go_on(next))
        };
        let entries = self.inodes.enlist(self.dir, named);
        let mut unneeded = {
            let mut state = lock(&self.state);
            state.paged_at = Some(now);
            state.extend(entries)
        };
        if matches!(next, Ok(None)) {
            self.set_ino_order();
        }
        let mut state = lock(&self.state);
        let next = match next {
            Ok(Some(cursor)) => Next::Page(cursor),
            Ok(None) => {
                unneeded.extend(state.end(Progress::Complete(now)));
                Next::Ended
            }
            Err(Endless) => {
                state.end(Progress::Failed(now, FsError::EndlessListing));
                Next::Ended
            }
        };
        wake_settled(state);
        self.inodes.delist(&unneeded);
        next
    }

    /// A name that somebody waits for while the listing goes on, and that has not been asked for by itself yet; from here on it has.
    pub(in crate::fs) fn take_unasked(&self) -> Option<Box<str>> {
        lock(&self.state).take_unasked()
    }

    /// Takes in the entry called `name`, which was asked for by itself. Whoever waits for it is woken; the listing may still say
    /// something else.
    pub(in crate::fs) fn accept_probed(&self, name: &str, node: Node) {
        let assigned = EntryName::assign(&node.name, node.id.as_str(), |_| false);
        if assigned.as_str() != name {
            return;
        }
        let entries = self.inodes.enlist(self.dir, vec![(assigned, node)]);
        let mut state = lock(&self.state);
        let unneeded: Vec<_> = entries.into_iter().filter_map(|entry| state.put_probed(entry)).collect();
        wake_settled(state);
        self.inodes.delist(&unneeded);
    }

    /// The names that pages have told otherwise than it was told before, each once.
    pub(in crate::fs) fn take_contradicted(&self) -> Vec<Box<str>> {
        lock(&self.state).take_contradicted()
    }

    /// Somebody begins to read it: all of it is wanted.
    pub(in crate::fs) fn set_read(&self) {
        lock(&self.state).is_read = true;
    }

    /// If nobody waits for an entry or reads it, it is a guess from here on. Whoever comes later looks whether it is one after having
    /// said what is wanted.
    pub(in crate::fs) fn rest_if_unwanted(&self) -> bool {
        let state = lock(&self.state);
        let is_unwanted = !state.is_wanted();
        if is_unwanted {
            self.set_guess();
        }
        is_unwanted
    }

    /// The service has refused the cursor: whether the listing is to be loaded again from its first page. What is in stays.
    pub fn restart(&self) -> bool {
        lock(&self.state).pages.restart()
    }

    /// Computes the order by inode number of a listing whose last page is in: here, by whoever loads it, so that no reader ever
    /// waits for it; and without the lock, as sorting a million entries takes a tenth of a second.
    fn set_ino_order(&self) {
        let (inos, subdirs) = {
            let state = lock(&self.state);
            (state.entries.iter().map(|entry| entry.ino).collect::<Vec<_>>(), state.subdirs.clone())
        };
        let _ = self.ino_order.set(InoOrder::new(&inos, &subdirs));
    }

    /// The listing has failed as a whole; whoever waits is told.
    pub fn fail(&self, error: FsError, now: BootTime) {
        let mut state = lock(&self.state);
        if matches!(state.progress, Progress::Loading) {
            state.end(Progress::Failed(now, error));
        }
        wake_settled(state);
    }

    /// How many entries are in.
    pub fn len(&self) -> usize {
        lock(&self.state).entries.len()
    }

    /// How many entries are held, those that were found by their names among them.
    pub(super) fn held(&self) -> usize {
        lock(&self.state).held()
    }

    /// Whether no entry is in (yet).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        let mut entries = std::mem::take(&mut state.entries);
        entries.extend(state.probed().cloned());
        drop(state);
        self.inodes.delist(&entries);
    }
}
