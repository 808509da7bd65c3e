//! `koofs status`: the question to a mount how it is, and how a mount knows it.
//!
//! The question is an ioctl on a directory of the mount, as for a refresh: it reaches the right process without a socket or a file of
//! ours, also that of a service without a session. The kernel passes it on without asking anything else, and the mount answers from
//! memory, so it works while the network does not. The mount's owner and root may ask.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// The most bytes of an answer. An ioctl whose number says how long its answer is, which is what the kernel passes on to a FUSE
/// filesystem unchanged, has 14 bits for that.
pub const MAX_STATUS_BYTES: usize = ANSWER_BYTES as usize;
const ANSWER_BYTES: u32 = 16_000;

/// `_IOR('K', 2, …)`: the answer is as long as the call returns.
pub const STATUS: u32 = (2 << 30) | (ANSWER_BYTES << 16) | 0x4b02;

/// A directory that is opened with this flag, which has no other meaning for one, is not going to be read: nothing is listed for it.
pub(super) const FOR_ORDERS: i32 = libc::O_APPEND;

/// The handle of all directories that are opened so. Others count from 1 up.
pub(super) const ORDERS: u64 = u64::MAX;

/// Tells how the mount is, in at most so many bytes. Never waits: it is asked on a thread of the kernel's.
pub type TellStatus = Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>;

/// Asks the mount that holds the directory `path` how it is: lines as `crate::stats` has them.
///
/// # Errors
/// If `path` cannot be opened, is not in a KooFS mount (`ENOTTY`), or the mount is another user's (`EPERM`).
pub fn ask(path: &Path) -> io::Result<Vec<u8>> {
    let dir: File = OpenOptions::new().read(true).custom_flags(FOR_ORDERS | libc::O_DIRECTORY).open(path)?;
    let mut answer = vec![0_u8; MAX_STATUS_BYTES];
    // SAFETY: the descriptor is open, and the kernel writes as many bytes at most as the number of the request says: what `answer` has.
    let len = unsafe { libc::ioctl(dir.as_raw_fd(), libc::c_ulong::from(STATUS) as _, answer.as_mut_ptr()) };
    let Ok(len) = usize::try_from(len) else { return Err(io::Error::last_os_error()) };
    answer.truncate(len);
    Ok(answer)
}
