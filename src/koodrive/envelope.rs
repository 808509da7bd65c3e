//! From (HTTP status, code, msg) to what a refusal means.
//!
//! Both the status and the code are judged, since the service's pages disagree on which one tells of a failure
//! (API.md, section 4.1). Knows nothing of single calls.

use super::error::{CallError, Reason, ServiceRefusal};
use super::shown::{cleaned, cleaned_code};
use super::wire::{Envelope, NotAScalar, Scalar};
use crate::http::ApiAnswer;
use crate::policy::retry::FailureKind;
use crate::remote::RemoteErrorKind;

/// The most characters of a service's message that an error text shows.
const MAX_MSG_CHARS: usize = 160;

/// Judges an answer. A success without a code is one only if the payload has one of `payload_keys`. None of `secrets` remains in
/// the message of a refusal.
pub(super) fn judge(answer: &ApiAnswer, payload_keys: &[&str], secrets: &[&str]) -> Result<Envelope, CallError> {
    let status = answer.status;
    let Some(envelope) = Envelope::parse(&answer.body) else {
        let Some(kind) = kind_of_status(status) else { return Err(CallError::Foreign { status, is_json: false }) };
        let detail = format!("HTTP {status}");
        return Err(CallError::Refused(ServiceRefusal {
            reason: Reason::Known(kind),
            status,
            retry_after: answer.retry_after,
            detail,
        }));
    };
    let is_2xx = (200..300).contains(&status);
    let reason = match (&envelope.code, kind_of_status(status)) {
        // Of overload and failure of the service the status tells, whatever the body says.
        (_, Some(kind)) if kind.failure_kind() != FailureKind::Permanent => Reason::Known(kind),
        (code, _) if is_2xx && matches!(code.integer(), Ok(Some(0))) => return Ok(envelope),
        (code, _)
            if is_2xx
                && matches!(code.integer(), Ok(None))
                && !envelope.has_error
                && payload_keys.iter().any(|key| envelope.has(key)) =>
        {
            return Ok(envelope);
        }
        // Each entry of a batch has a code of its own; that of the whole is only a summary.
        (_, None) if (is_2xx || status == 400) && envelope.is_batch() => return Ok(envelope),
        (code, by_status) => match (reason_of_code(code), by_status) {
            (Some(Reason::Unknown) | None, Some(kind)) => Reason::Known(kind),
            (Some(reason), _) => reason,
            (None, None) if envelope.has_error && (is_2xx || status == 400) => Reason::Unknown,
            (None, None) => return Err(CallError::Foreign { status, is_json: true }),
        },
    };
    let detail = describe(status, &envelope, secrets);
    Err(CallError::Refused(ServiceRefusal { reason, status, retry_after: answer.retry_after, detail }))
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

/// What a code means (API.md, sections 4.2 and 9); `None` where there is none, or a 0, or the gateway's "no such API": not an
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
