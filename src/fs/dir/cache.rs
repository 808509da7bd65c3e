//! The cache of listings: which one is current for each directory, and which are evicted.
//!
//! Locks: one; a listing's is taken within it, never the other way, and listings are dropped outside it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;

use super::super::FsError;
use super::super::belief::Belief;
use super::super::inode::{Ino, InodeTable};
use super::Listing;
use crate::clock::BootTime;
use crate::remote::{NodeId, RemoteErrorKind};
use crate::sync::lock;

/// The most entries that the cached listings may hold together; listings that the kernel has open come on top. At under
/// 500 bytes an entry this bounds the tree at half a GiB.
const MAX_CACHED_ENTRIES: usize = 1_000_000;

/// For how long a listing from the disk is believed that is older than may be believed: until the new one is in, which takes a
/// second or two, or some more where thousands of directories are walked.
const MAX_RECALLED_BELIEVED: Duration = Duration::from_secs(30);

/// The listings that are remembered, the least recently used one dropped first.
pub struct ListingCache {
    state: Mutex<State>,
    inodes: Arc<InodeTable>,
    belief: Belief,
    /// See [`MAX_CACHED_ENTRIES`].
    weight_max: usize,
}

struct State {
    listings: LruCache<Ino, Cached>,
    /// The weights of all listings together.
    weight: usize,
}

struct Cached {
    listing: Arc<Listing>,
    /// Its entries when it was last weighed, and one for the listing itself.
    weight: usize,
}

impl ListingCache {
    /// An empty cache that believes a complete listing for as long as `belief` says.
    pub fn new(inodes: &Arc<InodeTable>, belief: Belief) -> ListingCache {
        ListingCache::with_max(inodes, belief, MAX_CACHED_ENTRIES)
    }

    fn with_max(inodes: &Arc<InodeTable>, belief: Belief, weight_max: usize) -> ListingCache {
        let state = State { listings: LruCache::unbounded(), weight: 0 };
        ListingCache { state: Mutex::new(state), inodes: Arc::clone(inodes), belief, weight_max }
    }

    /// Whether a listing that is still believed should be loaded anew behind its readers.
    pub fn is_ageing(&self, listing: &Listing, now: BootTime) -> bool {
        !self.belief.is_offline() && listing.is_ageing(now, self.belief.ttl())
    }

    /// For a listing from the disk that is `age` old: the time to take it as complete at, and whether it must be refreshed in the
    /// background. One that is older than the time to live, or of unknown age, is believed for a short while. While nobody can be
    /// asked, one of unknown age is believed as if it were new (a machine without a network may have no clock either), and one that is
    /// older than may be believed is not (`None`).
    pub fn recalled(&self, age: Option<Duration>, now: BootTime) -> Option<(BootTime, bool)> {
        if self.belief.is_offline() {
            let age = age.unwrap_or_default();
            let at = if age < self.belief.time() { now.earlier(age) } else { None };
            return at.map(|at| (at, false));
        }
        let ttl = self.belief.ttl();
        Some(match age.filter(|age| *age < ttl).and_then(|age| now.earlier(age)) {
            Some(at) => (at, now.since(at) >= ttl / 2),
            None => {
                let age = ttl - MAX_RECALLED_BELIEVED.min(ttl / 2);
                (now.earlier(age).unwrap_or(now), true)
            }
        })
    }

    /// The current listing of a directory, and whether it is a new one whose loading the caller must start.
    pub fn current(&self, dir: Ino, id: &NodeId, now: BootTime) -> (Arc<Listing>, bool) {
        let mut state = lock(&self.state);
        if let Some(cached) = state.listings.get(&dir)
            && self.is_current(&cached.listing, now)
        {
            return (Arc::clone(&cached.listing), false);
        }
        let listing = Arc::new(Listing::new(dir, id.clone(), &self.inodes));
        let replaced = state.put(&listing);
        drop(state);
        drop(replaced);
        (listing, true)
    }

    /// Whether a directory needs no listing ahead: there is a current one, or one that was loaded ahead has failed not long ago.
    pub fn is_known(&self, dir: Ino, now: BootTime) -> bool {
        let state = lock(&self.state);
        state.listings.peek(&dir).is_some_and(|cached| self.is_enough(&cached.listing, now))
    }

    /// Whether a new caller may be answered from it. That one has failed on the line is no answer when the disk is asked by now.
    fn is_current(&self, listing: &Listing, now: BootTime) -> bool {
        let is_from_before = || match listing.failure() {
            Some(FsError::Listing(error)) => error.kind() != RemoteErrorKind::Offline,
            Some(_) => true,
            None => false,
        };
        listing.is_current(now, self.belief.time()) && !(self.belief.is_offline() && is_from_before())
    }

    fn is_enough(&self, listing: &Listing, now: BootTime) -> bool {
        self.is_current(listing, now) || listing.is_resting(now)
    }

    /// A new listing of a directory that the caller is to load ahead; `None` if it needs none.
    pub fn guess(&self, dir: Ino, id: &NodeId, now: BootTime) -> Option<Arc<Listing>> {
        let mut state = lock(&self.state);
        if state.listings.peek(&dir).is_some_and(|cached| self.is_enough(&cached.listing, now)) {
            return None;
        }
        let listing = Arc::new(Listing::new(dir, id.clone(), &self.inodes));
        listing.set_guess();
        let replaced = state.put(&listing);
        drop(state);
        drop(replaced);
        Some(listing)
    }

    /// The current listing of a directory, if there is one.
    pub fn peek(&self, dir: Ino, now: BootTime) -> Option<Arc<Listing>> {
        let state = lock(&self.state);
        let Cached { listing, .. } = state.listings.peek(&dir)?;
        if self.is_current(listing, now) { Some(Arc::clone(listing)) } else { None }
    }

    /// The listing that is to tell of names that are not in `listing`, which has come with a subtree; and whether it is a new one, whose
    /// loading the caller must start.
    pub fn confirmation(&self, listing: &Listing, now: BootTime) -> (Arc<Listing>, bool) {
        listing.confirmation(now, self.belief.time())
    }

    /// Replaces an older listing of the same directory by a complete one, if the older is still the current one.
    pub fn replace(&self, old: &Arc<Listing>, new: &Arc<Listing>) -> bool {
        let mut state = lock(&self.state);
        if !state.holds(old) {
            return false;
        }
        let replaced = state.put(new);
        drop(state);
        drop(replaced);
        self.weigh(new);
        true
    }

    /// Forgets `listing`, if it is the one that is remembered of its directory.
    pub fn discard(&self, listing: &Arc<Listing>) {
        let mut state = lock(&self.state);
        let discarded = if state.holds(listing) { state.take(listing.dir) } else { None };
        drop(state);
        drop(discarded);
    }

    /// All listings that are remembered.
    pub fn all(&self) -> Vec<Arc<Listing>> {
        lock(&self.state).listings.iter().map(|(_, cached)| Arc::clone(&cached.listing)).collect()
    }

    /// The directories that have a listing.
    pub fn dirs(&self) -> Vec<Ino> {
        lock(&self.state).listings.iter().map(|(dir, _)| *dir).collect()
    }

    /// Takes the listings of `dirs` out, as far as there are any.
    pub fn take_out(&self, dirs: &[Ino]) -> Vec<Arc<Listing>> {
        let mut state = lock(&self.state);
        dirs.iter().filter_map(|dir| state.take(*dir)).collect()
    }

    /// Updates the weight of a listing that has grown or ended, and evicts older ones if needed. One that holds more than half of
    /// the limit counts as half, so that a single directory never evicts all others.
    pub fn weigh(&self, listing: &Arc<Listing>) {
        let weight = listing.held().min(self.weight_max / 2 - 1) + 1;
        let mut dropped = Vec::new();
        let mut state = lock(&self.state);
        if !state.holds(listing) {
            return;
        }
        if let Some(cached) = state.listings.peek_mut(&listing.dir) {
            let before = std::mem::replace(&mut cached.weight, weight);
            state.weight = state.weight - before + weight;
        }
        while state.weight > self.weight_max
            && let Some((&oldest, _)) = state.listings.peek_lru()
        {
            if oldest == listing.dir {
                // It was used longest ago, but it is being loaded.
                state.listings.promote(&oldest);
            } else {
                dropped.extend(state.take(oldest));
            }
        }
        drop(state);
        drop(dropped);
    }
}

impl State {
    /// Whether `listing` is the one that is remembered of its directory.
    fn holds(&self, listing: &Arc<Listing>) -> bool {
        self.listings.peek(&listing.dir).is_some_and(|cached| Arc::ptr_eq(&cached.listing, listing))
    }

    /// Remembers a listing; gives back the one whose place it takes, to be dropped outside the lock.
    fn put(&mut self, listing: &Arc<Listing>) -> Option<Cached> {
        let cached = Cached { listing: Arc::clone(listing), weight: 1 };
        let replaced = self.listings.put(listing.dir, cached);
        self.weight += 1;
        if let Some(replaced) = &replaced {
            self.weight -= replaced.weight;
        }
        replaced
    }

    fn take(&mut self, dir: Ino) -> Option<Arc<Listing>> {
        let cached = self.listings.pop(&dir)?;
        self.weight -= cached.weight;
        Some(cached.listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Node, NodeKind, Version};

    const TTL: Duration = Duration::from_secs(60);

    fn bench(weight_max: usize) -> ListingCache {
        let inodes = Arc::new(InodeTable::new(NodeId::new("root"), 0));
        ListingCache::with_max(&inodes, Belief::of(TTL), weight_max)
    }

    /// A complete listing of directory `dir` with `count` files.
    fn listed(cache: &ListingCache, dir: u64, count: usize, now: BootTime) -> Arc<Listing> {
        let (listing, is_new) = cache.current(Ino(dir), &NodeId::new(&dir.to_string()), now);
        assert!(is_new);
        let version = Version { size_bytes: 1, edited_ms: 0 };
        let file = |i| Node {
            id: NodeId::new(&format!("{dir}-{i}")),
            name: format!("f{i}"),
            kind: NodeKind::File,
            version,
            link: None,
        };
        listing.accept((0..count).map(file).collect(), None, now);
        cache.weigh(&listing);
        listing
    }

    fn kept(cache: &ListingCache, dirs: std::ops::Range<u64>, now: BootTime) -> Vec<u64> {
        dirs.filter(|dir| cache.peek(Ino(*dir), now).is_some()).collect()
    }

    #[test]
    fn listing_from_the_disk_is_believed_for_what_is_left_of_its_time_or_for_a_moment() {
        let (cache, now) = (bench(100), BootTime::new(Duration::from_secs(1000)));
        for (age, left, is_ageing) in
            [(Some(0), 60, false), (Some(29), 31, false), (Some(30), 30, true), (Some(60), 30, true), (None, 30, true)]
        {
            let (at, ageing) = cache.recalled(age.map(Duration::from_secs), now).expect("it is online");
            assert_eq!((60 - now.since(at).as_secs(), ageing), (left, is_ageing), "{age:?}");
        }
    }

    #[test]
    fn least_recently_used_listings_make_room() {
        let (cache, now) = (bench(100), BootTime::new(Duration::ZERO));
        (10..20).for_each(|dir| drop(listed(&cache, dir, 9, now)));
        assert_eq!(kept(&cache, 10..20, now).len(), 10);
        cache.current(Ino(10), &NodeId::new("10"), now);
        listed(&cache, 20, 19, now);
        assert_eq!(kept(&cache, 10..21, now), [10, 13, 14, 15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn directory_larger_than_the_cache_leaves_half_of_the_others() {
        let (cache, now) = (bench(100), BootTime::new(Duration::ZERO));
        (10..20).for_each(|dir| drop(listed(&cache, dir, 9, now)));
        listed(&cache, 20, 1000, now);
        assert_eq!(kept(&cache, 10..21, now), [15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn listing_counts_while_it_grows() {
        let (cache, now) = (bench(100), BootTime::new(Duration::ZERO));
        (10..20).for_each(|dir| drop(listed(&cache, dir, 9, now)));
        let (growing, _) = cache.current(Ino(20), &NodeId::new("20"), now);
        for page in 0..3_u64 {
            let version = Version { size_bytes: 1, edited_ms: 0 };
            let file = |i: u64| Node {
                id: NodeId::new(&format!("p{page}-{i}")),
                name: format!("p{page}-{i}"),
                kind: NodeKind::File,
                version,
                link: None,
            };
            growing.accept((0..10).map(file).collect(), crate::remote::Cursor::new(page.to_string()), now);
            cache.weigh(&growing);
        }
        assert_eq!(kept(&cache, 10..20, now).len(), 6, "31 of 100 are taken before it has ended");
    }

    #[test]
    fn replaced_and_discarded_listings_no_longer_count() {
        let (cache, now) = (bench(100), BootTime::new(Duration::ZERO));
        let old = listed(&cache, 10, 40, now);
        for _ in 0..10 {
            let other = bench(100);
            let new = listed(&other, 10, 40, now);
            let current = cache.peek(Ino(10), now).expect("there is one");
            assert!(cache.replace(&current, &new) && !cache.replace(&old, &new));
        }
        cache.discard(&old);
        assert!(cache.peek(Ino(10), now).is_some(), "another one by now");
        let current = cache.peek(Ino(10), now).expect("there is one");
        cache.discard(&current);
        assert_eq!(lock(&cache.state).weight, 0);
    }

    #[test]
    fn failed_guess_keeps_its_directory_from_being_guessed_for_a_minute_and_answers_nobody() {
        let (cache, now) = (bench(100), BootTime::new(Duration::ZERO));
        let id = NodeId::new("10");
        let guess = cache.guess(Ino(10), &id, now).expect("nothing is known yet");
        assert!(cache.guess(Ino(10), &id, now).is_none(), "it is on its way");
        guess.fail(crate::fs::FsError::Internal, now);
        let later = now + Duration::from_secs(59);
        assert!(cache.guess(Ino(10), &id, later).is_none() && cache.is_known(Ino(10), later));
        assert!(cache.guess(Ino(10), &id, now + Duration::from_secs(60)).is_some());
        guess.fail(crate::fs::FsError::Internal, now);
        let (_, is_new) = cache.current(Ino(10), &id, now);
        assert!(!is_new, "a new guess is on its way");
        let failed = cache.guess(Ino(11), &NodeId::new("11"), now).expect("nothing is known yet");
        failed.fail(crate::fs::FsError::Internal, now);
        assert!(cache.current(Ino(11), &NodeId::new("11"), now).1, "who asks is not told of a guess's failure");
    }
}
