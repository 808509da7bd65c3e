//! Calls of one API endpoint: small JSON answers, read whole. No redirect is followed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use super::config::HttpConfig;
use super::error::{HttpError, HttpErrorKind};
use super::exchange::{Compression, Head, build_client, redirect_target, send};
use super::reach::EndpointWatch;
use super::url::{check_secure, is_plain_web_url, origin_of};
use crate::clock::Clock;
use crate::policy::percent::percent_encoded;

/// The largest API answer that is read, in bytes after decompression. A page has at most 100 entries of a few KiB
/// (src/koodrive/API.md, section 5.4).
const MAX_API_BODY_BYTES: u64 = 16 * 1024 * 1024;

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
    /// The whole body, decompressed, at most 16 MiB.
    pub body: Vec<u8>,
}

/// Calls one API endpoint. Shared by all threads.
pub struct ApiClient {
    client: Client,
    /// For answers whose compression is to be seen; only with a meter.
    keeping: Option<Client>,
    endpoint: Url,
    origin: String,
    watch: Arc<EndpointWatch>,
    config: HttpConfig,
    clock: Arc<dyn Clock>,
}

impl ApiClient {
    /// A client for `endpoint`, `https://host[:port]`, with deadlines by `clock`. Connects to nothing yet.
    ///
    /// # Errors
    /// `UnsendableUrl` if `endpoint` is not such a URL, `InsecureUrl` if it is http and must not be, `Other` if the client cannot
    /// be built (no certificates to trust, no thread).
    pub fn new(endpoint: &str, config: HttpConfig, clock: Arc<dyn Clock>) -> Result<ApiClient, HttpError> {
        let endpoint = Url::parse(endpoint).ok().filter(is_plain_web_url);
        let endpoint = endpoint.ok_or_else(|| {
            HttpError::new(HttpErrorKind::UnsendableUrl, "the endpoint is not of the form https://host[:port]")
        })?;
        check_secure(&endpoint, &config)?;
        let origin = origin_of(&endpoint);
        let watch = Arc::new(EndpointWatch::new(&endpoint, config.endpoint_places.clone()));
        let client = build_client(&config, Compression::Gzip, Arc::clone(&watch))?;
        let keeping = config.meter.as_ref().map(|_| build_client(&config, Compression::KeptGzip, Arc::clone(&watch)));
        let keeping = keeping.transpose()?;
        Ok(ApiClient { client, keeping, endpoint, origin, watch, config, clock })
    }

    /// `scheme://host[:port]`, fit for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// `host[:port]` as the `Host` header names it.
    pub fn authority(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, authority)| authority)
    }

    fn client(&self) -> &Client {
        let is_kept = self.config.meter.as_ref().is_some_and(|meter| meter.keeps_compression());
        self.keeping.as_ref().filter(|_| is_kept).unwrap_or(&self.client)
    }

    /// Sends `request` once and reads the whole answer, which the service may compress by gzip.
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
            None => self.client().get(url),
            Some(body) => self.client().post(url).header(CONTENT_TYPE, "application/json").body(body.to_vec()),
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
        let mut body = send(builder, &self.origin, &self.config, &self.clock, deadline)?;
        self.config.has_answered.store(true, Ordering::Relaxed);
        if let Some(address) = body.response.remote_addr() {
            self.watch.note_answer(address.ip());
        }
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
