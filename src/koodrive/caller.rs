//! One attempt at one call: sent, timed, judged; and what the answer's date says about the service's clock.
//!
//! Knows no credentials and decides nothing. Threads: any. No locks. Logs each call at debug: its name, trace id, status, code
//! and duration, and nothing else, since paths, queries, headers and bodies hold codes, tokens and passwords.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use super::convert::Moment;
use super::envelope::{judge, shown_code};
use super::error::{CallError, bad};
use super::wire::{Answer, Envelope};
use crate::clock::{Clock, patiently};
use crate::config::Secret;
use crate::http::{ApiClient, ApiRequest, HttpConfig, HttpError};
use crate::policy::server_time::ServerOffset;
use crate::stats::{Purpose, Requests};

/// The length that `X-Traceid` must have, in characters (2).
const TRACE_ID_CHARS: usize = 58;

/// A call as it is made: a GET without a body, a POST with one.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// For messages.
    pub(super) name: &'static str,
    /// Percent-encoded.
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'static str, &'a str)],
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: Option<&'a [u8]>,
    /// Keys of the payload: a successful answer has at least one of them.
    pub(super) payload_keys: &'a [&'static str],
    /// Secrets to remove from messages.
    pub(super) secrets: &'a [&'a str],
}

impl Default for Call<'_> {
    fn default() -> Self {
        Call { name: "", path: "/", query: &[], headers: &[], body: None, payload_keys: &[], secrets: &[] }
    }
}

/// A call with owned data, to be repeated later.
pub(super) struct KeptCall {
    name: &'static str,
    path: String,
    query: Pairs<String>,
    headers: Pairs<String>,
    body: Option<Vec<u8>>,
    payload_keys: Vec<&'static str>,
    secrets: Vec<Secret>,
}

impl KeptCall {
    pub(super) fn of(call: &Call<'_>) -> KeptCall {
        KeptCall {
            name: call.name,
            path: call.path.to_owned(),
            query: owned(call.query),
            headers: owned(call.headers),
            body: call.body.map(<[u8]>::to_vec),
            payload_keys: call.payload_keys.to_vec(),
            secrets: call.secrets.iter().map(|secret| Secret::new(*secret)).collect(),
        }
    }

    pub(super) fn has_body(&self) -> bool {
        self.body.is_some()
    }

    /// Calls `make` with it in borrowed form.
    pub(super) fn made<R>(&self, make: impl FnOnce(&Call<'_>) -> R) -> R {
        let secrets: Vec<&str> = self.secrets.iter().map(Secret::expose).collect();
        make(&Call {
            name: self.name,
            path: &self.path,
            query: &lent(&self.query),
            headers: &lent(&self.headers),
            body: self.body.as_deref(),
            payload_keys: &self.payload_keys,
            secrets: &secrets,
        })
    }
}

type Pairs<T> = Vec<(&'static str, T)>;

fn owned(pairs: &[(&'static str, &str)]) -> Pairs<String> {
    pairs.iter().map(|(name, text)| (*name, (*text).to_owned())).collect()
}

fn lent<'a>(pairs: &'a [(&'static str, String)]) -> Pairs<&'a str> {
    pairs.iter().map(|(name, text)| (*name, text.as_str())).collect()
}

/// Calls one endpoint.
pub(super) struct Caller {
    api: ApiClient,
    clock: Arc<dyn Clock>,
    /// [`ServerOffset`] of the last answer that had a date, in milliseconds.
    offset_millis: AtomicI64,
    requests: Arc<Requests>,
}

impl Caller {
    pub(super) fn new(endpoint: &str, http: HttpConfig, clock: Arc<dyn Clock>) -> Result<Caller, HttpError> {
        let requests = Arc::clone(&http.requests);
        let api = ApiClient::new(endpoint, http, Arc::clone(&clock))?;
        Ok(Caller { api, clock, offset_millis: AtomicI64::new(0), requests })
    }

    pub(super) fn origin(&self) -> &str {
        self.api.origin()
    }

    pub(super) fn authority(&self) -> &str {
        self.api.authority()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// How far the service's clock is from ours, as far as known.
    pub(super) fn offset(&self) -> ServerOffset {
        ServerOffset { millis: self.offset_millis.load(Ordering::Relaxed) }
    }

    /// What the service's clock shows now, as far as known.
    pub(super) fn server_now(&self) -> SystemTime {
        self.offset().to_server(self.clock.utc())
    }

    /// Makes one attempt, with `headers` besides those of `call`; neither they nor `secrets` show in messages.
    pub(super) fn attempt(
        &self,
        call: &Call<'_>,
        headers: &[(&'static str, &str)],
        secrets: &[&str],
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let purpose = purpose_of(call.name);
        let answer = self.attempt_as(purpose, call, headers, secrets, deadline);
        if let Err(error) = &answer {
            self.requests.failed(purpose, error.kind());
        }
        answer
    }

    fn attempt_as(
        &self,
        purpose: Purpose,
        call: &Call<'_>,
        headers: &[(&'static str, &str)],
        secrets: &[&str],
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let trace = trace_id();
        let common = [("language", "en-US"), ("x-traceid", trace.as_str())];
        let headers: Vec<_> = common.iter().chain(headers).chain(call.headers).copied().collect();
        let (started, sent_at) = (self.clock.now(), self.clock.utc());
        let request = ApiRequest { path: call.path, query: call.query, headers: &headers, body: call.body };
        let under_way = self.requests.begin(purpose);
        let result = self.api.call(request, deadline);
        let took = self.clock.now().saturating_duration_since(started);
        if let Ok(answer) = &result {
            under_way.answered(took);
            self.requests.received(purpose, answer.body.len() as u64);
        }
        drop(under_way);
        let took_ms = took.as_millis();
        let received_at = self.clock.utc();
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                log::debug!("{} trace={trace} failed={:?} ms={took_ms}", call.name, error.kind());
                return Err(CallError::Http(error));
            }
        };
        let secrets: Vec<&str> = call.secrets.iter().chain(secrets).copied().collect();
        if log::log_enabled!(log::Level::Debug) {
            let code = shown_code(&answer.body, &secrets);
            log::debug!("{} trace={trace} status={} code={code} ms={took_ms}", call.name, answer.status);
        }
        if let Some(date) = answer.date {
            let offset = self.offset().updated(date, sent_at, received_at);
            self.offset_millis.store(offset.millis, Ordering::Relaxed);
        }
        let envelope = judge(&answer, call.payload_keys, &secrets)?;
        Ok((envelope, Moment { received_at, server: self.offset() }))
    }

    /// Runs `attempt` [`patiently`]. For opening: somebody waits for the outcome.
    pub(super) fn patiently<T>(
        &self,
        deadline: Instant,
        attempt: impl Fn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let judge = |error: &CallError| (error.failure_kind_at_open(), error.retry_after());
        patiently(self.clock(), deadline, attempt, judge)
    }
}

/// What a call is counted as.
fn purpose_of(name: &str) -> Purpose {
    match name {
        "files" => Purpose::Listing,
        "download" => Purpose::Links,
        "login" | "refreshToken" | "userInfo" | "verify" => Purpose::Login,
        _ => Purpose::Other,
    }
}

/// The payload as `T`, or an error.
pub(super) fn payload<T: Answer>(envelope: Envelope) -> Result<T, CallError> {
    envelope.payload().ok_or_else(|| CallError::Bad(bad("the answer", "not of the documented form")))
}

/// 58 random characters; not a secret.
fn trace_id() -> String {
    const CHARS: &[u8; 63] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    (0..TRACE_ID_CHARS).map(|_| char::from(CHARS[fastrand::usize(..CHARS.len())])).collect()
}
