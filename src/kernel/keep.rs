//! `koofs warm`: the request to a mount to have a listing, or a piece of a file, on its disk for sure; and how a mount knows it.
//!
//! Like a refresh it is an ioctl, on an open directory or file of the mount. The mount's owner and root may ask.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `_IOW('K', 3, u64)`: the offset of a byte of the piece goes in, and nothing comes out but the result.
pub const KEEP: u32 = (1 << 30) | (8 << 16) | 0x4b03;

/// What a mount is asked for: with the offset, in its highest bits, which no offset of a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To have it on the disk.
    Keep,
    /// To have it there until [`Order::Unpin`].
    Pin,
    /// To let it go like others again; of the root, all that was ever pinned. Nothing is asked of the service.
    Unpin,
}

const PIN: u64 = 1 << 63;
const UNPIN: u64 = 1 << 62;

/// Has the mount keep the listing of the directory `open`, or the piece of the file that holds byte `offset`. Returns when it is on
/// the disk, with the most MiB that the disk keeps in all, or when the mount's own time limit is over.
///
/// # Errors
/// If it is not in a KooFS mount (`ENOTTY`), the mount is another user's (`EPERM`) or keeps nothing (`EOPNOTSUPP`), the disk does not
/// take it (`ENOSPC`), too much would be pinned (`EDQUOT`), or it cannot be had from the service.
pub fn keep(open: &File, offset: u64, order: Order) -> io::Result<u32> {
    let offset = match order {
        Order::Keep => offset,
        Order::Pin => offset | PIN,
        Order::Unpin => offset | UNPIN,
    };
    // SAFETY: the descriptor is open, and the request reads 8 bytes, of `offset`, which outlives the call.
    let done = unsafe { libc::ioctl(open.as_raw_fd(), libc::c_ulong::from(KEEP) as _, &raw const offset) };
    u32::try_from(done).ok().ok_or_else(io::Error::last_os_error)
}

/// What is asked for, and the offset.
pub(super) fn parse(asked: u64) -> (Order, u64) {
    let order = match asked {
        _ if asked & PIN != 0 => Order::Pin,
        _ if asked & UNPIN != 0 => Order::Unpin,
        _ => Order::Keep,
    };
    (order, asked & !(PIN | UNPIN))
}
