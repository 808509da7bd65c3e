//! Why an operation on the filesystem failed, by meaning. `kernel/errno.rs` alone knows which errno that is.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::content::ContentError;
use crate::remote::RemoteError;

/// A failed operation. Many waiters may share one cause, hence the `Arc`s.
#[derive(Clone, Debug)]
pub enum FsError {
    /// A complete listing has no such name, or the inode is unknown.
    NotFound,
    /// A directory was needed.
    NotADirectory,
    /// A file was needed.
    IsADirectory,
    /// The handle was never given out, or is released.
    BadHandle,
    /// The inode's content is no longer the file's: it must be looked up anew.
    Outdated,
    /// The store has another size than a listing that was loaded for that very reason.
    Disputed(ContentError),
    /// No entry can have such a long name.
    NameTooLong,
    /// The operation's deadline has passed.
    DeadlinePassed,
    /// Whoever waits for it was killed meanwhile.
    Killed,
    /// So much waits already that more would not be answered in time.
    Overloaded,
    /// The service lists the entry, but with something that nothing can have: what, in a few words.
    Unreadable(&'static str),
    /// A listing failed.
    Listing(Arc<RemoteError>),
    /// A listing of the service never ends: more pages than any directory has, or a cursor that came before.
    EndlessListing,
    /// A read failed.
    Content(ContentError),
    /// Nothing is kept on the disk by this mount.
    NothingIsKept,
    /// The disk does not keep what it was to keep.
    NotKept,
    /// More would be pinned than the disk may keep pinned.
    TooMuchPinned,
    /// A fault of ours: a worker panicked.
    Internal,
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FsError::NotFound => "no such entry",
            FsError::NotADirectory => "not a directory",
            FsError::IsADirectory => "is a directory",
            FsError::BadHandle => "unknown handle",
            FsError::Outdated => "the file has changed since it was looked up",
            FsError::Disputed(_) => "the file is not what its directory, listed anew, says",
            FsError::NameTooLong => "name too long",
            FsError::DeadlinePassed => "no answer before the operation's deadline",
            FsError::Killed => "the process was killed while it waited",
            FsError::Overloaded => "too many operations are waiting",
            FsError::Unreadable(why) => return write!(f, "the service lists it in a way that cannot be read: {why}"),
            FsError::Listing(_) => "the listing failed",
            FsError::EndlessListing => "the service's listing does not end",
            FsError::Content(_) => "the content could not be read",
            FsError::NothingIsKept => "this mount keeps nothing on disk",
            FsError::NotKept => "the cache directory does not take it",
            FsError::TooMuchPinned => "more would be pinned than the cache may keep",
            FsError::Internal => "internal fault, see the log above",
        })
    }
}

impl Error for FsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FsError::Listing(error) => Some(error.as_ref()),
            FsError::Content(error) | FsError::Disputed(error) => Some(error),
            _ => None,
        }
    }
}
