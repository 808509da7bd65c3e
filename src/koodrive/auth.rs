//! The share's access code and the temporary token (`kdstoken`) that it buys: kept here, renewed once, never shown.
//!
//! Threads: any. No lock is held during a call; who needs a token that another thread is just fetching waits for that one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::envelope::CallError;
use super::renewable::{Held, Missed, Reaction, Renewable};
use crate::clock::Clock;
use crate::config::Secret;
use crate::remote::RemoteErrorKind;

/// The credential of one share. A share without an access code has none, and sends an empty token.
pub(super) struct Access {
    code: Option<Secret>,
    token: Renewable<Secret, RenewError>,
    /// The service has refused the code. It is never sent again: too many attempts might lock the share (koodrive-api.md, 14).
    code_refused: AtomicBool,
}

/// The token to send, and which one it is.
pub(super) type Credential = Held<Secret>;

/// Why there is no new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RenewError {
    /// The service does not (or no longer) accept the access code.
    CodeRefused,
    /// A new token was refused as well, not long ago.
    Useless,
    /// The attempt failed; the code may be good.
    Failed(RemoteErrorKind, String),
}

impl Access {
    /// A credential that starts with `token`, bought with `code`; both empty for a share without a code.
    pub(super) fn new(code: Option<Secret>, token: Secret) -> Access {
        Access { code, token: Renewable::new(token), code_refused: AtomicBool::new(false) }
    }

    /// Whether a token can be had at all.
    pub(super) fn has_code(&self) -> bool {
        self.code.is_some()
    }

    /// What to send now.
    pub(super) fn current(&self) -> Credential {
        self.token.current()
    }

    /// A token that is newer than `refused`: one that another thread has fetched since, or is fetching, or that `verify` buys
    /// now with the access code. Waits until `deadline` at most for another thread.
    pub(super) fn renew(
        &self,
        refused: &Credential,
        clock: &dyn Clock,
        deadline: Instant,
        verify: impl FnOnce(&Secret) -> Result<Secret, CallError>,
    ) -> Result<Credential, RenewError> {
        let Some(code) = &self.code else { return Err(RenewError::CodeRefused) };
        let fetch = || {
            if self.code_refused.load(Ordering::SeqCst) {
                return Err(RenewError::CodeRefused);
            }
            verify(code).map_err(|error| {
                if error.doubts_access() {
                    self.code_refused.store(true, Ordering::SeqCst);
                    RenewError::CodeRefused
                } else {
                    RenewError::Failed(error.kind(), error.detail())
                }
            })
        };
        self.token.renew(refused, clock, deadline, Duration::ZERO, fetch).map_err(|missed| match missed {
            Missed::Failed(error) => error,
            Missed::Useless => RenewError::Useless,
            Missed::TooLate => {
                RenewError::Failed(RemoteErrorKind::Timeout, "another thread's call took too long".into())
            }
            Missed::Lost => RenewError::Failed(RemoteErrorKind::Unavailable, "the call was lost".to_owned()),
        })
    }

    /// Notes that a call with this token succeeded.
    pub(super) fn was_accepted(&self, credential: &Credential) {
        self.token.was_accepted(credential);
    }

    /// Notes that a call was refused as well with a token that [`Access::renew`] had just given.
    pub(super) fn was_useless(&self, fresh: &Credential, now: Instant) {
        self.token.was_useless(fresh, now);
    }

    /// What to do about a call that was refused at `now`, where the token may be what was refused.
    pub(super) fn reaction(&self, now: Instant) -> Reaction {
        self.token.reaction(now)
    }
}
