//! Why there is no (complete) answer: kinds of failure, and their texts, which show at most `scheme://host:port` of a URL.

use std::error::Error;
use std::fmt;
use std::io;

use super::reach::LinkRefused;
use crate::remote::RemoteErrorKind;

/// Why there is no (complete) answer. An answer with an error status is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpErrorKind {
    /// The host's name does not resolve.
    Dns,
    /// No connection: refused, unreachable.
    Connect,
    /// The connection is not a trustworthy TLS connection: certificate, protocol.
    Tls,
    /// No connection within the time that one may take to come up.
    ConnectTimeout,
    /// The headers or the body took too long.
    Timeout,
    /// The connection broke: reset, closed before the answer, body shorter than announced, compressed body that is damaged. An idle
    /// connection that the server closes just as we use it looks like this, so the first further try needs no pause.
    Interrupted,
    /// Plain http to a host that is not this machine, without permission.
    InsecureUrl,
    /// A link leads to this machine or to a private address, and must not.
    PrivateAddress,
    /// The server redirects where we do not follow.
    RedirectRefused,
    /// The answer is larger than its bound.
    TooLarge,
    /// The URL cannot be sent byte for byte as it was given.
    UnsendableUrl,
    /// The file of certificates or a proxy's variable is not what it must be. The text says what to do.
    BadSetting,
    /// The requests or bytes that are permitted are used up (see [`Meter`](super::Meter)).
    Spent,
    /// The request could not be made at all.
    Other,
}

impl HttpErrorKind {
    /// What the failure means for the caller of a remote operation.
    pub fn remote_kind(self) -> RemoteErrorKind {
        match self {
            HttpErrorKind::Timeout => RemoteErrorKind::Timeout,
            HttpErrorKind::Interrupted => RemoteErrorKind::Interrupted,
            HttpErrorKind::Dns | HttpErrorKind::Connect | HttpErrorKind::ConnectTimeout | HttpErrorKind::Tls => {
                RemoteErrorKind::Unreachable
            }
            // The documented service does none of these: HTTPS only, no redirects, URLs that are URLs.
            HttpErrorKind::InsecureUrl
            | HttpErrorKind::PrivateAddress
            | HttpErrorKind::RedirectRefused
            | HttpErrorKind::TooLarge
            | HttpErrorKind::UnsendableUrl
            | HttpErrorKind::BadSetting
            | HttpErrorKind::Spent
            | HttpErrorKind::Other => RemoteErrorKind::Unusable,
        }
    }
}

/// A request without a (complete) answer. Shows of its URL at most `scheme://host:port`.
#[derive(Debug)]
pub struct HttpError {
    pub(super) kind: HttpErrorKind,
    pub(super) context: String,
    /// The variable that names the proxy which may be the reason.
    pub(super) proxy_variable: Option<&'static str>,
    pub(super) source: Option<Box<dyn Error + Send + Sync>>,
}

impl HttpError {
    pub(super) fn new(kind: HttpErrorKind, context: impl Into<String>) -> HttpError {
        HttpError { kind, context: context.into(), proxy_variable: None, source: None }
    }

    /// The variable that names a proxy on the way.
    pub fn proxy_variable(&self) -> Option<&'static str> {
        self.proxy_variable
    }

    /// What went wrong.
    pub fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    pub(super) fn timeout(origin: &str) -> HttpError {
        HttpError::new(HttpErrorKind::Timeout, format!("{origin}: no complete answer in time"))
    }

    pub(super) fn of_refused_link(origin: &str, refused: LinkRefused) -> HttpError {
        HttpError::new(HttpErrorKind::PrivateAddress, format!("{origin}: {refused}"))
    }

    pub(super) fn of_reqwest(origin: &str, error: reqwest::Error) -> HttpError {
        if let Some(refused) = refused_link(&error) {
            return HttpError::of_refused_link(origin, refused);
        }
        let kind = kind_of(&error);
        let context = match kind {
            // A body that ends too soon is found by the decoder, too.
            HttpErrorKind::Interrupted if error.is_decode() => "the answer is cut or its compression is broken",
            HttpErrorKind::Dns => "the host name does not resolve",
            HttpErrorKind::Connect => "no connection",
            HttpErrorKind::Tls => "no trustworthy TLS connection",
            HttpErrorKind::ConnectTimeout => "no connection in time",
            HttpErrorKind::Timeout => "no answer in time",
            HttpErrorKind::Interrupted => "the connection broke",
            _ => "the request could not be made",
        };
        let source = Some(error.without_url().into());
        HttpError { source, ..HttpError::new(kind, format!("{origin}: {context}")) }
    }

    pub(super) fn of_read(origin: &str, error: io::Error) -> HttpError {
        match error.into_inner().map(|inner| inner.downcast::<reqwest::Error>()) {
            Some(Ok(error)) => HttpError::of_reqwest(origin, *error),
            // Any other read failure is a connection failure.
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

/// What a failure of reqwest means. Any failure of an established connection counts as an interruption.
fn kind_of(error: &reqwest::Error) -> HttpErrorKind {
    if error.is_timeout() {
        if error.is_connect() { HttpErrorKind::ConnectTimeout } else { HttpErrorKind::Timeout }
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

/// Why the resolver refused a link's host, if it did.
fn refused_link(error: &reqwest::Error) -> Option<LinkRefused> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<LinkRefused>() {
            return Some(*refused);
        }
        cause = error.source();
    }
    None
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
