//! How a pin stands on a blob's file: as its sticky bit.

use rustix::fs::{Mode, Stat};

/// Whether a blob is pinned, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    pub is_pinned: bool,
    pub charge: u64,
}

/// Whether this is the file of a pinned blob.
pub(super) fn is_pinned(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX)
}

/// The rights of a blob's file.
pub(super) fn mode(is_pinned: bool) -> Mode {
    let mode = Mode::RUSR | Mode::WUSR;
    if is_pinned { mode | Mode::SVTX } else { mode }
}
