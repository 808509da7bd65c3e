//! What `stat` shows of an entry, free of kernel types.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::inode::{Entry, Ino};
use crate::remote::NodeKind;

/// The unit of `st_blocks`, in bytes: 512 by POSIX's long habit, whatever `st_blksize` says (stat(2)).
const STAT_BLOCK_BYTES: u64 = 512;

/// The attributes of one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// Directory or file, or what shows its name only.
    pub kind: NodeKind,
    /// Length in bytes; 0 for a directory, and for what shows its name only.
    pub size: u64,
    /// `st_blocks`: 512-byte units that the content fills, rounded up, so that `du` adds up to the sizes.
    pub blocks: u64,
    /// Modification time; stands for the other times as well, which the service does not tell.
    pub modified: SystemTime,
}

impl Attr {
    /// The attributes of `entry`.
    pub fn of(entry: &Entry) -> Attr {
        let size = match entry.kind {
            NodeKind::Directory | NodeKind::Unsized | NodeKind::Unreadable(_) => 0,
            NodeKind::File => entry.version.size_bytes,
        };
        Attr {
            ino: entry.ino,
            kind: entry.kind,
            size,
            blocks: size.div_ceil(STAT_BLOCK_BYTES),
            modified: time_of(entry.version.edited_ms),
        }
    }
}

/// Milliseconds since 1970 as a time; a date before 1970 stays one.
fn time_of(edited_ms: i64) -> SystemTime {
    let distance = Duration::from_millis(edited_ms.unsigned_abs());
    let time = if edited_ms >= 0 { UNIX_EPOCH.checked_add(distance) } else { UNIX_EPOCH.checked_sub(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_1970_and_absurd_times_are_harmless() {
        assert_eq!(time_of(1_500), UNIX_EPOCH + Duration::from_millis(1_500));
        assert_eq!(time_of(-1), UNIX_EPOCH - Duration::from_millis(1));
        for absurd in [i64::MIN, i64::MAX] {
            let _ = time_of(absurd);
        }
    }
}
