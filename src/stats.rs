//! What a mount counts of itself, for `koofs status`: counters and histograms of fixed size, each a handful of relaxed atomics.
//!
//! Knows no other room but the kinds of failures. Threads: any. No locks. A count may be read while others go on: the figures of one
//! report need not add up.

mod report;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::remote::RemoteErrorKind;
pub use report::Report;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Of the doublings of a time: what is shorter than the shortest or longer than the longest is counted with that. 64 µs to 19 hours.
const MIN_DOUBLING: u32 = 6;
const MAX_DOUBLING: u32 = 36;

/// Each doubling has so many buckets, so that a quantile is at most a quarter too large.
const PARTS: u32 = 4;

const BUCKETS: usize = ((MAX_DOUBLING - MIN_DOUBLING) * PARTS) as usize;

/// The ends of the buckets that are told to others, as doublings: every second one from 1 ms to 67 s.
const TOLD_DOUBLINGS: std::ops::RangeInclusive<u32> = 10..=26;

/// How long things took.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    micros: Counter,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: std::array::from_fn(|_| AtomicU64::new(0)), micros: Counter::default() }
    }
}

/// How long the requests of one purpose took, in few buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// What for, as a report has it.
    pub purpose: &'static str,
    /// The ends of buckets, in microseconds, each with how many did not take longer.
    pub buckets: Vec<(u64, u64)>,
    /// How many were answered.
    pub count: u64,
    /// How long all of them took together, in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// Something took so long.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min((1 << MAX_DOUBLING) - 1);
        self.micros.add(micros);
        let micros = micros.max(1 << MIN_DOUBLING);
        let doubling = micros.ilog2();
        // The two bits behind the first.
        let part = (micros >> (doubling - 2)) & u64::from(PARTS - 1);
        let bucket = u64::from((doubling - MIN_DOUBLING) * PARTS) + part;
        if let Some(bucket) = usize::try_from(bucket).ok().and_then(|bucket| self.counts.get(bucket)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What `permille` of a thousand did not take longer than, rounded up to the end of a bucket; `None` if there was nothing yet.
    pub fn quantile(&self, permille: u64) -> Option<Duration> {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let sum: u64 = counts.iter().sum();
        let rank = sum.saturating_mul(permille).div_ceil(1000).max(1);
        let mut below = 0;
        let bucket = counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        let (doubling, part) =
            (bucket as u64 / u64::from(PARTS) + u64::from(MIN_DOUBLING), bucket as u64 % u64::from(PARTS));
        Some(Duration::from_micros((1 << doubling) + (part + 1) * (1 << (doubling - 2))))
    }
}

impl Histogram {
    /// All of it, as that of `purpose`.
    fn latency(&self, purpose: &'static str) -> Latency {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let below = |doubling: u32| {
            let buckets = ((doubling - MIN_DOUBLING) * PARTS) as usize;
            (1 << doubling, counts.iter().take(buckets).sum())
        };
        let buckets = TOLD_DOUBLINGS.step_by(2).map(below).collect();
        Latency { purpose, buckets, count: counts.iter().sum(), sum_micros: self.micros.get() }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A page of a listing.
    Listing,
    /// Links to the content of files.
    Links,
    /// Logins, and what keeps them alive.
    Login,
    /// Other calls of the service.
    Other,
    /// Content of a file, from the object store.
    Content,
}

/// All of them, as they are called in a report.
const PURPOSES: [(Purpose, &str); 5] = [
    (Purpose::Listing, "listing"),
    (Purpose::Links, "links"),
    (Purpose::Login, "login"),
    (Purpose::Other, "other"),
    (Purpose::Content, "content"),
];

/// How many kinds of failures there are.
const FAILURES: usize = 15;

/// A kind of failure: its place, and its name in a report.
fn failure(kind: RemoteErrorKind) -> (usize, &'static str) {
    match kind {
        RemoteErrorKind::NotFound => (0, "not_found"),
        RemoteErrorKind::Denied => (1, "denied"),
        RemoteErrorKind::NeedsLogin => (2, "needs_login"),
        RemoteErrorKind::LoginNotReady => (3, "login_not_ready"),
        RemoteErrorKind::Throttled => (4, "throttled"),
        RemoteErrorKind::Timeout => (5, "timeout"),
        RemoteErrorKind::Interrupted => (6, "interrupted"),
        RemoteErrorKind::Unavailable => (7, "unavailable"),
        RemoteErrorKind::Changed => (8, "changed"),
        RemoteErrorKind::Malformed => (9, "malformed"),
        RemoteErrorKind::CursorRefused => (10, "cursor_refused"),
        RemoteErrorKind::Unusable => (11, "unusable"),
        RemoteErrorKind::Unreachable => (12, "unreachable"),
        RemoteErrorKind::Foreign => (13, "foreign"),
        RemoteErrorKind::Offline => (14, "offline"),
    }
}

/// All kinds of failures.
const KINDS: [RemoteErrorKind; FAILURES] = [
    RemoteErrorKind::NotFound,
    RemoteErrorKind::Denied,
    RemoteErrorKind::NeedsLogin,
    RemoteErrorKind::LoginNotReady,
    RemoteErrorKind::Throttled,
    RemoteErrorKind::Timeout,
    RemoteErrorKind::Interrupted,
    RemoteErrorKind::Unavailable,
    RemoteErrorKind::Changed,
    RemoteErrorKind::Malformed,
    RemoteErrorKind::CursorRefused,
    RemoteErrorKind::Unusable,
    RemoteErrorKind::Unreachable,
    RemoteErrorKind::Foreign,
    RemoteErrorKind::Offline,
];

/// The requests of a mount, by purpose.
#[derive(Debug, Default)]
pub struct Requests([OfPurpose; PURPOSES.len()]);

/// The requests of one purpose.
#[derive(Debug, Default)]
struct OfPurpose {
    begun: Counter,
    ended: Counter,
    bytes: Counter,
    latency: Histogram,
    failures: [Counter; FAILURES],
}

impl Requests {
    /// A request goes out. It is under way until its head is in, or all of a call's answer, and the result is dropped.
    pub fn begin(&self, purpose: Purpose) -> UnderWay<'_> {
        let of = &self.0[purpose as usize];
        of.begun.count();
        UnderWay(of)
    }

    /// So many bytes of an answer have come.
    pub fn received(&self, purpose: Purpose, bytes: u64) {
        self.0[purpose as usize].bytes.add(bytes);
    }

    /// A request has failed, or broke on its way.
    pub fn failed(&self, purpose: Purpose, kind: RemoteErrorKind) {
        self.0[purpose as usize].failures[failure(kind).0].count();
    }

    /// How often the service or the store has asked for fewer requests.
    pub fn throttles(&self) -> u64 {
        self.0.iter().map(|of| of.failures[failure(RemoteErrorKind::Throttled).0].get()).sum()
    }

    /// How long they took, for each purpose.
    pub fn latencies(&self) -> Vec<Latency> {
        PURPOSES.iter().map(|(purpose, name)| self.0[*purpose as usize].latency.latency(name)).collect()
    }

    /// Says all of it, under `requests.`; what has never been is left out.
    pub fn tell(&self, report: &mut Report) {
        for (purpose, name) in PURPOSES {
            let of = &self.0[purpose as usize];
            let (ended, begun) = (of.ended.get(), of.begun.get());
            report.number(&format!("requests.{name}.count"), begun);
            report.number(&format!("requests.{name}.running"), begun.saturating_sub(ended));
            report.number(&format!("requests.{name}.bytes"), of.bytes.get());
            for (quantile, permille) in [("p50_us", 500), ("p99_us", 990)] {
                if let Some(took) = of.latency.quantile(permille) {
                    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    report.number(&format!("requests.{name}.{quantile}"), micros);
                }
            }
            for kind in KINDS {
                let (index, failure) = failure(kind);
                if let count @ 1.. = of.failures[index].get() {
                    report.number(&format!("requests.{name}.errors.{failure}"), count);
                }
            }
        }
    }
}

/// A request that is under way.
pub struct UnderWay<'a>(&'a OfPurpose);

impl UnderWay<'_> {
    /// It was answered, whatever the answer, after so long.
    pub fn answered(&self, took: Duration) {
        self.0.latency.note(took);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.ended.count();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn quantile_is_never_too_small_and_at_most_a_quarter_too_large() {
        for micros in [64, 65, 100, 127, 128, 1000, 50_000, 1_234_567, 60_000_000] {
            let histogram = Histogram::default();
            histogram.note(Duration::from_micros(micros));
            let told = histogram.quantile(500).unwrap().as_micros();
            assert!(told >= u128::from(micros) && told <= u128::from(micros) * 5 / 4 + 1, "{micros}: {told}");
        }
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), None);
        for took in [Duration::ZERO, Duration::MAX] {
            histogram.note(took);
        }
        assert!(histogram.quantile(1).unwrap() < Duration::from_millis(1));
        assert!(histogram.quantile(1000).unwrap() > Duration::from_secs(3600));
    }

    #[test]
    fn quantiles_part_the_fast_from_the_slow() {
        let histogram = Histogram::default();
        (0..985).for_each(|_| histogram.note(Duration::from_millis(10)));
        (0..15).for_each(|_| histogram.note(Duration::from_secs(1)));
        assert!(histogram.quantile(500).unwrap() < Duration::from_millis(14));
        assert!(histogram.quantile(990).unwrap() >= Duration::from_secs(1));
    }

    #[test]
    fn told_buckets_grow_and_hold_all_that_is_not_longer() {
        let histogram = Histogram::default();
        for millis in [0, 1, 3, 100, 10_000, 100_000] {
            histogram.note(Duration::from_millis(millis));
        }
        let told = histogram.latency("listing");
        assert_eq!((told.count, told.sum_micros), (6, 110_104_000));
        assert_eq!(told.buckets.first(), Some(&(1024, 2)));
        assert_eq!(told.buckets.last(), Some(&(1 << 26, 5)));
        assert!(told.buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{told:?}");
    }

    #[test]
    fn requests_are_told_by_purpose_and_failures_by_kind() {
        let requests = Requests::default();
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(failure(kind).0, index);
        }
        for (index, (purpose, _)) in PURPOSES.into_iter().enumerate() {
            assert_eq!(purpose as usize, index);
        }
        requests.begin(Purpose::Listing).answered(Duration::from_millis(3));
        let running = requests.begin(Purpose::Listing);
        requests.received(Purpose::Listing, 500);
        requests.failed(Purpose::Content, RemoteErrorKind::Throttled);
        requests.failed(Purpose::Links, RemoteErrorKind::Throttled);
        let mut report = Report::default();
        requests.tell(&mut report);
        drop(running);
        let text = String::from_utf8(report.into_bytes(10_000)).unwrap();
        for line in [
            "requests.listing.count\t2",
            "requests.listing.running\t1",
            "requests.listing.bytes\t500",
            "requests.content.errors.throttled\t1",
        ] {
            assert!(text.lines().any(|other| other == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("content.p50_us") && text.contains("listing.p99_us"));
        assert_eq!(requests.throttles(), 2);
    }
}
