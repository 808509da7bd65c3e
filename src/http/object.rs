//! Ranges of objects through signed links. Up to three redirects are followed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, RANGE};

use super::config::HttpConfig;
use super::error::{HttpError, HttpErrorKind};
use super::exchange::{Body, Compression, Head, build_client, redirect_target, send, text_of};
use super::reach::{LinkResolver, Reach};
use super::url::{origin_of, redirected, sendable};
use crate::clock::Clock;
use crate::policy::range::ByteRange;
use crate::remote::{Link, RemoteErrorKind};
use crate::stats::{Purpose, Requests};

/// The most redirects that one object request follows. OBS sends them on error and website paths only (src/koodrive/API.md,
/// section 10.3).
const MAX_REDIRECTS: usize = 3;

/// Underlying clients for objects. Each is one runtime thread; two were 16 to 29 % faster than one over eight streams, and more
/// than two were no better (src/kernel/LINUX.md, section 8). Through a mount on two cores, one, two and four did not differ
/// beyond the spread of five runs, with TLS and without.
const OBJECT_CLIENTS: usize = 2;

/// The head of the answer to a range request, and its body, still to be read.
#[derive(Debug)]
pub struct ObjectAnswer {
    /// HTTP status; never a redirect that names its target.
    pub status: u16,
    /// `Content-Range` as sent.
    pub content_range: Option<String>,
    /// `Content-Length`, if it was one.
    pub content_length: Option<u64>,
    /// `ETag` as sent, quotes included; that of the whole object.
    pub etag: Option<String>,
    /// The pause that the store asks for.
    pub retry_after: Option<Duration>,
    /// `<Code>` of the error answer, if the status is an error and there was one.
    pub error_code: Option<String>,
    /// The body. Dropping it unread closes the connection.
    pub body: ObjectBody,
}

/// The body of an [`ObjectAnswer`] as it arrives.
pub struct ObjectBody {
    body: Body,
    requests: Arc<Requests>,
}

impl ObjectBody {
    /// Waits for more of the body and copies it to `buffer`; returns how many bytes, 0 only at its end (or for no buffer).
    ///
    /// # Errors
    /// `Timeout` when the server stalls or the deadline of the request has passed, `Interrupted` when the connection breaks, also
    /// by ending before the announced length.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        let read = self.body.read_some(buffer);
        match &read {
            Ok(len) => self.requests.received(Purpose::Content, *len as u64),
            Err(error) => self.requests.failed(Purpose::Content, error.kind().remote_kind()),
        }
        read
    }
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectBody(…)")
    }
}

/// Reads ranges of objects through signed links. Shared by all threads.
pub struct ObjectClient {
    clients: Vec<Client>,
    turn: AtomicUsize,
    config: HttpConfig,
    clock: Arc<dyn Clock>,
    reach: Arc<Reach>,
}

impl ObjectClient {
    /// A client for every object store that links may lead to, with deadlines by `clock`. Connects to nothing yet.
    ///
    /// # Errors
    /// `Other` if the client cannot be built (no certificates to trust, no thread).
    pub fn new(config: HttpConfig, clock: Arc<dyn Clock>) -> Result<ObjectClient, HttpError> {
        let reach = Arc::new(config.reach());
        let client = |_| build_client(&config, Compression::Identity, Arc::new(LinkResolver(Arc::clone(&reach))));
        let clients = (0..OBJECT_CLIENTS).map(client).collect::<Result<_, _>>()?;
        Ok(ObjectClient { clients, turn: AtomicUsize::new(0), config, clock, reach })
    }

    /// Sends one GET for `range` of the object behind `link`, and waits for the head of the answer.
    ///
    /// The link goes out byte for byte, with `Range`, `Accept-Encoding: identity` and `If-Match` where given, and nothing else
    /// of ours. The verb is signed, so this is a GET always. (Single bytes are the caller's business: see
    /// [`crate::policy::range::never_one_byte`].) `deadline` holds for the body as well. Up to 3 redirects are followed, never
    /// from https to http. Neither link nor redirect leads to a private address unless [`HttpConfig`] says so.
    ///
    /// # Errors
    /// Any [`HttpErrorKind`]; `Other` for an empty range. An error status is no error.
    pub fn get_range(
        &self,
        link: &Link,
        range: ByteRange,
        if_match: Option<&str>,
        deadline: Instant,
    ) -> Result<ObjectAnswer, HttpError> {
        if range.is_empty() {
            return Err(HttpError::new(HttpErrorKind::Other, "an empty range cannot be asked for"));
        }
        self.get(link, &format!("bytes={}-{}", range.start, range.end - 1), if_match, deadline)
    }

    /// The same for the last `len` bytes, which no mount asks for: a store may take it for something else, or ignore it.
    ///
    /// # Errors
    /// As [`ObjectClient::get_range`].
    pub fn get_suffix(&self, link: &Link, len: u64, deadline: Instant) -> Result<ObjectAnswer, HttpError> {
        self.get(link, &format!("bytes=-{len}"), None, deadline)
    }

    fn get(
        &self,
        link: &Link,
        range: &str,
        if_match: Option<&str>,
        deadline: Instant,
    ) -> Result<ObjectAnswer, HttpError> {
        let under_way = self.config.requests.begin(Purpose::Content);
        let sent = self.clock.now();
        let answer = self.send_range(link, range, if_match, deadline);
        let failure = match &answer {
            Ok(answer) => {
                under_way.answered(self.clock.now().saturating_duration_since(sent));
                failure_of(answer.status)
            }
            Err(error) => Some(error.kind().remote_kind()),
        };
        if let Some(kind) = failure {
            self.config.requests.failed(Purpose::Content, kind);
        }
        answer
    }

    fn send_range(
        &self,
        link: &Link,
        range: &str,
        if_match: Option<&str>,
        deadline: Instant,
    ) -> Result<ObjectAnswer, HttpError> {
        let mut url = sendable(link.secret_url(), &self.config, &self.reach)?;
        for _ in 0..=MAX_REDIRECTS {
            let origin = origin_of(&url);
            let mut request = self.next_client().get(url.clone()).header(RANGE, range);
            if let Some(etag) = if_match {
                request = request.header(IF_MATCH, etag);
            }
            let body = send(request, &origin, &self.config, &self.clock, deadline)?;
            match redirect_target(&body.response) {
                Some(location) => url = redirected(&url, location, &self.config, &self.reach)?,
                None => {
                    let requests = Arc::clone(&self.config.requests);
                    return Ok(object_answer(body, &[link.secret_url(), url.as_str()], requests));
                }
            }
        }
        Err(HttpError::new(HttpErrorKind::RedirectRefused, format!("{}: too many redirects", origin_of(&url))))
    }

    fn next_client(&self) -> &Client {
        &self.clients[self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len()]
    }
}

/// What an error status of the store counts as; `None` for an answer that is none. What is made of it is not decided here.
fn failure_of(status: u16) -> Option<RemoteErrorKind> {
    match status {
        ..=399 => None,
        401 | 403 => Some(RemoteErrorKind::Denied),
        404 | 410 => Some(RemoteErrorKind::NotFound),
        412 | 416 => Some(RemoteErrorKind::Changed),
        // Many stores and gateways say no more than 503 when they are asked for too much at a time.
        429 | 503 => Some(RemoteErrorKind::Throttled),
        500.. => Some(RemoteErrorKind::Unavailable),
        _ => Some(RemoteErrorKind::Unusable),
    }
}

/// What the store has answered to a request for the last of `urls`. Its error code goes into logs, so one that is a part of a
/// link is none.
fn object_answer(mut body: Body, urls: &[&str], requests: Arc<Requests>) -> ObjectAnswer {
    let head = Head::of(&body.response);
    let headers = body.response.headers();
    let content_range = text_of(headers, &CONTENT_RANGE).map(str::to_owned);
    let content_length = text_of(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let etag = text_of(headers, &ETAG).map(str::to_owned);
    let error_code = if head.status >= 400 { body.read_error_code() } else { None };
    let error_code = error_code.filter(|code| !urls.iter().any(|url| url.contains(code.as_str())));
    ObjectAnswer {
        status: head.status,
        content_range,
        content_length,
        etag,
        retry_after: head.retry_after,
        error_code,
        body: ObjectBody { body, requests },
    }
}
