//! The mount table of this process, `/proc/self/mountinfo` (proc(5)). Knows what a mount of ours looks like, mounts nothing.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The filesystem type of every KooFS mount: `fuse` with our subtype.
pub const OUR_FSTYPE: &str = "fuse.koofs";

/// One mount, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Unique among the present mounts; may be given again when the mount is gone.
    pub mount_id: u64,
    /// `major:minor` of the mounted filesystem, as in `/sys/class/bdi`.
    pub device: String,
    /// Where it is mounted, seen from this process's root directory.
    pub mountpoint: PathBuf,
    /// Like `ext4`, or [`OUR_FSTYPE`].
    pub fstype: String,
    /// What is mounted: for KooFS, `koofs:` and the share.
    pub source: String,
    /// The user whose mount it is, where the filesystem tells: FUSE does.
    pub owner: Option<u32>,
}

impl MountEntry {
    /// Whether this is a KooFS mount, of this process or another.
    pub fn is_koofs(&self) -> bool {
        self.fstype == OUR_FSTYPE
    }

    /// Whether `other` is this very mount. Two mounts that exist at the same time never are; both numbers may be given again
    /// once the filesystem is gone (seen: at once), but not while it has a user or its FUSE loop runs.
    pub fn is_same_mount(&self, other: &MountEntry) -> bool {
        self.mount_id == other.mount_id && self.device == other.device
    }
}

/// The mounts of this process, older ones first. Touches no mounted filesystem, dead ones included.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn mounts() -> io::Result<Vec<MountEntry>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The mount that a path lookup of `mountpoint` ends in: the newest one there. `mountpoint` has no symbolic links.
pub fn newest_at<'a>(mounts: &'a [MountEntry], mountpoint: &Path) -> Option<&'a MountEntry> {
    mounts.iter().rfind(|mount| mount.mountpoint == mountpoint)
}

/// Lines that are no mount are left out: the kernel writes none.
fn parse(table: &[u8]) -> Vec<MountEntry> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /root /mountpoint options [optional fields] - fstype source superoptions`
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mount_id = text(fields.next()?).parse().ok()?;
    let device = text(fields.nth(1)?);
    let mountpoint = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fstype = text(fields.next()?);
    let source = text(fields.next()?);
    let options = fields.next().map(text).unwrap_or_default();
    let owner = options.split(',').find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(MountEntry { mount_id, device, mountpoint, fstype, source, owner })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// The kernel writes blanks, newlines, backslashes and `#` as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => (bytes.push(byte), rest = &rest[4..]).1,
            None => (bytes.push(*first), rest = tail).1,
        }
    }
    bytes
}

fn octal(escape: &[u8]) -> Option<u8> {
    match escape {
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw
60 27 0:52 / /mnt/a\\040b\\134c rw,nosuid,nodev shared:3 master:1 - fuse.koofs koofs:42 rw,user_id=1000,group_id=7
61 27 0:53 / /mnt/plain ro - tmpfs none\\043x rw
62 60 0:54 / /mnt/a\\040b\\134c rw - tmpfs tmpfs rw
garbage
";

    #[test]
    fn table_lists_what_is_mounted_where() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].mountpoint, Path::new("/mnt/a b\\c"));
        assert_eq!((mounts[1].mount_id, mounts[1].device.as_str()), (60, "0:52"));
        assert!(mounts[1].is_koofs() && mounts[1].source == "koofs:42" && mounts[1].owner == Some(1000));
        assert!(!mounts[2].is_koofs() && mounts[2].source == "none#x" && mounts[2].owner.is_none());
    }

    #[test]
    fn newest_mount_covers_older_ones() {
        let mounts = parse(TABLE);
        let top = newest_at(&mounts, Path::new("/mnt/a b\\c"));
        assert_eq!(top.map(|mount| mount.fstype.as_str()), Some("tmpfs"));
        assert!(top.is_some_and(|top| !top.is_same_mount(&mounts[1])));
        assert_eq!(newest_at(&mounts, Path::new("/mnt")), None);
    }

    #[test]
    fn only_whole_octal_escapes_are_unescaped() {
        for (field, want) in [("a\\040b", "a b"), ("\\0", "\\0"), ("\\999", "\\999"), ("\\", "\\"), ("\\303\\244", "ä")]
        {
            assert_eq!(unescape(field.as_bytes()), want.as_bytes(), "{field}");
        }
    }

    #[test]
    fn this_process_has_mounts() {
        let mounts = mounts().unwrap_or_default();
        assert!(newest_at(&mounts, Path::new("/proc")).is_some_and(|mount| mount.fstype == "proc"));
    }
}
