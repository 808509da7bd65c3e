//! Complete listings that outlive the mount: looked up on the disk before the service is asked, the first time a directory is
//! listed.
//!
//! Only the first time: from then on the listing in memory is as new as the one on the disk, or was dropped as no longer to be
//! believed. They are stored under a source of their own, so that a refresh forgets all of them at once and keeps the blocks of
//! files. Links and what else is secret are never kept. Blocks: for worker threads. Locks: one, for the length of a look.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;

use super::inode::Entry;
use crate::clock::Clock;
use crate::remote::{Node, NodeId, NodeKind, RemoteErrorKind, Version};
use crate::store::identity::{Identity, Source};
use crate::store::{NotPinned, Store};
use crate::sync::lock;

/// For how many directories it is remembered that the disk was asked, at about 100 bytes each. A directory beyond that may be
/// shown once more as it was before the mount, until it is refreshed in the background.
const MAX_ASKED: NonZeroUsize = NonZeroUsize::new(131_072).expect("not zero");

/// How long somebody who waits for the disk to have written waits at most, each time.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

/// Two times of one listing differ by less, which were read of two clocks.
const AS_NEW_AS: Duration = Duration::from_secs(2);

/// Changed whenever the same bytes would mean something else.
const FORMAT: u8 = 2;

/// A listing that was kept.
pub(super) struct Kept {
    pub(super) nodes: Vec<Node>,
    /// It had come with a subtree: that a name is not in it is no proof.
    pub(super) is_of_subtree: bool,
    pub(super) complete_at: SystemTime,
}

/// The listings of one source on the disk.
pub struct Remembered {
    store: Arc<Store>,
    listings: Source,
    /// What blocks of its files are kept under: they go with a refusal.
    blocks: Source,
    /// Whether a directory of it that is refused means that all of it is: so with a share.
    ends_as_whole: bool,
    asked: Mutex<LruCache<NodeId, ()>>,
    /// How often all was forgotten.
    generation: AtomicU64,
}

impl Remembered {
    /// What `store` has under `listings`, and beside it under `blocks`; a refusal of any directory takes all away if `ends_as_whole`,
    /// else that of the root.
    pub fn new(store: Arc<Store>, listings: Source, blocks: Source, ends_as_whole: bool) -> Remembered {
        let asked = Mutex::new(LruCache::new(MAX_ASKED));
        Remembered { store, listings, blocks, ends_as_whole, asked, generation: AtomicU64::new(0) }
    }

    /// How often everything was forgotten. A listing that began before the last time must not be kept.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The listing of `dir`, if there is one and this is the first time that it is asked for. While nobody else can be asked there is an
    /// `until`: then it is asked for each time, and a disk that is slow is waited for until then.
    pub(super) fn take(&self, dir: &NodeId, clock: &dyn Clock, until: Option<Instant>) -> Option<Kept> {
        let generation = self.generation();
        if lock(&self.asked).put(dir.clone(), ()).is_some() && until.is_none() {
            return None;
        }
        let identity = self.identity(dir)?;
        let blob = match until {
            None => self.store.get(&identity),
            Some(until) => self.store.get_patiently(&identity, clock, until),
        }?;
        let Some((nodes, is_of_subtree)) = decode(blob.data()) else {
            log::debug!("a listing on the disk makes no sense: its directory is listed anew");
            return None;
        };
        let complete_at = blob.complete_at;
        (self.generation() == generation).then_some(Kept { nodes, is_of_subtree, complete_at })
    }

    /// Keeps a listing that was complete at `complete_at`, and began when all had been forgotten `generation` times.
    pub(super) fn put(
        &self,
        dir: &NodeId,
        entries: &[Arc<Entry>],
        is_of_subtree: bool,
        complete_at: SystemTime,
        generation: u64,
    ) {
        if self.generation() == generation
            && let Some(identity) = self.identity(dir)
            && let Some(listing) = encode(entries, is_of_subtree)
        {
            self.store.put_listing(&identity, complete_at, listing);
        }
    }

    /// Keeps a listing unless there is one by now that is as new, and waits until it is written; the most bytes that the disk keeps, or
    /// `None` if it is not there in the end.
    pub(super) fn put_now(
        &self,
        dir: &NodeId,
        entries: &[Arc<Entry>],
        is_of_subtree: bool,
        complete_at: SystemTime,
        until: Instant,
    ) -> Option<u64> {
        let (identity, generation) = (self.identity(dir)?, self.generation());
        let bytes = encode(entries, is_of_subtree)?;
        let is_kept = || {
            self.store.flush(WRITTEN_WITHIN);
            let blob = self.store.get_by(&identity, until);
            // One that came from the disk itself is not made younger.
            blob.is_some_and(|blob| blob.complete_at + AS_NEW_AS >= complete_at || blob.data() == bytes)
        };
        if !is_kept() {
            self.put(dir, entries, is_of_subtree, complete_at, generation);
            if !is_kept() {
                return None;
            }
        }
        Some(self.store.stats().limit_bytes)
    }

    /// Has the listing of `dir`, which is on the disk, stay there.
    pub(super) fn pin(&self, dir: &NodeId) -> Result<(), NotPinned> {
        self.identity(dir).map_or(Err(NotPinned::NotThere), |identity| self.store.pin(&identity))
    }

    /// Lets the listing of `dir` go like others again.
    pub(super) fn unpin(&self, dir: &NodeId) -> io::Result<()> {
        self.identity(dir).map_or(Ok(()), |identity| self.store.unpin(&identity))
    }

    /// Lets everything of the source go like others again, files too, and what nobody asks for any more.
    pub(super) fn unpin_all(&self) -> io::Result<()> {
        self.store.unpin_all(&self.listings)?;
        self.store.unpin_all(&self.blocks)
    }

    /// Forgets all listings.
    pub(super) fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        forget(&self.store, &self.listings);
    }

    /// The service does not show `dir`, for a reason of `kind`: nothing of it is shown from the disk either, and nothing of the source
    /// if it is all that is refused. A failure to reach the service says nothing.
    pub(super) fn note_refusal(&self, dir: &NodeId, is_root: bool, kind: RemoteErrorKind) {
        let ends_all = match kind {
            RemoteErrorKind::NeedsLogin => true,
            RemoteErrorKind::Denied => is_root || self.ends_as_whole,
            RemoteErrorKind::NotFound => is_root,
            _ => return,
        };
        if ends_all {
            self.forget_all();
            forget(&self.store, &self.blocks);
        } else if let Some(identity) = self.identity(dir)
            && let Err(error) = self.store.remove(&identity)
        {
            log::debug!("a listing on the disk stays: {error}");
        }
    }

    fn identity(&self, dir: &NodeId) -> Option<Identity> {
        // Whose the login is stands in the source.
        Identity::listing(&self.listings, "", dir.as_str())
    }
}

fn forget(store: &Store, source: &Source) {
    if let Err(error) = store.forget(source) {
        log::warn!("what is kept on disk of {} cannot be forgotten ({error}): run koofs cache clear", source.label());
    }
}

/// The entries as bytes; `None` if one of them cannot be written down: what it is cannot be told later.
pub(super) fn encode(entries: &[Arc<Entry>], is_of_subtree: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64 * entries.len() + 8);
    bytes.extend([FORMAT, u8::from(is_of_subtree)]);
    bytes.extend(u32::try_from(entries.len()).ok()?.to_le_bytes());
    for entry in entries {
        bytes.push(match entry.kind {
            NodeKind::Directory => 0,
            NodeKind::File => 1,
            NodeKind::Unsized => 2,
            NodeKind::Unreadable(_) => return None,
        });
        bytes.extend(entry.version.size_bytes.to_le_bytes());
        bytes.extend(entry.version.edited_ms.to_le_bytes());
        for text in [entry.id.as_str(), entry.name.as_str()] {
            bytes.extend(u16::try_from(text.len()).ok()?.to_le_bytes());
            bytes.extend(text.as_bytes());
        }
    }
    Some(bytes)
}

/// The entries, and whether they had come with a subtree, if all bytes are as [`encode`] writes them. Allocates no more than the bytes give.
pub(super) fn decode(mut bytes: &[u8]) -> Option<(Vec<Node>, bool)> {
    let bytes = &mut bytes;
    let is_of_subtree = match take(bytes)? {
        [FORMAT, 0] => false,
        [FORMAT, 1] => true,
        _ => return None,
    };
    let count = u32::from_le_bytes(take(bytes)?);
    let mut nodes = Vec::new();
    for _ in 0..count {
        let kind = match take(bytes)? {
            [0] => NodeKind::Directory,
            [1] => NodeKind::File,
            [2] => NodeKind::Unsized,
            _ => return None,
        };
        let version =
            Version { size_bytes: u64::from_le_bytes(take(bytes)?), edited_ms: i64::from_le_bytes(take(bytes)?) };
        let id = NodeId::new(text(bytes)?);
        // A name of a directory is its own name when it is assigned again.
        let name = text(bytes)?.to_owned();
        nodes.push(Node { id, name, kind, version, link: None });
    }
    bytes.is_empty().then_some((nodes, is_of_subtree))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::from(u16::from_le_bytes(take(bytes)?));
    let (text, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::super::inode::{Ino, InodeTable};
    use super::*;
    use crate::remote::Pages;

    fn nodes() -> Vec<Node> {
        let node = |id: &str, name: &str, kind, size_bytes| Node {
            id: NodeId::new(id),
            name: name.to_owned(),
            kind,
            version: Version { size_bytes, edited_ms: -5 },
            link: None,
        };
        vec![
            node("1", "same", NodeKind::File, u64::MAX),
            node("2", "same", NodeKind::Directory, 0),
            node("3", "a/b", NodeKind::Unsized, 7),
            node("4", "", NodeKind::File, 0),
            node("5", &"ü".repeat(200), NodeKind::File, 1),
        ]
    }

    fn entries(nodes: Vec<Node>) -> (Arc<InodeTable>, Vec<Arc<Entry>>) {
        let inodes = Arc::new(InodeTable::new(NodeId::new("root"), 0));
        let entries = inodes.enlist(Ino::ROOT, Pages::default().name(nodes, |_| false));
        (inodes, entries)
    }

    #[test]
    fn listing_read_back_has_the_same_entries_under_the_same_names_and_numbers() {
        let (_inodes, before) = entries(nodes());
        let bytes = encode(&before, true).expect("all can be told");
        let (nodes, is_of_subtree) = decode(&bytes).expect("as written");
        assert!(is_of_subtree);
        let (_again, after) = entries(nodes);
        let told = |entries: &[Arc<Entry>]| -> Vec<_> {
            let told = entries.iter().map(|e| (e.ino, e.name.clone(), e.id.clone(), e.kind, e.version));
            told.collect()
        };
        assert_eq!(told(&before), told(&after));
        assert_eq!(encode(&after, true), Some(bytes));
    }

    #[test]
    fn bytes_that_were_not_written_so_are_no_listing() {
        let (_inodes, entries) = entries(nodes());
        let bytes = encode(&entries, false).expect("all can be told");
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_none(), "{len}");
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_none());
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut bytes = bytes.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            // Does not panic, whatever it says.
            let _ = decode(&bytes);
        }
        assert!(decode(&[FORMAT, 0, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert!(decode(&[FORMAT, 2, 0, 0, 0, 0]).is_none());
        assert_eq!(decode(&[FORMAT, 0, 0, 0, 0, 0]).map(|(nodes, of)| (nodes.len(), of)), Some((0, false)));
    }

    #[test]
    fn listing_with_an_entry_that_cannot_be_read_is_not_kept() {
        let mut nodes = nodes();
        nodes[1].kind = NodeKind::Unreadable("no id");
        assert!(encode(&entries(nodes).1, false).is_none());
    }
}
