//! The calls of a public share, one attempt each (koodrive-api.md, 5). Knows `wire`; decides nothing.
//!
//! Threads: any. No locks. Logs each call at debug: its name, trace id, status, code and duration, and nothing else, since
//! queries and bodies hold codes and tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use super::convert::{self, BadField, Moment, Share};
use super::envelope::{CallError, judge, shown_code};
use super::wire::{
    Answer, DownloadRequest, Envelope, FilesAnswer, FilesRequest, UserInfoAnswer, VerifyAnswer, VerifyRequest, to_json,
};
use crate::clock::Clock;
use crate::config::{Secret, ShareConfig};
use crate::http::{ApiClient, ApiRequest, HttpConfig, HttpError};
use crate::policy::server_time::ServerOffset;
use crate::remote::{Cursor, Link, NodeId, Page};

/// Entries asked for per page: the most that the service gives (5.4).
const PAGE_SIZE: u32 = 100;

/// Sort by name, ascending: moves least while a directory changes (14).
const SORT_BY_NAME: u32 = 1;
const ASCENDING: u32 = 1;

/// The length that `X-Traceid` must have, in characters (2).
const TRACE_ID_CHARS: usize = 58;

/// A call: its name for messages, its path, and the key that its payload cannot lack.
struct Call {
    name: &'static str,
    path: &'static str,
    payload_key: &'static str,
}

const USER_INFO: Call = Call { name: "userInfo", path: "/koodrive/ose/v1/share/public/userInfo", payload_key: "link" };
const VERIFY: Call = Call { name: "verify", path: "/koodrive/ose/v1/share/public/verify", payload_key: "kdstoken" };
const FILES: Call = Call { name: "files", path: "/koodrive/ose/v1/share/public/files", payload_key: "files" };
const DOWNLOAD: Call =
    Call { name: "download", path: "/koodrive/ose/v1/share/public/download", payload_key: "downloadUrl" };

/// Calls the service about one share.
pub(super) struct ShareCalls {
    api: ApiClient,
    clock: Arc<dyn Clock>,
    short_code: String,
    agent: String,
    /// What is struck out of messages, besides the token of the call.
    access_code: Option<Secret>,
    /// [`ServerOffset`] as of the last answer with a date.
    offset_millis: AtomicI64,
}

impl ShareCalls {
    pub(super) fn new(config: &ShareConfig, clock: Arc<dyn Clock>) -> Result<ShareCalls, HttpError> {
        let api = ApiClient::new(&config.connection.endpoint, HttpConfig::of(&config.connection))?;
        let (short_code, agent) = (config.code.clone(), config.agent.clone());
        let access_code = config.access_code.clone();
        Ok(ShareCalls { api, clock, short_code, agent, access_code, offset_millis: AtomicI64::new(0) })
    }

    pub(super) fn origin(&self) -> &str {
        self.api.origin()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// What the service's clock shows now, as far as known.
    pub(super) fn server_now(&self) -> SystemTime {
        self.offset().to_server(self.clock.utc())
    }

    /// 5.2.
    pub(super) fn user_info(&self, deadline: Instant) -> Result<Share, CallError> {
        let query = [("shortUrl", self.short_code.as_str())];
        let (envelope, _) = self.call(&USER_INFO, &query, None, "", deadline)?;
        let answer: UserInfoAnswer = payload(envelope)?;
        let link = answer.link.ok_or_else(|| bad("link", "missing"))?;
        convert::share(link).map_err(CallError::Bad)
    }

    /// 5.3: the access code's temporary token.
    pub(super) fn verify(&self, access_code: &Secret, deadline: Instant) -> Result<Secret, CallError> {
        let body = to_json(&VerifyRequest { short_url: &self.short_code, extract_code: access_code.expose() });
        let (envelope, _) = self.call(&VERIFY, &[], Some(&body), "", deadline)?;
        let answer: VerifyAnswer = payload(envelope)?;
        let token = convert::text(answer.kdstoken, "kdstoken").map_err(CallError::Bad)?;
        token.filter(|token| !token.is_empty()).map(Secret::new).ok_or_else(|| bad("kdstoken", "missing"))
    }

    /// 5.4: a page, and what it says about the share. An empty `directory` is the top level.
    pub(super) fn files(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<(Page, Option<Share>), CallError> {
        let kdstoken = kdstoken.expose();
        let body = to_json(&FilesRequest {
            short_url: &self.short_code,
            parent_folder: Some(directory.as_str()).filter(|id| !id.is_empty()),
            page_size: PAGE_SIZE,
            page_cursor: cursor.map(Cursor::as_str),
            sort_type: SORT_BY_NAME,
            sort_direction: ASCENDING,
            kdstoken,
            refresh_count: false,
        });
        let (envelope, moment) = self.call(&FILES, &[], Some(&body), kdstoken, deadline)?;
        let mut answer: FilesAnswer = payload(envelope)?;
        // Only informative here: no reason to fail a listing.
        let share = answer.link.take().and_then(|link| convert::share(link).ok());
        Ok((convert::page(answer, moment).map_err(CallError::Bad)?, share))
    }

    /// 5.5.
    pub(super) fn download(
        &self,
        share_id: &str,
        file: &NodeId,
        kdstoken: &Secret,
        deadline: Instant,
    ) -> Result<Link, CallError> {
        let kdstoken = kdstoken.expose();
        let body = to_json(&DownloadRequest { share_id, file_id: file.as_str(), kdstoken });
        let (envelope, moment) = self.call(&DOWNLOAD, &[], Some(&body), kdstoken, deadline)?;
        convert::fresh_link(payload(envelope)?, moment).map_err(CallError::Bad)
    }

    fn offset(&self) -> ServerOffset {
        ServerOffset { millis: self.offset_millis.load(Ordering::Relaxed) }
    }

    fn call(
        &self,
        call: &Call,
        query: &[(&'static str, &str)],
        body: Option<&[u8]>,
        kdstoken: &str,
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let trace = trace_id();
        let headers = [("x-hw-agentname", self.agent.as_str()), ("language", "en-US"), ("x-traceid", &trace)];
        let (started, sent_at) = (self.clock.now(), self.clock.utc());
        let result = self.api.call(ApiRequest { path: call.path, query, headers: &headers, body }, deadline);
        let took_ms = self.clock.now().saturating_duration_since(started).as_millis();
        let received_at = self.clock.utc();
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                log::debug!("{} trace={trace} failed={:?} ms={took_ms}", call.name, error.kind());
                return Err(CallError::Http(error));
            }
        };
        if log::log_enabled!(log::Level::Debug) {
            let code = shown_code(&answer.body);
            log::debug!("{} trace={trace} status={} code={code} ms={took_ms}", call.name, answer.status);
        }
        if let Some(date) = answer.date {
            let offset = ServerOffset::measure(date, sent_at, received_at);
            self.offset_millis.store(offset.millis, Ordering::Relaxed);
        }
        let access_code = self.access_code.as_ref().map_or("", Secret::expose);
        let envelope = judge(&answer, call.payload_key, &[&self.short_code, access_code, kdstoken])?;
        Ok((envelope, Moment { received_at, server: self.offset() }))
    }
}

fn payload<T: Answer>(envelope: Envelope) -> Result<T, CallError> {
    envelope.payload().ok_or_else(|| bad("the answer", "not of the documented form"))
}

fn bad(field: &str, why: &'static str) -> CallError {
    CallError::Bad(BadField { field: field.to_owned(), why })
}

/// 58 random characters; not a secret.
fn trace_id() -> String {
    const CHARS: &[u8; 63] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    (0..TRACE_ID_CHARS).map(|_| char::from(CHARS[fastrand::usize(..CHARS.len())])).collect()
}
