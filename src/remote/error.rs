//! Why a remote call failed, by meaning. Owns the kinds; knows neither HTTP status nor errno.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::policy::retry::FailureKind;

/// What a failed call means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteErrorKind {
    /// The service said that the thing does not exist (any more).
    NotFound,
    /// The service refuses this caller this thing, or the share has ended.
    Denied,
    /// The credential is missing, wrong or expired, and could not be renewed.
    NeedsLogin,
    /// Too many requests; see [`RemoteError::retry_after`].
    Throttled,
    /// No (complete) answer within the time limit.
    Timeout,
    /// The service or the way to it is out of order: refused, reset, 5xx.
    Unavailable,
    /// The thing is no longer what was asked for: another version.
    Changed,
    /// The answer makes no sense: not the documented form, or contradicts itself.
    Malformed,
}

impl RemoteErrorKind {
    /// What the failure means for another attempt.
    pub fn failure_kind(self) -> FailureKind {
        match self {
            RemoteErrorKind::Throttled => FailureKind::Throttled,
            RemoteErrorKind::Timeout | RemoteErrorKind::Unavailable => FailureKind::Transient,
            // An answer that is cut short or is a proxy's error page; the next one may be whole.
            RemoteErrorKind::Malformed => FailureKind::Unclear,
            RemoteErrorKind::NotFound
            | RemoteErrorKind::Denied
            | RemoteErrorKind::NeedsLogin
            | RemoteErrorKind::Changed => FailureKind::Permanent,
        }
    }
}

/// A failed remote call: what it means, and one line of what happened, without a secret in it.
#[derive(Debug)]
pub struct RemoteError {
    kind: RemoteErrorKind,
    failure_kind: FailureKind,
    context: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RemoteError {
    /// A failure of `kind`; `context` says what was tried and what came back, in one line without a secret.
    pub fn new(kind: RemoteErrorKind, context: impl Into<String>) -> RemoteError {
        RemoteError {
            kind,
            failure_kind: kind.failure_kind(),
            context: context.into(),
            retry_after: None,
            source: None,
        }
    }

    /// The same with the error that led to it.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> RemoteError {
        self.source = Some(source.into());
        self
    }

    /// The same with another meaning for the next attempt than its kind alone has: an answer that makes no sense but would come
    /// again, a connection that broke.
    pub fn with_failure_kind(mut self, failure_kind: FailureKind) -> RemoteError {
        self.failure_kind = failure_kind;
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
        self.failure_kind
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
