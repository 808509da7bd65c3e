//! What to fetch ahead: the directories that a walker comes to next, the files that a reader comes to next.
//!
//! What was opened and begun goes in; listings that are started and files that are fetched come out, and nothing else knows why.
//! On a walk, the directories that follow are listed ahead, in the order in which the walker goes (`walkers`, `traversal`). Where
//! files are begun one after the other, the next ones are fetched ahead (`policy/sequence.rs`). Listing alone fetches no file.
//!
//! What is listed for nothing has a limit for each walker and for all together (`policy/allowance.rs`); nothing is listed
//! for a process that is gone or has opened nothing for a while; a directory whose listing ahead failed is left alone for a time.
//!
//! A thread of the kernel's, or one that completes a listing, only queues an event: all planning runs on the listings' threads, one
//! event after the other. Locks: one each for events, walkers and readers, none held over another lock.

mod order;
mod selection;
mod traversal;
mod walkers;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use order::{ORDERS, Order};
use selection::Selection;
use traversal::{KnownTree, Traversal};
use walkers::{MAX_DIRS_AHEAD, Opened, Walkers};

use super::dir::{Listing, ListingCache};
use super::inode::{Entry, Ino, InodeTable};
use super::lister::Lister;
use super::subtrees::Subtrees;
use crate::clock::Clock;
use crate::content::Content;
use crate::policy::sequence::{self, MAX_WINDOW, Readers};
use crate::sync::lock;

/// The most events that wait to be looked at; with one more, those before it lead to no guess.
const MAX_EVENTS: usize = 1024;

/// For how many directories it is remembered where the readers of their files are.
const MAX_READ_DIRS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// What is fetched ahead of one reader is at most this part of the memory budget.
const BUDGET_PART: u64 = 4;

/// How many entries are looked at to find the next files; a longer stretch without one ends the sequence.
const MAX_LOOKED_AT: usize = 1024;

/// A reader of files is no process that opens directories: what is listed for it counts among what is listed for all.
const NOBODY: u32 = 0;

/// Watches which directories are opened and which files are begun, and starts the listings and fetches ahead of them.
pub(super) struct Ahead {
    tree: KnownTree,
    listings: Arc<ListingCache>,
    lister: Arc<Lister>,
    subtrees: Arc<Subtrees>,
    content: Arc<Content>,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// Whether a process is still there.
    is_alive: fn(u32) -> bool,
    events: Mutex<Events>,
    walkers: Mutex<Walkers>,
    /// By directory: the readers of its files.
    readers: Mutex<LruCache<Ino, Readers>>,
}

/// What is to be looked at, in the order in which it happened, and whether a thread is about it.
#[derive(Default)]
struct Events {
    waiting: VecDeque<Event>,
    is_looking: bool,
}

/// What has happened that may lead to guesses.
enum Event {
    /// A process has opened a directory; the last says whether it had opened the one above just before.
    Opened(Arc<Entry>, u32, Duration, bool),
    /// More is known of the tree that a process walks.
    Grown(u32),
    /// The first bytes of a file are being read.
    Begun(Arc<Entry>),
    /// The files of the first directory have been read one after the other, and then the second been opened and listed.
    Carried(Ino),
}

/// What became of a directory that may be listed ahead.
enum Guess {
    /// There is a listing, or one has failed not long ago.
    Known,
    /// It is being listed.
    New(Arc<Listing>),
    /// No more is to be listed ahead at the moment.
    NotNow,
}

impl Ahead {
    /// Nothing has been opened yet.
    pub(super) fn new(
        listings: Arc<ListingCache>,
        (lister, subtrees): (Arc<Lister>, Arc<Subtrees>),
        inodes: Arc<InodeTable>,
        content: Arc<Content>,
        clock: Arc<dyn Clock>,
        is_alive: fn(u32) -> bool,
    ) -> Arc<Ahead> {
        let tree = KnownTree::new(Arc::clone(&listings), inodes, Arc::clone(&clock));
        let (started, events, walkers) = (clock.now(), Mutex::default(), Mutex::new(Walkers::new()));
        let readers = Mutex::new(LruCache::new(MAX_READ_DIRS));
        Arc::new(Ahead {
            tree,
            listings,
            lister,
            subtrees,
            content,
            clock,
            started,
            is_alive,
            events,
            walkers,
            readers,
        })
    }

    /// A directory has been opened by process `pid`; `was_guess` says that it had been listed ahead.
    pub(super) fn dir_opened(self: &Arc<Self>, dir: &Arc<Entry>, pid: u32, was_guess: bool) {
        let now = self.now();
        let before = lock(&self.walkers).note_opened(pid, dir.ino, was_guess, now);
        self.queue(Event::Opened(Arc::clone(dir), pid, now, before == Some(dir.parent)));
    }

    /// A file has been begun: its first bytes are being read.
    pub(super) fn file_begun(self: &Arc<Self>, file: &Arc<Entry>) {
        self.queue(Event::Begun(Arc::clone(file)));
    }

    fn now(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }

    /// Queues `event` to be handled on another thread: what is loaded because of it may end at once and cause an event itself.
    fn queue(self: &Arc<Self>, event: Event) {
        let (has_begun, were_given_up) = {
            let mut events = lock(&self.events);
            let is_full = events.waiting.len() >= MAX_EVENTS;
            if is_full {
                events.waiting.clear();
            }
            events.waiting.push_back(event);
            (std::mem::replace(&mut events.is_looking, true), is_full)
        };
        if were_given_up {
            lock(&self.walkers).clear_queued();
        }
        let ahead = Arc::clone(self);
        if !has_begun && !self.lister.soon(move || ahead.look()) {
            lock(&self.events).is_looking = false;
        }
    }

    /// Looks at what has happened, until there is nothing more.
    fn look(self: &Arc<Self>) {
        loop {
            let (event, is_overtaken) = {
                let mut events = lock(&self.events);
                let event = events.waiting.pop_front();
                events.is_looking = event.is_some();
                let is_overtaken = match (&event, events.waiting.front()) {
                    (Some(Event::Begun(file)), Some(Event::Begun(next))) => file.parent == next.parent,
                    _ => false,
                };
                (event, is_overtaken)
            };
            let Some(event) = event else { return };
            // A panic costs this event's guesses; the panic hook has logged it.
            let _ = catch_unwind(AssertUnwindSafe(|| match event {
                Event::Opened(dir, pid, at, descends) => {
                    if descends {
                        self.follow_descent(&dir, pid);
                    }
                    self.follow_walk(&dir, pid, at);
                }
                Event::Grown(pid) => self.look_further(pid),
                Event::Begun(file) => self.follow_reader(&file, is_overtaken),
                Event::Carried(dir) => self.carry_on(dir),
            }));
        }
    }

    /// Process `pid` has opened `dir` at `now`: whether that is a walk, and what comes next if it is.
    fn follow_walk(self: &Arc<Self>, dir: &Entry, pid: u32, now: Duration) {
        let before = lock(&self.walkers).last_child(dir.parent);
        let follows = |order: &Order| {
            before.and_then(|before| self.tree.sibling_after(before, *order)).is_some_and(|next| next.ino == dir.ino)
        };
        let order = ORDERS.into_iter().find(follows);
        let grandparent = self.tree.parent(dir.parent);
        let opened = lock(&self.walkers).note_child(dir, grandparent, order, now);
        let Opened::Walked { begins_after } = opened else { return };
        if begins_after.is_some() {
            self.begin_subtree(dir.parent, pid);
        }
        self.list_ahead(dir.ino, pid);
        let Some(listing) = self.tree.listing(dir.ino) else { return };
        if let Some(before) = begins_after {
            // Whoever read the files of the directory before will read those of this one, as soon as it is known what they are.
            let ahead = Arc::clone(self);
            listing.when_ended(Box::new(move || ahead.queue(Event::Carried(before))));
        }
        if !listing.is_complete() {
            self.look_further_after(&listing, pid);
        }
    }

    /// Process `pid` has opened `dir` directly after the directory above: a walk, if it is the first one there in an order of walkers.
    fn follow_descent(self: &Arc<Self>, dir: &Entry, pid: u32) {
        let Some(listing) = self.tree.listing(dir.parent) else { return };
        let is_first = |order: &Order| order.subdir_from(&listing, 0).is_some_and(|(_, first)| first.ino == dir.ino);
        if ORDERS.iter().any(is_first) {
            self.begin_subtree(dir.parent, pid);
        }
    }

    /// Process `pid` walks the tree below `top`: has all of it fetched at once where the service gives it. What has come from the disk
    /// is on the disk below, too. Processes of another PID namespace all have the number 0: nobody is known to be the walker.
    fn begin_subtree(self: &Arc<Self>, top: Ino, pid: u32) {
        if pid != NOBODY
            && let (Some(top), Some(listing)) = (self.tree.entry(top), self.tree.listing(top))
            && listing.is_complete()
            && !listing.is_recalled()
        {
            let ahead = Arc::clone(self);
            self.subtrees.begin(&top, pid, move || ahead.queue_look_further(pid));
        }
    }

    /// Looks ahead once more when `listing` has ended: its subdirectories come into sight.
    fn look_further_after(self: &Arc<Self>, listing: &Arc<Listing>, pid: u32) {
        let ahead = Arc::clone(self);
        listing.when_ended(Box::new(move || ahead.queue_look_further(pid)));
    }

    fn queue_look_further(self: &Arc<Self>, pid: u32) {
        let is_new = lock(&self.walkers).set_queued(pid);
        if is_new {
            self.queue(Event::Grown(pid));
        }
    }

    /// More of the tree is known: looks ahead once more from where the process is by now, if it is still under way.
    fn look_further(self: &Arc<Self>, pid: u32) {
        let dir = lock(&self.walkers).take_queued(pid, self.now());
        if let Some(dir) = dir
            && (self.is_alive)(pid)
        {
            self.list_ahead(dir, pid);
        }
    }

    /// Starts to list the directories that a walker in `dir` comes to next.
    fn list_ahead(self: &Arc<Self>, dir: Ino, pid: u32) {
        let mut traversal = Traversal::after_opening(&self.tree, dir, |dir| self.walked_order(dir));
        for _ in 0..MAX_DIRS_AHEAD {
            let Some(next) = traversal.next_dir() else { break };
            match self.guess(&next, pid) {
                Guess::Known => {}
                Guess::New(listing) => self.look_further_after(&listing, pid),
                Guess::NotNow => break,
            }
        }
    }

    fn walked_order(&self, dir: Ino) -> Option<Order> {
        lock(&self.walkers).walked_order(dir)
    }

    /// Starts to list `dir` ahead of process `pid`, unless its listing is known or must rest.
    fn guess(&self, dir: &Entry, pid: u32) -> Guess {
        let now = self.clock.boot();
        if self.listings.is_known(dir.ino, now) || self.subtrees.covers(dir.ino) {
            return Guess::Known;
        }
        if !self.lister.may_guess() || !lock(&self.walkers).may_spend(pid, self.now()) {
            return Guess::NotNow;
        }
        let Some(listing) = self.listings.guess(dir.ino, &dir.id, now) else { return Guess::Known };
        lock(&self.walkers).spend(pid);
        self.lister.load_ahead(&listing);
        Guess::New(listing)
    }

    /// `file` has been begun: fetches the next ones if it belongs to a sequence, and unless the next one of its directory has been
    /// begun already.
    fn follow_reader(&self, file: &Entry, is_overtaken: bool) {
        let Some(listing) = self.tree.listing(file.parent) else { return };
        let Some(index) = listing.index_of(file.name.as_str()) else { return };
        let ranks = ORDERS.map(|order| order.rank(&listing, index));
        let ahead = lock(&self.readers).get_or_insert_mut(file.parent, Readers::default).note_begun(ranks);
        if let Some(ahead) = ahead
            && !is_overtaken
        {
            self.fetch_ahead(&listing, ahead);
        }
    }

    /// Requests the files that come after those of `dir`, if somebody has read these one after the other.
    fn carry_on(&self, dir: Ino) {
        let ahead = lock(&self.readers).peek(&dir).and_then(Readers::last);
        if let (Some(listing), Some(ahead)) = (self.tree.listing(dir), ahead) {
            self.fetch_ahead(&listing, ahead);
        }
    }

    /// Requests the next files that a reader of `listing` comes to.
    fn fetch_ahead(&self, listing: &Arc<Listing>, ahead: sequence::Ahead) {
        let sequence::Ahead { order, rank, window } = ahead;
        let max_bytes = self.content.memory_budget() / BUDGET_PART;
        let mut selection = Selection::new(window, max_bytes, self.content.links().is_batching());
        let order = ORDERS[order];
        let mut traversal = Traversal::after_file(&self.tree, listing, order, rank, |dir| self.walked_order(dir));
        (0..MAX_LOOKED_AT).map_while(|_| traversal.next_entry()).all(|entry| selection.add(&entry));
        if window == MAX_WINDOW {
            self.list_sibling(listing.dir);
        }
        self.content.fetch_ahead(selection.files, &selection.upcoming);
    }

    /// Somebody reads one file of `dir` after the other, and it may be the first directory of a walk: starts to list the one
    /// after it.
    fn list_sibling(&self, dir: Ino) {
        let order = lock(&self.walkers).order_in(self.tree.parent(dir));
        if let Some(next) = self.tree.sibling_after(dir, order) {
            self.guess(&next, NOBODY);
        }
    }
}
