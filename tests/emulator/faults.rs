//! Faults: what goes wrong, on which calls, and how often.
//!
//! Owns: the table of faults and the decision whether one fires on a call. How a fault looks on the wire is up to who
//! answers the call (`server.rs`, `listing.rs`, `space_api.rs`, `objects.rs`). One short lock per call, none if the table is empty.

use super::knobs::{parse_bytes, parse_duration};
use super::lock;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

macro_rules! fault_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal on $place:ident,)+) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FaultKind { $($(#[doc = $doc])+ $variant,)+ }

        /// Every kind: name, where it may be used (`api`, `object`, `both`), what it does.
        pub const FAULT_HELP: &[(&str, &str, &str)] = &[$(($name, stringify!($place), concat!($($doc),+)),)+];

        impl FaultKind {
            /// Its name on the command line, in JSON and in the counters.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl FromStr for FaultKind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("there is no fault {text:?}; there are: {}", [$($name),+].join(", "))),
                }
            }
        }
    };
}

fault_kinds! {
    /// 429 with Retry-After (API: gateway body APIGW.0308; object: TooManyRequests).
    Throttle = "throttle" on both,
    /// 500 (API: code 13000201; object: InternalError).
    Internal = "internal" on both,
    /// 503 (API: gateway body; object: ServiceUnavailable).
    Unavailable = "unavailable" on both,
    /// The connection is reset (RST) before an answer.
    Reset = "reset" on both,
    /// No answer, for ever; the connection stays open.
    Hang = "hang" on both,
    /// 502, gateway body APIGW.0202.
    BadGateway = "bad_gateway" on api,
    /// 504, gateway body APIGW.0203.
    GatewayTimeout = "gateway_timeout" on api,
    /// 401, gateway body APIGW.0303.
    Unauthorized = "unauthorized" on api,
    /// 200 whose body is not JSON.
    Garbage = "garbage" on api,
    /// 200 whose JSON ends in the middle (Content-Length fits).
    TruncatedJson = "truncated_json" on api,
    /// 200 with an HTML login page.
    Html = "html" on api,
    /// 200 whose gzip has a wrong check value at its end (only for who allows gzip).
    BrokenGzip = "broken_gzip" on api,
    /// 200 whose gzip holds 256 MiB of spaces (only for who allows gzip).
    GzipBomb = "gzip_bomb" on api,
    /// nextCursor is the cursor that was asked with, for ever (listings only).
    CursorLoop = "cursor_loop" on api,
    /// pageSize is ignored: pages have as many entries as fit (listings only).
    PageSizeIgnored = "page_size_ignored" on api,
    /// Every second entry of a batch of links is refused, from the first on (spaceDownload only).
    PartialBatch = "partial_batch" on api,
    /// The first entry of a batch of links is left out of the answer (spaceDownload only).
    BatchGap = "batch_gap" on api,
    /// 403 SignatureDoesNotMatch.
    Forbidden = "403" on object,
    /// 404 NoSuchKey.
    NotFound = "404" on object,
    /// 410 Gone.
    Gone = "410" on object,
    /// 503 SlowDown; Retry-After only if the fault names one.
    SlowDown = "503" on object,
    /// Half of the body (or `after` bytes), then the connection is closed; Content-Length promised all.
    Truncate = "truncate" on object,
    /// Half of the body (or `after` bytes), then the connection is reset.
    ResetBody = "reset_body" on object,
    /// `after` bytes (default: half), then silence for ever with the connection open.
    Stall = "stall" on object,
    /// 200 with the whole object, whatever range was asked.
    IgnoredRange = "ignored_range" on object,
    /// 200 with the whole object in chunks, without Content-Length, whatever range was asked.
    IgnoredRangeUnsized = "ignored_range_unsized" on object,
    /// 206 with another Content-Range than asked, and the bytes of that one.
    WrongRange = "wrong_range" on object,
    /// 206 whose Content-Range names a total that is not the object's size.
    WrongTotal = "wrong_total" on object,
    /// 206 that is honest, but ends after half of what was asked.
    ShortRange = "short_content_range" on object,
    /// 206 whose Content-Range is what was asked, with a body (and Content-Length) one byte shorter.
    WrongLength = "wrong_bytes_length" on object,
    /// 307 to a new link of the same object.
    Redirect = "redirect" on object,
    /// 307 to a new link of the same object, always over plain http.
    RedirectPlain = "redirect_plain" on object,
    /// A right answer with the ETag of another version.
    OtherEtag = "other_etag" on object,
    /// A right answer without ETag and Last-Modified.
    NoEtag = "no_etag" on object,
}

/// Which calls a fault is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultOn {
    /// API calls; of one endpoint (`files`, `download`, …) or of all.
    Api(Option<String>),
    /// Object requests; of one file (its name, id or object key) or of all.
    Object(Option<String>),
}

/// A fault and its frequency: the first `skip` calls go well, then every `every`-th (or each with `probability`) fails,
/// `limit` times at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// On which calls.
    pub on: FaultOn,
    /// Every n-th call; 1 is every call.
    pub every: u64,
    /// Instead of `every`: the chance of each call, 0 to 1.
    pub probability: Option<f64>,
    /// Seed of the chance.
    pub seed: u64,
    /// How often at most; `None` is for ever.
    pub limit: Option<u64>,
    /// How many calls go well first.
    pub skip: u64,
    /// `Retry-After`, in whole seconds on the wire.
    pub retry_after: Option<Duration>,
    /// Bytes of the body before `stall`, `truncate` and `reset_body`; `None` is half of it.
    pub after_bytes: Option<u64>,
}

impl Fault {
    fn new(on: FaultOn, kind: FaultKind) -> Self {
        let retry_after = (kind == FaultKind::Throttle).then_some(Duration::from_secs(1));
        Self { kind, on, every: 1, probability: None, seed: 1, limit: None, skip: 0, retry_after, after_bytes: None }
    }

    /// A fault of every call of the API endpoint (`files`, `login`, `spaceDownload`, …; see api.rs).
    pub fn api(endpoint: &str, kind: FaultKind) -> Self {
        Self::new(FaultOn::Api(Some(endpoint.to_owned())), kind)
    }

    /// A fault of every API call.
    pub fn any_api(kind: FaultKind) -> Self {
        Self::new(FaultOn::Api(None), kind)
    }

    /// A fault of every object request.
    pub fn object(kind: FaultKind) -> Self {
        Self::new(FaultOn::Object(None), kind)
    }

    /// A fault of every request for the object of one file, given by name, id or object key.
    pub fn object_of(file: &str, kind: FaultKind) -> Self {
        Self::new(FaultOn::Object(Some(file.to_owned())), kind)
    }

    /// Only every n-th call.
    #[must_use]
    pub fn every(mut self, n: u64) -> Self {
        self.every = n.max(1);
        self
    }

    /// Each call with this chance, drawn from a generator with `seed`.
    #[must_use]
    pub fn probability(mut self, chance: f64, seed: u64) -> Self {
        self.probability = Some(chance);
        self.seed = seed;
        self
    }

    /// At most this often.
    #[must_use]
    pub fn limit(mut self, times: u64) -> Self {
        self.limit = Some(times);
        self
    }

    /// At most once.
    #[must_use]
    pub fn once(self) -> Self {
        self.limit(1)
    }

    /// The first `calls` go well.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Sets or removes `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// Bytes before the body stops.
    #[must_use]
    pub fn after_bytes(mut self, bytes: u64) -> Self {
        self.after_bytes = Some(bytes);
        self
    }
}

/// `object:stall,every=7,limit=3`, `object/big.bin:truncate,after=64K`, `api/files:throttle,retry_after=none`, `api:reset,probability=0.1,seed=7`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, rest) = text.split_once(':').ok_or_else(|| {
            format!("{text:?}: write a fault like object:stall,every=7,limit=3 or api/files:throttle")
        })?;
        let mut parts = rest.split(',');
        let kind: FaultKind = parts.next().unwrap_or_default().trim().parse()?;
        let (place, filter) = match place.split_once('/') {
            Some((place, filter)) => (place, Some(filter.to_owned())),
            None => (place, None),
        };
        let on = match place {
            "api" => FaultOn::Api(filter),
            "object" => FaultOn::Object(filter),
            _ => {
                return Err(format!("{place:?}: a fault is on api, api/ENDPOINT, object or object/FILE"));
            }
        };
        let mut fault = Self::new(on, kind);
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?}: write key=value"))?;
            let number = || value.parse::<u64>().map_err(|error| format!("{part:?}: {error}"));
            match key.trim() {
                "every" => fault.every = number()?.max(1),
                "limit" => fault.limit = Some(number()?),
                "skip" => fault.skip = number()?,
                "seed" => fault.seed = number()?,
                "after" => fault.after_bytes = Some(parse_bytes(value)?),
                "probability" => {
                    let chance: f64 = value.parse().map_err(|error| format!("{part:?}: {error}"))?;
                    if !(0.0..=1.0).contains(&chance) {
                        return Err(format!("{part:?}: a probability is between 0 and 1"));
                    }
                    fault.probability = Some(chance);
                }
                "retry_after" => {
                    fault.retry_after = if value == "none" { None } else { Some(parse_duration(value)?) };
                }
                _ => {
                    return Err(format!(
                        "{key:?}: a fault has every, probability, seed, limit, skip, after, retry_after"
                    ));
                }
            }
        }
        fault.check()?;
        Ok(fault)
    }
}

impl Fault {
    /// Whether this kind can happen where it was put.
    ///
    /// # Errors
    /// Says where it belongs.
    pub fn check(&self) -> Result<(), String> {
        let name = self.kind.name();
        let place = FAULT_HELP.iter().find(|(known, _, _)| *known == name).map_or("both", |(_, place, _)| place);
        let here = match self.on {
            FaultOn::Api(_) => "api",
            FaultOn::Object(_) => "object",
        };
        if place == "both" || place == here {
            Ok(())
        } else {
            Err(format!("{name} is a fault of {place} calls, not of {here} calls"))
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, filter) = match &self.on {
            FaultOn::Api(filter) => ("api", filter),
            FaultOn::Object(filter) => ("object", filter),
        };
        write!(f, "{place}")?;
        if let Some(filter) = filter {
            write!(f, "/{filter}")?;
        }
        write!(f, ":{}", self.kind.name())?;
        match self.probability {
            Some(chance) => write!(f, ",probability={chance},seed={}", self.seed)?,
            None => write!(f, ",every={}", self.every)?,
        }
        if self.skip > 0 {
            write!(f, ",skip={}", self.skip)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ",limit={limit}")?;
        }
        if let Some(after) = self.after_bytes {
            write!(f, ",after={after}")?;
        }
        if let Some(after) = self.retry_after {
            write!(f, ",retry_after={}", after.as_secs_f64())?;
        }
        Ok(())
    }
}

/// A fault in the table, with what it has seen.
#[derive(Clone, Debug, Serialize)]
pub struct FaultState {
    /// The fault, as on the command line.
    pub fault: String,
    /// Calls it was about.
    pub seen: u64,
    /// Times it fired.
    pub fired: u64,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    seen: u64,
    fired: u64,
    random: fastrand::Rng,
}

/// A call, as faults see it.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// An API call of this endpoint.
    Api(&'a str),
    /// A request for an object known under these names.
    Object(&'a [&'a str]),
}

/// The table of faults.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    table: Mutex<Vec<Active>>,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        let random = fastrand::Rng::with_seed(fault.seed);
        lock(&self.table).push(Active { fault, seen: 0, fired: 0, random });
        self.any.store(true, Ordering::SeqCst);
    }

    /// Removes all faults. What already hangs goes on hanging.
    pub fn clear(&self) {
        lock(&self.table).clear();
        self.any.store(false, Ordering::SeqCst);
    }

    /// The table.
    pub fn list(&self) -> Vec<FaultState> {
        lock(&self.table)
            .iter()
            .map(|active| FaultState { fault: active.fault.to_string(), seen: active.seen, fired: active.fired })
            .collect()
    }

    /// The fault of this call, if any: the first of the table that is due. Every fault that is about the call counts it.
    pub fn fire(&self, call: Call<'_>) -> Option<Fault> {
        if !self.any.load(Ordering::SeqCst) {
            return None;
        }
        let mut chosen = None;
        for active in lock(&self.table).iter_mut() {
            let about = match (&active.fault.on, call) {
                (FaultOn::Api(None), Call::Api(_)) | (FaultOn::Object(None), Call::Object(_)) => true,
                (FaultOn::Api(Some(wanted)), Call::Api(endpoint)) => wanted == endpoint,
                (FaultOn::Object(Some(wanted)), Call::Object(names)) => names.contains(&wanted.as_str()),
                _ => false,
            };
            if !about {
                continue;
            }
            active.seen += 1;
            let count = active.seen.saturating_sub(active.fault.skip);
            let due = count > 0
                && match active.fault.probability {
                    Some(chance) => active.random.f64() < chance,
                    None => count.is_multiple_of(active.fault.every),
                };
            if due && chosen.is_none() && active.fault.limit.is_none_or(|limit| active.fired < limit) {
                active.fired += 1;
                chosen = Some(active.fault.clone());
            }
        }
        chosen
    }
}
