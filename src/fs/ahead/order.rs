//! The orders in which programs go through a directory: which entry stands at a rank of an order, and which comes next.
//!
//! Knows listings only. No state and no locks of its own.

use std::sync::Arc;

use super::super::dir::Listing;
use super::super::inode::Entry;

/// In which order a program goes through a directory, files and subdirectories alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As listed: grep -r, tar, find; and shell globs, as the listing is sorted by name.
    Listed,
    /// From the last entry to the first: rg, whose threads take the newest work first.
    Reversed,
    /// By inode number: cp -r, and find in directories of more than 10,000 entries.
    ByIno,
}

/// All orders there are; what counts orders by number counts by this.
pub(super) const ORDERS: [Order; 3] = [Order::Listed, Order::Reversed, Order::ByIno];

impl Order {
    /// The rank of entry `index` in this order, from 0; `None` while it is not known.
    pub(super) fn rank(self, listing: &Listing, index: usize) -> Option<usize> {
        match self {
            Order::Listed => Some(index),
            Order::Reversed => listing.complete_len()?.checked_sub(index + 1),
            Order::ByIno => listing.ino_order()?.rank(index),
        }
    }

    /// The entry at `rank` in this order; `None` at the end, and while it is not known.
    pub(super) fn entry(self, listing: &Listing, rank: usize) -> Option<Arc<Entry>> {
        match self {
            Order::Listed => listing.entry(rank),
            Order::Reversed => listing.entry(listing.complete_len()?.checked_sub(rank + 1)?),
            Order::ByIno => listing.entry(listing.ino_order()?.index(rank)?),
        }
    }

    /// The first subdirectory at or after `rank` in this order, with its own rank.
    pub(super) fn subdir_from(self, listing: &Listing, rank: usize) -> Option<(usize, Arc<Entry>)> {
        match self {
            Order::Listed => listing.subdir_from(rank),
            Order::Reversed => {
                let (index, subdir) = listing.subdir_before(listing.complete_len()?.checked_sub(rank)?)?;
                Some((self.rank(listing, index)?, subdir))
            }
            Order::ByIno => {
                let found = listing.ino_order()?.subdir_from(rank)?;
                Some((found, self.entry(listing, found)?))
            }
        }
    }

    /// The subdirectory that follows the entry called `name` in this order.
    pub(super) fn subdir_after(self, listing: &Listing, name: &str) -> Option<Arc<Entry>> {
        let rank = self.rank(listing, listing.index_of(name)?)?;
        Some(self.subdir_from(listing, rank + 1)?.1)
    }
}
