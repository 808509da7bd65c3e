//! The listings that are remembered: which one is current, and which make room.
//!
//! Locks: the cache's, then a listing's, never the other way; listings are dropped outside it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::super::inode::{Ino, InodeTable};
use super::Listing;
use crate::clock::lock;
use crate::remote::NodeId;

/// The most entries that the cached listings may hold together; listings that the kernel has open come on top. At under
/// 500 bytes an entry this bounds the tree at half a GiB.
const CACHED_ENTRIES_MAX: usize = 1_000_000;

/// The listings that are remembered, the least recently used one dropped first.
pub struct ListingCache {
    state: Mutex<CacheState>,
    inodes: Arc<InodeTable>,
    ttl: Duration,
}

struct CacheState {
    listings: LruCache<Ino, Arc<Listing>>,
    /// Entries of the listings as counted when they were completed.
    counted_entries: usize,
}

impl ListingCache {
    /// An empty cache that believes a complete listing for `ttl`.
    pub fn new(inodes: &Arc<InodeTable>, ttl: Duration) -> ListingCache {
        let state = CacheState { listings: LruCache::unbounded(), counted_entries: 0 };
        ListingCache { state: Mutex::new(state), inodes: Arc::clone(inodes), ttl }
    }

    /// Whether a listing that is still believed should be loaded anew behind its readers.
    pub fn is_ageing(&self, listing: &Listing, now: Instant) -> bool {
        listing.is_ageing(now, self.ttl)
    }

    /// Puts a complete listing into the place of an older one of the same directory, if that is still the current one.
    pub fn replace(&self, old: &Arc<Listing>, new: &Arc<Listing>) -> bool {
        let replaced = {
            let mut state = lock(&self.state);
            match state.listings.get_mut(&old.dir) {
                Some(current) if Arc::ptr_eq(current, old) => {
                    let replaced = std::mem::replace(current, Arc::clone(new));
                    state.counted_entries = state.counted_entries.saturating_sub(old.counted()) + new.counted();
                    Some(replaced)
                }
                _ => None,
            }
        };
        // Dropped outside the lock, as its entries are taken off the inode table.
        replaced.is_some()
    }

    /// Takes the listings out whose directory is `wanted`.
    pub fn take_out(&self, wanted: impl Fn(Ino) -> bool) -> Vec<Arc<Listing>> {
        let mut taken = Vec::new();
        let mut state = lock(&self.state);
        let dirs: Vec<Ino> = state.listings.iter().map(|(dir, _)| *dir).filter(|dir| wanted(*dir)).collect();
        for dir in dirs {
            if let Some(listing) = state.listings.pop(&dir) {
                state.counted_entries = state.counted_entries.saturating_sub(listing.counted());
                taken.push(listing);
            }
        }
        taken
    }

    /// The current listing of a directory, and whether it is a new one that the caller must have loaded.
    pub fn current(&self, dir: Ino, id: &NodeId, now: Instant) -> (Arc<Listing>, bool) {
        let mut state = lock(&self.state);
        if let Some(listing) = state.listings.get(&dir)
            && listing.is_current(now, self.ttl)
        {
            return (Arc::clone(listing), false);
        }
        let listing = Arc::new(Listing::new(dir, id.clone(), &self.inodes));
        let replaced = state.listings.push(dir, Arc::clone(&listing));
        if let Some((_, replaced)) = &replaced {
            state.counted_entries = state.counted_entries.saturating_sub(replaced.counted());
        }
        // Dropping a listing takes the inode table's lock: outside ours.
        drop(state);
        drop(replaced);
        (listing, true)
    }

    /// The current listing of a directory, if there is one.
    pub fn peek(&self, dir: Ino, now: Instant) -> Option<Arc<Listing>> {
        let state = lock(&self.state);
        let listing = state.listings.peek(&dir)?;
        if listing.is_current(now, self.ttl) { Some(Arc::clone(listing)) } else { None }
    }

    /// A listing has ended: it counts from now on, and older ones make room.
    pub fn ended(&self, listing: &Arc<Listing>) {
        let mut dropped = Vec::new();
        let mut state = lock(&self.state);
        if !state.listings.peek(&listing.dir).is_some_and(|current| Arc::ptr_eq(current, listing)) {
            return;
        }
        state.counted_entries += listing.counted();
        while state.counted_entries > CACHED_ENTRIES_MAX && state.listings.len() > 1 {
            let Some((_, oldest)) = state.listings.pop_lru() else { break };
            state.counted_entries = state.counted_entries.saturating_sub(oldest.counted());
            dropped.push(oldest);
        }
        drop(state);
        drop(dropped);
    }
}
