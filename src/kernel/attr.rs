//! From the filesystem's attributes to the kernel's.

use fuser::{FileAttr, FileType, INodeNo};

use crate::fs::Attr;
use crate::remote::NodeKind;

/// `st_blksize`: what programs like `cp` and `cat` size their buffers by. Many readers cap it at 128 KiB, which is also the
/// kernel's default read-ahead.
const PREFERRED_IO_BYTES: u32 = 128 * 1024;

/// The link count of a directory: 1 means "not counted", as on btrfs. 2 would tell `find` that there are no subdirectories.
const DIRECTORY_LINKS: u32 = 1;

/// Who owns everything in the mount, with which rights, and who may give it orders.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Rights of files: 9 bits.
    pub file_mode: u16,
    /// Rights of directories: 9 bits.
    pub dir_mode: u16,
    /// Who has mounted it, whoever owns the files.
    pub mounter: u32,
}

impl Owner {
    /// The user that this process runs as, if no other is given; rights as given.
    pub fn of_this_process(uid: Option<u32>, gid: Option<u32>, file_mode: u16, dir_mode: u16) -> Owner {
        // SAFETY: these calls take nothing, cannot fail and touch no memory.
        let (own_uid, own_gid) = unsafe { (libc::getuid(), libc::getgid()) };
        Owner { uid: uid.unwrap_or(own_uid), gid: gid.unwrap_or(own_gid), file_mode, dir_mode, mounter: own_uid }
    }

    /// Whether the user `uid` may have the mount forget what it remembers, which costs the service calls, and other users their time; and
    /// may know how it is.
    pub fn may_give_orders(&self, uid: u32) -> bool {
        uid == 0 || uid == self.mounter
    }
}

/// `attr` as the kernel wants it, owned by `owner` and with its rights. The mount itself is read-only, whatever they say.
pub fn file_attr(attr: &Attr, owner: Owner) -> FileAttr {
    let (kind, perm, nlink) = match attr.kind {
        NodeKind::Directory => (FileType::Directory, owner.dir_mode, DIRECTORY_LINKS),
        // The last two show their names only; as files, they are not gone into.
        NodeKind::File | NodeKind::Unsized | NodeKind::Unreadable(_) => (FileType::RegularFile, owner.file_mode, 1),
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
