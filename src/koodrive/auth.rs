//! The share's access code and the temporary token (`kdstoken`) that the service gives for it: kept here, renewed by one thread
//! at a time, never shown.
//!
//! Threads: any. No lock is held during a call; a thread that needs a token which another thread is fetching waits for that one.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::attempts::{Attempts, Resend, Withheld};
use super::error::CallError;
use super::renewable::{Held, Missed, Reaction, Renewable};
use super::share_state::Closed;
use crate::clock::Clock;
use crate::config::Secret;
use crate::remote::{RemoteError, RemoteErrorKind};
use crate::sync::lock;

/// The credential of one share. A share without an access code has none, and sends an empty token.
pub(super) struct Access {
    code: Option<Secret>,
    token: Renewable<Secret, RenewError>,
    /// Refused attempts with the code. There is one code only, so it needs no key.
    attempts: Mutex<Attempts<()>>,
}

/// The token to send, with its generation.
pub(super) type Credential = Held<Secret>;

/// Why there is no new token.
#[derive(Clone, Debug)]
pub(super) enum RenewError {
    /// The service does not accept the access code, as `detail` says: just now, or not long ago, which `resend` tells.
    CodeRefused { detail: String, resend: Option<Resend> },
    /// No token is of use: this is why the service refuses the calls.
    Closed(Closed),
    /// A new token was refused as well, not long ago.
    Useless,
    /// The attempt failed; the code may be good.
    Failed(Arc<RemoteError>),
}

impl Access {
    /// A credential that starts with `token`, which the service gave for `code`; both empty for a share without a code.
    pub(super) fn new(code: Option<Secret>, token: Secret) -> Access {
        Access { code, token: Renewable::new(token), attempts: Mutex::default() }
    }

    /// What to send now.
    pub(super) fn current(&self) -> Credential {
        self.token.current()
    }

    /// Whether there is an access code, and so a way to get a token.
    pub(super) fn has_code(&self) -> bool {
        self.code.is_some()
    }

    /// A token that is newer than `refused`: one that another thread has fetched since, or is fetching, or that `verify` gets
    /// now for the access code. Waits until `deadline` at most for another thread. `closed` is asked before the code is sent, and
    /// says why it is of no use to send it.
    pub(super) fn renew(
        &self,
        refused: &Credential,
        clock: &dyn Clock,
        deadline: Instant,
        closed: impl FnOnce() -> Option<Closed>,
        verify: impl FnOnce(&Secret) -> Result<Secret, CallError>,
    ) -> Result<Credential, RenewError> {
        let fetch = || {
            if let Some(closed) = closed() {
                return Err(RenewError::Closed(closed));
            }
            self.fetch(clock, verify)
        };
        let failed = |kind, context: &str| RenewError::Failed(Arc::new(RemoteError::new(kind, context)));
        self.token.renew(refused, clock, deadline, Duration::ZERO, fetch).map_err(|missed| match missed {
            Missed::Failed(error) => error,
            Missed::Useless => RenewError::Useless,
            Missed::TooLate => failed(RemoteErrorKind::Timeout, "verify: another thread's call took too long"),
            Missed::Lost => failed(RemoteErrorKind::Unavailable, "verify: the call was lost"),
        })
    }

    fn fetch(
        &self,
        clock: &dyn Clock,
        verify: impl FnOnce(&Secret) -> Result<Secret, CallError>,
    ) -> Result<Secret, RenewError> {
        let Some(code) = &self.code else {
            return Err(RenewError::CodeRefused { detail: "there is none".to_owned(), resend: None });
        };
        let withheld = lock(&self.attempts).may_send(&(), clock.boot());
        withheld.map_err(|Withheld { detail, resend, .. }| RenewError::CodeRefused { detail, resend: Some(resend) })?;
        match verify(code) {
            Ok(token) => {
                lock(&self.attempts).was_accepted();
                Ok(token)
            }
            Err(error) => match error.said_of_secret().filter(|_| error.doubts_access()) {
                None => Err(RenewError::Failed(Arc::new(error.into_remote("verify")))),
                Some(said) => {
                    lock(&self.attempts).was_refused((), said, error.to_string(), clock.boot());
                    Err(RenewError::CodeRefused { detail: error.to_string(), resend: None })
                }
            },
        }
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
