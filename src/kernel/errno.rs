//! The only table from failures to errno. Every kind is named, so that a new one stops the build until somebody decides.

use fuser::Errno;

use crate::fs::FsError;
use crate::remote::RemoteErrorKind;

/// For an ioctl that is meant for another kind of file, like that of `isatty`.
pub const NOT_OUR_IOCTL: Errno = Errno::ENOTTY;

/// For a user who asks for what only the mount's owner may do.
pub const NOT_OWNER: Errno = Errno::EPERM;

/// For an extended attribute that there is not.
pub const NO_SUCH_XATTR: Errno = Errno::ENODATA;

/// For a buffer that an extended attribute does not fit into.
pub const BUFFER_TOO_SMALL: Errno = Errno::ERANGE;

/// The errno that a process sees for `error`.
pub fn errno(error: &FsError) -> Errno {
    match error {
        FsError::NotFound => Errno::ENOENT,
        FsError::NotADirectory => Errno::ENOTDIR,
        FsError::IsADirectory => Errno::EISDIR,
        FsError::BadHandle => Errno::EBADF,
        // Linux looks the name up anew by itself, and opens what it finds then (namei.c, LOOKUP_REVAL).
        FsError::Outdated => Errno::ESTALE,
        FsError::NameTooLong => Errno::ENAMETOOLONG,
        FsError::DeadlinePassed => Errno::ETIMEDOUT,
        // Nobody sees it: the process ends before it returns from its call.
        FsError::Killed => Errno::EINTR,
        FsError::NothingIsKept => Errno::EOPNOTSUPP,
        FsError::NotKept => Errno::ENOSPC,
        FsError::TooMuchPinned => Errno::EDQUOT,
        // Not EAGAIN, which would tell a program that the file is non-blocking.
        FsError::Unreadable(_)
        | FsError::Overloaded
        | FsError::EndlessListing
        | FsError::Disputed(_)
        | FsError::Internal => Errno::EIO,
        FsError::Listing(error) => remote_errno(error.kind()),
        FsError::Content(error) => match error.kind() {
            // Opened, and deleted since: gone under the handle, as read(2) knows no ENOENT.
            RemoteErrorKind::NotFound => Errno::ESTALE,
            kind => remote_errno(kind),
        },
    }
}

fn remote_errno(kind: RemoteErrorKind) -> Errno {
    match kind {
        RemoteErrorKind::NotFound => Errno::ENOENT,
        RemoteErrorKind::Denied | RemoteErrorKind::NeedsLogin | RemoteErrorKind::LoginNotReady => Errno::EACCES,
        RemoteErrorKind::Timeout => Errno::ETIMEDOUT,
        RemoteErrorKind::Changed => Errno::ESTALE,
        // The network may be there, and the service is not.
        RemoteErrorKind::Unreachable | RemoteErrorKind::Foreign => Errno::EHOSTUNREACH,
        // Nothing was sent.
        RemoteErrorKind::Offline => Errno::ENETUNREACH,
        RemoteErrorKind::Throttled
        | RemoteErrorKind::Interrupted
        | RemoteErrorKind::Unavailable
        | RemoteErrorKind::Malformed
        | RemoteErrorKind::CursorRefused
        | RemoteErrorKind::Unusable => Errno::EIO,
    }
}

/// Whether a failure is not worth a warning: a normal answer to a normal question, or one that was logged when its directory was
/// listed.
pub fn is_expected(error: &FsError) -> bool {
    let is_offline = match error {
        FsError::Listing(error) => error.kind() == RemoteErrorKind::Offline,
        FsError::Content(error) => error.kind() == RemoteErrorKind::Offline,
        _ => false,
    };
    // That it is offline was said when it began.
    is_offline
        || matches!(
            error,
            FsError::NotFound
                | FsError::NotADirectory
                | FsError::IsADirectory
                | FsError::NameTooLong
                | FsError::Killed
                | FsError::Unreadable(_)
                | FsError::Outdated
                // Whoever asked is told, in so many words.
                | FsError::TooMuchPinned
        )
}
