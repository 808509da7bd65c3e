//! Who walks the tree: which process opens directories, in which order it goes through the children of each, and how many more
//! may be listed ahead of it.
//!
//! A second opened child of one directory means a walk (find, du, ls -R, grep -r). Plain data: times come in.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::super::inode::{Entry, Ino};
use super::order::Order;
use crate::policy::allowance::Allowance;

/// How many directories may be listed ahead of one walker: at least twice as many as are listed at a time (lister.rs).
pub(super) const MAX_DIRS_AHEAD: usize = 64;

/// A child that is opened so long after the one before it is no walk: a person with a file manager is slower. Nor is anything
/// listed for a process that has opened nothing for so long.
const WALK_PAUSE: Duration = Duration::from_secs(10);

/// A program that walks opens the first directory below another as soon as it has read that: within this time. A person is slower.
const DESCENT_PAUSE: Duration = Duration::from_secs(2);

/// So many directories a minute may be listed for one process without being opened: those that it is ahead, once.
const UNUSED_PER_WALKER: usize = MAX_DIRS_AHEAD;

/// The same for all processes together, as a shell loop is a new one for each directory.
const UNUSED_IN_ALL: usize = 8 * MAX_DIRS_AHEAD;

/// How often the log tells what was listed ahead, if anything was.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// For how many directories it is remembered which child was opened last. More than any tree is deep, times a few walkers.
const MAX_PARENTS: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// How many walkers are followed at a time.
const MAX_WALKERS: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

/// All walkers.
pub(super) struct Walkers {
    /// By directory: which child was opened last.
    parents: LruCache<Ino, OpenedChild>,
    /// By process: where it is.
    walkers: LruCache<u32, Walker>,
    /// What may be listed in all without being opened.
    allowance: Allowance,
    counts: Counts,
}

/// A process that opens directories.
struct Walker {
    /// The one it opened last, and when.
    dir: Ino,
    opened_at: Duration,
    /// What may be listed for it without being opened.
    allowance: Allowance,
    /// It stands in the queue for a look ahead.
    is_queued: bool,
}

/// The child of a directory that was opened last.
struct OpenedChild {
    child: Ino,
    at: Duration,
    /// More than one child has been opened: somebody goes through them.
    is_walked: bool,
    order: Order,
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

/// What the opening of a directory means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// No walk that is known of.
    Single,
    /// A walk: one that begins with this directory, after the sibling that was opened before it, or one that goes on.
    Walked { begins_after: Option<Ino> },
}

impl Walkers {
    /// Nobody walks yet.
    pub(super) fn new() -> Walkers {
        Walkers {
            parents: LruCache::new(MAX_PARENTS),
            walkers: LruCache::new(MAX_WALKERS),
            allowance: Allowance::new(UNUSED_IN_ALL),
            counts: Counts::default(),
        }
    }

    /// Process `pid` has opened `dir`, which had been listed ahead if `was_guess`; gives back which one it had opened just before.
    pub(super) fn note_opened(&mut self, pid: u32, dir: Ino, was_guess: bool, now: Duration) -> Option<Ino> {
        let is_soon = |walker: &&Walker| now.saturating_sub(walker.opened_at) < DESCENT_PAUSE;
        let before = self.walkers.peek(&pid).filter(is_soon).map(|walker| walker.dir);
        if let Some(walker) = self.walkers.get_mut(&pid) {
            (walker.dir, walker.opened_at) = (dir, now);
        } else {
            let allowance = Allowance::new(UNUSED_PER_WALKER);
            self.walkers.put(pid, Walker { dir, opened_at: now, allowance, is_queued: false });
        }
        if was_guess {
            self.counts.opened += 1;
            self.allowance.regain();
            if let Some(walker) = self.walkers.peek_mut(&pid) {
                walker.allowance.regain();
            }
        }
        self.report(now);
        before
    }

    /// `dir` has been opened, a child of a child of `grandparent`; `order` is the one in which it directly follows the sibling that
    /// was opened before it, if it does in any.
    pub(super) fn note_child(&mut self, dir: &Entry, grandparent: Ino, order: Option<Order>, now: Duration) -> Opened {
        if dir.ino == Ino::ROOT {
            return Opened::Single;
        }
        let above = self.parents.peek(&grandparent).map(|above| (above.is_walked, above.order));
        let (is_above_walked, order_above) = above.unwrap_or((false, Order::Listed));
        let Some(last) = self.parents.get_mut(&dir.parent) else {
            // Within a walk, a first child is walked like its parent.
            let opened = OpenedChild { child: dir.ino, at: now, is_walked: false, order: order.unwrap_or(order_above) };
            self.parents.put(dir.parent, opened);
            return if is_above_walked { Opened::Walked { begins_after: None } } else { Opened::Single };
        };
        let is_soon = now.saturating_sub(last.at) < WALK_PAUSE;
        let is_walked = is_soon && (last.is_walked || last.child != dir.ino);
        let begins_after = (!last.is_walked).then_some(last.child);
        *last = OpenedChild { child: dir.ino, at: now, is_walked, order: order.unwrap_or(last.order) };
        if is_walked { Opened::Walked { begins_after } } else { Opened::Single }
    }

    /// The child of `dir` that was opened last.
    pub(super) fn last_child(&self, dir: Ino) -> Option<Ino> {
        self.parents.peek(&dir).map(|opened| opened.child)
    }

    /// In which order somebody goes through the children of `dir`, if anybody does.
    pub(super) fn walked_order(&self, dir: Ino) -> Option<Order> {
        self.parents.peek(&dir).filter(|opened| opened.is_walked).map(|opened| opened.order)
    }

    /// The order of whoever opened the last child of `dir`.
    pub(super) fn order_in(&self, dir: Ino) -> Order {
        self.parents.peek(&dir).map_or(Order::Listed, |opened| opened.order)
    }

    /// Process `pid` is queued for a look ahead; `false` if it is queued already, or not known.
    pub(super) fn set_queued(&mut self, pid: u32) -> bool {
        self.walkers.peek_mut(&pid).is_some_and(|walker| !std::mem::replace(&mut walker.is_queued, true))
    }

    /// The queue has been given up.
    pub(super) fn clear_queued(&mut self) {
        self.walkers.iter_mut().for_each(|(_, walker)| walker.is_queued = false);
    }

    /// Process `pid` has come up in the queue: the directory that it opened last, if it is still under way.
    pub(super) fn take_queued(&mut self, pid: u32, now: Duration) -> Option<Ino> {
        let walker = self.walkers.peek_mut(&pid)?;
        walker.is_queued = false;
        (now.saturating_sub(walker.opened_at) < WALK_PAUSE).then_some(walker.dir)
    }

    /// Whether another directory may be listed ahead of process `pid`.
    pub(super) fn may_spend(&mut self, pid: u32, now: Duration) -> bool {
        let may = self.allowance.has_left(now)
            && self.walkers.peek_mut(&pid).is_none_or(|walker| walker.allowance.has_left(now));
        self.counts.left_out += u64::from(!may);
        may
    }

    /// A directory is listed ahead of process `pid`.
    pub(super) fn spend(&mut self, pid: u32) {
        self.counts.listed += 1;
        self.allowance.spend();
        if let Some(walker) = self.walkers.peek_mut(&pid) {
            walker.allowance.spend();
        }
    }

    /// Logs what was listed ahead, now and then.
    fn report(&mut self, now: Duration) {
        let Counts { listed, opened, left_out, told_at } = self.counts;
        if listed + opened + left_out == 0 || now.saturating_sub(told_at) < REPORT_INTERVAL {
            return;
        }
        log::info!(
            "{listed} directories were listed ahead of being opened, {opened} of those listed ahead were opened; {left_out} times \
             no more were listed, as too many had not been opened"
        );
        self.counts = Counts { told_at: now, ..Counts::default() };
    }
}
