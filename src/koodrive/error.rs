//! Why a call failed, and what that means.
//!
//! Owns the one classification of failures in this room. What leaves the room is a [`RemoteError`], whose source is the cause.
//! Knows nothing of single calls, nor how an answer is judged. No text in here holds a secret.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::attempts::Said;
use super::login_error::LoginError;
use crate::http::{HttpError, HttpErrorKind};
use crate::policy::retry::FailureKind;
use crate::remote::{Cursor, RemoteError, RemoteErrorKind};

/// Why one call did not succeed. `Display` is one line on what came back.
#[derive(Debug)]
pub(super) enum CallError {
    /// There is no complete answer.
    Http(HttpError),
    /// The answer is not one of this service: no JSON object, or one without a code.
    Foreign {
        /// HTTP status.
        status: u16,
        /// It is a JSON object all the same: a gateway of the service's, rather than a page of somebody else's.
        is_json: bool,
    },
    /// The service refuses the call.
    Refused(ServiceRefusal),
    /// The service reports success, but a field of its answer is missing or cannot be read.
    Bad(BadField),
    /// The answer to a call for the links of several files has none for this file, and no code that says why.
    NoLink,
    /// There is no credential that the service accepts.
    Login(LoginError),
}

/// A call that the service refused.
#[derive(Debug)]
pub(super) struct ServiceRefusal {
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
    /// The pages say what it means.
    Known(RemoteErrorKind),
    /// `13000102`: some parameter is not right. Could be any of them: code, agent, token.
    Parameters,
    /// Either of these two (`13000102` is the likely one), to a call that sent a cursor: it may be one that is too old.
    Cursor,
    /// `13000301`: the space is missing or in a bad state. For a space that was opened before, this is a failure of the service.
    NoSpace,
    /// A code that no page explains. Those of ended shares, wrong access codes and stale tokens are among them.
    Unknown,
}

/// What is wrong with an answer: the name of the field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadField {
    pub(super) field: String,
    pub(super) why: Cow<'static, str>,
}

/// `field` is bad, for the reason `why`.
pub(super) fn bad(field: impl Into<String>, why: impl Into<Cow<'static, str>>) -> BadField {
    BadField { field: field.into(), why: why.into() }
}

impl CallError {
    /// An answer that lacks `field`.
    pub(super) fn missing(field: &str) -> CallError {
        CallError::Bad(bad(field, "missing"))
    }

    /// The answer says that what was asked for does not exist any more.
    pub(super) fn gone(detail: &str) -> CallError {
        let reason = Reason::Known(RemoteErrorKind::NotFound);
        CallError::Refused(ServiceRefusal { reason, status: 200, retry_after: None, detail: detail.to_owned() })
    }

    /// The same as the failure of a call that asked for the page at `cursor`, if any: what the service does not explain may be
    /// due to the cursor, whose life and code are not documented.
    pub(super) fn of_page(mut self, cursor: Option<&Cursor>) -> CallError {
        if let (CallError::Refused(refusal), Some(_)) = (&mut self, cursor)
            && matches!(refusal.reason, Reason::Parameters | Reason::Unknown)
        {
            refusal.reason = Reason::Cursor;
        }
        self
    }

    /// Whether it may be the temporary token of the share that was refused, or that the share has ended: the codes for these
    /// are not known (API.md, section 4.2), so every refusal counts that does not plainly mean something else.
    pub(super) fn doubts_access(&self) -> bool {
        let CallError::Refused(refusal) = self else { return false };
        matches!(
            refusal.reason,
            Reason::Parameters
                | Reason::Cursor
                | Reason::Unknown
                | Reason::Known(RemoteErrorKind::Denied | RemoteErrorKind::NeedsLogin)
        )
    }

    /// Whether it may be the login that was refused: 401 always, 400 unless its code plainly means something else
    /// (API.md, sections 4.1 and 14).
    pub(super) fn doubts_login(&self) -> bool {
        match self {
            CallError::Refused(refusal) => match refusal.reason {
                Reason::Known(kind) => kind == RemoteErrorKind::NeedsLogin,
                Reason::Parameters | Reason::Cursor | Reason::Unknown => refusal.status == 400,
                Reason::NoSpace => false,
            },
            CallError::Foreign { status, .. } => *status == 400,
            CallError::Http(_) | CallError::Bad(_) | CallError::NoLink | CallError::Login(_) => false,
        }
    }

    /// Whether it may be a parameter that is refused, which no page says that it may be sent.
    pub(super) fn may_refuse_parameter(&self) -> bool {
        matches!(
            self,
            CallError::Refused(ServiceRefusal { reason: Reason::Parameters | Reason::Cursor | Reason::Unknown, .. })
        )
    }

    /// Whether it may be that there is no such call, or none of the form that is documented. A page that answers in the service's place,
    /// as a network has it that wants a login, says nothing of the service, unless it is that there is nothing here.
    pub(super) fn may_be_no_call(&self) -> bool {
        match self {
            CallError::Foreign { status, is_json } => *is_json || matches!(status, 404 | 405),
            CallError::Bad(_) => true,
            _ => self.may_refuse_parameter(),
        }
    }

    /// What a failed call that carried a secret says about the secret; `None` if it failed for another reason.
    pub(super) fn said_of_secret(&self) -> Option<Said> {
        let CallError::Refused(refusal) = self else { return None };
        match refusal.reason {
            _ if refusal.status == 423 => Some(Said::Locked),
            Reason::Known(RemoteErrorKind::Throttled | RemoteErrorKind::Timeout | RemoteErrorKind::Unavailable) => None,
            Reason::Known(RemoteErrorKind::NeedsLogin) => Some(Said::Wrong),
            Reason::Known(_) | Reason::Parameters | Reason::Cursor | Reason::Unknown | Reason::NoSpace => {
                Some(Said::Unclear)
            }
        }
    }

    /// Whether it only says that the thing is not here: no such thing, no such call, not for this login.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        match self {
            CallError::Refused(refusal) => matches!(
                refusal.reason,
                Reason::Parameters
                    | Reason::Cursor
                    | Reason::NoSpace
                    | Reason::Unknown
                    | Reason::Known(RemoteErrorKind::NotFound | RemoteErrorKind::Denied)
            ),
            CallError::Foreign { .. } | CallError::Bad(_) | CallError::NoLink => true,
            CallError::Http(_) | CallError::Login(_) => false,
        }
    }

    /// What the failure means for the caller.
    pub(super) fn kind(&self) -> RemoteErrorKind {
        match self {
            CallError::Http(error) => match error.kind() {
                // The service redirects nobody.
                HttpErrorKind::RedirectRefused => RemoteErrorKind::Foreign,
                kind => kind.remote_kind(),
            },
            CallError::Refused(refusal) => refusal.reason.kind(),
            CallError::Foreign { is_json: false, .. } => RemoteErrorKind::Foreign,
            CallError::Foreign { is_json: true, .. } | CallError::Bad(_) | CallError::NoLink => {
                RemoteErrorKind::Malformed
            }
            CallError::Login(error) => error.kind(),
        }
    }

    /// What it means for another attempt while a share or a space is opened. The user waits, and the endpoint or a
    /// file may be wrong, so a connection that cannot be made is reported at once; and what may be a wrong access code must not be
    /// sent again.
    pub(super) fn failure_kind_at_open(&self) -> FailureKind {
        match self {
            CallError::Http(error)
                if matches!(
                    error.kind(),
                    HttpErrorKind::Dns | HttpErrorKind::Connect | HttpErrorKind::Tls | HttpErrorKind::RedirectRefused
                ) =>
            {
                FailureKind::Permanent
            }
            CallError::Login(LoginError::File(_) | LoginError::Command(_))
            | CallError::Refused(ServiceRefusal { reason: Reason::NoSpace, .. })
            | CallError::Foreign { .. }
            | CallError::Bad(_)
            | CallError::NoLink => FailureKind::Permanent,
            CallError::Http(_) | CallError::Refused(_) | CallError::Login(_) => self.kind().failure_kind(),
        }
    }

    /// The pause that the service asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Refused(refusal) => refusal.retry_after,
            CallError::Login(error) => error.retry_after(),
            CallError::Http(_) | CallError::Foreign { .. } | CallError::Bad(_) | CallError::NoLink => None,
        }
    }

    /// The same as the remote side's error; `call` names what was called.
    pub(super) fn into_remote(self, call: &str) -> RemoteError {
        let (kind, retry_after) = (self.kind(), self.retry_after());
        let error = match self {
            CallError::Http(cause) => RemoteError::new(kind, format!("{call}: no answer")).with_source(cause),
            CallError::Login(cause) => RemoteError::new(kind, format!("{call}: there is no login")).with_source(cause),
            error => RemoteError::new(kind, format!("{call}: {error}")),
        };
        error.with_retry_after(retry_after)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Http(error) => error.fmt(f),
            CallError::Foreign { status, .. } => write!(f, "HTTP {status} and no KooDrive answer"),
            CallError::Refused(refusal) => f.write_str(&refusal.detail),
            CallError::Bad(BadField { field, why }) => write!(f, "unusable answer: {field}: {why}"),
            CallError::NoLink => f.write_str(
                "the service gives no link for this file: it may not be audited yet, or violate the service's rules",
            ),
            CallError::Login(error) => error.fmt(f),
        }
    }
}

impl Error for CallError {
    /// The source of the cause: `Display` shows the cause itself.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CallError::Http(error) => error.source(),
            CallError::Login(error) => error.source(),
            CallError::Foreign { .. } | CallError::Refused(_) | CallError::Bad(_) | CallError::NoLink => None,
        }
    }
}

impl Reason {
    /// What it means for the caller.
    pub(super) fn kind(self) -> RemoteErrorKind {
        match self {
            Reason::Known(kind) => kind,
            Reason::NoSpace => RemoteErrorKind::Unavailable,
            Reason::Cursor => RemoteErrorKind::CursorRefused,
            // The service will most likely refuse the same again.
            Reason::Parameters | Reason::Unknown => RemoteErrorKind::Unusable,
        }
    }
}

/// Whether the credential that `doubts` is about is still good, judged by the repetition of a call that was accepted before.
///
/// # Errors
/// The call failed in a way that says nothing of the credential.
pub(super) fn is_still_good<T>(
    again: Result<T, CallError>,
    doubts: impl Fn(&CallError) -> bool,
) -> Result<bool, CallError> {
    match again {
        Ok(_) => Ok(true),
        Err(error) if doubts(&error) => Ok(false),
        // Refused for another, known reason.
        Err(error @ CallError::Refused(_)) if error.kind().failure_kind() == FailureKind::Permanent => Ok(true),
        Err(error) => Err(error),
    }
}
