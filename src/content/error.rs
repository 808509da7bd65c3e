//! Why bytes could not be had, by meaning.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::range::{RangeIgnored, means_gone};
use crate::policy::retry::FailureKind;
use crate::remote::{RemoteError, RemoteErrorKind};

/// A failed read or fetch.
#[derive(Clone, Debug)]
pub enum ContentError {
    /// No link could be had.
    Link(Arc<RemoteError>),
    /// The object store failed, or the way to it.
    Store(Arc<StoreError>),
    /// The store refuses this object, with a fresh link too: what its status says.
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The store sends the whole object whatever is asked for, and that cannot be used.
    RangeIgnored(RangeIgnored),
    /// The object is no longer the version that was opened.
    Changed,
    /// Nor was it when it was opened, as only the disk knew it, and nothing of it was returned: the same read gives another's bytes.
    Superseded,
    /// The object is not as long as the listing says, with a fresh link too: it was replaced since it was listed, or the service
    /// gives out another file in its place.
    OtherSize {
        /// What the listing says, in bytes.
        listed: u64,
        /// What the store has, in bytes, if it says so.
        stored: Option<u64>,
    },
    /// The store's answer contradicts the request or itself.
    Malformed {
        /// HTTP status.
        status: u16,
    },
    /// A fetch ahead was cancelled before anybody waited for it; whoever waits now must ask again.
    Cancelled,
    /// The queue is so long that more would not be served in time.
    Overloaded,
    /// A fault of ours: the fetching thread panicked.
    Internal,
}

impl ContentError {
    /// What the failure means to whoever reads.
    pub fn kind(&self) -> RemoteErrorKind {
        match self {
            ContentError::Link(error) => error.kind(),
            ContentError::Store(error) => error.kind,
            ContentError::Refused { status } if means_gone(*status) => RemoteErrorKind::Changed,
            ContentError::Changed | ContentError::Superseded | ContentError::OtherSize { .. } => {
                RemoteErrorKind::Changed
            }
            ContentError::Refused { .. } => RemoteErrorKind::Denied,
            ContentError::Malformed { .. } | ContentError::RangeIgnored(_) | ContentError::Internal => {
                RemoteErrorKind::Malformed
            }
            ContentError::Cancelled | ContentError::Overloaded => RemoteErrorKind::Unavailable,
        }
    }

    /// What the failure means for another attempt.
    pub(super) fn failure_kind(&self) -> FailureKind {
        match self {
            ContentError::Link(error) => error.failure_kind(),
            ContentError::Store(error) => error.failure,
            ContentError::Malformed { .. } => FailureKind::Unclear,
            ContentError::Refused { .. }
            | ContentError::RangeIgnored(_)
            | ContentError::Changed
            | ContentError::Superseded
            | ContentError::OtherSize { .. }
            | ContentError::Cancelled
            | ContentError::Overloaded
            | ContentError::Internal => FailureKind::Permanent,
        }
    }

    /// The pause that the service or the store asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            ContentError::Link(error) => error.retry_after(),
            ContentError::Store(error) => error.retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContentError::Link(_) => f.write_str("no download link"),
            ContentError::Store(_) => f.write_str("the object store did not serve the range"),
            ContentError::Refused { status } => {
                write!(f, "the object store refuses the object (HTTP {status}), with a fresh link too")
            }
            ContentError::OtherSize { listed, stored } => {
                match stored {
                    Some(stored) => write!(f, "the object store has {stored} bytes of the file")?,
                    None => f.write_str("the object store has fewer bytes of the file")?,
                }
                write!(
                    f,
                    " and the listing says {listed}: it was replaced, or the service withholds it (moderated content)"
                )
            }
            ContentError::RangeIgnored(why) => why.fmt(f),
            ContentError::Superseded => f.write_str("what was kept on disk is no longer the file's"),
            ContentError::Changed => f.write_str("the file has changed since it was opened; open it again"),
            ContentError::Malformed { status } => {
                write!(f, "the object store's answer (HTTP {status}) is not the range that was asked for")
            }
            ContentError::Cancelled => f.write_str("the fetch was cancelled"),
            ContentError::Overloaded => f.write_str("too many fetches are waiting"),
            ContentError::Internal => f.write_str("internal fault while fetching, see the log above"),
        }
    }
}

impl Error for ContentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ContentError::Link(error) => Some(error.as_ref()),
            ContentError::Store(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// A failed exchange with the object store.
#[derive(Debug)]
pub struct StoreError {
    /// What it means.
    pub kind: RemoteErrorKind,
    /// What it means for another attempt.
    pub failure: FailureKind,
    /// The pause that the store asked for.
    pub retry_after: Option<Duration>,
    /// What happened, in one line without a secret.
    pub context: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl Error for StoreError {}
