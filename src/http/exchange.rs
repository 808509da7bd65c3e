//! One request and its answer, whichever server it goes to: the underlying client, the head, the body and its deadline.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::Certificate;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT_ENCODING, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};

use super::config::HttpConfig;
use super::error::{HttpError, HttpErrorKind};
use super::meter::Meter;
use crate::clock::Clock;
use crate::policy::retry::parse_retry_after;
use crate::policy::server_time::{ServerOffset, parse_http_date};

/// The most that a connection may take to come up, name resolution and TLS included. Three retransmissions of a lost SYN
/// (1 + 2 s) fit in.
const MAX_CONNECT_TIME: Duration = Duration::from_secs(5);

/// How much of an object store's error answer is read, in bytes: its XML is a few hundred.
const MAX_ERROR_BODY_BYTES: usize = 8 * 1024;

/// How long an idle connection is kept; below the 75 s after which common servers close it.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// The largest file of certificates that is read, in bytes: the system's own bundle is a quarter of a MiB.
const MAX_CA_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Whether a server may compress what it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// By gzip, which is undone here: whoever reads the body sees, and bounds, what was compressed.
    Gzip,
    /// By gzip, which is left as it comes.
    KeptGzip,
    /// Not at all: a stored object has ranges only as it is, and what it says of its own encoding belongs to its content.
    Identity,
}

/// What both kinds of answer say in their head.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) date: Option<SystemTime>,
    pub(super) retry_after: Option<Duration>,
}

impl Head {
    pub(super) fn of(response: &Response) -> Head {
        let headers = response.headers();
        let date = text_of(headers, &DATE).and_then(parse_http_date);
        let retry_after = text_of(headers, &RETRY_AFTER).and_then(|value| parse_retry_after(value, date));
        Head { status: response.status().as_u16(), date, retry_after }
    }
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An answer whose head has come, with the deadline of the whole call.
pub(super) struct Body {
    pub(super) response: Response,
    origin: String,
    clock: Arc<dyn Clock>,
    deadline: Instant,
    meter: Option<Arc<Meter>>,
}

impl Body {
    pub(super) fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        if self.clock.now() >= self.deadline {
            return Err(HttpError::timeout(&self.origin));
        }
        let read = self.response.read(buffer).map_err(|error| HttpError::of_read(&self.origin, error))?;
        if let Some(meter) = &self.meter {
            meter.read(read, &self.origin)?;
        }
        Ok(read)
    }

    pub(super) fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, HttpError> {
        let mut whole = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        loop {
            match self.read_some(&mut piece)? {
                0 => return Ok(whole),
                len => whole.extend_from_slice(&piece[..len]),
            }
            if whole.len() as u64 > limit {
                let context = format!("{}: answer of more than {limit} bytes", self.origin);
                return Err(HttpError::new(HttpErrorKind::TooLarge, context));
            }
        }
    }

    /// `<Code>` of the XML that comes with an error status. `None` if it cannot be read: the status still counts.
    pub(super) fn read_error_code(&mut self) -> Option<String> {
        let mut xml = vec![0; MAX_ERROR_BODY_BYTES];
        let mut len = 0;
        while len < xml.len() {
            match self.read_some(&mut xml[len..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => len += more,
            }
        }
        let xml = String::from_utf8_lossy(&xml[..len]);
        let code = xml.split_once("<Code>")?.1.split_once("</Code>")?.0;
        let is_a_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_a_code.then(|| code.to_owned())
    }
}

/// A client that connects to what `resolver` says.
pub(super) fn build_client(
    config: &HttpConfig,
    compression: Compression,
    resolver: Arc<impl Resolve + 'static>,
) -> Result<Client, HttpError> {
    let builder = match compression {
        // Names gzip by itself.
        Compression::Gzip => Client::builder().gzip(true),
        Compression::KeptGzip | Compression::Identity => {
            let allowed = if compression == Compression::KeptGzip { "gzip" } else { "identity" };
            let allowed = (ACCEPT_ENCODING, HeaderValue::from_static(allowed));
            Client::builder().no_gzip().default_headers(HeaderMap::from_iter([allowed]))
        }
    };
    let builder = builder
        // HTTP/2 was 29 to 33 % slower here (src/kernel/LINUX.md, section 8).
        .http1_only()
        // Else reqwest would read the environment by rules of its own.
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(resolver)
        .tcp_nodelay(true)
        .pool_idle_timeout(POOL_IDLE)
        .connect_timeout(MAX_CONNECT_TIME.min(config.stall_limit))
        .timeout(config.stall_limit);
    let builder = config.proxies.add_to(builder)?;
    let builder = match &config.ca_file {
        Some(path) => builder.tls_certs_merge(certificates(path)?),
        None => builder,
    };
    builder.build().map_err(|error| match &config.ca_file {
        // The certificates are the only setting that is read here.
        Some(path) => bad_ca_file(path, "it holds a certificate that is none; give it PEM ones"),
        None => HttpError {
            source: Some(error.into()),
            ..HttpError::new(HttpErrorKind::Other, "the HTTP client cannot start")
        },
    })
}

fn bad_ca_file(path: &Path, why: &str) -> HttpError {
    HttpError::new(HttpErrorKind::BadSetting, format!("cannot use --ca-file {}: {why}", path.display()))
}

/// The certificates in the PEM file at `path`.
fn certificates(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let bad = |why: &str| bad_ca_file(path, why);
    let unreadable = |error: io::Error| bad(&format!("{error}; check the path, and that this user may read it"));
    let mut pem = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_CA_FILE_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
    let found = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| bad("it holds no certificates; give it PEM ones (-----BEGIN CERTIFICATE-----)"))
}

/// Sends `request` and waits for the head of the answer: no longer than the stall limit, nor than until `deadline` by `clock`.
pub(super) fn send(
    request: RequestBuilder,
    origin: &str,
    config: &HttpConfig,
    clock: &Arc<dyn Clock>,
    deadline: Instant,
) -> Result<Body, HttpError> {
    let remaining = deadline.saturating_duration_since(clock.now());
    if remaining.is_zero() {
        return Err(HttpError::timeout(origin));
    }
    // A request's own timeout bounds it in all, body included, and takes the place of the client's.
    let request = if remaining < config.stall_limit { request.timeout(remaining) } else { request };
    if let Some(meter) = &config.meter {
        meter.begin(origin)?;
    }
    let sent_at = clock.utc();
    match request.send() {
        Ok(response) => {
            let meter = config.meter.clone();
            if let Some(meter) = &meter {
                let head = Head::of(&response);
                let offset = head.date.map(|date| ServerOffset::measure(date, sent_at, clock.utc()));
                meter.note_head(head.status, response.headers(), offset);
            }
            Ok(Body { response, origin: origin.to_owned(), clock: Arc::clone(clock), deadline, meter })
        }
        Err(error) => Err(HttpError {
            proxy_variable: config.proxies.variable_for(origin),
            ..HttpError::of_reqwest(origin, error)
        }),
    }
}

pub(super) fn redirect_target(response: &Response) -> Option<&str> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    text_of(response.headers(), &LOCATION)
}
