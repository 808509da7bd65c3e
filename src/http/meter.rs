//! What a bounded set of requests has cost, and what the heads of its answers said.
//!
//! For who tries a service out (`koofs doctor`): a limit that holds whatever is called, retries and redirects included. A mount has no
//! meter. Threads: any. No locks. What is kept is numbers and names from a list of ours, never a text of a server.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::error::{HttpError, HttpErrorKind};
use crate::policy::server_time::ServerOffset;

/// Headers by which services tell of limits before they are met: of Huawei's gateway, of others, of RFC drafts.
const LIMIT_HEADERS: [&str; 10] = [
    "x-ratelimit-api",
    "x-ratelimit-user",
    "x-ratelimit-app",
    "x-ratelimit-ip",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-policy",
    "retry-after",
];

/// No answer has been looked at.
const UNKNOWN: u8 = 0;
const PLAIN: u8 = 1;
const COMPRESSED: u8 = 2;

/// Counts the requests of the clients that share it, and permits no more than so many, nor more than so many bytes of bodies.
#[derive(Debug)]
pub struct Meter {
    max_requests: u32,
    max_bytes: u64,
    requests: AtomicU32,
    bytes: AtomicU64,
    throttled: AtomicU32,
    redirects: AtomicU32,
    /// A bit for each of [`LIMIT_HEADERS`].
    limit_headers: AtomicU32,
    keeps_compression: AtomicBool,
    compression: AtomicU8,
    has_date: AtomicBool,
    offset_millis: AtomicI64,
}

impl Meter {
    /// Permits `max_requests` requests, redirects among them, and `max_bytes` bytes of bodies as they are after decompression.
    pub fn new(max_requests: u32, max_bytes: u64) -> Meter {
        Meter {
            max_requests,
            max_bytes,
            requests: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            throttled: AtomicU32::new(0),
            redirects: AtomicU32::new(0),
            limit_headers: AtomicU32::new(0),
            keeps_compression: AtomicBool::new(false),
            compression: AtomicU8::new(UNKNOWN),
            has_date: AtomicBool::new(false),
            offset_millis: AtomicI64::new(0),
        }
    }

    /// Requests that were sent.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may still be read.
    pub fn bytes_left(&self) -> u64 {
        self.max_bytes.saturating_sub(self.bytes())
    }

    /// Answers that asked for fewer requests: 429, or 503.
    pub fn throttled(&self) -> u32 {
        self.throttled.load(Ordering::Relaxed)
    }

    /// Answers that named another place.
    pub fn redirects(&self) -> u32 {
        self.redirects.load(Ordering::Relaxed)
    }

    /// The headers about limits that an answer had, of those that are known.
    pub fn limit_headers(&self) -> Vec<&'static str> {
        let seen = self.limit_headers.load(Ordering::Relaxed);
        let names = LIMIT_HEADERS.iter().enumerate();
        names.filter(|(bit, _)| seen & 1 << bit != 0).map(|(_, name)| *name).collect()
    }

    /// How far the server's clock was from ours in the first answer with a date; `None` without one.
    pub fn clock_offset(&self) -> Option<ServerOffset> {
        let millis = self.offset_millis.load(Ordering::Relaxed);
        self.has_date.load(Ordering::Relaxed).then_some(ServerOffset { millis })
    }

    /// From now on, or no more, answers of the API are left as they come: whoever reads one may get gzip.
    pub fn keep_compression(&self, is_kept: bool) {
        self.keeps_compression.store(is_kept, Ordering::Relaxed);
    }

    /// Whether the last answer that was left as it came was compressed by gzip; `None` without one.
    pub fn came_compressed(&self) -> Option<bool> {
        match self.compression.load(Ordering::Relaxed) {
            UNKNOWN => None,
            compression => Some(compression == COMPRESSED),
        }
    }

    pub(super) fn keeps_compression(&self) -> bool {
        self.keeps_compression.load(Ordering::Relaxed)
    }

    /// Permits one more request to `origin`.
    ///
    /// # Errors
    /// `Spent`.
    pub(super) fn begin(&self, origin: &str) -> Result<(), HttpError> {
        let more = |sent: u32| (sent < self.max_requests).then_some(sent + 1);
        match self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) if self.bytes_left() > 0 => Ok(()),
            Ok(_) | Err(_) => Err(spent(origin)),
        }
    }

    /// Notes a head, and by `offset` what its date says.
    pub(super) fn note_head(&self, status: u16, headers: &HeaderMap, offset: Option<ServerOffset>) {
        self.throttled.fetch_add(u32::from(matches!(status, 429 | 503)), Ordering::Relaxed);
        self.redirects.fetch_add(u32::from(matches!(status, 301 | 302 | 303 | 307 | 308)), Ordering::Relaxed);
        for (bit, _) in LIMIT_HEADERS.iter().enumerate().filter(|(_, name)| headers.contains_key(**name)) {
            self.limit_headers.fetch_or(1 << bit, Ordering::Relaxed);
        }
        if self.keeps_compression() {
            let is_gzip = headers.get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes() == b"gzip");
            self.compression.store(if is_gzip { COMPRESSED } else { PLAIN }, Ordering::Relaxed);
        }
        if let Some(offset) = offset
            && !self.has_date.swap(true, Ordering::Relaxed)
        {
            self.offset_millis.store(offset.millis, Ordering::Relaxed);
        }
    }

    /// Counts `len` bytes of a body from `origin`.
    ///
    /// # Errors
    /// `Spent` if they are more than is permitted.
    pub(super) fn read(&self, len: usize, origin: &str) -> Result<(), HttpError> {
        let before = self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        if before.saturating_add(len as u64) > self.max_bytes { Err(spent(origin)) } else { Ok(()) }
    }
}

fn spent(origin: &str) -> HttpError {
    HttpError::new(HttpErrorKind::Spent, format!("{origin}: the requests or bytes that are permitted are used up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_and_no_byte_is_permitted_beyond_the_limit() {
        let meter = Meter::new(2, 10);
        assert!(meter.begin("o").is_ok() && meter.begin("o").is_ok() && meter.begin("o").is_err());
        assert_eq!(meter.requests(), 2);
        assert!(meter.read(10, "o").is_ok() && meter.read(1, "o").is_err());
        assert_eq!(Meter::new(2, 0).begin("o").map_err(|error| error.kind()), Err(HttpErrorKind::Spent));
    }
}
