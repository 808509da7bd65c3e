//! Who walks the tree, and what to fetch next: the directories ahead of a walker, the small files ahead of a reader.
//!
//! A second opened child of one directory means a walk (find, du, ls -R, grep -r): the directories that follow, in the order
//! that the walker goes, are listed ahead. Files that are begun one after the other mean that the next ones will be, too: they
//! are fetched ahead, more with each that is, until half of them were for nothing. Listing alone fetches no file.
//!
//! What is listed for nothing has a limit for each walker and for all together ([`crate::policy::allowance`]); nothing is listed
//! for a process that is gone or has opened nothing for a while; a directory whose listing ahead failed is left alone for a time.
//!
//! Knows what comes next, not how it is fetched. Plans on the listings' threads: a thread that opens a directory, or completes a
//! listing, only says that there is something to plan. Locks: one, never held over a listing's or the content room's.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::dir::{Listing, ListingCache};
use super::inode::{Entry, Ino, InodeTable};
use super::lister::Lister;
use super::way::{WAYS, Way};
use crate::clock::{Clock, lock};
use crate::content::Content;
use crate::policy::allowance::Allowance;
use crate::remote::{NodeId, NodeKind, Version};

/// How many directories a walk may be ahead of its walker: work for all that are listed at a time (lister.rs), twice and more.
const DIRS_AHEAD: usize = 64;

/// A child that is opened so long after the one before it is no walk: a person with a file manager is slower. Nor is anything
/// listed for a process that has opened nothing for so long.
const WALK_PAUSE: Duration = Duration::from_secs(10);

/// So many directories a minute may be listed for one process without being opened: those that it is ahead, once.
const UNUSED_PER_WALKER: usize = DIRS_AHEAD;

/// The same for all processes together, as a shell loop is a new one for each directory.
const UNUSED_IN_ALL: usize = 8 * DIRS_AHEAD;

/// The most events that wait to be looked at; with one more, those before it lead to no guess.
const EVENTS_MAX: usize = 1024;

/// How often the log tells what was listed ahead, if anything was.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// For how many directories it is remembered which child was opened last. More than any tree is deep, times a few walkers.
const PARENTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// How many walkers are followed at a time.
const WALKERS_MAX: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

/// For how many directories it is remembered where readers of their files are.
const SEQUENCES_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

/// How many readers of one directory are told apart.
const READERS_PER_DIR: usize = 4;

/// A file so few files after the last one still follows it: threads of one program take turns.
const FOLLOWS_WITHIN: usize = 8;

/// So many files begun in a row make a sequence.
const STREAK_MIN: u32 = 2;

/// The most files that are fetched ahead of one reader.
const FILES_AHEAD_MAX: usize = 64;

/// Files up to this length are fetched whole, in bytes.
const WHOLE_FILE_BYTES: u64 = 1024 * 1024;

/// Of longer ones, the head: what tells a program what it is, and keeps it busy for a round trip. In bytes.
const HEAD_BYTES: u64 = 256 * 1024;

/// What is fetched ahead of one reader is at most this part of the memory budget.
const BUDGET_PART: u64 = 4;

/// Among how many of the next files links that are lacking are looked for: twice what one call may name (koodrive-api.md, 10.1),
/// so that a call is full although the nearest have theirs.
const LINKS_AHEAD: usize = 200;

/// How many entries are looked at to find the next files; a longer stretch without one ends the sequence.
const LOOKED_AT_MAX: usize = 1024;

/// After so many files it is asked whether fetching ahead was worth it.
const JUDGED_AFTER: usize = 16;

/// Watches what is opened and begun, and has the next things fetched.
pub(super) struct Walk {
    listings: Arc<ListingCache>,
    lister: Arc<Lister>,
    inodes: Arc<InodeTable>,
    content: Arc<Content>,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// Whether a process is still there.
    is_alive: fn(u32) -> bool,
    state: Mutex<State>,
}

struct State {
    /// By directory: which child was opened last.
    parents: LruCache<Ino, OpenedChild>,
    /// By process: where it is.
    walkers: LruCache<u32, Walker>,
    /// What is to be looked at, in the order in which it happened, and whether a thread is about it.
    events: VecDeque<Event>,
    is_looking: bool,
    /// What may be listed for nothing in all.
    allowance: Allowance,
    counts: Counts,
    /// By directory: who reads its files one after the other.
    sequences: LruCache<Ino, VecDeque<Sequence>>,
}

/// A process that opens directories.
struct Walker {
    /// The one it opened last, and when.
    dir: Ino,
    opened_at: Duration,
    /// What may be listed for it for nothing.
    allowance: Allowance,
    /// [`Event::Grown`] stands in the queue.
    is_planned: bool,
}

/// What has happened that may lead to guesses.
enum Event {
    /// A process has opened a directory.
    Opened(Arc<Entry>, u32, Duration),
    /// More is known of the tree that a process walks.
    Grown(u32),
    /// The first directory has been read file by file, and then the second been opened and listed.
    Carried(Ino),
}

/// What was listed ahead since the log told of it.
#[derive(Clone, Copy, Default)]
struct Counts {
    listed: u64,
    opened: u64,
    /// Left out, as the allowance was used up.
    left_out: u64,
    told_at: Duration,
}

struct OpenedChild {
    child: Ino,
    at: Duration,
    /// More than one child has been opened: somebody goes through them.
    is_walked: bool,
    /// In which order.
    way: Way,
}

/// The place of a file in each of [`WAYS`]; `None` where that is not known yet.
type Ranks = [Option<usize>; 3];

/// One reader's way through the files of a directory.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// Place of the last file that was begun.
    at: Ranks,
    /// Index into [`WAYS`]: decided by the second file.
    way: Option<usize>,
    streak: u32,
    /// How many files to be ahead.
    window: usize,
    /// Files begun, and files passed, since it was last judged.
    begun: usize,
    passed: usize,
}

impl Walk {
    /// Nobody walks yet.
    pub(super) fn new(
        listings: Arc<ListingCache>,
        lister: Arc<Lister>,
        inodes: Arc<InodeTable>,
        content: Arc<Content>,
        clock: Arc<dyn Clock>,
        is_alive: fn(u32) -> bool,
    ) -> Arc<Walk> {
        let state = State {
            parents: LruCache::new(PARENTS_MAX),
            walkers: LruCache::new(WALKERS_MAX),
            events: VecDeque::new(),
            is_looking: false,
            allowance: Allowance::new(UNUSED_IN_ALL),
            counts: Counts::default(),
            sequences: LruCache::new(SEQUENCES_MAX),
        };
        let started = clock.now();
        Arc::new(Walk { listings, lister, inodes, content, clock, started, is_alive, state: Mutex::new(state) })
    }

    fn now(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }

    /// A directory has been opened by process `pid`; `was_guess` says that it had been listed ahead.
    pub(super) fn dir_opened(self: &Arc<Self>, dir: &Arc<Entry>, pid: u32, was_guess: bool) {
        let now = self.now();
        {
            let mut state = lock(&self.state);
            state.note_opened(pid, dir.ino, now);
            if was_guess {
                state.note_used(pid);
            }
            state.tell_counts(now);
        }
        self.happened(Event::Opened(Arc::clone(dir), pid, now));
    }

    /// Has `event` looked at soon, after those that came before it, on another thread and stack: what is loaded because of it may
    /// end at once and be an event itself.
    fn happened(self: &Arc<Self>, event: Event) {
        {
            let mut state = lock(&self.state);
            if state.events.len() >= EVENTS_MAX {
                state.events.clear();
                state.walkers.iter_mut().for_each(|(_, walker)| walker.is_planned = false);
            }
            state.events.push_back(event);
            if std::mem::replace(&mut state.is_looking, true) {
                return;
            }
        }
        let walk = Arc::clone(self);
        if !self.lister.soon(move || walk.look()) {
            lock(&self.state).is_looking = false;
        }
    }

    /// Looks at what has happened, until there is nothing more.
    fn look(self: &Arc<Self>) {
        loop {
            let event = {
                let mut state = lock(&self.state);
                let event = state.events.pop_front();
                state.is_looking = event.is_some();
                event
            };
            let Some(event) = event else { return };
            // A panic costs this event's guesses; the panic hook has logged it.
            let _ = catch_unwind(AssertUnwindSafe(|| match event {
                Event::Opened(dir, pid, at) => self.follow(&dir, pid, at),
                Event::Grown(pid) => self.go_on(pid),
                Event::Carried(dir) => self.fetch_on(dir),
            }));
        }
    }

    /// Process `pid` has opened `dir` at `now`: whether that is a walk, and what comes next if it is.
    fn follow(self: &Arc<Self>, dir: &Entry, pid: u32, now: Duration) {
        let before = lock(&self.state).parents.peek(&dir.parent).map(|opened| (opened.child, opened.way));
        let way = before.and_then(|(child, way)| self.way_between(child, dir).or(Some(way)));
        let grandparent = self.parent_of(dir.parent);
        let (is_walked, is_new_walk) = lock(&self.state).note_child(dir, grandparent, way, now);
        if !is_walked {
            return;
        }
        self.list_ahead(dir.ino, pid);
        if is_new_walk && let Some((before, _)) = before {
            self.carry_on(before, dir.ino);
        }
        if let Some(listing) = self.listings.peek(dir.ino, self.clock.boot())
            && !listing.is_complete()
        {
            self.go_on_after(&listing, pid);
        }
    }

    /// The order in which `dir` directly follows its sibling `before`, if it does in any.
    fn way_between(&self, before: Ino, dir: &Entry) -> Option<Way> {
        let before = self.inodes.get(before)?;
        let siblings = self.listings.peek(dir.parent, self.clock.boot())?;
        let follows =
            |way: &Way| way.subdir_after(&siblings, before.name.as_str()).is_some_and(|next| next.ino == dir.ino);
        WAYS.into_iter().find(follows)
    }

    /// Looks ahead once more when `listing` has ended: its subdirectories come into sight.
    fn go_on_after(self: &Arc<Self>, listing: &Arc<Listing>, pid: u32) {
        let walk = Arc::clone(self);
        listing.when_ended(Box::new(move || {
            let is_new = lock(&walk.state).walkers.peek_mut(&pid).is_some_and(Walker::set_planned);
            if is_new {
                walk.happened(Event::Grown(pid));
            }
        }));
    }

    fn parent_of(&self, dir: Ino) -> Ino {
        self.inodes.get(dir).map_or(Ino::ROOT, |entry| entry.parent)
    }

    /// Has the directories listed that a walker in `dir` comes to next.
    fn list_ahead(self: &Arc<Self>, dir: Ino, pid: u32) {
        let mut order = Order::after_opening(self, dir);
        for _ in 0..DIRS_AHEAD {
            let Some(next) = order.next_dir(self) else { break };
            match self.guess(&next, pid) {
                Guess::Known => {}
                Guess::New(listing) => self.go_on_after(&listing, pid),
                Guess::NotNow => break,
            }
        }
    }

    /// Has `dir` listed for process `pid`, unless it is known or must rest.
    fn guess(&self, dir: &Entry, pid: u32) -> Guess {
        let now = self.clock.boot();
        if self.listings.is_known(dir.ino, now) {
            return Guess::Known;
        }
        if !self.lister.may_guess() || !lock(&self.state).may_spend(pid, self.now()) {
            return Guess::NotNow;
        }
        let Some(listing) = self.listings.guess(dir.ino, &dir.id, now) else { return Guess::Known };
        lock(&self.state).spend(pid);
        self.lister.load_ahead(&listing);
        Guess::New(listing)
    }

    /// More of the tree is known: looks ahead once more from where the process is by now, if it is still under way.
    fn go_on(self: &Arc<Self>, pid: u32) {
        let now = self.now();
        let dir = {
            let mut state = lock(&self.state);
            let Some(walker) = state.walkers.peek_mut(&pid) else { return };
            walker.is_planned = false;
            if now.saturating_sub(walker.opened_at) >= WALK_PAUSE { None } else { Some(walker.dir) }
        };
        if let Some(dir) = dir
            && (self.is_alive)(pid)
        {
            self.list_ahead(dir, pid);
        }
    }

    /// In which order somebody goes through the children of `dir`, if anybody does.
    fn walked_way(&self, dir: Ino) -> Option<Way> {
        lock(&self.state).parents.peek(&dir).filter(|opened| opened.is_walked).map(|opened| opened.way)
    }

    /// The order of whoever opened the last child of `dir`.
    fn way_in(&self, dir: Ino) -> Way {
        lock(&self.state).parents.peek(&dir).map_or(Way::Listed, |opened| opened.way)
    }

    /// A file has been begun: its first bytes are being read.
    pub(super) fn file_begun(&self, file: &Entry) {
        let Some(listing) = self.listings.peek(file.parent, self.clock.boot()) else { return };
        let Some(index) = listing.index_of(file.name.as_str()) else { return };
        let ranks = WAYS.map(|way| way.place(&listing, index));
        let ahead = {
            let mut state = lock(&self.state);
            if let Some(sequences) = state.sequences.get_mut(&file.parent) {
                note_begun(sequences, ranks)
            } else {
                state.sequences.put(file.parent, VecDeque::from([Sequence::starting(ranks)]));
                None
            }
        };
        if let Some((way, window)) = ahead {
            self.fetch_ahead(&listing, index, way, window);
        }
    }

    /// Has the next `window` files fetched that a reader comes to after entry `index`.
    fn fetch_ahead(&self, listing: &Arc<Listing>, index: usize, way: Way, window: usize) {
        let mut ahead =
            Ahead::new(window, self.content.memory_budget() / BUDGET_PART, self.content.links().is_batching());
        let mut order = Order::after_file(self, listing, index, way);
        (0..LOOKED_AT_MAX).map_while(|_| order.next_entry(self)).all(|entry| ahead.add(&entry));
        if window == FILES_AHEAD_MAX {
            self.list_sibling(listing.dir);
        }
        self.content.fetch_ahead(ahead.files, &ahead.upcoming);
    }

    /// Somebody reads one file of `dir` after the other, and it may be the first directory of a walk: has the one after it listed.
    fn list_sibling(&self, dir: Ino) {
        let now = self.clock.boot();
        let next = self.inodes.get(dir).and_then(|entry| {
            let siblings = self.listings.peek(entry.parent, now)?;
            self.way_in(entry.parent).subdir_after(&siblings, entry.name.as_str())
        });
        if let Some(next) = next {
            self.guess(&next, NOBODY);
        }
    }

    /// `next` has been opened after `dir`, which makes it a walk: whoever read the files of `dir` one after the other will
    /// read those of `next`, as soon as it is known what they are.
    fn carry_on(self: &Arc<Self>, dir: Ino, next: Ino) {
        if let Some(next) = self.listings.peek(next, self.clock.boot()) {
            let walk = Arc::clone(self);
            next.when_ended(Box::new(move || walk.happened(Event::Carried(dir))));
        }
    }

    /// Has files fetched that come after those of `dir`, if somebody has read these one after the other.
    fn fetch_on(&self, dir: Ino) {
        let Some(listing) = self.listings.peek(dir, self.clock.boot()) else { return };
        let last = lock(&self.state).sequences.peek(&dir).and_then(|sequences| sequences.back().copied());
        if let Some(Sequence { at: [Some(index), ..], way: Some(way), window, .. }) = last
            && window > 0
        {
            self.fetch_ahead(&listing, index, WAYS[way], window);
        }
    }
}

impl Walker {
    /// Says that [`Event::Grown`] is queued for it; whether it was not before.
    fn set_planned(&mut self) -> bool {
        !std::mem::replace(&mut self.is_planned, true)
    }
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

/// A reader of files is no process that opens directories: its guesses count among those of all.
const NOBODY: u32 = 0;

impl State {
    fn note_opened(&mut self, pid: u32, dir: Ino, now: Duration) {
        if let Some(walker) = self.walkers.get_mut(&pid) {
            (walker.dir, walker.opened_at) = (dir, now);
        } else {
            let allowance = Allowance::new(UNUSED_PER_WALKER);
            self.walkers.put(pid, Walker { dir, opened_at: now, allowance, is_planned: false });
        }
    }

    /// Process `pid` has asked for what was listed ahead.
    fn note_used(&mut self, pid: u32) {
        self.counts.opened += 1;
        self.allowance.regain();
        if let Some(walker) = self.walkers.peek_mut(&pid) {
            walker.allowance.regain();
        }
    }

    fn may_spend(&mut self, pid: u32, now: Duration) -> bool {
        let may = self.allowance.has_left(now)
            && self.walkers.peek_mut(&pid).is_none_or(|walker| walker.allowance.has_left(now));
        self.counts.left_out += u64::from(!may);
        may
    }

    fn spend(&mut self, pid: u32) {
        self.counts.listed += 1;
        self.allowance.spend();
        if let Some(walker) = self.walkers.peek_mut(&pid) {
            walker.allowance.spend();
        }
    }

    /// Tells what was listed ahead, now and then.
    fn tell_counts(&mut self, now: Duration) {
        let Counts { listed, opened, left_out, told_at } = self.counts;
        if listed + opened + left_out == 0 || now.saturating_sub(told_at) < TOLD_EVERY {
            return;
        }
        log::info!(
            "{listed} directories were listed ahead of being opened, {opened} of those listed ahead were opened; {left_out} times \
             no more were listed, as too many had not been opened"
        );
        self.counts = Counts { told_at: now, ..Counts::default() };
    }

    /// `dir` has been opened, a child of a child of `grandparent`, by `way` where that is known. Whether its directory is being
    /// walked, and whether that is new.
    fn note_child(&mut self, dir: &Entry, grandparent: Ino, way: Option<Way>, now: Duration) -> (bool, bool) {
        let above = self.parents.peek(&grandparent).map(|above| (above.is_walked, above.way));
        let (is_above_walked, way_above) = above.unwrap_or((false, Way::Listed));
        let opened = OpenedChild { child: dir.ino, at: now, is_walked: false, way: way.unwrap_or(way_above) };
        match self.parents.get_mut(&dir.parent) {
            _ if dir.ino == Ino::ROOT => (false, false),
            Some(last) => {
                let is_soon = now.saturating_sub(last.at) < WALK_PAUSE;
                let is_walked = is_soon && (last.is_walked || last.child != dir.ino);
                let is_new_walk = is_walked && !last.is_walked;
                *last = OpenedChild { is_walked, ..opened };
                (is_walked, is_new_walk)
            }
            None => {
                self.parents.put(dir.parent, opened);
                // Within a walk, a first child is walked like its parent.
                (is_above_walked, false)
            }
        }
    }
}

/// What is to be fetched ahead, as it is being put together.
struct Ahead {
    files: Vec<(NodeId, Version, u64)>,
    files_max: usize,
    bytes_left: u64,
    /// Ids of the files and of more that come after them, for links.
    upcoming: Vec<NodeId>,
    upcoming_max: usize,
}

impl Ahead {
    fn new(files_max: usize, bytes_left: u64, is_batching: bool) -> Ahead {
        let upcoming_max = if is_batching { LINKS_AHEAD } else { 0 };
        Ahead { files: Vec::with_capacity(files_max), files_max, bytes_left, upcoming: Vec::new(), upcoming_max }
    }

    /// Takes the next entry in; `false` if there is no need for more.
    fn add(&mut self, entry: &Entry) -> bool {
        let size = entry.version.size_bytes;
        if entry.kind == NodeKind::File && size > 0 {
            if self.upcoming.len() < self.upcoming_max {
                self.upcoming.push(entry.id.clone());
            }
            let len = if size <= WHOLE_FILE_BYTES { size } else { HEAD_BYTES };
            if self.files.len() < self.files_max {
                match self.bytes_left.checked_sub(len) {
                    Some(left) => self.bytes_left = left,
                    None => return false,
                }
                self.files.push((entry.id.clone(), entry.version, len));
            }
        }
        self.files.len() < self.files_max || self.upcoming.len() < self.upcoming_max
    }
}

impl Sequence {
    fn starting(at: Ranks) -> Sequence {
        Sequence { at, way: None, streak: 1, window: 0, begun: 0, passed: 0 }
    }

    /// By which way, an index into [`WAYS`], and by how many files, a file at `ranks` follows: the very next file
    /// to begin with; an established sequence may skip a few.
    fn follows(&self, ranks: &Ranks) -> Option<(usize, usize)> {
        let within = if self.way.is_some() { FOLLOWS_WITHIN } else { 1 };
        let ways = self.way.map_or(0..WAYS.len(), |way| way..way + 1);
        ways.filter_map(|way| Some((way, ranks[way]?.checked_sub(self.at[way]?)?)))
            .find(|(_, step)| (1..=within).contains(step))
    }

    /// Whether a file at `ranks` is one that the sequence has only just passed.
    fn has_passed(&self, ranks: &Ranks) -> bool {
        let behind = |way: usize| self.at[way]?.checked_sub(ranks[way]?);
        self.way.and_then(behind).is_some_and(|step| step < FOLLOWS_WITHIN)
    }

    /// A file at `ranks` follows.
    fn advance(&mut self, ranks: Ranks, way: usize, step: usize) {
        self.passed += step;
        self.begun += 1;
        self.at = ranks;
        self.way = Some(way);
        self.streak = self.streak.saturating_add(1);
        if self.streak >= STREAK_MIN {
            self.window = (self.window * 2).clamp(2, FILES_AHEAD_MAX);
        }
        if self.passed >= JUDGED_AFTER {
            if self.begun * 2 < self.passed {
                // More than half of what was fetched ahead was for nothing: start over.
                *self = Sequence::starting(ranks);
            } else {
                (self.begun, self.passed) = (0, 0);
            }
        }
    }
}

/// Takes note that the file at `ranks` was begun; which files after it are worth fetching, and how many.
fn note_begun(sequences: &mut VecDeque<Sequence>, ranks: Ranks) -> Option<(Way, usize)> {
    let follower = sequences.iter().enumerate().find_map(|(place, sequence)| Some((place, sequence.follows(&ranks)?)));
    if let Some((place, (way, step))) = follower
        && let Some(mut sequence) = sequences.remove(place)
    {
        sequence.advance(ranks, way, step);
        sequences.push_back(sequence);
        return if sequence.window > 0 { Some((WAYS[way], sequence.window)) } else { None };
    }
    if sequences.iter().any(|sequence| sequence.has_passed(&ranks)) {
        return None;
    }
    if sequences.len() >= READERS_PER_DIR {
        sequences.pop_front();
    }
    sequences.push_back(Sequence::starting(ranks));
    None
}

/// The order in which a walker goes on: into each directory as it comes to it, and back to the one above at its end.
struct Order {
    /// Listings, the innermost last, each with the way through it and the place that comes next.
    stack: Vec<(Arc<Listing>, Way, usize)>,
    /// Whether directories are entered: only on a walk.
    descends: bool,
}

impl Order {
    /// What comes after the directory `dir` has been opened.
    fn after_opening(walk: &Walk, dir: Ino) -> Order {
        let mut order = Order::above(walk, dir);
        let way = order.stack.last().map_or(Way::Listed, |(_, way, _)| *way);
        order.enter(walk, dir, way);
        order
    }

    /// What comes after entry `index` of `listing` has been read, by `way`.
    fn after_file(walk: &Walk, listing: &Arc<Listing>, index: usize, way: Way) -> Order {
        let mut order = Order::above(walk, listing.dir);
        order.descends = !order.stack.is_empty();
        if let Some(place) = way.place(listing, index) {
            order.stack.push((Arc::clone(listing), way, place + 1));
        }
        order
    }

    /// What comes after the whole of `dir`: the rest of the directories above it that are being walked.
    fn above(walk: &Walk, dir: Ino) -> Order {
        let mut stack = Vec::new();
        let mut below = dir;
        while below != Ino::ROOT
            && let Some(entry) = walk.inodes.get(below)
            && let Some(way) = walk.walked_way(entry.parent)
            && let Some(listing) = walk.listings.peek(entry.parent, walk.clock.boot())
            && let Some(index) = listing.index_of(entry.name.as_str())
            && let Some(place) = way.place(&listing, index)
        {
            stack.push((listing, way, place + 1));
            below = entry.parent;
        }
        stack.reverse();
        Order { stack, descends: true }
    }

    fn enter(&mut self, walk: &Walk, dir: Ino, way: Way) {
        if let Some(listing) = walk.listings.peek(dir, walk.clock.boot()) {
            self.stack.push((listing, way, 0));
        }
    }

    /// The next directory.
    fn next_dir(&mut self, walk: &Walk) -> Option<Arc<Entry>> {
        while let Some((listing, way, next)) = self.stack.last_mut() {
            if let Some((place, dir)) = way.subdir_from(listing, *next) {
                *next = place + 1;
                let way = *way;
                self.enter(walk, dir.ino, way);
                return Some(dir);
            }
            self.stack.pop();
        }
        None
    }

    /// The next entry of any kind; directories are entered if this is a walk and their listing is known.
    fn next_entry(&mut self, walk: &Walk) -> Option<Arc<Entry>> {
        while let Some((listing, way, next)) = self.stack.last_mut() {
            if let Some(entry) = way.entry(listing, *next) {
                *next += 1;
                if entry.kind == NodeKind::Directory && self.descends {
                    let way = *way;
                    self.enter(walk, entry.ino, way);
                }
                return Some(entry);
            }
            if !listing.is_complete() {
                return None;
            }
            self.stack.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins the files at `indices` of a directory of 10,000; what is worth fetching after each.
    fn begin(sequences: &mut VecDeque<Sequence>, indices: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let ranks = |index: usize| [Some(index), Some(9_999 - index), Some(index * 7919 % 10_007)];
        let begin = |index| note_begun(sequences, ranks(index)).map_or(0, |(_, window)| window);
        indices.into_iter().map(begin).collect()
    }

    #[test]
    fn files_begun_one_after_the_other_are_followed_by_ever_more() {
        let mut sequences = VecDeque::new();
        assert_eq!(begin(&mut sequences, 0..8), [0, 2, 4, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn files_begun_from_the_last_or_by_inode_number_are_followed_too() {
        let mut sequences = VecDeque::new();
        assert_eq!(begin(&mut sequences, (100..108).rev()), [0, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(sequences[0].way.map(|way| WAYS[way]), Some(Way::Backward));

        let mut by_ino: Vec<usize> = (0..10_000).collect();
        by_ino.sort_by_key(|index| index * 7919 % 10_007);
        let mut sequences = VecDeque::new();
        let windows = begin(&mut sequences, by_ino[500..520].iter().copied());
        assert_eq!(windows[windows.len() - 1], 64, "{windows:?}");
    }

    #[test]
    fn files_begun_at_random_are_followed_by_next_to_none() {
        let mut sequences = VecDeque::new();
        let mut rng = fastrand::Rng::with_seed(5);
        let windows = begin(&mut sequences, (0..1000).map(|_| rng.usize(..10_000)));
        assert!(windows.iter().filter(|window| **window > 0).count() <= 10);
    }

    #[test]
    fn every_fifth_file_is_not_worth_the_four_between() {
        let mut sequences = VecDeque::new();
        begin(&mut sequences, [0, 1, 2]);
        let windows = begin(&mut sequences, (1..40).map(|step| 2 + step * 5));
        assert!(windows[5..].iter().filter(|window| **window > 0).count() <= 2, "{windows:?}");
    }

    #[test]
    fn two_readers_of_one_directory_do_not_confuse_one_another() {
        let mut sequences = VecDeque::new();
        let windows = begin(&mut sequences, (0..10).flat_map(|step| [step, 1000 + step]));
        assert_eq!(windows[18..], [64, 64]);
    }

    #[test]
    fn threads_that_take_turns_are_one_reader() {
        let mut sequences = VecDeque::new();
        begin(&mut sequences, [0, 1]);
        let windows = begin(&mut sequences, [3, 2, 5, 4, 7, 6, 9, 8]);
        assert_eq!(windows, [4, 0, 8, 0, 16, 0, 32, 0]);
        assert_eq!(sequences.len(), 1);
    }
}
