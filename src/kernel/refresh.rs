//! `koofs refresh`: the request to a mount to forget what it remembers, and how a mount knows it.
//!
//! The request is an ioctl on a directory of the mount: it reaches the right process without a socket or a file of ours. The mount's
//! owner and root may ask.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// `_IO('K', 1)`: no data goes either way, which is what the kernel passes on to a FUSE filesystem unchanged.
pub const REFRESH: u32 = 0x4b01;

/// Asks the mount that holds the directory `path` to forget it and all that is below it. Returns when the kernel has
/// forgotten it as well, or the mount's own time limit is over.
///
/// # Errors
/// If `path` cannot be opened, is not in a KooFS mount (`ENOTTY`), or the mount is another user's (`EPERM`).
pub fn refresh(path: &Path) -> io::Result<()> {
    let dir = File::open(path)?;
    // SAFETY: the descriptor is open, and a request without data reads and writes no memory of ours.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), libc::c_ulong::from(REFRESH) as _) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
