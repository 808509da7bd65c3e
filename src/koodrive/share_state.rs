//! Why a share gives nothing, or no content: it has ended, or its owner forbids downloads.

use std::time::SystemTime;

use jiff::{Timestamp, Unit};

use super::convert::{Share, ShareStatus};
use crate::remote::{RemoteError, RemoteErrorKind};

/// The owner's refusal of downloads, in words.
pub(super) const NO_DOWNLOADS: &str = "the owner of the share does not permit downloads";

/// How a share has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All shared files are deleted or in the recycle bin.
    Deleted,
    /// The share is past its end, or no longer valid.
    Expired(Option<SystemTime>),
}

/// Why the service refuses a call about a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The share has ended: every call is refused.
    Ended(Ended),
    /// The owner forbids downloads: listings are given, links are not.
    NoDownloads,
}

impl Closed {
    /// The same as the failure of `call`.
    pub(super) fn as_remote(self, call: &str) -> RemoteError {
        let (kind, why) = match self {
            Closed::Ended(Ended::Deleted) => {
                (RemoteErrorKind::NotFound, "the shared files have been deleted".to_owned())
            }
            Closed::Ended(Ended::Expired(at)) => (RemoteErrorKind::Denied, format!("the share {}", ended_text(at))),
            Closed::NoDownloads => (RemoteErrorKind::Denied, NO_DOWNLOADS.to_owned()),
        };
        RemoteError::new(kind, format!("{call}: {why}"))
    }
}

/// Whether `share` is over at `server_now` (API.md, section 5.6). An end that is still to come is not why a share has ended.
pub(super) fn ended(share: &Share, server_now: SystemTime) -> Option<Ended> {
    let expired_at = share.expires_at.filter(|end| *end <= server_now);
    match share.status {
        ShareStatus::Deleted => Some(Ended::Deleted),
        ShareStatus::Ended => Some(Ended::Expired(expired_at)),
        ShareStatus::Open => expired_at.map(|end| Ended::Expired(Some(end))),
    }
}

/// "expired on …", or "is no longer valid" where no date is known.
pub(super) fn ended_text(expired_at: Option<SystemTime>) -> String {
    let date = expired_at.and_then(|at| Timestamp::try_from(at).ok()?.round(Unit::Second).ok());
    date.map_or("is no longer valid".to_owned(), |date| format!("expired on {date}"))
}
