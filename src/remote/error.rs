//! Why a remote call failed, by meaning. Owns the kinds, and what each means for another attempt; knows neither HTTP status
//! nor errno.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::policy::retry::FailureKind;

/// What a failed call means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteErrorKind {
    /// The service said that the thing does not exist (any more).
    NotFound,
    /// The service refuses this caller this thing, or the share has ended.
    Denied,
    /// The credential is missing, wrong or expired, and could not be renewed.
    NeedsLogin,
    /// The credential cannot be had at the moment: its file cannot be read, or the command that prints it failed.
    LoginNotReady,
    /// Too many requests; see [`RemoteError::retry_after`].
    Throttled,
    /// No (complete) answer within the time limit.
    Timeout,
    /// The connection broke under the request: reset, or closed before the end of the answer.
    Interrupted,
    /// The service does not work: 5xx.
    Unavailable,
    /// The service cannot be reached: its name does not resolve, no connection can be made, or none that can be trusted.
    Unreachable,
    /// Something else answers in the service's place: a login page of the network, a proxy, another server.
    Foreign,
    /// Nobody was asked, as the service could not be reached for a long time: see [`super::Remote::is_offline`].
    Offline,
    /// The thing is no longer what was asked for: another version.
    Changed,
    /// The answer is not of the documented form, or contradicts itself. The next one may be right.
    Malformed,
    /// The service does not accept the cursor any more, or refuses a page at a cursor for a reason that it does not explain: the
    /// listing can be begun again.
    CursorRefused,
    /// The answer cannot be used, and asking again would give the same: a refusal that no page explains, a URL that must
    /// not be requested.
    Unusable,
}

impl RemoteErrorKind {
    /// What the failure means for another attempt.
    pub fn failure_kind(self) -> FailureKind {
        match self {
            RemoteErrorKind::Throttled => FailureKind::Throttled,
            RemoteErrorKind::Interrupted => FailureKind::Interrupted,
            RemoteErrorKind::Timeout
            | RemoteErrorKind::Unavailable
            | RemoteErrorKind::Unreachable
            | RemoteErrorKind::LoginNotReady => FailureKind::Transient,
            // An answer that is cut short or is a proxy's error page; the next one may be whole.
            RemoteErrorKind::Malformed | RemoteErrorKind::Foreign => FailureKind::Unclear,
            RemoteErrorKind::NotFound
            | RemoteErrorKind::Denied
            | RemoteErrorKind::NeedsLogin
            | RemoteErrorKind::Changed
            | RemoteErrorKind::CursorRefused
            | RemoteErrorKind::Offline
            | RemoteErrorKind::Unusable => FailureKind::Permanent,
        }
    }
}

/// A failed remote call: what it means, and one line of what happened, without a secret in it.
#[derive(Debug)]
pub struct RemoteError {
    kind: RemoteErrorKind,
    context: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RemoteError {
    /// A failure of `kind`; `context` says what was tried and what came back, in one line without a secret.
    pub fn new(kind: RemoteErrorKind, context: impl Into<String>) -> RemoteError {
        RemoteError { kind, context: context.into(), retry_after: None, source: None }
    }

    /// The same with the error that led to it.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> RemoteError {
        self.source = Some(source.into());
        self
    }

    /// The same with the pause that the service asked for.
    pub fn with_retry_after(mut self, pause: Option<Duration>) -> RemoteError {
        self.retry_after = pause;
        self
    }

    /// What the failure means.
    pub fn kind(&self) -> RemoteErrorKind {
        self.kind
    }

    /// What it means for another attempt.
    pub fn failure_kind(&self) -> FailureKind {
        self.kind.failure_kind()
    }

    /// The pause that the service asked for, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}
