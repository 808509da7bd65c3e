//! Which of the next files are worth fetching ahead of their reader, and how much of each.

use super::super::inode::Entry;
use crate::remote::{NodeId, NodeKind, Revision, Version};

/// Files up to this length are fetched whole, in bytes.
const MAX_WHOLE_FILE_BYTES: u64 = 1024 * 1024;

/// Of longer ones, the head: what tells a program what it is, and keeps it busy for a round trip. In bytes.
const HEAD_BYTES: u64 = 256 * 1024;

/// Among how many of the next files those are looked for that lack a link: twice what one call may name (100, src/koodrive/API.md),
/// so that a call is full although the nearest have theirs.
const MAX_UPCOMING: usize = 200;

/// Files to be fetched ahead, as they are put together.
pub(super) struct Selection {
    /// Id, version, and how many of its first bytes; in the order in which they will be read.
    pub(super) files: Vec<(NodeId, Version, u64)>,
    max_files: usize,
    bytes_left: u64,
    /// The files and more that come after them, for links.
    pub(super) upcoming: Vec<Revision>,
    max_upcoming: usize,
}

impl Selection {
    /// Nothing yet; at most so many files, and bytes of them. `wants_links` where links of several files are had by one call.
    pub(super) fn new(max_files: usize, max_bytes: u64, wants_links: bool) -> Selection {
        let max_upcoming = if wants_links { MAX_UPCOMING } else { 0 };
        let (files, upcoming) = (Vec::with_capacity(max_files), Vec::new());
        Selection { files, max_files, bytes_left: max_bytes, upcoming, max_upcoming }
    }

    /// Takes the next entry in; `false` if there is no need for more.
    pub(super) fn add(&mut self, entry: &Entry) -> bool {
        let size = entry.version.size_bytes;
        if entry.kind == NodeKind::File && size > 0 {
            if self.upcoming.len() < self.max_upcoming {
                self.upcoming.push(Revision::new(&entry.id, entry.version));
            }
            let len = if size <= MAX_WHOLE_FILE_BYTES { size } else { HEAD_BYTES };
            if self.files.len() < self.max_files {
                match self.bytes_left.checked_sub(len) {
                    Some(left) => self.bytes_left = left,
                    None => return false,
                }
                self.files.push((entry.id.clone(), entry.version, len));
            }
        }
        self.files.len() < self.max_files || self.upcoming.len() < self.max_upcoming
    }
}
