//! How much space a cache on a disk may take: its limit, and how much stays free for others.

/// How much of a filesystem, in its bytes and in its files, is left to others, in percent.
const MIN_LEFT_PERCENT: u64 = 5;

/// By default, a cache takes one part in so many of the free space, and never more than [`MAX_LIMIT_BYTES`].
const LIMIT_PART: u64 = 10;

/// 10 GiB: more than is read in a day; whoever wants more says so.
const MAX_LIMIT_BYTES: u64 = 10 << 30;

/// What a filesystem has, and has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its size.
    pub total_bytes: u64,
    /// What we may still write.
    pub free_bytes: u64,
    /// How many files it can hold; 0 where they are not counted.
    pub total_files: u64,
    /// How many more we may make.
    pub free_files: u64,
}

/// What has to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Short {
    /// So many bytes.
    pub bytes: u64,
    /// So many files.
    pub files: u64,
}

/// The limit of a cache that takes `used_bytes` already, in bytes, where nobody has set one.
pub fn default_limit(left: Left, used_bytes: u64) -> u64 {
    (left.free_bytes.saturating_add(used_bytes) / LIMIT_PART).min(MAX_LIMIT_BYTES)
}

/// How much must be removed before a file of `bytes` is written, so that others keep their share afterwards.
pub fn short(left: Left, bytes: u64) -> Short {
    let bytes = part(left.total_bytes).saturating_add(bytes).saturating_sub(left.free_bytes);
    // Some filesystems count no files and say 0, for all and for those that are free.
    let files = if left.total_files == 0 { 0 } else { (part(left.total_files) + 1).saturating_sub(left.free_files) };
    Short { bytes, files }
}

fn part(of: u64) -> u64 {
    of / 100 * MIN_LEFT_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Left = Left { total_bytes: 1000, free_bytes: 500, total_files: 200, free_files: 100 };

    #[test]
    fn default_limit_is_a_tenth_of_what_would_be_free_without_the_cache() {
        assert_eq!(default_limit(LEFT, 0), 50);
        assert_eq!(default_limit(LEFT, 300), 80);
        assert_eq!(default_limit(Left { free_bytes: 1 << 40, ..LEFT }, 0), 10 << 30);
        assert_eq!(default_limit(Left { free_bytes: u64::MAX, ..LEFT }, 9), 10 << 30);
    }

    #[test]
    fn a_twentieth_of_bytes_and_of_files_is_left_to_others() {
        assert_eq!(short(LEFT, 450), Short::default());
        assert_eq!(short(LEFT, 451), Short { bytes: 1, files: 0 });
        assert_eq!(short(Left { free_files: 11, ..LEFT }, 0), Short::default());
        assert_eq!(short(Left { free_files: 10, ..LEFT }, 0), Short { bytes: 0, files: 1 });
        assert_eq!(short(Left { free_bytes: 0, free_files: 0, ..LEFT }, 7), Short { bytes: 57, files: 11 });
        assert_eq!(short(LEFT, u64::MAX).bytes, u64::MAX - 500);
    }

    #[test]
    fn filesystem_that_counts_no_files_is_never_out_of_them() {
        assert_eq!(short(Left { total_files: 0, free_files: 0, ..LEFT }, 0), Short::default());
    }
}
