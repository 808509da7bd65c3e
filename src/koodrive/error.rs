//! Why a call failed, and what that means.
//!
//! Owns the one classification of failures of this room. Knows nothing of single calls, nor how an answer is judged.

use std::borrow::Cow;
use std::time::Duration;

use super::attempts::Said;
use super::login_error::LoginError;
use crate::http::{HttpError, HttpErrorKind};
use crate::policy::retry::FailureKind;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Why one call did not succeed.
#[derive(Debug)]
pub(super) enum CallError {
    /// There is no complete answer.
    Http(HttpError),
    /// The answer is not one of this service: no JSON object, no code.
    Foreign {
        /// HTTP status.
        status: u16,
    },
    /// The service says no.
    Refused(Refusal),
    /// The service says yes, and something that makes no sense.
    Bad(BadField),
    /// There is nothing to log in with that the service accepts.
    Login(LoginError),
}

/// A call that the service refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// HTTP status.
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// Status, code and message in one line, bounded and without control characters.
    pub(super) detail: String,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// This.
    Known(RemoteErrorKind),
    /// `13000102`: some parameter is not right. Could be any of them: code, agent, token.
    Parameters,
    /// `13000301`: the space is missing or in a bad state. Once it was open, that is the service's trouble.
    NoSpace,
    /// A code that no page explains. Those of ended shares, wrong access codes and stale tokens are among them.
    Unknown,
}

impl CallError {
    /// Whether it may be the temporary token of the share that was refused, or that the share has ended: the codes for these
    /// are not known (koodrive-api.md, 14), so every refusal counts that does not plainly mean something else.
    pub(super) fn doubts_access(&self) -> bool {
        let CallError::Refused(refusal) = self else { return false };
        matches!(
            refusal.reason,
            Reason::Parameters | Reason::Unknown | Reason::Known(RemoteErrorKind::Denied | RemoteErrorKind::NeedsLogin)
        )
    }

    /// Whether it may be the login that was refused: 401 always, 400 unless its code plainly means something else
    /// (koodrive-api.md, 4.1 and 14).
    pub(super) fn doubts_login(&self) -> bool {
        match self {
            CallError::Refused(refusal) => match refusal.reason {
                Reason::Known(kind) => kind == RemoteErrorKind::NeedsLogin,
                Reason::Parameters | Reason::Unknown => refusal.status == 400,
                Reason::NoSpace => false,
            },
            CallError::Foreign { status } => *status == 400,
            CallError::Http(_) | CallError::Bad(_) | CallError::Login(_) => false,
        }
    }

    /// An answer that lacks `field`.
    pub(super) fn missing(field: &str) -> CallError {
        CallError::Bad(bad(field, "missing"))
    }

    /// The answer says that what was asked for is no more.
    pub(super) fn gone(detail: &str) -> CallError {
        let reason = Reason::Known(RemoteErrorKind::NotFound);
        CallError::Refused(Refusal { reason, status: 200, retry_after: None, detail: detail.to_owned() })
    }

    /// Whether it says no more than that this is not here: no such thing, no such call, not for this login.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        match self {
            CallError::Refused(refusal) => matches!(
                refusal.reason,
                Reason::Parameters
                    | Reason::NoSpace
                    | Reason::Unknown
                    | Reason::Known(RemoteErrorKind::NotFound | RemoteErrorKind::Denied)
            ),
            CallError::Foreign { .. } | CallError::Bad(_) => true,
            CallError::Http(_) | CallError::Login(_) => false,
        }
    }

    /// What a failed call that carried a secret says about it; `None` if it failed for another reason.
    pub(super) fn said_of_secret(&self) -> Option<Said> {
        let CallError::Refused(refusal) = self else { return None };
        match refusal.reason {
            _ if refusal.status == 423 => Some(Said::Locked),
            Reason::Known(RemoteErrorKind::Throttled | RemoteErrorKind::Timeout | RemoteErrorKind::Unavailable) => None,
            Reason::Known(RemoteErrorKind::NeedsLogin) => Some(Said::Wrong),
            Reason::Known(_) | Reason::Parameters | Reason::Unknown | Reason::NoSpace => Some(Said::Unclear),
        }
    }

    /// What it means to who asked.
    pub(super) fn kind(&self) -> RemoteErrorKind {
        match self {
            CallError::Http(error) => error.kind().remote_kind(),
            CallError::Refused(refusal) => refusal.reason.kind(),
            CallError::Foreign { .. } | CallError::Bad(_) => RemoteErrorKind::Malformed,
            CallError::Login(error) => error.kind(),
        }
    }

    /// The pause that the service asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Refused(refusal) => refusal.retry_after,
            CallError::Login(error) => error.retry_after(),
            CallError::Http(_) | CallError::Foreign { .. } | CallError::Bad(_) => None,
        }
    }

    /// What it means for another attempt while a share is opened. Somebody waits for a word about a wrong endpoint, so what keeps
    /// a connection from coming up is reported at once; and what may be a wrong access code must never be sent again.
    pub(super) fn failure_kind_at_open(&self) -> FailureKind {
        match self {
            CallError::Http(error) => match error.kind() {
                HttpErrorKind::Dns | HttpErrorKind::Connect | HttpErrorKind::Tls => FailureKind::Permanent,
                kind => kind.remote_kind().failure_kind(),
            },
            CallError::Refused(Refusal { reason: Reason::Known(kind), .. }) => kind.failure_kind(),
            CallError::Refused(_) | CallError::Foreign { .. } | CallError::Bad(_) => FailureKind::Permanent,
            CallError::Login(error) => error.failure_kind_at_open(),
        }
    }

    /// One line on what came back, without a secret.
    pub(super) fn detail(&self) -> String {
        match self {
            CallError::Http(error) => error.to_string(),
            CallError::Foreign { status } => format!("HTTP {status} and no KooDrive answer"),
            CallError::Refused(refusal) => refusal.detail.clone(),
            CallError::Bad(BadField { field, why }) => format!("bad answer: {field}: {why}"),
            CallError::Login(error) => error.to_string(),
        }
    }

    /// The same as the remote side's error; `call` names what was called.
    pub(super) fn into_remote(self, call: &str) -> RemoteError {
        let (kind, retry_after) = (self.kind(), self.retry_after());
        let error = match &self {
            CallError::Http(_) => RemoteError::new(kind, format!("{call}: no answer")),
            other => RemoteError::new(kind, format!("{call}: {}", other.detail())),
        };
        let error = error.with_retry_after(retry_after);
        if let CallError::Http(cause) = self { error.with_source(cause) } else { error }
    }

    /// The same as a failure of the login's own call `step`.
    pub(super) fn into_login(self, step: &'static str) -> LoginError {
        LoginError::Failed { step, kind: self.kind(), retry_after: self.retry_after(), detail: self.detail() }
    }
}

/// What is wrong with an answer: the name of the field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadField {
    pub(super) field: String,
    pub(super) why: Cow<'static, str>,
}

pub(super) fn bad(field: impl Into<String>, why: impl Into<Cow<'static, str>>) -> BadField {
    BadField { field: field.into(), why: why.into() }
}

impl Reason {
    /// What it means to who asked.
    pub(super) fn kind(self) -> RemoteErrorKind {
        match self {
            Reason::Known(kind) => kind,
            Reason::NoSpace => RemoteErrorKind::Unavailable,
            // What the service refuses for a reason that no page explains it will refuse again.
            Reason::Parameters | Reason::Unknown => RemoteErrorKind::Unusable,
        }
    }
}

/// Whether the credential that `doubts` is about is still good, as the repetition of a call shows that was accepted before.
///
/// # Errors
/// The call failed in a way that does not tell.
pub(super) fn is_still_good<T>(
    again: Result<T, CallError>,
    doubts: impl Fn(&CallError) -> bool,
) -> Result<bool, CallError> {
    match again {
        Ok(_) => Ok(true),
        Err(error) if doubts(&error) => Ok(false),
        // Refused for a reason that is plainly another.
        Err(error @ CallError::Refused(_)) if error.kind().failure_kind() == FailureKind::Permanent => Ok(true),
        Err(error) => Err(error),
    }
}
