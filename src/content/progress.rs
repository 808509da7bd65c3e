//! How far a fetch has come. Plain values of one thread at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ContentError;
use super::block::Block;
use super::buffers::Buffer;
use crate::policy::range::ByteRange;

/// How far a fetch has come.
pub(super) struct Progress {
    /// The blocks that are not whole yet. The others are no longer held: their readers may be done with them.
    pub(super) missing: VecDeque<Arc<Block>>,
    /// The bytes of the first of them so far: `filled` of them count.
    pub(super) buffer: Option<Buffer>,
    pub(super) filled: usize,
    pub(super) refusals: u32,
    /// The link was dropped because what it leads to is not the object: links may be older than the listing, or newer.
    pub(super) has_doubted_link: bool,
    /// Whether bytes came in since the attempt began.
    pub(super) has_progressed: bool,
    /// How the last attempt failed.
    pub(super) error: Option<ContentError>,
}

impl Progress {
    /// Nothing has come of `missing`, which are in order and without a gap.
    pub(super) fn new(missing: VecDeque<Arc<Block>>) -> Progress {
        Progress {
            missing,
            buffer: None,
            filled: 0,
            refusals: 0,
            has_doubted_link: false,
            has_progressed: false,
            error: None,
        }
    }

    /// The bytes that are to be fetched next, up to the first gap: what was on the disk. Empty if none are.
    pub(super) fn wanted(&self) -> ByteRange {
        let Some(first) = self.missing.front() else { return ByteRange::new(0, 0) };
        let mut end = first.range.end;
        for block in self.missing.iter().skip(1) {
            if block.range.start != end {
                break;
            }
            end = block.range.end;
        }
        ByteRange::new(first.range.start + self.filled as u64, end)
    }
}
