//! The object store: GET of presigned links with the semantics of OBS (src/koodrive/API.md, section 10.3), and its faults.
//!
//! Owns: ranges, conditions, XML errors, what must never be sent here. Knows nothing of shares. Async; disk is touched
//! on blocking threads only.

use super::body::{Body, Ending, Segment};
use super::counters::GaugeGuard;
use super::faults::{Call, Fault, FaultKind};
use super::knobs::Knobs;
use super::pace::{Outlet, Pace};
use super::server::{Abort, Conn, Shared, delay, http_date, now, redirect, text_response, with_retry_after};
use super::sign::{Grant, LinkRefusal};
use super::tree::Object;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ALLOW, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Headers that carry, or point to, the user's rights at the API: none of the store's business.
const SECRETS: [&str; 5] = ["authorization", "cookie", "x-hw-agentname", "x-user-id", "kdstoken"];
/// Marks a link that was redirected once; not part of what is signed.
const REDIRECTED: &str = "&x-obs-redirected=1";
/// More ranges than this in one request are not answered one by one.
const MAX_RANGES: usize = 100;
/// Separates the parts of multipart/byteranges.
const BOUNDARY: &str = "koodrive_emulator_byteranges";

/// What a `Range` header asks for, as OBS reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No range, or one that is ignored.
    Whole,
    /// These, each `first..=last` inside the object; at least one.
    Ranges(Vec<(u64, u64)>),
    /// Nothing of the object.
    Unsatisfiable,
}

/// Reads a `Range` header for an object of `size` bytes. `strict_one_byte`: an end that is not greater than its start
/// makes the header be ignored (OBS API reference, obs_04_0083, read literally).
pub fn parse_range(header: &str, size: u64, strict_one_byte: bool) -> Asked {
    let Some(list) = header.strip_prefix("bytes=") else {
        return Asked::Whole;
    };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    };
    let mut ranges = Vec::new();
    for spec in list.split(',') {
        let Some((first, last)) = spec.trim().split_once('-') else {
            return Asked::Whole;
        };
        let range = match (first, last) {
            ("", last) => match number(last) {
                None => return Asked::Whole,
                Some(count) if count == 0 || size == 0 => None,
                Some(count) => Some((size - count.min(size), size - 1)),
            },
            (first, "") => match number(first) {
                None => return Asked::Whole,
                Some(first) => (first < size).then(|| (first, size - 1)),
            },
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if last < first || (strict_one_byte && last == first) => {
                    return Asked::Whole;
                }
                (Some(first), Some(last)) => (first < size).then(|| (first, last.min(size - 1))),
                _ => return Asked::Whole,
            },
        };
        ranges.extend(range);
    }
    match ranges.len() {
        0 => Asked::Unsatisfiable,
        many if many > MAX_RANGES => Asked::Whole,
        _ => Asked::Ranges(ranges),
    }
}

/// Answers a request to the store.
///
/// # Errors
/// The connection is to end without an answer.
pub async fn answer(
    shared: &Arc<Shared>,
    conn: &Arc<Conn>,
    knobs: &Knobs,
    request: Request<Incoming>,
) -> Result<Response<Body>, Abort> {
    let guard = shared.counters.object.enter();
    let request_id = format!("{:032X}", shared.request_id());
    let mut response = get(shared, conn, knobs, &request, &request_id, guard).await?;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(HeaderName::from_static("x-obs-request-id"), id);
    }
    headers.insert(
        HeaderName::from_static("x-obs-id-2"),
        HeaderValue::from_static("32AAAQAAEAABAAAQAAEAABAAAQAAEAABCSEmulatorEmulatorEmulator"),
    );
    Ok(response)
}

async fn get(
    shared: &Arc<Shared>,
    conn: &Arc<Conn>,
    knobs: &Knobs,
    request: &Request<Incoming>,
    request_id: &str,
    guard: GaugeGuard,
) -> Result<Response<Body>, Abort> {
    let refuse = |status: u16, code: &str, message: &str| error(status, code, message, "", request, request_id);
    let headers = request.headers();
    if let Some(secret) = SECRETS.iter().find(|name| headers.contains_key(**name)) {
        shared.counters.update(|all| all.secret_leaks += 1);
        shared.counters.complain(format!("object: {secret} was sent to the object store"));
        return Ok(refuse(400, "InvalidArgument", "Only one auth mechanism allowed"));
    }
    if request.method() == Method::HEAD {
        shared.counters.complain("object: HEAD on a link that was signed for GET".to_owned());
        return Ok(refuse(403, "SignatureDoesNotMatch", MISMATCH));
    }
    if request.method() != Method::GET {
        shared.counters.complain(format!("object: {} is not allowed", request.method()));
        let mut response =
            refuse(405, "MethodNotAllowed", "The specified method is not allowed against this resource.");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Ok(response);
    }
    delay(knobs.object_latency, knobs.jitter).await;
    shared.held("object").await;
    let crowded =
        knobs.object_parallel_limit > 0 && shared.counters.object.current() > u64::from(knobs.object_parallel_limit);
    if crowded {
        return Ok(refuse(503, "SlowDown", "Please reduce your request rate."));
    }

    let target = request.uri().path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let (target, redirected) = match target.strip_suffix(REDIRECTED) {
        Some(target) => (target, true),
        None => (target, false),
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let time = now(knobs);
    let link = match shared.keys.verify(host, target, time) {
        Ok(link) => link,
        Err(refusal) => {
            return Ok(refuse_link(shared, &refusal, host, time, request, request_id));
        }
    };

    let finder = Arc::clone(shared);
    let key = link.key.clone();
    let object = tokio::task::spawn_blocking(move || finder.object(&key)).await.ok().flatten();
    let range = match headers.get(RANGE).map(|range| range.to_str()) {
        None => None,
        Some(Ok(range)) => Some(range),
        // Not ASCII: malformed like any other.
        Some(Err(_)) => Some("?"),
    };
    let (id, name) = object.as_ref().map_or(("", ""), |object| (object.file_id.as_str(), object.name.as_str()));
    if object.is_some() {
        shared.counters.file(id, name, |file| {
            file.gets += 1;
            file.ranges.push_back(range.unwrap_or("-").to_owned());
        });
    }

    let fault = shared.faults.fire(Call::Object(&[id, name, &link.key]));
    if let Some(fault) = &fault {
        shared.counters.update(|all| *all.faults.entry(fault.kind.name().to_owned()).or_default() += 1);
        log::info!("fault {fault} on {name:?}");
        match fault.kind {
            FaultKind::Reset => {
                conn.reset.store(true, Ordering::SeqCst);
                return Err(Abort);
            }
            FaultKind::Hang => std::future::pending::<()>().await,
            _ => {}
        }
        if let Some(response) = refusing_fault(fault, &refuse) {
            return Ok(response);
        }
    }
    let kind = fault.as_ref().map(|fault| fault.kind);
    if matches!(kind, Some(FaultKind::Redirect | FaultKind::RedirectPlain)) || (knobs.redirect_objects && !redirected) {
        let (origin, host) = if kind == Some(FaultKind::RedirectPlain) {
            (format!("http://{}", shared.plain_object_host), &shared.plain_object_host)
        } else {
            (shared.object_origin.clone(), &shared.object_host)
        };
        let grant = Grant { host, key: &link.key, disposition: link.disposition.as_deref() };
        let to = shared.keys.signer(time).issue(knobs.link_style, &grant, knobs.link_lifetime);
        shared.given_out.note_link(&to);
        return Ok(redirect(&format!("{origin}{to}{REDIRECTED}")));
    }
    let Some(object) = object else {
        return Ok(refuse(404, "NoSuchKey", "The specified key does not exist."));
    };
    let serving = Serving {
        shared,
        conn,
        knobs,
        headers,
        object: &object,
        disposition: link.disposition.as_deref(),
        fault: fault.as_ref(),
        plain_http: false,
    };
    Ok(serve(&serving, &refuse, guard))
}

/// An object that was found, and who wants it how.
pub struct Serving<'a> {
    /// The emulator.
    pub shared: &'a Shared,
    /// Where the answer goes.
    pub conn: &'a Arc<Conn>,
    /// The knobs when the request began.
    pub knobs: &'a Knobs,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// What is wanted.
    pub object: &'a Object,
    /// `Content-Disposition` of the answer.
    pub disposition: Option<&'a str>,
    /// What goes wrong.
    pub fault: Option<&'a Fault>,
    /// As RFC 9110 has it, without OBS's ways: one-byte ranges, compression.
    pub plain_http: bool,
}

/// Conditions, ranges and body of an object; `refuse` makes an error of status, code and message.
pub fn serve(
    serving: &Serving<'_>,
    refuse: &impl Fn(u16, &str, &str) -> Response<Body>,
    guard: GaugeGuard,
) -> Response<Body> {
    let Serving { shared, conn, knobs, headers, object, disposition, fault, plain_http } = *serving;
    let kind = fault.map(|fault| fault.kind);
    let range = headers.get(RANGE).map(|range| range.to_str().unwrap_or("?"));
    if let Some((status, code, message)) = condition(headers, object) {
        if status == 304 {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            put_version(response.headers_mut(), object, kind);
            return response;
        }
        return refuse(status, code, message);
    }

    let mut asked = match range {
        Some(range) => parse_range(range, object.size, knobs.strict_one_byte_ranges && !plain_http),
        None => Asked::Whole,
    };
    let if_range_differs =
        headers.get(IF_RANGE).is_some_and(|value| value.as_bytes() != format!("\"{}\"", object.etag).as_bytes());
    let compressible = !plain_http
        && headers.get_all(ACCEPT_ENCODING).iter().any(|value| {
            value
                .to_str()
                .map_or(true, |value| !value.trim().is_empty() && !value.trim().eq_ignore_ascii_case("identity"))
        });
    if compressible {
        shared.counters.update(|all| all.compressible += 1);
        shared.counters.complain("object: Accept-Encoding allows compression, so the range is lost".to_owned());
    }
    let ignores_range = matches!(kind, Some(FaultKind::IgnoredRange | FaultKind::IgnoredRangeUnsized));
    if compressible || if_range_differs || ignores_range {
        asked = Asked::Whole;
    }
    if range.is_some() && asked == Asked::Whole {
        shared.counters.update(|all| all.ranges_ignored += 1);
    }
    let plan = match asked {
        Asked::Unsatisfiable => {
            let mut response = refuse(416, "InvalidRange", "The requested range cannot be satisfied.");
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{}", object.size)) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
            return response;
        }
        Asked::Whole => Plan::whole(object),
        Asked::Ranges(ranges) => match ranges.as_slice() {
            [(first, last)] => Plan::range(object, *first, *last, kind),
            many => Plan::multipart(object, many),
        },
    };
    let outlet = Outlet {
        conn: Arc::clone(conn),
        shared_line: Arc::clone(&shared.line),
        pace: Pace::from(knobs),
        counters: Arc::clone(&shared.counters),
    };
    send(plan, object, disposition, fault, outlet, guard)
}

/// Status, headers and segments of a good answer.
struct Plan {
    status: StatusCode,
    content_type: String,
    content_range: Option<String>,
    segments: Vec<Segment>,
}

impl Plan {
    fn whole(object: &Object) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "binary/octet-stream".to_owned(),
            content_range: None,
            segments: vec![Segment::Part { offset: 0, len: object.size }],
        }
    }

    /// One range, or what the fault makes of it.
    fn range(object: &Object, first: u64, last: u64, fault: Option<FaultKind>) -> Self {
        let len = last - first + 1;
        let mut total = object.size;
        let (mut first, mut last) = (first, last);
        let mut sent = None;
        match fault {
            Some(FaultKind::WrongRange) => {
                let behind = object.size - 1 - last;
                if behind > 0 {
                    let shift = behind.min(len);
                    (first, last) = (first + shift, last + shift);
                } else if first > 0 {
                    let shift = first.min(len);
                    (first, last) = (first - shift, last - shift);
                } else if last > 0 {
                    first = 1;
                }
            }
            Some(FaultKind::WrongTotal) => total += 4096,
            Some(FaultKind::ShortRange) if len > 1 => last = first + len / 2 - 1,
            Some(FaultKind::WrongLength) => sent = Some(len - 1),
            _ => {}
        }
        Self {
            status: StatusCode::PARTIAL_CONTENT,
            content_type: "binary/octet-stream".to_owned(),
            content_range: Some(format!("bytes {first}-{last}/{total}")),
            segments: vec![Segment::Part { offset: first, len: sent.unwrap_or(last - first + 1) }],
        }
    }

    fn multipart(object: &Object, ranges: &[(u64, u64)]) -> Self {
        let mut segments = Vec::new();
        for (first, last) in ranges {
            let head = format!(
                "\r\n--{BOUNDARY}\r\nContent-Type: binary/octet-stream\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
                object.size
            );
            segments.push(Segment::Literal(Bytes::from(head)));
            segments.push(Segment::Part { offset: *first, len: last - first + 1 });
        }
        segments.push(Segment::Literal(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))));
        Self {
            status: StatusCode::PARTIAL_CONTENT,
            content_type: format!("multipart/byteranges; boundary={BOUNDARY}"),
            content_range: None,
            segments,
        }
    }
}

/// Sends a plan, with the ending the fault wants.
fn send(
    plan: Plan,
    object: &Object,
    disposition: Option<&str>,
    fault: Option<&Fault>,
    outlet: Outlet,
    guard: GaugeGuard,
) -> Response<Body> {
    let len: u64 = plan.segments.iter().map(Segment::len).sum();
    let after = fault.and_then(|fault| fault.after_bytes).unwrap_or(len / 2);
    let ending = match fault.map(|fault| fault.kind) {
        Some(FaultKind::Truncate) => Ending::CloseAfter(after),
        Some(FaultKind::ResetBody) => Ending::ResetAfter(after),
        Some(FaultKind::Stall) => Ending::StallAfter(after),
        _ => Ending::Whole,
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = plan.status;
    let headers = response.headers_mut();
    if fault.is_none_or(|fault| fault.kind != FaultKind::IgnoredRangeUnsized) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    put_version(headers, object, fault.map(|fault| fault.kind));
    for (name, value) in [
        (CONTENT_TYPE, Some(plan.content_type)),
        (CONTENT_RANGE, plan.content_range),
        (CONTENT_DISPOSITION, disposition.map(str::to_owned)),
    ] {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
    *response.body_mut() = Body::object(plan.segments, object.source.clone(), ending, outlet).guarded(guard);
    response
}

/// ETag and Last-Modified, unless the fault says otherwise.
fn put_version(headers: &mut HeaderMap, object: &Object, fault: Option<FaultKind>) {
    let etag = match fault {
        Some(FaultKind::NoEtag) => return,
        Some(FaultKind::OtherEtag) => {
            format!("\"{}\"", object.etag.chars().rev().collect::<String>())
        }
        _ => format!("\"{}\"", object.etag),
    };
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    if let Ok(modified) = HeaderValue::try_from(http_date(object.modified)) {
        headers.insert(LAST_MODIFIED, modified);
    }
}

/// The condition that fails, if any: status, code, message. Precedence as in RFC 9110 13.2.2.
fn condition(headers: &HeaderMap, object: &Object) -> Option<(u16, &'static str, &'static str)> {
    const FAILED: (u16, &str, &str) =
        (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    const UNCHANGED: (u16, &str, &str) = (304, "NotModified", "");
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let names =
        |list: &str| list.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_matches('"') == object.etag);
    let date =
        |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(Timestamp::as_second);
    match (text(IF_MATCH), text(IF_UNMODIFIED_SINCE).and_then(date)) {
        (Some(tags), _) if !names(tags) => return Some(FAILED),
        (None, Some(since)) if object.modified.as_second() > since => return Some(FAILED),
        _ => {}
    }
    match (text(IF_NONE_MATCH), text(IF_MODIFIED_SINCE).and_then(date)) {
        (Some(tags), _) if names(tags) => Some(UNCHANGED),
        (None, Some(since)) if object.modified.as_second() <= since => Some(UNCHANGED),
        _ => None,
    }
}

/// The answer of faults that refuse.
fn refusing_fault(fault: &Fault, refuse: &impl Fn(u16, &str, &str) -> Response<Body>) -> Option<Response<Body>> {
    let response = match fault.kind {
        FaultKind::Forbidden => refuse(403, "SignatureDoesNotMatch", MISMATCH),
        FaultKind::NotFound => refuse(404, "NoSuchKey", "The specified key does not exist."),
        FaultKind::Gone => refuse(410, "Gone", "The resource is gone."),
        FaultKind::SlowDown => refuse(503, "SlowDown", "Please reduce your request rate."),
        FaultKind::Throttle => refuse(429, "TooManyRequests", "Too many requests."),
        FaultKind::Internal => refuse(500, "InternalError", "We encountered an internal error. Please try again."),
        FaultKind::Unavailable => refuse(503, "ServiceUnavailable", "The server is overloaded or has internal errors."),
        _ => return None,
    };
    Some(with_retry_after(response, fault.retry_after))
}

const MISMATCH: &str =
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.";

/// The answer to a link that is not good.
fn refuse_link(
    shared: &Shared,
    refusal: &LinkRefusal,
    host: &str,
    time: Timestamp,
    request: &Request<Incoming>,
    request_id: &str,
) -> Response<Body> {
    match refusal {
        LinkRefusal::Anonymous => {
            shared.counters.complain("object: a request without a signature".to_owned());
            error(403, "AccessDenied", "Access Denied", "", request, request_id)
        }
        LinkRefusal::UnknownAccessKey => error(
            403,
            "InvalidAccessKeyId",
            "The access key ID you provided does not exist in our records.",
            "",
            request,
            request_id,
        ),
        LinkRefusal::SignatureMismatch => {
            shared.counters.complain(format!("object: a link that is not what was issued, to host {host:?}"));
            error(403, "SignatureDoesNotMatch", MISMATCH, "", request, request_id)
        }
        LinkRefusal::Expired(ends) => {
            let more = format!("<Expires>{ends:.0}</Expires><ServerTime>{time:.0}</ServerTime>");
            error(403, "AccessDenied", "Request has expired", &more, request, request_id)
        }
    }
}

/// An XML error, as OBS writes it. The resource is the path alone: the query is a secret.
fn error(
    status: u16,
    code: &str,
    message: &str,
    more: &str,
    request: &Request<Incoming>,
    request_id: &str,
) -> Response<Body> {
    log::debug!("object: {status} {code}");
    let mut resource = String::new();
    for character in request.uri().path().chars() {
        match character {
            '<' | '>' | '&' | '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(resource, "&#{};", u32::from(character));
            }
            other => resource.push(other),
        }
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <Resource>{resource}</Resource>{more}<RequestId>{request_id}</RequestId><HostId>emulator</HostId></Error>"
    );
    with_retry_after(text_response(status, "application/xml", body), None::<Duration>)
}
