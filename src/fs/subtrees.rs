//! Whole subtrees: where a process begins to walk a tree, all that is below is had in pages of 1,000 instead of a call for each
//! directory.
//!
//! It is worth it where directories are many and small, and only where it takes few pages: the walker itself waits for them, for some
//! seconds at most. Nobody else does. What comes is used only as a whole, after the last page, and only if it agrees with what the
//! service has counted and with the listing of the directory where the walk began. Anything else, and the service is not asked for
//! subtrees any more: directories are listed one by one, as where there is no such call.
//!
//! A listing that comes of it is no proof that a name is absent: that is told by a listing of its directory (lookup.rs). Programs that
//! look for names that are not there (rg for `.ignore`, git for `.gitignore`) need those of all directories: after a few of them the
//! listings that came of the subtree are given up.
//! Blocks: for worker threads, but where it says otherwise. Locks: one, for the length of a look.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::dir::{Listing, ListingCache};
use super::inode::{Entry, Ino, InodeTable};
use super::lister::Lister;
use crate::clock::{BootTime, Clock, Timer};
use crate::policy::name::EntryName;
use crate::remote::{
    Cursor, Directories, NoSubtree, Node, NodeId, NodeKind, Remote, RemoteError, RemoteErrorKind, Subtree, SubtreeSize,
};
use crate::sync::lock;

/// Entries of a page, as the service gives them.
const PAGE_ENTRIES: u64 = 1000;

/// The most pages that a subtree may take. They come one after the other: more take longer than the directories would, of which many are
/// listed at a time.
const MAX_PAGES: u64 = 20;

/// So many directories there must be for each page: as many are listed in the time of a page, by and large.
const MIN_DIRECTORIES_A_PAGE: u64 = 8;

/// How many pages more than expected may come: short ones and empty ones are legal.
const SPARE_PAGES: u64 = 20;

/// The most that a walker waits for a subtree that is known to be worth it: then it has its directories listed as without.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The most that it waits to learn whether it is: counting a large tree may take the service long.
const MAX_COUNT_WAIT: Duration = Duration::from_millis(500);

/// After so many names that were not in listings of a subtree, these are given up.
const MAX_CONFIRMATIONS: usize = 4;

/// The most listings that wait for one subtree: a walker opens one directory at a time.
const MAX_WAITING: usize = 64;

/// Of how many directories it is remembered that their subtrees were asked for.
const MAX_ASKED: usize = 64;

/// Fetches subtrees, one at a time.
pub(super) struct Subtrees {
    remote: Arc<dyn Remote>,
    listings: Arc<ListingCache>,
    lister: Arc<Lister>,
    inodes: Arc<InodeTable>,
    timer: Arc<Timer>,
    clock: Arc<dyn Clock>,
    /// For how long a subtree is not asked for again.
    ttl: Duration,
    timeout: Duration,
    is_alive: fn(u32) -> bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_off: bool,
    /// Where subtrees were asked for, and when.
    asked: VecDeque<(Ino, BootTime)>,
    walk: Option<Walk>,
    /// How many have begun.
    count: u64,
    /// How often all was forgotten.
    forgotten: u64,
    /// What the last subtree has filled, and how many names were not in it.
    filled: Vec<Weak<Listing>>,
    confirmations: usize,
}

/// A subtree on its way.
struct Walk {
    number: u64,
    top: Ino,
    /// Who walks there.
    pid: u32,
    /// It is known to be worth it.
    is_sure: bool,
    /// It has taken too long: nobody is to wait for it any more.
    is_late: bool,
    waiting: HashMap<Ino, Arc<Listing>>,
    /// Directories were not listed ahead because of it.
    has_held_back: bool,
}

/// Why there is no subtree.
enum Stop {
    /// Not this one, or not now.
    NotNow(String),
    /// The service has none that can be used.
    ForGood(String),
}

impl Stop {
    fn of(error: &RemoteError) -> Stop {
        match error.kind() {
            RemoteErrorKind::Throttled
            | RemoteErrorKind::Timeout
            | RemoteErrorKind::Interrupted
            | RemoteErrorKind::NeedsLogin
            | RemoteErrorKind::LoginNotReady
            | RemoteErrorKind::NotFound
            | RemoteErrorKind::Unreachable
            | RemoteErrorKind::Foreign
            | RemoteErrorKind::Offline
            | RemoteErrorKind::CursorRefused => Stop::NotNow(error.to_string()),
            RemoteErrorKind::Denied
            | RemoteErrorKind::Unavailable
            | RemoteErrorKind::Changed
            | RemoteErrorKind::Malformed
            | RemoteErrorKind::Unusable => Stop::ForGood(error.to_string()),
        }
    }
}

impl Subtrees {
    /// Nothing has been asked for. A call takes `timeout` at most; a subtree that was asked for is not again for `ttl`.
    pub(super) fn new(
        remote: &Arc<dyn Remote>,
        (listings, lister, inodes): (&Arc<ListingCache>, &Arc<Lister>, &Arc<InodeTable>),
        timer: &Arc<Timer>,
        (ttl, timeout): (Duration, Duration),
        is_alive: fn(u32) -> bool,
    ) -> Arc<Subtrees> {
        Arc::new(Subtrees {
            remote: Arc::clone(remote),
            listings: Arc::clone(listings),
            lister: Arc::clone(lister),
            inodes: Arc::clone(inodes),
            timer: Arc::clone(timer),
            clock: Arc::clone(timer.clock()),
            ttl,
            timeout,
            is_alive,
            state: Mutex::default(),
        })
    }

    /// Process `pid` walks the tree below `top`: has all of it fetched, unless that was done of late, is being done, or is of no use.
    /// Where directories were not listed ahead because of it, `then` is done at its end. Never waits.
    pub(super) fn begin(self: &Arc<Self>, top: &Arc<Entry>, pid: u32, then: impl FnOnce() + Send + 'static) {
        if !self.remote.may_have_subtrees() {
            return;
        }
        let now = self.clock.boot();
        let asked: Vec<Ino> = {
            let mut state = lock(&self.state);
            if state.is_off || state.walk.is_some() || !self.lister.may_guess() {
                return;
            }
            state.asked.retain(|(_, at)| now.since(*at) < self.ttl);
            state.asked.iter().map(|(ino, _)| *ino).collect()
        };
        if asked.iter().any(|asked| self.inodes.is_below(top.ino, *asked)) {
            return;
        }
        let (number, forgotten) = {
            let mut state = lock(&self.state);
            if state.walk.is_some() {
                return;
            }
            state.count += 1;
            state.confirmations = 0;
            let number = state.count;
            state.walk = Some(Walk {
                number,
                top: top.ino,
                pid,
                is_sure: false,
                is_late: false,
                waiting: HashMap::new(),
                has_held_back: false,
            });
            if state.asked.len() >= MAX_ASKED {
                state.asked.pop_front();
            }
            state.asked.push_back((top.ino, now));
            (number, state.forgotten)
        };
        let running = Running { subtrees: Arc::clone(self), number, then: Some(Box::new(then)) };
        self.let_go_after(MAX_COUNT_WAIT, number, false);
        let top = Arc::clone(top);
        // What is dropped ends there as well.
        self.lister.run_alone(move || running.subtrees.run(&top, (pid, number), forgotten));
    }

    fn let_go_after(self: &Arc<Self>, wait: Duration, number: u64, is_sure: bool) {
        let late = Arc::downgrade(self);
        self.timer.at(self.clock.now() + wait.min(self.timeout / 2), move || {
            if let Some(subtrees) = late.upgrade() {
                subtrees.let_go(number, Some(is_sure));
            }
        });
    }

    /// Whether `dir` is in a subtree that is on its way: it need not be listed ahead.
    pub(super) fn covers(&self, dir: Ino) -> bool {
        let top = lock(&self.state).walk.as_ref().filter(|walk| !walk.is_late).map(|walk| walk.top);
        let Some(top) = top.filter(|top| self.inodes.is_below(dir, *top)) else { return false };
        // If it is over by now, nobody would have `dir` listed after its end.
        let mut state = lock(&self.state);
        let walk = state.walk.as_mut().filter(|walk| walk.top == top);
        walk.map(|walk| walk.has_held_back = true).is_some()
    }

    /// Whether a new listing that process `pid` reads comes with a subtree: then it is filled by that, or loaded as soon as that fails or
    /// takes too long.
    pub(super) fn takes_over(&self, listing: &Arc<Listing>, pid: u32) -> bool {
        let is_its = |walk: &&mut Walk| walk.pid == pid && !walk.is_late && walk.top != listing.dir;
        let top = lock(&self.state).walk.as_mut().filter(is_its).map(|walk| walk.top);
        if !top.is_some_and(|top| self.inodes.is_below(listing.dir, top)) {
            return false;
        }
        let mut state = lock(&self.state);
        match state.walk.as_mut().filter(is_its) {
            Some(walk) if Some(walk.top) == top && walk.waiting.len() < MAX_WAITING => {
                listing.set_taken_over(true);
                walk.waiting.insert(listing.dir, Arc::clone(listing));
                true
            }
            _ => false,
        }
    }

    /// Process `reader` reads `listing`, or somebody looks a name up there: it is loaded at once unless that is the walker.
    pub(super) fn give_back(&self, listing: &Arc<Listing>, reader: Option<u32>) {
        let taken = {
            let mut state = lock(&self.state);
            let others = state.walk.as_mut().filter(|walk| Some(walk.pid) != reader);
            others.map(|walk| &mut walk.waiting).and_then(|waiting| match waiting.get(&listing.dir) {
                Some(other) if Arc::ptr_eq(other, listing) => waiting.remove(&listing.dir),
                _ => None,
            })
        };
        self.load(taken);
    }

    /// All that is known of the tree is forgotten: a subtree that is on its way is of no use, and may be asked for again.
    pub(super) fn forget(&self) {
        let number = {
            let mut state = lock(&self.state);
            state.forgotten += 1;
            state.asked.clear();
            state.walk.as_ref().map(|walk| walk.number)
        };
        if let Some(number) = number {
            self.let_go(number, None);
        }
    }

    /// A name is not in a listing of a subtree.
    pub(super) fn note_absent(&self) {
        lock(&self.state).confirmations += 1;
        self.give_up_doubted();
    }

    fn give_up_doubted(&self) {
        let given_up = {
            let mut state = lock(&self.state);
            let is_enough = state.confirmations >= MAX_CONFIRMATIONS;
            if is_enough { std::mem::take(&mut state.filled) } else { Vec::new() }
        };
        for listing in given_up.iter().filter_map(Weak::upgrade) {
            self.listings.discard(&listing);
        }
    }

    /// Nobody waits for this subtree any more; with `if_sure` only if it is known, or not known, to be worth it.
    fn let_go(&self, number: u64, if_sure: Option<bool>) {
        let waiting = {
            let mut state = lock(&self.state);
            let walk = state.walk.as_mut().filter(|walk| walk.number == number);
            let walk = walk.filter(|walk| if_sure.is_none_or(|is_sure| walk.is_sure == is_sure));
            walk.map(|walk| {
                walk.is_late = true;
                std::mem::take(&mut walk.waiting)
            })
        };
        self.load(waiting.into_iter().flatten().map(|(_, listing)| listing));
    }

    fn load(&self, listings: impl IntoIterator<Item = Arc<Listing>>) {
        for listing in listings {
            listing.set_taken_over(false);
            self.lister.load(&listing);
        }
    }

    fn run(self: &Arc<Self>, top: &Entry, (pid, number): (u32, u64), forgotten: u64) {
        let generation = self.lister.generation();
        match self.fetch(top, (pid, number)) {
            Ok((listing, directories)) => self.publish(listing, directories, generation, forgotten),
            Err(Stop::NotNow(why)) => {
                log::debug!("{} is listed directory by directory: {why}", self.inodes.path(top.ino));
            }
            Err(Stop::ForGood(why)) => {
                log::debug!("subtrees are not asked for any more, directories are listed one by one: {why}");
                lock(&self.state).is_off = true;
            }
        }
    }

    /// All that is below `top`, and the listing of that.
    fn fetch(self: &Arc<Self>, top: &Entry, (pid, number): (u32, u64)) -> Result<(Arc<Listing>, Directories), Stop> {
        let size = self.remote.subtree_size(&top.id, self.clock.now() + self.timeout);
        let size = size.map_err(|error| self.stop(&error))?;
        let size = size.ok_or_else(|| Stop::ForGood("the service has no such call".to_owned()))?;
        let pages = size.entries().div_ceil(PAGE_ENTRIES);
        if pages > MAX_PAGES || pages * MIN_DIRECTORIES_A_PAGE > size.directories {
            return Err(Stop::NotNow(format!("{} directories and {} files below", size.directories, size.files)));
        }
        self.set_sure(number);
        let directories = self.pages(&top.id, size, pages + SPARE_PAGES, pid)?;
        let listing = self.listings.peek(top.ino, self.clock.boot()).filter(|listing| listing.is_complete());
        let listing = listing.ok_or_else(|| Stop::NotNow("its own listing is not complete".to_owned()))?;
        if !is_same(&listing.entries(), directories.get(&top.id).map_or(&[], Vec::as_slice)) {
            return Err(Stop::ForGood("a directory is not what its own listing says".to_owned()));
        }
        Ok((listing, directories))
    }

    /// It is worth it: the walker waits for it from here on.
    fn set_sure(self: &Arc<Self>, number: u64) {
        if let Some(walk) = lock(&self.state).walk.as_mut().filter(|walk| walk.number == number) {
            (walk.is_sure, walk.is_late) = (true, false);
        }
        self.let_go_after(MAX_WAIT, number, true);
    }

    fn pages(&self, top: &NodeId, size: SubtreeSize, most: u64, pid: u32) -> Result<Directories, Stop> {
        let no_subtree = |why: NoSubtree| Stop::ForGood(why.to_string());
        let mut subtree = Subtree::new(top, size);
        let mut cursor: Option<Cursor> = None;
        for _ in 0..most {
            if !(self.is_alive)(pid) {
                return Err(Stop::NotNow("whoever walked there is gone".to_owned()));
            }
            let page = self.remote.subtree_page(top, cursor.as_ref(), self.clock.now() + self.timeout);
            let page = page.map_err(|error| self.stop(&error))?;
            let page = page.ok_or_else(|| Stop::ForGood("the service has no such call".to_owned()))?;
            cursor = subtree.accept(page).map_err(no_subtree)?;
            if cursor.is_none() {
                return subtree.finish().map_err(no_subtree);
            }
        }
        Err(no_subtree(NoSubtree::Endless))
    }

    fn stop(&self, error: &RemoteError) -> Stop {
        self.lister.note_failure(error);
        Stop::of(error)
    }

    /// Fills the listings of all directories that have none, from the top down: an entry has its number from the listing that shows it.
    fn publish(&self, top: Arc<Listing>, mut directories: Directories, generation: u64, forgotten: u64) {
        let mut filled = Vec::new();
        let mut left = vec![top];
        while let Some(above) = left.pop() {
            for entry in above.entries() {
                if entry.kind == NodeKind::Directory
                    && let Some(nodes) = directories.remove(&entry.id)
                    && lock(&self.state).forgotten == forgotten
                {
                    let (listing, is_filled) = self.fill(&entry, nodes, generation);
                    left.extend(listing.clone().filter(|listing| listing.is_complete()));
                    filled.extend(listing.filter(|_| is_filled));
                }
            }
        }
        log::debug!("{} directories were listed at once", filled.len());
        let is_forgotten = {
            let mut state = lock(&self.state);
            state.filled = filled.iter().map(Arc::downgrade).collect();
            state.forgotten != forgotten
        };
        self.give_up_doubted();
        if is_forgotten {
            for listing in filled {
                listing.set_outdated();
                self.listings.discard(&listing);
            }
        }
    }

    /// The listing of `entry`, and whether it was filled here: nothing is put into one that is known, or is being loaded. Nor where a
    /// name depends on the order of entries, which is the listing's to say.
    fn fill(&self, entry: &Entry, nodes: Vec<Node>, generation: u64) -> (Option<Arc<Listing>>, bool) {
        if !are_as_given(&nodes) {
            return (None, false);
        }
        let waiting = lock(&self.state).walk.as_mut().and_then(|walk| walk.waiting.remove(&entry.ino));
        let now = self.clock.boot();
        let listing = waiting.or_else(|| self.listings.guess(entry.ino, &entry.id, now));
        let Some(listing) = listing else { return (self.listings.peek(entry.ino, now), false) };
        listing.set_taken_over(false);
        self.lister.fill(&listing, nodes, generation);
        (Some(listing), true)
    }

    /// The subtree has come, or will not; whether directories were not listed ahead because of it.
    fn end(&self, number: u64) -> bool {
        self.let_go(number, None);
        let walk = lock(&self.state).walk.take_if(|walk| walk.number == number);
        walk.is_some_and(|walk| walk.has_held_back)
    }
}

/// Whether `nodes`, which are sorted, all have names of their own that Linux can hold.
fn are_as_given(nodes: &[Node]) -> bool {
    let is_kept = |node: &Node| EntryName::assign(&node.name, node.id.as_str(), |_| false).as_str() == node.name;
    nodes.iter().all(is_kept) && nodes.windows(2).all(|two| two[0].name != two[1].name)
}

/// Whether `entries`, as listed, are `nodes`.
fn is_same(entries: &[Arc<Entry>], nodes: &[Node]) -> bool {
    let by_id: HashMap<&NodeId, &Node> = nodes.iter().map(|node| (&node.id, node)).collect();
    let is_known = |entry: &Arc<Entry>| {
        by_id.get(&entry.id).is_some_and(|node| node.kind == entry.kind && node.version == entry.version)
    };
    entries.len() == nodes.len() && entries.iter().all(is_known)
}

/// A subtree on its way, until it is dropped.
struct Running {
    subtrees: Arc<Subtrees>,
    number: u64,
    then: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let has_held_back = self.subtrees.end(self.number);
        if let Some(then) = self.then.take().filter(|_| has_held_back) {
            then();
        }
    }
}
