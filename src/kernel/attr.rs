//! From the filesystem's attributes to the kernel's.

use fuser::{FileAttr, FileType, INodeNo};

use crate::fs::Attr;
use crate::remote::NodeKind;

/// `st_blksize`: what programs like `cp` and `cat` size their buffers by. Many readers cap it at 128 KiB, which is also the
/// kernel's default read-ahead.
const PREFERRED_IO_BYTES: u32 = 128 * 1024;

/// The link count of a directory: 1 means "not counted", as on btrfs. 2 would tell `find` that there are no subdirectories.
const DIRECTORY_LINKS: u32 = 1;

/// Who owns everything in the mount: whoever mounted it.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// The user that this process runs as.
    pub fn this_process() -> Owner {
        // SAFETY: these calls take nothing, cannot fail and touch no memory.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        Owner { uid, gid }
    }

    /// Whether the user `uid` may have the mount forget what it remembers: that costs the service calls, and other users their time.
    pub fn may_refresh(&self, uid: u32) -> bool {
        uid == 0 || uid == self.uid
    }
}

/// `attr` as the kernel wants it: directories 0755, files 0644, owned by `owner`. The mount itself is read-only, whatever the modes
/// say; they go along with a copy (`cp -r`), whose owner shall be able to change and delete it.
pub fn file_attr(attr: &Attr, owner: Owner) -> FileAttr {
    let (kind, perm, nlink) = match attr.kind {
        NodeKind::Directory => (FileType::Directory, 0o755, DIRECTORY_LINKS),
        // The last two show their names only; as files, they are not gone into.
        NodeKind::File | NodeKind::Unsized | NodeKind::Unreadable(_) => (FileType::RegularFile, 0o644, 1),
    };
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.modified,
        mtime: attr.modified,
        ctime: attr.modified,
        crtime: attr.modified,
        kind,
        perm,
        nlink,
        uid: owner.uid,
        gid: owner.gid,
        rdev: 0,
        blksize: PREFERRED_IO_BYTES,
        flags: 0,
    }
}
