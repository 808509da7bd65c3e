//! What happened: calls, parallelism, bytes, and everything a well-behaved client would not have done.
//!
//! Owns: the live numbers and their snapshot. Written by every connection, read by tests and `/emulator/counters`.
//! One short lock for the maps; gauges are atomics.

use super::lock;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many ranges are remembered per file; older ones are forgotten first.
const RANGES_PER_FILE: usize = 4096;
/// How many ranges are remembered of all files together, about 60 bytes each: beyond that, a file's new one takes the place of
/// its oldest.
pub const RANGES: usize = 1_000_000;
/// How many complaints are remembered; later ones are only counted.
const COMPLAINTS: usize = 200;
/// How many files have their own statistics; later ones are only counted in the totals.
const FILES: usize = 100_000;

/// Everything counted so far. A plain copy: reading it changes nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Calls per endpoint (`files`, `login`, `spaceDownload`, …, `object`, `unknown`; see api.rs) and HTTP status;
    /// status 0 is a call that got no answer (reset, hang, client gone).
    pub calls: BTreeMap<String, BTreeMap<u16, u64>>,
    /// API calls being answered now.
    pub api_current: u64,
    /// The most API calls that were ever being answered at once.
    pub api_peak: u64,
    /// Body bytes of the answers of API calls, as sent; what the gateway refuses by itself is not counted.
    pub api_bytes_sent: u64,
    /// How many of these answers were compressed.
    pub api_compressed: u64,
    /// Object requests being answered now, bodies included.
    pub object_current: u64,
    /// The most object requests that were ever being answered at once.
    pub object_peak: u64,
    /// Body bytes of objects handed to sockets. What lies in socket buffers when a client hangs up is included.
    pub object_bytes_sent: u64,
    /// TCP connections accepted on the API listener.
    pub api_connections: u64,
    /// TCP connections accepted on the object listener.
    pub object_connections: u64,
    /// Connections open now, both listeners.
    pub connections_current: u64,
    /// The most connections ever open at once, both listeners.
    pub connections_peak: u64,
    /// Connections whose TLS handshake failed: no TLS, or no trust.
    pub tls_failures: u64,
    /// Requests to the object store without TLS although there is TLS: a redirect was followed that must not be.
    pub plain_requests: u64,
    /// Requests that carried a secret to the object store (Authorization, Cookie, X-Hw-Agentname, X-User-Id).
    pub secret_leaks: u64,
    /// Listings that asked for a name (`fileName`).
    pub filtered_listings: u64,
    /// Listing calls for a page in descending order.
    pub descending_listings: u64,
    /// Calls that were refused for what the documentation does not exclude but this deployment does not offer: `fileName`,
    /// `sortDirection`, `pageSize`, `walkFile`.
    pub not_offered: BTreeMap<String, u64>,
    /// Listings that asked to be counted as a view (`refreshCount: true`). A filesystem has no business here.
    pub views: u64,
    /// Calls of `visit`.
    pub visits: u64,
    /// Object requests that allowed compression and therefore got the whole object.
    pub compressible: u64,
    /// Object requests that were answered with the whole object although they named a range (any reason).
    pub ranges_ignored: u64,
    /// Wrong access codes tried.
    pub wrong_codes: u64,
    /// Calls of `auth/login`, refused ones included.
    pub logins: u64,
    /// Calls of `auth/login` that were refused for the account or the password, or because it is locked.
    pub refused_logins: u64,
    /// Wrong passwords tried.
    pub wrong_passwords: u64,
    /// The most logins ever being answered at once.
    pub login_peak: u64,
    /// Calls of `auth/refreshToken`, refused ones included.
    pub refreshes: u64,
    /// Calls of `auth/refreshToken` that were refused.
    pub refused_refreshes: u64,
    /// Refreshes with a refresh token that was used and replaced.
    pub reused_refresh_tokens: u64,
    /// The most refreshes ever being answered at once.
    pub refresh_peak: u64,
    /// Calls refused for a token that is unknown, over, or malformed.
    pub refused_tokens: u64,
    /// Calls whose `Authorization` had a `+` where a space belongs.
    pub plus_schemes: u64,
    /// Calls refused for an app signature that does not match.
    pub refused_signatures: u64,
    /// Calls refused for an `X-Date` that is later than now or too old.
    pub refused_dates: u64,
    /// Calls refused for another `X-User-Id` than the token's.
    pub refused_users: u64,
    /// How many batches of links there were of each size.
    pub batch_sizes: BTreeMap<u64, u64>,
    /// Faults that fired, by name.
    pub faults: BTreeMap<String, u64>,
    /// What the client did wrong, in words; bounded (see `complaints_total`).
    pub complaints: Vec<String>,
    /// How many complaints there were.
    pub complaints_total: u64,
    /// Per file id.
    pub files: BTreeMap<String, FileCounters>,
}

/// What happened to one file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FileCounters {
    /// Its name when it was last asked for.
    pub name: String,
    /// GETs of its content that reached the store with a good link.
    pub gets: u64,
    /// Links handed out by `download`.
    pub links: u64,
    /// The `Range` headers as received (`-` for none), the latest 4096; fewer once there are very many of all files.
    pub ranges: VecDeque<String>,
}

impl Counters {
    /// Calls of one endpoint, whatever their status.
    pub fn calls_of(&self, endpoint: &str) -> u64 {
        self.calls.get(endpoint).map_or(0, |by_status| by_status.values().sum())
    }

    /// Calls of one endpoint that were answered with `status`.
    pub fn calls_with(&self, endpoint: &str, status: u16) -> u64 {
        self.calls.get(endpoint).and_then(|by_status| by_status.get(&status)).copied().unwrap_or(0)
    }

    /// All API calls.
    pub fn api_calls(&self) -> u64 {
        self.calls
            .iter()
            .filter(|(endpoint, _)| *endpoint != "object" && !endpoint.starts_with("dav"))
            .map(|(_, by_status)| by_status.values().sum::<u64>())
            .sum()
    }

    /// Calls of `spaceDownload`.
    pub fn batches(&self) -> u64 {
        self.batch_sizes.values().sum()
    }

    /// GETs of the content of the file with this id.
    pub fn gets_of(&self, id: &str) -> u64 {
        self.files.get(id).map_or(0, |file| file.gets)
    }
}

/// A number that rises and falls, and its highest value.
#[derive(Debug, Default)]
pub struct Gauge {
    current: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    /// Counts one more until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> GaugeGuard {
        let now = self.current.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        GaugeGuard(Arc::clone(self))
    }

    /// The value now.
    pub fn current(&self) -> u64 {
        self.current.load(Ordering::SeqCst)
    }
}

/// One unit in a [`Gauge`].
#[derive(Debug)]
pub struct GaugeGuard(Arc<Gauge>);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.current.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub struct LiveCounters {
    /// API calls in flight.
    pub api: Arc<Gauge>,
    /// Object requests in flight.
    pub object: Arc<Gauge>,
    /// Open connections.
    pub connections: Arc<Gauge>,
    /// Logins in flight.
    pub logins: Arc<Gauge>,
    /// Refreshes in flight.
    pub refreshes: Arc<Gauge>,
    object_bytes: AtomicU64,
    /// How many ranges `rest` holds; changed only under its lock.
    ranges: AtomicUsize,
    rest: Mutex<Counters>,
}

impl LiveCounters {
    /// Counts `len` body bytes of an object.
    pub fn sent(&self, len: u64) {
        self.object_bytes.fetch_add(len, Ordering::Relaxed);
    }

    /// Changes any of the plain numbers.
    pub fn update(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut lock(&self.rest));
    }

    /// Counts a call of `endpoint` answered with `status` (0: not answered).
    pub fn call(&self, endpoint: &str, status: u16) {
        let mut rest = lock(&self.rest);
        if !rest.calls.contains_key(endpoint) {
            rest.calls.insert(endpoint.to_owned(), BTreeMap::new());
        }
        if let Some(by_status) = rest.calls.get_mut(endpoint) {
            *by_status.entry(status).or_default() += 1;
        }
    }

    /// Notes something a strict server does not accept.
    pub fn complain(&self, text: String) {
        log::warn!("{text}");
        let mut rest = lock(&self.rest);
        rest.complaints_total += 1;
        if rest.complaints.len() < COMPLAINTS {
            rest.complaints.push(text);
        }
    }

    /// Changes the counters of one file.
    pub fn file(&self, id: &str, name: &str, change: impl FnOnce(&mut FileCounters)) {
        let mut rest = lock(&self.rest);
        if !rest.files.contains_key(id) {
            if rest.files.len() >= FILES {
                return;
            }
            rest.files.insert(id.to_owned(), FileCounters::default());
        }
        if let Some(file) = rest.files.get_mut(id) {
            if file.name != name {
                name.clone_into(&mut file.name);
            }
            let others = self.ranges.load(Ordering::SeqCst) - file.ranges.len();
            change(file);
            while file.ranges.len() > RANGES_PER_FILE
                || (others + file.ranges.len() > RANGES && !file.ranges.is_empty())
            {
                file.ranges.pop_front();
            }
            self.ranges.store(others + file.ranges.len(), Ordering::SeqCst);
        }
    }

    /// A copy of everything.
    pub fn snapshot(&self) -> Counters {
        let mut all = lock(&self.rest).clone();
        self.add_gauges(&mut all);
        all
    }

    /// A copy without the per-file part, cheap however many files were read.
    pub fn totals(&self) -> Counters {
        let mut rest = lock(&self.rest);
        let files = std::mem::take(&mut rest.files);
        let mut all = rest.clone();
        rest.files = files;
        drop(rest);
        self.add_gauges(&mut all);
        all
    }

    /// Sets everything to zero; peaks restart from the current values.
    pub fn reset(&self) {
        let mut rest = lock(&self.rest);
        *rest = Counters::default();
        self.ranges.store(0, Ordering::SeqCst);
        drop(rest);
        self.object_bytes.store(0, Ordering::Relaxed);
        for gauge in [&self.api, &self.object, &self.connections, &self.logins, &self.refreshes] {
            gauge.peak.store(gauge.current(), Ordering::SeqCst);
        }
    }

    fn add_gauges(&self, all: &mut Counters) {
        all.object_bytes_sent = self.object_bytes.load(Ordering::Relaxed);
        all.api_current = self.api.current();
        all.api_peak = self.api.peak.load(Ordering::SeqCst);
        all.object_current = self.object.current();
        all.object_peak = self.object.peak.load(Ordering::SeqCst);
        all.login_peak = self.logins.peak.load(Ordering::SeqCst);
        all.refresh_peak = self.refreshes.peak.load(Ordering::SeqCst);
        all.connections_current = self.connections.current();
        all.connections_peak = self.connections.peak.load(Ordering::SeqCst);
    }
}
