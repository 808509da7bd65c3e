//! Tells the kernel what has changed, on a thread of its own: telling blocks while an operation on the same directory is
//! under way, so neither a loop thread nor one that answers operations may do it (measured: LINUX.md, section 7).
//!
//! Names are expired, not invalidated: an invalidated name takes whatever is mounted below it out of the tree (`d_invalidate` in
//! fs/dcache.c), an expired one is only looked up anew. Kernels before 6.2 cannot expire (FUSE 7.38, `FUSE_EXPIRE_ONLY`); there,
//! names are invalidated unless something is mounted below this mount. So are names of which the kernel knows too many, as only that
//! makes it forget their inodes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;

use fuser::{INodeNo, Notifier};

use super::mountinfo;
use crate::fs::{Change, Changes, Ino};

/// `FUSE_NOTIFY_INVAL_ENTRY` and its flag `FUSE_EXPIRE_ONLY` (include/uapi/linux/fuse.h).
const NOTIFY_INVAL_ENTRY: i32 = 3;
const EXPIRE_ONLY: u32 = 1;

/// The first version of the protocol that knows that flag.
pub const EXPIRES_NAMES_SINCE: (u32, u32) = (7, 38);

/// The way to the kernel.
pub struct Teller {
    /// fuser's, for what it can say.
    pub notifier: Notifier,
    /// The connection itself, for what it cannot.
    pub connection: OwnedFd,
    /// The version of the kernel's protocol.
    pub kernel_abi: (u32, u32),
    /// Where this mount is.
    pub mountpoint: PathBuf,
}

/// Starts the thread that tells the kernel `changes` for as long as there may be any.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(teller: Teller, changes: Changes) -> io::Result<()> {
    let tell_all = move || {
        let Teller { notifier, connection, kernel_abi, mountpoint } = teller;
        let can_expire = kernel_abi >= EXPIRES_NAMES_SINCE;
        let mut thread = TellerThread { notifier, connection: File::from(connection), can_expire, mountpoint };
        for change in changes {
            thread.tell(change);
        }
    };
    thread::Builder::new().name("koofs-notify".to_owned()).spawn(tell_all)?;
    Ok(())
}

struct TellerThread {
    notifier: Notifier,
    connection: File,
    can_expire: bool,
    mountpoint: PathBuf,
}

impl TellerThread {
    fn tell(&mut self, change: Change) {
        match change {
            Change::Names(dir, names) => self.names(dir, &names),
            Change::Directory(ino) => self.directory(ino),
            Change::Forgotten(listings) => {
                for listing in listings {
                    self.names(listing.dir, &listing.known_names());
                    self.directory(listing.dir);
                }
            }
            Change::Surplus(files) if !self.has_mounts_below() => {
                for (dir, name) in files {
                    unless_unknown(self.notifier.inval_entry(INodeNo(dir.0), OsStr::new(&*name)));
                }
            }
            Change::Surplus(_) => {}
            Change::Told(told) => told(),
        }
    }

    /// Attributes, and the entries that the kernel keeps for readers: its page cache of the directory.
    fn directory(&self, ino: Ino) {
        unless_unknown(self.notifier.inval_inode(INodeNo(ino.0), 0, 0));
    }

    fn names(&mut self, dir: Ino, names: &[Box<str>]) {
        if self.can_expire {
            for name in names {
                unless_unknown(self.connection.write(&expire_message(dir, name)).map(|_| ()));
            }
        } else if self.has_mounts_below() {
            log::debug!("names are left to expire by themselves, as something is mounted below this mount");
        } else {
            for name in names {
                unless_unknown(self.notifier.inval_entry(INodeNo(dir.0), OsStr::new(&**name)));
            }
        }
    }

    /// Whether anything is mounted inside of this mount, as far as this process sees. If that is not known, there may be.
    fn has_mounts_below(&self) -> bool {
        mountinfo::mounts().map_or(true, |mounts| {
            mounts
                .iter()
                .any(|mount| mount.mountpoint != self.mountpoint && mount.mountpoint.starts_with(&self.mountpoint))
        })
    }
}

/// `struct fuse_out_header`, `struct fuse_notify_inval_entry_out`, and the name with a NUL, as the kernel reads them from one write.
fn expire_message(dir: Ino, name: &str) -> Vec<u8> {
    const HEADERS_LEN: usize = 16 + 16;
    let len = HEADERS_LEN + name.len() + 1;
    let mut message = Vec::with_capacity(len);
    message.extend(u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(NOTIFY_INVAL_ENTRY.to_ne_bytes());
    message.extend(0_u64.to_ne_bytes());
    message.extend(dir.0.to_ne_bytes());
    message.extend(u32::try_from(name.len()).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(EXPIRE_ONLY.to_ne_bytes());
    message.extend(name.as_bytes());
    message.push(0);
    message
}

/// What the kernel does not know it need not forget; anything else it finds out when its time for it is up.
fn unless_unknown(told: io::Result<()>) {
    if let Err(error) = told
        && error.kind() != io::ErrorKind::NotFound
    {
        log::debug!("the kernel was not told of a change: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_laid_out_as_the_kernel_reads_it() {
        let message = expire_message(Ino(0x0102), "ab");
        assert_eq!(message.len(), 16 + 16 + 3);
        assert_eq!(message[0..4], 35_u32.to_ne_bytes());
        assert_eq!(message[4..8], 3_i32.to_ne_bytes());
        assert_eq!(message[16..24], 0x0102_u64.to_ne_bytes());
        assert_eq!(message[24..28], 2_u32.to_ne_bytes());
        assert_eq!(message[28..32], 1_u32.to_ne_bytes());
        assert_eq!(&message[32..], b"ab\0");
    }
}
