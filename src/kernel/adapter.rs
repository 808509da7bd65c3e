//! fuser's requests to the filesystem's operations, and their results to replies: translate, call, reply or defer.
//!
//! Runs on fuser's loop threads, which never wait here. Where the answer is not in memory, the reply moves into the
//! completion and is sent from whichever thread has the result. A handler that panics answers EIO (a dropped reply does)
//! and the loop thread lives on.

use std::ffi::OsStr;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use fuser::{
    AccessFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, PollEvents, PollFlags, PollNotifier, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyXattr, Request,
};

use super::attr::{Owner, file_attr};
use super::errno::{BUFFER_TOO_SMALL, NO_SUCH_XATTR, NOT_OUR_IOCTL, NOT_OWNER, errno, is_expected};
use super::inquiry::{FOR_ORDERS, MAX_STATUS_BYTES, ORDERS, STATUS, TellStatus};
use super::keep::Order;
use super::volume_info::{self, VolumeInfo};
use super::{keep, refresh, session};
use crate::content::ReadData;
use crate::fs::{Attr, DirItem, DirSink, DriveFs, Fh, FsError, Ino, Keep, Lookup};
use crate::policy::name::MAX_NAME_BYTES;
use crate::policy::printable::one_line;
use crate::remote::{Capacity, NodeKind};

/// Inode numbers derive from content, so the same number never means another file, and one generation does.
const GENERATION: Generation = Generation(0);

/// What `statfs` says where the service does not tell the figures, as for a share: 1 TiB, all of it in use, so that nobody
/// believes there is room for writing.
const UNKNOWN_CAPACITY: Capacity = Capacity { total_bytes: 1 << 40, used_bytes: 1 << 40 };

/// The unit of `statfs` figures, in bytes.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// The filesystem as fuser calls it.
pub struct Adapter {
    fs: Arc<DriveFs>,
    owner: Owner,
    /// The FUSE version of the kernel, once it has said so.
    kernel_abi: Arc<OnceLock<(u32, u32)>>,
    tell_status: TellStatus,
    extras: Extras,
    volume_info: Option<VolumeInfo>,
}

/// What a mount offers besides files and directories.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Extended attributes.
    pub xattrs: bool,
    /// `.xdg-volume-info` for a source of this name.
    pub volume_info: Option<String>,
}

impl Adapter {
    /// The filesystem that it serves.
    pub fn filesystem(&self) -> &Arc<DriveFs> {
        &self.fs
    }

    /// Serves `fs`, everything in it owned by `owner`; whoever asks how it is, is told by `tell_status`. It offers
    /// `extras` besides.
    pub fn new(fs: Arc<DriveFs>, owner: Owner, tell_status: TellStatus, extras: Extras) -> Adapter {
        let volume_info = extras.volume_info.as_deref().map(VolumeInfo::of);
        Adapter { fs, owner, kernel_abi: Arc::default(), tell_status, extras, volume_info }
    }

    /// The file of its own that `ino` is.
    fn own_file(&self, ino: INodeNo) -> Option<&VolumeInfo> {
        self.volume_info.as_ref().filter(|file| file.is(Ino(ino.0)))
    }

    /// The FUSE version of the kernel: known once it is mounted.
    pub fn kernel_abi(&self) -> &Arc<OnceLock<(u32, u32)>> {
        &self.kernel_abi
    }
}

/// Runs a handler; its panic ends there. What it had not answered is answered EIO by the reply's drop.
fn guarded(handler: impl FnOnce()) {
    // The panic hook has logged it.
    let _ = catch_unwind(AssertUnwindSafe(handler));
}

/// Turns a failure into an errno, counts it, and logs it once, with its causes and the path.
fn refuse(operation: &str, fs: &DriveFs, path: impl FnOnce() -> String, error: &FsError) -> Errno {
    fs.note_failure(error);
    let level = if is_expected(error) { log::Level::Debug } else { log::Level::Warn };
    if log::log_enabled!(level) {
        log::log!(level, "{operation} {}: {}", path(), one_line(error));
    }
    errno(error)
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let negotiated = session::negotiate(config);
        let _ = self.kernel_abi.set(negotiated.kernel_abi);
        log::info!("{negotiated}");
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if let Some(file) = &self.volume_info
            && file.is_called(Ino(parent.0), name.as_encoded_bytes())
        {
            return reply.entry(&volume_info::VALIDITY, &file_attr(&file.attr(), self.owner), GENERATION);
        }
        guarded(|| {
            let (fs, owner, parent) = (Arc::clone(&self.fs), self.owner, Ino(parent.0));
            let done = move |result| match result {
                Ok(Lookup::Found(attr, validity)) => {
                    reply.entry(&validity, &file_attr(&attr, owner), GENERATION);
                }
                Ok(Lookup::Absent(validity)) => reply.entry(&validity, &no_entry(owner), GENERATION),
                Err(error) => reply.error(refuse("lookup in", &fs, || fs.path(parent), &error)),
            };
            self.fs.lookup(parent, name.as_encoded_bytes(), request.pid(), Box::new(done));
        });
    }

    /// Batches come here one by one: fuser 0.18.0 does not export the type that `batch_forget` takes.
    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        guarded(|| self.fs.forget([(Ino(ino.0), lookups)]));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        if let Some(file) = self.own_file(ino) {
            return reply.attr(&volume_info::VALIDITY, &file_attr(&file.attr(), self.owner));
        }
        guarded(|| match self.fs.getattr(Ino(ino.0)) {
            Ok((attr, validity)) => reply.attr(&validity, &file_attr(&attr, self.owner)),
            Err(error) => reply.error(refuse("stat", &self.fs, || self.fs.path(Ino(ino.0)), &error)),
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.own_file(ino).is_some() {
            return reply.opened(FileHandle(volume_info::HANDLE), FopenFlags::FOPEN_KEEP_CACHE);
        }
        guarded(|| match self.fs.open(Ino(ino.0), request.pid()) {
            // Safe always: changed content is another inode, so kept pages are never stale. Without it the open drops
            // the page cache, and reading again is 5.5 times slower (measured: LINUX.md, section 2).
            Ok(fh) => reply.opened(FileHandle(fh.0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(refuse("open", &self.fs, || self.fs.path(Ino(ino.0)), &error)),
        });
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if let Some(file) = self.own_file(ino) {
            return reply.data(file.read(offset, size));
        }
        guarded(|| {
            let (fs, fh) = (Arc::clone(&self.fs), Fh(fh.0));
            let done = move |result: Result<ReadData, FsError>| match result {
                Ok(data) => reply.data(&data.bytes()),
                Err(error) => reply.error(refuse("read", &fs, || fs.path_of_file(fh), &error)),
            };
            self.fs.read(fh, offset, size, request.pid(), Box::new(done));
        });
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        guarded(|| {
            self.fs.release(Fh(fh.0));
            reply.ok();
        });
    }

    fn opendir(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & FOR_ORDERS != 0 {
            return reply.opened(FileHandle(ORDERS), FopenFlags::empty());
        }
        guarded(|| match self.fs.opendir(Ino(ino.0), request.pid()) {
            Ok(fh) => reply.opened(FileHandle(fh.0), dir_flags(self.fs.dir_keeping(fh))),
            Err(error) => reply.error(refuse("opendir", &self.fs, || self.fs.path(Ino(ino.0)), &error)),
        });
    }

    fn readdir(&self, request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        let sink = DirectoryReply {
            reply: Entries::Names(reply),
            ino: Ino(ino.0),
            fs: Arc::clone(&self.fs),
            owner: self.owner,
        };
        guarded(|| self.fs.readdir(Fh(fh.0), offset, request.pid(), Box::new(sink)));
    }

    fn readdirplus(&self, request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let sink = DirectoryReply {
            reply: Entries::Plus(reply),
            ino: Ino(ino.0),
            fs: Arc::clone(&self.fs),
            owner: self.owner,
        };
        guarded(|| self.fs.readdir(Fh(fh.0), offset, request.pid(), Box::new(sink)));
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        guarded(|| {
            self.fs.releasedir(Fh(fh.0));
            reply.ok();
        });
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        guarded(|| {
            let capacity = self.fs.statfs().unwrap_or(UNKNOWN_CAPACITY);
            let blocks = |bytes: u64| bytes.div_ceil(u64::from(STATFS_BLOCK_BYTES));
            let total = blocks(capacity.total_bytes);
            let free = total.saturating_sub(blocks(capacity.used_bytes));
            let name_max = u32::try_from(MAX_NAME_BYTES).unwrap_or(u32::MAX);
            reply.statfs(total, free, free, 0, 0, STATFS_BLOCK_BYTES, name_max, STATFS_BLOCK_BYTES);
        });
    }

    fn ioctl(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: IoctlFlags,
        cmd: u32,
        in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        guarded(|| {
            let (fs, ino) = (Arc::clone(&self.fs), Ino(ino.0));
            if !matches!(cmd, refresh::REFRESH | keep::KEEP | STATUS) {
                return reply.error(NOT_OUR_IOCTL);
            }
            if !self.owner.may_give_orders(request.uid()) {
                return reply.error(NOT_OWNER);
            }
            if cmd == STATUS {
                let status = (self.tell_status)(MAX_STATUS_BYTES);
                return reply.ioctl(i32::try_from(status.len()).unwrap_or(0), &status);
            }
            if cmd == keep::KEEP {
                let asked = in_data.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
                let ((order, offset), fh) = (keep::parse(asked), Fh(fh.0));
                let done = move |result| match result {
                    Ok(limit_bytes) => reply.ioctl(i32::try_from(limit_bytes >> 20).unwrap_or(i32::MAX), &[]),
                    Err(error) => reply.error(refuse("keep", &fs, || fs.path(ino), &error)),
                };
                return match order {
                    Order::Keep => self.fs.keep(ino, fh, offset, Keep::WhileThereIsRoom, Box::new(done)),
                    Order::Pin => self.fs.keep(ino, fh, offset, Keep::Pinned, Box::new(done)),
                    Order::Unpin => self.fs.unpin(ino, fh, offset, Box::new(done)),
                };
            }
            let done = move |result| match result {
                Ok(()) => reply.ioctl(0, &[]),
                Err(error) => reply.error(refuse("refresh", &fs, || fs.path(ino), &error)),
            };
            self.fs.refresh(ino, Box::new(done));
        });
    }

    // ENOSYS for these two unless they were asked for: the kernel remembers it, as below.

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.extras.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        if self.own_file(ino).is_some() {
            return reply.error(NO_SUCH_XATTR);
        }
        guarded(|| {
            let (fs, ino) = (Arc::clone(&self.fs), Ino(ino.0));
            let done = move |result: Result<Option<Vec<u8>>, FsError>| match result {
                Ok(Some(value)) => answer_xattr(reply, &value, size),
                Ok(None) => reply.error(NO_SUCH_XATTR),
                Err(error) => reply.error(refuse("getxattr", &fs, || fs.path(ino), &error)),
            };
            // All our names are UTF-8, so any other is absent.
            self.fs.xattr(ino, name.to_str().unwrap_or_default(), Box::new(done));
        });
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.extras.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        if self.own_file(ino).is_some() {
            return answer_xattr(reply, &[], size);
        }
        guarded(|| match self.fs.xattrs(Ino(ino.0)) {
            Ok(names) => {
                let list: String = names.iter().flat_map(|name| [name, "\0"]).collect();
                answer_xattr(reply, list.as_bytes(), size);
            }
            Err(error) => reply.error(refuse("listxattr", &self.fs, || self.fs.path(Ino(ino.0)), &error)),
        });
    }

    // From here on: ENOSYS, which the kernel remembers for the life of the mount and asks no more. `default_permissions`
    // has it check the mode bits itself, so access needs no answer; without the two for attributes, `ls -l` of 100,000
    // entries takes 11 s instead of 0.7 (measured: LINUX.md, section 4).

    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _offset: i64, _whence: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    /// The kernel says 0 to the process: there is nothing to write back.
    fn fsync(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    /// The kernel says that reading would not wait, as it does for every regular file.
    fn poll(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }
}

/// As getxattr(2) and listxattr(2) want it: the length for no buffer, else all or nothing.
fn answer_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(value),
        _ => reply.error(BUFFER_TOO_SMALL),
    }
}

/// A complete directory may stay in the kernel: reading it again takes no request. One that the kernel has is kept.
fn dir_flags((may_keep, has_it): (bool, bool)) -> FopenFlags {
    match (may_keep, has_it) {
        (false, _) => FopenFlags::empty(),
        (true, false) => FopenFlags::FOPEN_CACHE_DIR,
        (true, true) => FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
    }
}

/// "No such name", to be remembered: an entry with inode number 0.
fn no_entry(owner: Owner) -> fuser::FileAttr {
    let attr =
        Attr { ino: Ino(0), kind: NodeKind::File, size: 0, blocks: 0, modified: std::time::SystemTime::UNIX_EPOCH };
    file_attr(&attr, owner)
}

/// A readdir or readdirplus reply that is being filled.
struct DirectoryReply {
    reply: Entries,
    ino: Ino,
    fs: Arc<DriveFs>,
    owner: Owner,
}

enum Entries {
    Names(ReplyDirectory),
    Plus(ReplyDirectoryPlus),
}

impl DirSink for DirectoryReply {
    fn add(&mut self, item: DirItem<'_>) -> bool {
        let attr = file_attr(&item.attr, self.owner);
        let is_full = match &mut self.reply {
            Entries::Names(reply) => reply.add(attr.ino, item.next_cookie, attr.kind, item.name),
            Entries::Plus(reply) => reply.add(attr.ino, item.next_cookie, item.name, &item.validity, &attr, GENERATION),
        };
        !is_full
    }

    fn counts_lookups(&self) -> bool {
        matches!(self.reply, Entries::Plus(_))
    }

    fn finish(self: Box<Self>, result: Result<(), FsError>) {
        let DirectoryReply { reply, ino, fs, .. } = *self;
        match (result, reply) {
            (Ok(()), Entries::Names(reply)) => reply.ok(),
            (Ok(()), Entries::Plus(reply)) => reply.ok(),
            (Err(error), Entries::Names(reply)) => reply.error(refuse("readdir", &fs, || fs.path(ino), &error)),
            (Err(error), Entries::Plus(reply)) => reply.error(refuse("readdir", &fs, || fs.path(ino), &error)),
        }
    }
}
