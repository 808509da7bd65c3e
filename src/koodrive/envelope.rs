//! From (HTTP status, code, msg) to what a refusal means.
//!
//! Both the status and the code are judged, since the service's pages disagree on which one tells of a failure
//! (koodrive-api.md, 4.1). Knows nothing of single calls.

use std::time::Duration;

use super::convert::{BadField, bad};
use super::login_error::LoginError;
use super::wire::{Envelope, NotAScalar, Scalar};
use crate::http::{ApiAnswer, HttpError, HttpErrorKind};
use crate::policy::retry::FailureKind;
use crate::remote::{RemoteError, RemoteErrorKind};

/// How much of a service's message goes into an error text, in characters.
const MAX_MSG_CHARS: usize = 160;

/// The longest code that is shown, in characters; the known ones have 8 digits.
const MAX_CODE_CHARS: usize = 32;

/// What is shorter is not struck out of messages: it would mutilate them, and is not much of a secret.
const SHORTEST_SECRET_BYTES: usize = 4;

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

/// Judges an answer. A success without a code is one only if the payload has one of `payload_keys`. None of `secrets` remains in
/// the message of a refusal.
pub(super) fn judge(answer: &ApiAnswer, payload_keys: &[&str], secrets: &[&str]) -> Result<Envelope, CallError> {
    let status = answer.status;
    let Some(envelope) = Envelope::parse(&answer.body) else {
        let Some(kind) = kind_of_status(status) else { return Err(CallError::Foreign { status }) };
        let detail = format!("HTTP {status}");
        return Err(CallError::Refused(Refusal {
            reason: Reason::Known(kind),
            status,
            retry_after: answer.retry_after,
            detail,
        }));
    };
    let is_2xx = (200..300).contains(&status);
    let reason = match (&envelope.code, kind_of_status(status)) {
        // Overload and failure of the service show in the status whatever the body says.
        (_, Some(kind)) if kind.failure_kind() != FailureKind::Permanent => Reason::Known(kind),
        (code, _) if is_2xx && matches!(code.integer(), Ok(Some(0))) => return Ok(envelope),
        (code, _)
            if is_2xx && matches!(code.integer(), Ok(None)) && payload_keys.iter().any(|key| envelope.has(key)) =>
        {
            return Ok(envelope);
        }
        // Where each part says for itself how it went, that of the whole is only a summary.
        (_, None) if (is_2xx || status == 400) && envelope.is_batch() => return Ok(envelope),
        (code, by_status) => match (reason_of_code(code), by_status) {
            (Some(Reason::Unknown) | None, Some(kind)) => Reason::Known(kind),
            (Some(reason), _) => reason,
            (None, None) => return Err(CallError::Foreign { status }),
        },
    };
    let detail = describe(status, &envelope, secrets);
    Err(CallError::Refused(Refusal { reason, status, retry_after: answer.retry_after, detail }))
}

/// What a status means by itself; `None` for success and for those that the pages use for any refusal (400) or not at all.
fn kind_of_status(status: u16) -> Option<RemoteErrorKind> {
    match status {
        401 => Some(RemoteErrorKind::NeedsLogin),
        403 => Some(RemoteErrorKind::Denied),
        408 => Some(RemoteErrorKind::Timeout),
        429 => Some(RemoteErrorKind::Throttled),
        500..=599 => Some(RemoteErrorKind::Unavailable),
        _ => None,
    }
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

/// What a code means (koodrive-api.md, 4.2 and 9); `None` where there is none, or a 0, or the gateway's "no such API": not an
/// answer of this service.
pub(super) fn reason_of_code(code: &Scalar) -> Option<Reason> {
    use RemoteErrorKind::{Changed, Denied, Malformed, NeedsLogin, NotFound, Throttled, Unavailable};
    let kind = match code.integer() {
        Ok(None | Some(0)) => return None,
        Ok(Some(13_000_102)) => return Some(Reason::Parameters),
        Ok(Some(13_000_301)) => return Some(Reason::NoSpace),
        // Internal failure; no download address; download failed.
        Ok(Some(13_000_201 | 13_000_407 | 13_000_408)) => Unavailable,
        // Not in the space; parent or file in the recycle bin; does not exist; not in this space.
        Ok(Some(13_000_302 | 13_000_305 | 13_000_306 | 13_000_309 | 13_000_411)) => NotFound,
        // Directory abnormal; metadata incorrect.
        Ok(Some(13_000_304 | 13_000_308)) => Malformed,
        // Not allowed on a folder, although a file was meant.
        Ok(Some(13_000_406)) => Changed,
        // No permission on the space; space not active.
        Ok(Some(13_000_410 | 13_000_412)) => Denied,
        Ok(Some(_)) => return Some(Reason::Unknown),
        // The gateway's codes are `APIG.0308`, `APIGW.0308`, `APIC.0308`, … by product.
        Err(NotAScalar) => match code {
            Scalar::Text(code) if code.starts_with("API") => match code.rsplit_once('.').map(|(_, number)| number) {
                Some("0308") => Throttled,
                Some("0301" | "0303" | "0305" | "0307") => NeedsLogin,
                Some("0201" | "0202" | "0203") => Unavailable,
                Some("0101") => return None,
                _ => return Some(Reason::Unknown),
            },
            _ => return Some(Reason::Unknown),
        },
    };
    Some(Reason::Known(kind))
}

fn describe(status: u16, envelope: &Envelope, secrets: &[&str]) -> String {
    let text = |value: &Scalar| value.clone().text().ok().flatten().unwrap_or_default();
    let (code, msg) =
        (cleaned_code(&text(&envelope.code), secrets), cleaned(&text(&envelope.msg), MAX_MSG_CHARS, secrets));
    match (code.as_str(), msg.as_str()) {
        ("", "") => format!("HTTP {status}"),
        (code, "") => format!("HTTP {status}, code {code}"),
        ("", msg) => format!("HTTP {status}: {msg}"),
        (code, msg) => format!("HTTP {status}, code {code}: {msg}"),
    }
}

/// The code as it may stand in a log line, with `secrets` struck out.
pub(super) fn shown_code(body: &[u8], secrets: &[&str]) -> String {
    let code = Envelope::parse(body).and_then(|envelope| envelope.code.text().ok().flatten());
    cleaned_code(&code.unwrap_or_else(|| "none".to_owned()), secrets)
}

/// A code of the service's, with `secrets` struck out. What is longer than any code is not shown at all: it may be a secret that
/// is not known here, and half of one is too much.
pub(super) fn cleaned_code(code: &str, secrets: &[&str]) -> String {
    let code = cleaned(code, usize::MAX, secrets);
    if code.chars().count() > MAX_CODE_CHARS { "(too long)".to_owned() } else { code }
}

/// At most `limit` characters of a foreign text, on one line, with `secrets` struck out (a service may repeat what it was sent).
pub(super) fn cleaned(text: &str, limit: usize, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET_BYTES);
    let text = secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"));
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect::<String>().trim().to_owned()
}
