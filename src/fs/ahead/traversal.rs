//! What a walker comes to next: into each directory as it comes to it, and back to the one above at its end.

use std::sync::Arc;

use super::super::dir::{Listing, ListingCache};
use super::super::inode::{Entry, Ino, InodeTable};
use super::order::Order;
use crate::clock::Clock;
use crate::remote::NodeKind;

/// What is known of the tree: nothing is asked of the service here.
pub(super) struct KnownTree {
    listings: Arc<ListingCache>,
    inodes: Arc<InodeTable>,
    clock: Arc<dyn Clock>,
}

impl KnownTree {
    /// The tree of these listings and inodes.
    pub(super) fn new(listings: Arc<ListingCache>, inodes: Arc<InodeTable>, clock: Arc<dyn Clock>) -> KnownTree {
        KnownTree { listings, inodes, clock }
    }

    /// The listing of `dir`, as far as it has come.
    pub(super) fn listing(&self, dir: Ino) -> Option<Arc<Listing>> {
        self.listings.peek(dir, self.clock.boot())
    }

    /// The entry of `ino`.
    pub(super) fn entry(&self, ino: Ino) -> Option<Arc<Entry>> {
        self.inodes.get(ino)
    }

    /// The directory above `dir`; the root's is the root.
    pub(super) fn parent(&self, dir: Ino) -> Ino {
        self.entry(dir).map_or(Ino::ROOT, |entry| entry.parent)
    }

    /// The subdirectory that follows `dir` among its siblings, in `order`.
    pub(super) fn sibling_after(&self, dir: Ino, order: Order) -> Option<Arc<Entry>> {
        let entry = self.entry(dir)?;
        order.subdir_after(&*self.listing(entry.parent)?, entry.name.as_str())
    }
}

/// A place in the tree, and the way on from there.
pub(super) struct Traversal<'a> {
    tree: &'a KnownTree,
    /// Listings, the innermost last, each with its order and the rank that comes next.
    stack: Vec<(Arc<Listing>, Order, usize)>,
    /// Whether directories are entered: only on a walk.
    descends: bool,
}

impl<'a> Traversal<'a> {
    /// What comes after the directory `dir` has been opened. `walked` tells in which order somebody goes through the children of a
    /// directory, if anybody does.
    pub(super) fn after_opening(tree: &'a KnownTree, dir: Ino, walked: impl Fn(Ino) -> Option<Order>) -> Traversal<'a> {
        let mut traversal = Traversal::above(tree, dir, walked);
        let order = traversal.stack.last().map_or(Order::Listed, |(_, order, _)| *order);
        traversal.enter(dir, order);
        traversal
    }

    /// What comes after the entry at `rank` of `listing` has been read, in `order`.
    pub(super) fn after_file(
        tree: &'a KnownTree,
        listing: &Arc<Listing>,
        order: Order,
        rank: usize,
        walked: impl Fn(Ino) -> Option<Order>,
    ) -> Traversal<'a> {
        let mut traversal = Traversal::above(tree, listing.dir, walked);
        traversal.descends = !traversal.stack.is_empty();
        traversal.stack.push((Arc::clone(listing), order, rank + 1));
        traversal
    }

    /// What comes after the whole of `dir`: the rest of the directories above it that are being walked.
    fn above(tree: &'a KnownTree, dir: Ino, walked: impl Fn(Ino) -> Option<Order>) -> Traversal<'a> {
        let mut stack = Vec::new();
        let mut below = dir;
        while below != Ino::ROOT
            && let Some(entry) = tree.entry(below)
            && let Some(order) = walked(entry.parent)
            && let Some(listing) = tree.listing(entry.parent)
            && let Some(index) = listing.index_of(entry.name.as_str())
            && let Some(rank) = order.rank(&listing, index)
        {
            stack.push((listing, order, rank + 1));
            below = entry.parent;
        }
        stack.reverse();
        Traversal { tree, stack, descends: true }
    }

    fn enter(&mut self, dir: Ino, order: Order) {
        if let Some(listing) = self.tree.listing(dir) {
            self.stack.push((listing, order, 0));
        }
    }

    /// The next directory.
    pub(super) fn next_dir(&mut self) -> Option<Arc<Entry>> {
        while let Some((listing, order, next)) = self.stack.last_mut() {
            if let Some((rank, dir)) = order.subdir_from(listing, *next) {
                *next = rank + 1;
                let order = *order;
                self.enter(dir.ino, order);
                return Some(dir);
            }
            self.stack.pop();
        }
        None
    }

    /// The next entry of any kind; directories are entered if this is a walk and their listing is known.
    pub(super) fn next_entry(&mut self) -> Option<Arc<Entry>> {
        while let Some((listing, order, next)) = self.stack.last_mut() {
            if let Some(entry) = order.entry(listing, *next) {
                *next += 1;
                if entry.kind == NodeKind::Directory && self.descends {
                    let order = *order;
                    self.enter(entry.ino, order);
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
