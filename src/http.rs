//! HTTP/1.1 for the two kinds of server there are: the API (small JSON answers) and the object store (ranges of files).
//!
//! Owns both clients, their time limits and the kinds of failure; the only file that knows `reqwest`. Must not know what
//! KooDrive's answers mean, nor blocks. Every call blocks its thread: worker threads only, never inside an async runtime.
//! No locks of its own; each underlying client owns one runtime thread.
//!
//! Time: reqwest's blocking client restarts its client-wide timeout at every read of a body (measured, fuse-notes C), which is
//! what makes it a stall limit: so much time without a byte. The deadline of the whole call is checked here between reads.
//! A request that has less time left than the stall limit gets a total limit instead. Hence no call returns later than its
//! deadline plus one stall limit, and it returns that late only if it stalls just before the deadline.
//!
//! Proxies are those of the standard variables, and never for this machine. Certificates are always verified.
//!
//! Secrets: links are secrets and API queries hold the share's code. No error here shows more of a URL than
//! `scheme://host:port`.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use reqwest::blocking::{Client, ClientBuilder, RequestBuilder, Response};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MATCH, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Certificate, NoProxy, Proxy, Url};

use crate::config::Connection;
use crate::policy::percent::percent_encoded;
use crate::policy::range::ByteRange;
use crate::policy::retry::{FailureKind, parse_retry_after};
use crate::policy::server_time::parse_http_date;
use crate::remote::{Link, RemoteErrorKind};

/// The most that a connection may take to come up, name resolution and TLS included. Three retransmissions of a lost SYN
/// (1 + 2 s) fit in.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most that a server may be silent, before its headers or between two pieces of a body.
pub const STALL_LIMIT: Duration = Duration::from_secs(10);

/// The largest API answer that is read, in bytes. A page has at most 100 entries of a few KiB (koodrive-api.md, 5.4).
pub const MAX_API_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// How much of an object store's error answer is read, in bytes: its XML is a few hundred.
const MAX_ERROR_BODY_BYTES: usize = 8 * 1024;

/// The most redirects that one object request follows. OBS sends them on error and website paths only (koodrive-api.md, 10.3).
const MAX_REDIRECTS: usize = 3;

/// How long an idle connection is kept; below the 75 s after which common servers close it.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// Underlying clients for objects. Each is one runtime thread; two were 16 to 29 % faster than one over eight streams, and more
/// than two were no better (fuse-notes C). Through a mount on two cores, one, two and four did not
/// differ beyond the spread of five runs, with TLS and without.
const OBJECT_CLIENTS: usize = 2;

/// The longest URL that can be sent, in bytes: a limit of the `http` crate's `Uri`.
const MAX_URL_BYTES: usize = 65_534;

/// The largest file of certificates that is read, in bytes: the system's own bundle is a quarter of a MiB.
const MAX_CA_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// What is never asked of a proxy, in the notation of `NO_PROXY`: this machine.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The proxies that the environment names. Their URLs may hold passwords, which nothing here shows.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<NamedProxy>,
    https: Option<NamedProxy>,
    no_proxy: String,
}

/// A proxy, and the variable that names it.
#[derive(Clone)]
struct NamedProxy {
    variable: &'static str,
    url: String,
}

impl Proxies {
    /// As this process's environment has them.
    pub fn of_environment() -> Proxies {
        Proxies::of_variables(|name| std::env::var(name).ok())
    }

    /// As the variables have them, by curl's rules: lower case goes first; `http_proxy` counts in lower case only, as a CGI
    /// program's caller can set `HTTP_PROXY` by a header; `all_proxy` is for what has no variable of its own; an empty one is
    /// none.
    pub fn of_variables(get: impl Fn(&str) -> Option<String>) -> Proxies {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, get(name).filter(|value| !value.trim().is_empty())?)))
        };
        let proxy = |names: &[&'static str]| {
            first(names).map(|(variable, url)| NamedProxy { variable, url: url.trim().to_owned() })
        };
        Proxies {
            http: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            no_proxy: first(&["no_proxy", "NO_PROXY"]).map_or_else(String::new, |(_, hosts)| hosts),
        }
    }

    /// The variable whose proxy may be in the way of `url`; for messages only: `NO_PROXY` is not looked at.
    fn variable_for(&self, url: &str) -> Option<&'static str> {
        let url = Url::parse(url).ok().filter(|url| !is_loopback(url))?;
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().map(|proxy| proxy.variable)
    }

    fn add_to(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, HttpError> {
        for (proxy, make) in [(&self.http, Proxy::http::<Url> as fn(Url) -> _), (&self.https, Proxy::https::<Url>)] {
            if let Some(NamedProxy { variable, url }) = proxy {
                let bad = || {
                    let context = format!("{variable} does not name a proxy: set it to http://host:port");
                    HttpError::new(HttpErrorKind::BadSetting, context)
                };
                let made = proxy_url(url).and_then(|url| make(url).ok()).ok_or_else(bad)?;
                let direct = NoProxy::from_string(&format!("{LOOPBACK},{}", self.no_proxy));
                builder = builder.proxy(made.no_proxy(direct));
            }
        }
        Ok(builder)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = |proxy: &Option<NamedProxy>| proxy.as_ref().map(|proxy| proxy.variable);
        write!(f, "Proxies(http: {:?}, https: {:?})", variable(&self.http), variable(&self.https))
    }
}

/// A proxy's URL, with `http://` before it if it has no scheme, as curl has it; none of another scheme.
fn proxy_url(text: &str) -> Option<Url> {
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The limits that both clients obey, and the way to the servers.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Plain http is allowed to every host, not only to this machine.
    pub allow_http: bool,
    /// See [`STALL_LIMIT`].
    pub stall_limit: Duration,
    /// PEM certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxies on the way. None of them is for this machine.
    pub proxies: Proxies,
}

impl HttpConfig {
    /// Limits for operations of at most `op_timeout`: a stalled attempt leaves time for two more. No proxies.
    pub fn new(allow_http: bool, op_timeout: Duration) -> HttpConfig {
        let stall_limit = STALL_LIMIT.min(op_timeout / 3);
        HttpConfig { allow_http, stall_limit, ca_file: None, proxies: Proxies::default() }
    }

    /// What `connection` asks for, with the environment's proxies.
    pub fn of(connection: &Connection) -> HttpConfig {
        HttpConfig {
            ca_file: connection.ca_file.clone(),
            proxies: Proxies::of_environment(),
            ..HttpConfig::new(connection.allow_http, connection.op_timeout)
        }
    }
}

/// Why there is no (complete) answer. An answer with an error status is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpErrorKind {
    /// The host's name does not resolve.
    Dns,
    /// No connection: refused, unreachable.
    Connect,
    /// The connection is not a trustworthy TLS connection: certificate, protocol.
    Tls,
    /// The connection, the headers or the body took too long.
    Timeout,
    /// The connection broke: reset, closed before the answer, body shorter than announced. An idle connection that the
    /// server closes just as we use it looks like this, so the first further try needs no pause.
    Interrupted,
    /// Plain http to a host that is not this machine, without permission.
    InsecureUrl,
    /// The server redirects where we do not follow.
    RedirectRefused,
    /// The answer is larger than its bound.
    TooLarge,
    /// The URL cannot be sent byte for byte as it was given.
    UnsendableUrl,
    /// The file of certificates or a proxy's variable is not what it must be. The text says what to do.
    BadSetting,
    /// The request could not be made at all.
    Other,
}

impl HttpErrorKind {
    /// What it means to who asked for something remote.
    pub fn remote_kind(self) -> RemoteErrorKind {
        match self {
            HttpErrorKind::Timeout => RemoteErrorKind::Timeout,
            HttpErrorKind::Dns | HttpErrorKind::Connect | HttpErrorKind::Tls | HttpErrorKind::Interrupted => {
                RemoteErrorKind::Unavailable
            }
            // The documented service does none of these: HTTPS only, no redirects, URLs that are URLs.
            HttpErrorKind::InsecureUrl
            | HttpErrorKind::RedirectRefused
            | HttpErrorKind::TooLarge
            | HttpErrorKind::UnsendableUrl
            | HttpErrorKind::BadSetting
            | HttpErrorKind::Other => RemoteErrorKind::Malformed,
        }
    }

    /// What it means for another attempt.
    pub fn failure_kind(self) -> FailureKind {
        match self {
            HttpErrorKind::Interrupted => FailureKind::Interrupted,
            HttpErrorKind::Dns | HttpErrorKind::Connect | HttpErrorKind::Tls | HttpErrorKind::Timeout => {
                FailureKind::Transient
            }
            HttpErrorKind::InsecureUrl
            | HttpErrorKind::RedirectRefused
            | HttpErrorKind::TooLarge
            | HttpErrorKind::UnsendableUrl
            | HttpErrorKind::BadSetting
            | HttpErrorKind::Other => FailureKind::Permanent,
        }
    }
}

/// A request without a (complete) answer. Shows of its URL at most `scheme://host:port`.
#[derive(Debug)]
pub struct HttpError {
    kind: HttpErrorKind,
    context: String,
    /// The variable that names the proxy which may be to blame.
    proxy_variable: Option<&'static str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl HttpError {
    fn new(kind: HttpErrorKind, context: impl Into<String>) -> HttpError {
        HttpError { kind, context: context.into(), proxy_variable: None, source: None }
    }

    /// The variable that names a proxy which may be in the way.
    pub fn proxy_variable(&self) -> Option<&'static str> {
        self.proxy_variable
    }

    /// What went wrong.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    fn timeout(origin: &str) -> HttpError {
        HttpError::new(HttpErrorKind::Timeout, format!("{origin}: no complete answer in time"))
    }

    fn of_reqwest(origin: &str, error: reqwest::Error) -> HttpError {
        let kind = kind_of(&error);
        let context = match kind {
            HttpErrorKind::Dns => "the host name does not resolve",
            HttpErrorKind::Connect => "no connection",
            HttpErrorKind::Tls => "no trustworthy TLS connection",
            HttpErrorKind::Timeout => "no answer in time",
            HttpErrorKind::Interrupted => "the connection broke",
            _ => "the request could not be made",
        };
        let source = Some(error.without_url().into());
        HttpError { source, ..HttpError::new(kind, format!("{origin}: {context}")) }
    }

    fn of_read(origin: &str, error: io::Error) -> HttpError {
        match error.into_inner().map(|inner| inner.downcast::<reqwest::Error>()) {
            Some(Ok(error)) => HttpError::of_reqwest(origin, *error),
            // What else a read can fail of is the connection.
            other => HttpError {
                source: other.and_then(Result::err),
                ..HttpError::new(HttpErrorKind::Interrupted, format!("{origin}: the connection broke"))
            },
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

/// What a failure of reqwest means. Whatever befalls a connection once it is up counts as an interruption.
fn kind_of(error: &reqwest::Error) -> HttpErrorKind {
    if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_builder() {
        HttpErrorKind::Other
    } else if error.is_dns() {
        HttpErrorKind::Dns
    } else if error.is_connect() {
        if is_tls_failure(error) { HttpErrorKind::Tls } else { HttpErrorKind::Connect }
    } else {
        HttpErrorKind::Interrupted
    }
}

/// Whether a connection came up and then failed in the handshake: tokio-rustls wraps what rustls says into `InvalidData`, and
/// reports a peer that hangs up as `UnexpectedEof`; a TCP connect yields neither.
fn is_tls_failure(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        let io_error = error.downcast_ref::<io::Error>();
        if io_error.is_some_and(|e| matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)) {
            return true;
        }
        // The source of an io::Error that wraps another is that one's source: the wrapped one would be left out.
        cause = match io_error.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// One call of the API: a GET without a body, a POST with one.
#[derive(Clone, Copy)]
pub struct ApiRequest<'a> {
    /// The absolute path, percent-encoded.
    pub path: &'a str,
    /// Names and values, not yet encoded.
    pub query: &'a [(&'static str, &'a str)],
    /// Names (lower case) and values.
    pub headers: &'a [(&'static str, &'a str)],
    /// The JSON text.
    pub body: Option<&'a [u8]>,
}

/// `pairs` as they go into a URL: everything but unreserved characters encoded, a space as `%20`.
fn encoded_query(pairs: &[(&'static str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value))).collect();
    pairs.join("&")
}

/// What the API answered, whatever the status.
pub struct ApiAnswer {
    /// HTTP status; never one that redirects.
    pub status: u16,
    /// The service's clock as it answered.
    pub date: Option<SystemTime>,
    /// The pause that the service asks for.
    pub retry_after: Option<Duration>,
    /// The whole body, at most [`MAX_API_BODY_BYTES`].
    pub body: Vec<u8>,
}

/// Calls one API endpoint. Shared by all threads.
pub struct ApiClient {
    client: Client,
    endpoint: Url,
    origin: String,
    config: HttpConfig,
}

impl ApiClient {
    /// A client for `endpoint`, `https://host[:port]`. Connects to nothing yet.
    ///
    /// # Errors
    /// `UnsendableUrl` if `endpoint` is not such a URL, `InsecureUrl` if it is http and must not be, `Other` if the client cannot
    /// be built (no certificates to trust, no thread).
    pub fn new(endpoint: &str, config: HttpConfig) -> Result<ApiClient, HttpError> {
        let endpoint = Url::parse(endpoint).ok().filter(is_plain_web_url);
        let endpoint = endpoint.ok_or_else(|| {
            HttpError::new(HttpErrorKind::UnsendableUrl, "the endpoint is not of the form https://host[:port]")
        })?;
        check_secure(&endpoint, &config)?;
        let origin = origin_of(&endpoint);
        Ok(ApiClient { client: build_client(&config)?, endpoint, origin, config })
    }

    /// `scheme://host[:port]`, fit for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `host[:port]` as the `Host` header names it.
    pub fn authority(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// Sends `request` once and reads the whole answer.
    ///
    /// # Errors
    /// Any [`HttpErrorKind`]; `RedirectRefused` for every redirect, naming the origin that it points to.
    pub fn call(&self, request: ApiRequest<'_>, deadline: Instant) -> Result<ApiAnswer, HttpError> {
        let mut url = self.endpoint.clone();
        url.set_path(request.path);
        if !request.query.is_empty() {
            url.set_query(Some(&encoded_query(request.query)));
        }
        let builder = match request.body {
            None => self.client.get(url),
            Some(body) => self.client.post(url).header(CONTENT_TYPE, "application/json").body(body.to_vec()),
        };
        let builder =
            request.headers.iter().fold(builder, |builder, (name, value)| match HeaderValue::from_str(value) {
                Ok(mut value) => {
                    value.set_sensitive(*name == AUTHORIZATION.as_str());
                    builder.header(*name, value)
                }
                // The builder reports it.
                Err(_) => builder.header(*name, *value),
            });
        let mut body = send(builder, &self.origin, &self.config, deadline)?;
        if let Some(location) = redirect_target(&body.response) {
            let target = self.endpoint.join(location).map_or("nowhere".to_owned(), |url| origin_of(&url));
            let context = format!("{}: redirects to {target}", self.origin);
            return Err(HttpError::new(HttpErrorKind::RedirectRefused, context));
        }
        let head = Head::of(&body.response);
        let body = body.read_all(MAX_API_BODY_BYTES)?;
        Ok(ApiAnswer { status: head.status, date: head.date, retry_after: head.retry_after, body })
    }
}

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
    /// The store's clock as it answered.
    pub date: Option<SystemTime>,
    /// The pause that the store asks for.
    pub retry_after: Option<Duration>,
    /// `<Code>` of the error answer, if the status is an error and there was one.
    pub error_code: Option<String>,
    /// The body. Dropping it unread closes the connection.
    pub body: ObjectBody,
}

/// The body of an [`ObjectAnswer`] as it arrives.
pub struct ObjectBody(Body);

impl ObjectBody {
    /// Waits for more of the body and copies it to `buffer`; returns how many bytes, 0 only at its end (or for no buffer).
    ///
    /// # Errors
    /// `Timeout` when the server stalls or the deadline of the request has passed, `Interrupted` when the connection breaks, also
    /// by ending before the announced length.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        self.0.read_some(buffer)
    }
}

/// The same as [`ObjectBody::read_some`]; the error holds the [`HttpError`].
impl Read for ObjectBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
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
}

impl ObjectClient {
    /// A client for every object store. Connects to nothing yet.
    ///
    /// # Errors
    /// `Other` if the client cannot be built (no certificates to trust, no thread).
    pub fn new(config: HttpConfig) -> Result<ObjectClient, HttpError> {
        let clients = (0..OBJECT_CLIENTS).map(|_| build_client(&config)).collect::<Result<_, _>>()?;
        Ok(ObjectClient { clients, turn: AtomicUsize::new(0), config })
    }

    /// Sends one GET for `range` of the object behind `link`, and waits for the head of the answer.
    ///
    /// The link goes out byte for byte, with `Range`, `Accept-Encoding: identity` and `If-Match` where given, and nothing else
    /// of ours. The verb is signed, so this is a GET always. (Single bytes are the caller's business: see
    /// [`crate::policy::range::never_one_byte`].) `deadline` holds for the body as well. Up to 3 redirects are followed, never from https to http.
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
        let range = format!("bytes={}-{}", range.start, range.end - 1);
        let mut url = sendable(link.secret_url(), &self.config)?;
        for _ in 0..=MAX_REDIRECTS {
            let origin = origin_of(&url);
            let mut request = self.next_client().get(url.clone()).header(RANGE, &range);
            if let Some(etag) = if_match {
                request = request.header(IF_MATCH, etag);
            }
            let body = send(request, &origin, &self.config, deadline)?;
            match redirect_target(&body.response) {
                Some(location) => url = redirected(&url, location, &self.config)?,
                None => return Ok(object_answer(body)),
            }
        }
        Err(HttpError::new(HttpErrorKind::RedirectRefused, format!("{}: too many redirects", origin_of(&url))))
    }

    fn next_client(&self) -> &Client {
        &self.clients[self.turn.fetch_add(1, Ordering::Relaxed) % self.clients.len()]
    }
}

fn object_answer(mut body: Body) -> ObjectAnswer {
    let head = Head::of(&body.response);
    let headers = body.response.headers();
    let content_range = text_of(headers, &CONTENT_RANGE).map(str::to_owned);
    let content_length = text_of(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let etag = text_of(headers, &ETAG).map(str::to_owned);
    let error_code = if head.status >= 400 { body.read_error_code() } else { None };
    ObjectAnswer {
        status: head.status,
        content_range,
        content_length,
        etag,
        date: head.date,
        retry_after: head.retry_after,
        error_code,
        body: ObjectBody(body),
    }
}

/// What both kinds of answer say in their head.
struct Head {
    status: u16,
    date: Option<SystemTime>,
    retry_after: Option<Duration>,
}

impl Head {
    fn of(response: &Response) -> Head {
        let headers = response.headers();
        let date = text_of(headers, &DATE).and_then(parse_http_date);
        let retry_after = text_of(headers, &RETRY_AFTER).and_then(|value| parse_retry_after(value, date));
        Head { status: response.status().as_u16(), date, retry_after }
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An answer whose head has come, with the deadline of the whole call.
struct Body {
    response: Response,
    origin: String,
    deadline: Instant,
}

impl Body {
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        if Instant::now() >= self.deadline {
            return Err(HttpError::timeout(&self.origin));
        }
        self.response.read(buffer).map_err(|error| HttpError::of_read(&self.origin, error))
    }

    fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, HttpError> {
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

    /// `<Code>` of the XML that comes with an error status. Whatever keeps us from reading it leaves the status as it is.
    fn read_error_code(&mut self) -> Option<String> {
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

fn build_client(config: &HttpConfig) -> Result<Client, HttpError> {
    let identity = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    let builder = Client::builder()
        // HTTP/2 was 29 to 33 % slower here (fuse-notes C).
        .http1_only()
        // Else reqwest would read the environment by rules of its own.
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(identity)
        .tcp_nodelay(true)
        .pool_idle_timeout(POOL_IDLE)
        .connect_timeout(CONNECT_TIMEOUT.min(config.stall_limit))
        .timeout(config.stall_limit);
    let builder = config.proxies.add_to(builder)?;
    let builder = match &config.ca_file {
        Some(path) => builder.tls_certs_merge(certificates(path)?),
        None => builder,
    };
    builder.build().map_err(|error| match &config.ca_file {
        // The one setting that is looked into only now.
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

/// Sends `request` and waits for the head of the answer: no longer than the stall limit, nor than until `deadline`.
fn send(request: RequestBuilder, origin: &str, config: &HttpConfig, deadline: Instant) -> Result<Body, HttpError> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() {
        return Err(HttpError::timeout(origin));
    }
    // A request's own timeout bounds it in all, body included, and takes the place of the client's.
    let request = if remaining < config.stall_limit { request.timeout(remaining) } else { request };
    match request.send() {
        Ok(response) => Ok(Body { response, origin: origin.to_owned(), deadline }),
        Err(error) => Err(HttpError {
            proxy_variable: config.proxies.variable_for(origin),
            ..HttpError::of_reqwest(origin, error)
        }),
    }
}

fn redirect_target(response: &Response) -> Option<&str> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    text_of(response.headers(), &LOCATION)
}

/// The URL that `location` means in an answer from `from`, if we go there.
fn redirected(from: &Url, location: &str, config: &HttpConfig) -> Result<Url, HttpError> {
    let refused = |why: &str| {
        HttpError::new(HttpErrorKind::RedirectRefused, format!("{}: redirect refused: {why}", origin_of(from)))
    };
    let target = if location.contains("://") {
        sendable(location, config).map_err(|error| refused(&error.context))?
    } else {
        // A reference is resolved by definition, so there is no original spelling to keep.
        from.join(location).map_err(|error| refused(&error.to_string()))?
    };
    if from.scheme() == "https" && target.scheme() != "https" {
        return Err(refused("from https to http"));
    }
    Ok(target)
}

/// `text` as a URL that goes out byte for byte and to no host that it must not go to.
///
/// `Url` changes what it parses: in paths it encodes controls, space, `"`, `<`, `>`, `` ` ``, `{`, `}` and what is not ASCII,
/// turns `\` into `/` and resolves dot segments (`%2e` too); in queries it encodes controls, space, `"`, `<`, `>`, `'` and what is
/// not ASCII; it drops tabs and line ends everywhere (url 2.5, recorded by tests/suite/object_client.rs). A signed link that
/// needs any of this would break its signature, so it is refused. Scheme and host in upper case and a default port may be
/// rewritten: that is how every client sends them. A fragment is never sent.
fn sendable(text: &str, config: &HttpConfig) -> Result<Url, HttpError> {
    let unsendable = |why: &str| HttpError::new(HttpErrorKind::UnsendableUrl, format!("link cannot be sent: {why}"));
    if text.len() > MAX_URL_BYTES || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(unsendable("too long, or with blanks or control characters"));
    }
    // The parser's own error is only a kind, but it adds nothing that would help.
    let url = Url::parse(text).ok().filter(is_plain_web_url);
    let url = url.ok_or_else(|| unsendable("not an https URL, or with a user name"))?;
    if path_and_query(url.as_str()) != path_and_query(text) {
        return Err(unsendable("its path or query would be changed on the way"));
    }
    check_secure(&url, config)?;
    Ok(url)
}

/// http or https, with a host and without a user: reqwest would turn a user into an `Authorization` header.
fn is_plain_web_url(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
}

/// What of a URL goes into the request line.
fn path_and_query(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let start = rest.find(['/', '?', '#'])?;
    let end = rest.find('#').unwrap_or(rest.len());
    Some(&rest[start..end])
}

fn check_secure(url: &Url, config: &HttpConfig) -> Result<(), HttpError> {
    if url.scheme() == "https" || config.allow_http || is_loopback(url) {
        return Ok(());
    }
    Err(HttpError::new(HttpErrorKind::InsecureUrl, format!("{}: plain http is not allowed", origin_of(url))))
}

/// Whether the URL's host is this machine: 127.0.0.0/8, `::1` or `localhost`.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_never_leads_from_https_to_http() {
        let secure = Url::parse("https://b.example/o?s").expect("a URL");
        for allow_http in [false, true] {
            let config = HttpConfig::new(allow_http, Duration::from_secs(30));
            for target in ["http://b.example/x", "http://127.0.0.1/x", "http://localhost/x"] {
                let error = redirected(&secure, target, &config).expect_err(target);
                assert_eq!(error.kind(), HttpErrorKind::RedirectRefused);
            }
            for target in ["https://c.example/x?y=%252F", "//c.example/x?y=%252F"] {
                let url = redirected(&secure, target, &config).expect(target);
                assert_eq!(url.as_str(), "https://c.example/x?y=%252F");
            }
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (host, loopback) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.255.0.3", true),
            ("[::1]", true),
            ("0x7f.1", true),
            ("0.0.0.0", false),
            ("128.0.0.1", false),
            ("[::]", false),
            ("[::2]", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
        ] {
            let url = Url::parse(&format!("http://{host}/")).expect(host);
            assert_eq!(is_loopback(&url), loopback, "{host}");
        }
    }

    #[test]
    fn stall_limit_leaves_time_for_more_attempts() {
        assert_eq!(HttpConfig::new(false, Duration::from_secs(30)).stall_limit, STALL_LIMIT);
        assert_eq!(HttpConfig::new(false, Duration::from_secs(3)).stall_limit, Duration::from_secs(1));
    }
}
