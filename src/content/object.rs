//! One version of one file's content, as its handles and blocks share it. Locks: none.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::ContentError;
use super::ranges::Ranges;
use crate::remote::{NodeId, Revision, Version};

/// One version of one file's content, shared by all its handles and blocks.
#[derive(Debug)]
pub struct Object {
    /// Tells it from every other object of this process.
    pub(super) number: u64,
    /// The file.
    pub id: NodeId,
    /// The version that the listing promised.
    pub version: Version,
    /// The store's version tag, pinned by the first answer; every later answer must carry the same.
    pub etag: OnceLock<String>,
    /// Whether the store serves ranges of it.
    pub(super) ranges: Ranges,
    /// The store has shown another version: no more bytes may come from this one.
    changed: AtomicBool,
    /// What was last looked for on the disk was there.
    kept: AtomicBool,
    /// Its version tag was taken from the disk.
    from_disk: AtomicBool,
}

impl Object {
    /// An object of which only the listing's id and version are known.
    pub fn new(id: NodeId, version: Version) -> Object {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let (changed, kept, from_disk) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
        Object { number, id, version, etag: OnceLock::new(), ranges: Ranges::default(), changed, kept, from_disk }
    }

    /// What its links are for.
    pub(super) fn revision(&self) -> Revision {
        Revision::new(&self.id, self.version)
    }

    /// The object's length in bytes.
    pub fn size(&self) -> u64 {
        self.version.size_bytes
    }

    /// Whether the store has shown another version.
    pub fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Whether its version tag was taken from the disk, before the store has said one.
    pub(super) fn is_from_disk(&self) -> bool {
        self.from_disk.load(Ordering::Acquire)
    }

    /// Its version tag was taken from the disk.
    pub(super) fn set_from_disk(&self) {
        self.from_disk.store(true, Ordering::Release);
    }

    /// Whether what was last looked for on the disk was there.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// What was looked for on the disk was there, or was not.
    pub(super) fn set_kept(&self, is_kept: bool) {
        self.kept.store(is_kept, Ordering::Relaxed);
    }

    /// The store has shown another version.
    pub fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Whether an answer with this tag is of the version that is pinned. The first answer's tag is the object's.
    pub(super) fn is_same_version(&self, etag: Option<&str>) -> bool {
        let Some(etag) = etag else { return true };
        self.etag.get_or_init(|| etag.to_owned()) == etag
    }

    /// The error for a store that has another size than the listing: a changed version if bytes of the object were read before, a
    /// size that disagrees otherwise.
    pub(super) fn other_size(&self, stored: Option<u64>) -> ContentError {
        if self.etag.get().is_some() {
            return ContentError::Changed;
        }
        ContentError::OtherSize { listed: self.size(), stored }
    }
}
