//! Whether a share has ended, and how.

use std::time::SystemTime;

use jiff::{Timestamp, Unit};

use super::convert::{Share, ShareStatus};
use crate::remote::{RemoteError, RemoteErrorKind};

/// How a share has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Deleted,
    Expired(Option<SystemTime>),
}

impl Ended {
    /// The same as the failure of `call`.
    pub(super) fn as_remote(self, call: &str) -> RemoteError {
        match self {
            Ended::Deleted => {
                RemoteError::new(RemoteErrorKind::NotFound, format!("{call}: the shared files have been deleted"))
            }
            Ended::Expired(at) => {
                RemoteError::new(RemoteErrorKind::Denied, format!("{call}: the share {}", ended_text(at)))
            }
        }
    }
}

/// Whether `share` is over at `server_now` (koodrive-api.md, 5.6). An end that is still to come is not why a share has ended.
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
