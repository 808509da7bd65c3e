//! What the service says of a share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::field::{date_ms, text};
use crate::koodrive::error::BadField;
use crate::koodrive::wire::{NotAScalar, ShareLink};

/// Whether a share can be used, as the service says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::koodrive) enum ShareStatus {
    /// 0: as long as it has not expired. Also any value that is not documented.
    Open,
    /// 1: what was shared has been deleted.
    Deleted,
    /// 2: ended.
    Ended,
}

/// CommonShareLink, checked.
#[derive(Clone, Debug)]
pub(in crate::koodrive) struct Share {
    pub(in crate::koodrive) id: Option<String>,
    /// On the service's clock; `None` where the share has no end, or none that can be read.
    pub(in crate::koodrive) expires_at: Option<SystemTime>,
    pub(in crate::koodrive) status: ShareStatus,
    pub(in crate::koodrive) download_forbidden: bool,
}

/// CommonShareLink (5.6). Of its fields only a text where text must be is required.
pub(in crate::koodrive) fn share(link: ShareLink) -> Result<Share, BadField> {
    let expires_ms = date_ms(link.expire_time);
    Ok(Share {
        id: text(link.share_id, "link.shareId")?.filter(|id| !id.is_empty()),
        expires_at: expires_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        status: match link.status.integer() {
            Ok(Some(1)) => ShareStatus::Deleted,
            Ok(Some(2)) => ShareStatus::Ended,
            Ok(_) | Err(NotAScalar) => ShareStatus::Open,
        },
        download_forbidden: link.permission.is_some_and(|permission| permission.download.is_flag(false)),
    })
}
