//! The orders in which programs go through a directory: from a place in one of them to what is there, and to what comes next.
//!
//! Knows listings only. No state, no locks of its own.

use std::sync::Arc;

use super::dir::Listing;
use super::inode::Entry;

/// In which order a program goes through a directory, files and subdirectories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As they are listed: grep -r, tar, find, and shell globs, as the listing is sorted by name.
    Listed,
    /// From the last to the first: rg, whose threads take the newest work first.
    Backward,
    /// By inode number: cp -r, and find in directories of more than 10,000 entries.
    ByIno,
}

/// All there are.
pub(super) const WAYS: [Way; 3] = [Way::Listed, Way::Backward, Way::ByIno];

impl Way {
    /// The place of entry `index` on this way; `None` where that is not known yet.
    pub(super) fn place(self, listing: &Listing, index: usize) -> Option<usize> {
        match self {
            Way::Listed => Some(index),
            Way::Backward => listing.is_complete().then(|| listing.len() - 1 - index),
            Way::ByIno => listing.rank_by_ino(index),
        }
    }

    /// The entry at `place` on this way; `None` at the end, or where that is not known yet.
    pub(super) fn entry(self, listing: &Listing, place: usize) -> Option<Arc<Entry>> {
        match self {
            Way::Listed => listing.entry(place),
            Way::Backward if listing.is_complete() => listing.entry(listing.len().checked_sub(place + 1)?),
            Way::Backward => None,
            Way::ByIno => listing.entry_by_ino(place),
        }
    }

    /// The first subdirectory at or after `place` on this way, with its own place.
    pub(super) fn subdir_from(self, listing: &Listing, place: usize) -> Option<(usize, Arc<Entry>)> {
        match self {
            Way::Listed => listing.subdir_from(place),
            Way::Backward => {
                let (index, dir) = listing.subdir_before(listing.len().checked_sub(place)?)?;
                Some((self.place(listing, index)?, dir))
            }
            Way::ByIno => listing.subdir_by_ino_from(place),
        }
    }

    /// The subdirectory that follows the one called `name`.
    pub(super) fn subdir_after(self, listing: &Listing, name: &str) -> Option<Arc<Entry>> {
        let place = self.place(listing, listing.index_of(name)?)?;
        Some(self.subdir_from(listing, place + 1)?.1)
    }
}
