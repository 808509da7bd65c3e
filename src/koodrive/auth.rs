//! The share's access code and the temporary token (`kdstoken`) that it buys: kept here, renewed once, never shown.
//!
//! Threads: any. One lock, never held during a call; who needs a token that another thread is just fetching waits for that one.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::envelope::CallError;
use crate::clock::lock;
use crate::config::Secret;
use crate::remote::RemoteErrorKind;

/// How long no other token is fetched after a new one was refused at once: then it is not the token, or no token helps, and
/// callers that try again must not run into a limit of attempts.
const USELESS_PAUSE: Duration = Duration::from_secs(60);

/// The credential of one share. A share without an access code has none, and sends an empty token.
pub(super) struct Access {
    code: Option<Secret>,
    state: Mutex<State>,
    landed: Condvar,
}

struct State {
    token: Secret,
    /// Counts tokens, so that a refusal of the one before last does not cost another call.
    generation: u64,
    /// Some call with this token has succeeded.
    accepted: bool,
    /// A thread is fetching a token.
    in_flight: bool,
    /// Counts finished fetches, so that a waiting thread knows that the one it waited for is over.
    flights: u64,
    /// The service has refused the code. It is never sent again: too many attempts might lock the share (koodrive-api.md, 14).
    code_refused: bool,
    /// Until when no other token is fetched, because the last one did not help.
    useless_until: Option<Instant>,
    /// How the last fetch failed.
    failure: Option<RenewError>,
}

/// The token to send, and which one it is.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) token: Secret,
    generation: u64,
}

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
        let state = State {
            token,
            generation: 0,
            accepted: false,
            in_flight: false,
            flights: 0,
            code_refused: false,
            useless_until: None,
            failure: None,
        };
        Access { code, state: Mutex::new(state), landed: Condvar::new() }
    }

    /// Whether a token can be had at all.
    pub(super) fn has_code(&self) -> bool {
        self.code.is_some()
    }

    /// What to send now.
    pub(super) fn current(&self) -> Credential {
        let state = lock(&self.state);
        Credential { token: state.token.clone(), generation: state.generation }
    }

    /// A token that is newer than `refused`: one that another thread has fetched since, or is fetching, or that `verify` buys
    /// now with the access code. Waits until `deadline` at most for another thread.
    pub(super) fn renew(
        &self,
        refused: &Credential,
        deadline: Instant,
        verify: impl FnOnce(&Secret) -> Result<Secret, CallError>,
    ) -> Result<Credential, RenewError> {
        let Some(code) = &self.code else { return Err(RenewError::CodeRefused) };
        let mut state = lock(&self.state);
        let flight = state.flights;
        loop {
            if state.generation != refused.generation {
                return Ok(Credential { token: state.token.clone(), generation: state.generation });
            }
            if state.code_refused {
                return Err(RenewError::CodeRefused);
            }
            if state.useless_until.is_some_and(|until| Instant::now() < until) {
                return Err(RenewError::Useless);
            }
            if let (true, Some(failure)) = (state.flights != flight, &state.failure) {
                return Err(failure.clone());
            }
            if !state.in_flight {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RenewError::Failed(RemoteErrorKind::Timeout, "another thread's call took too long".into()));
            }
            state = self.landed.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        state.in_flight = true;
        drop(state);
        let lost = RenewError::Failed(RemoteErrorKind::Unavailable, "the call was lost".to_owned());
        let mut landing = Landing { access: self, outcome: Err(lost) };
        landing.outcome = verify(code).map_err(|error| {
            if error.doubts_access() {
                RenewError::CodeRefused
            } else {
                RenewError::Failed(error.kind(), error.detail())
            }
        });
        let failure = landing.outcome.as_ref().err().cloned();
        drop(landing);
        failure.map_or_else(|| Ok(self.current()), Err)
    }

    /// Notes that a call with this token succeeded.
    pub(super) fn was_accepted(&self, credential: &Credential) {
        let mut state = lock(&self.state);
        state.accepted |= state.generation == credential.generation;
    }

    /// Notes that a token was refused although [`Access::renew`] had just given it. One that was good for another call may just
    /// live for a short time.
    pub(super) fn was_useless(&self, fresh: &Credential) {
        let mut state = lock(&self.state);
        if state.generation == fresh.generation && !state.accepted {
            state.useless_until = Some(Instant::now() + USELESS_PAUSE);
        }
    }
}

/// Records how a fetch ended and wakes who waits, even if the fetch panicked.
struct Landing<'a> {
    access: &'a Access,
    outcome: Result<Secret, RenewError>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.access.state);
        state.in_flight = false;
        state.flights += 1;
        match &self.outcome {
            Ok(token) => {
                state.token = token.clone();
                state.generation += 1;
                state.accepted = false;
                state.failure = None;
            }
            Err(failure) => {
                state.code_refused |= *failure == RenewError::CodeRefused;
                state.failure = Some(failure.clone());
            }
        }
        drop(state);
        self.access.landed.notify_all();
    }
}
