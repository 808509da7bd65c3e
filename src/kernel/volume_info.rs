//! A file at the top of a mount that file managers read for a name and an icon: `.xdg-volume-info`, as GVfs looks for it. Made here, and
//! known by its name only: no listing has it.

use std::time::{Duration, SystemTime};

use crate::fs::{Attr, Ino};
use crate::remote::NodeKind;

/// Its name.
const NAME: &str = ".xdg-volume-info";

/// Its inode number: those of entries are hashes, of which one in 2^64 is this.
const INO: Ino = Ino(u64::MAX - 1);

/// Its handle. Those of files count from 1 up.
pub(super) const HANDLE: u64 = u64::MAX - 1;

/// How long the kernel may believe it: it never changes.
pub(super) const VALIDITY: Duration = Duration::from_secs(3600);

/// The icon: in every theme that has folders of other machines.
const ICON: &str = "folder-remote";

/// The file.
pub(super) struct VolumeInfo(String);

impl VolumeInfo {
    /// That of the mount of `source`, as the mount table has it.
    pub(super) fn of(source: &str) -> VolumeInfo {
        let name = source.strip_prefix("koofs:").unwrap_or(source);
        // A key file (Desktop Entry Specification): one line, in which a backslash begins an escape.
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        VolumeInfo(format!("[Volume Info]\nName={}\nIcon={ICON}\n", name.replace('\\', "\\\\")))
    }

    /// Whether `name` in `parent` is this file.
    pub(super) fn is_called(&self, parent: Ino, name: &[u8]) -> bool {
        parent == Ino::ROOT && name == NAME.as_bytes()
    }

    /// Whether `ino` is this file.
    pub(super) fn is(&self, ino: Ino) -> bool {
        ino == INO
    }

    pub(super) fn attr(&self) -> Attr {
        let size = self.0.len() as u64;
        Attr { ino: INO, kind: NodeKind::File, size, blocks: size.div_ceil(512), modified: SystemTime::UNIX_EPOCH }
    }

    /// The bytes from `offset` on, `len` at most.
    pub(super) fn read(&self, offset: u64, len: u32) -> &[u8] {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(self.0.len());
        &self.0.as_bytes()[from..to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_that_of_the_remote_on_one_line() {
        let text = |source| String::from_utf8_lossy(VolumeInfo::of(source).read(0, u32::MAX)).into_owned();
        assert_eq!(text("koofs:work"), "[Volume Info]\nName=work\nIcon=folder-remote\n");
        assert_eq!(text("a\\b\nIcon=x"), "[Volume Info]\nName=a\\\\bIcon=x\nIcon=folder-remote\n");
    }

    #[test]
    fn reads_end_where_it_ends() {
        let file = VolumeInfo::of("koofs:work");
        let size = file.attr().size;
        for (offset, len, want) in [(0, 8, 8), (size - 1, 8, 1), (size, 8, 0), (u64::MAX, u32::MAX, 0), (3, 0, 0)] {
            assert_eq!(file.read(offset, len).len(), want, "{offset} {len}");
        }
    }
}
