//! What a login or a refresh gives.

use std::time::Duration;

use super::field::text;
use crate::koodrive::error::{BadField, bad};
use crate::koodrive::wire::{SessionAnswer, SessionInfo};

/// The longest life of a token that is believed, in seconds: 100 years, so that adding it to an instant cannot overflow.
const MAX_LIFE_SECS: u64 = 100 * 365 * 86_400;

/// What a login or a refresh gives.
pub(in crate::koodrive) struct Session {
    pub(in crate::koodrive) access_token: String,
    pub(in crate::koodrive) refresh_token: Option<String>,
    /// None if it is not told, or no time at all.
    pub(in crate::koodrive) expires_in: Option<Duration>,
    pub(in crate::koodrive) user_id: Option<String>,
}

/// The session of a login's or a refresh's answer, at whichever depth it lies.
pub(in crate::koodrive) fn session(answer: SessionAnswer) -> Result<Session, BadField> {
    let at_top = SessionInfo {
        access_token: answer.access_token,
        expires_in: answer.expires_in,
        refresh_token: answer.refresh_token,
    };
    let info = answer.session_info.unwrap_or(at_top);
    let filled = |value, field| text(value, field).map(|text| text.filter(|text| !text.is_empty()));
    let seconds = info.expires_in.integer().ok().flatten().and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Session {
        access_token: filled(info.access_token, "accessToken")?.ok_or_else(|| bad("accessToken", "missing"))?,
        refresh_token: filled(info.refresh_token, "refreshToken")?,
        expires_in: seconds
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.min(MAX_LIFE_SECS))),
        user_id: filled(answer.user_info.unwrap_or_default().user_id, "userInfo.userId")?,
    })
}
