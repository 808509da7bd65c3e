//! What a mount says of itself to `koofs status`, from memory: names, times and figures; no secret.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::config::MountConfig;
use crate::fs::DriveFs;
use crate::kernel::inquiry::TellStatus;
use crate::metrics;
use crate::stats::{Report, Requests};
use crate::store::Store;

/// The version of the lines: raised when one of them means something else.
const FORMAT: u64 = 1;

/// All that is asked.
struct Told {
    name: String,
    cache_dir: Option<String>,
    started: Instant,
    requests: Arc<Requests>,
    store: Option<Arc<Store>>,
    drive: Arc<DriveFs>,
}

/// The most bytes of a report for metrics: more than there ever are.
const MAX_METRICS_BYTES: usize = 64 << 10;

/// What tells how the mount of `config` is, which begins now: to `koofs status`, and for Prometheus.
pub(super) fn tellers(
    config: &MountConfig,
    requests: Arc<Requests>,
    store: Option<Arc<Store>>,
    drive: Arc<DriveFs>,
) -> (TellStatus, Box<dyn Fn() -> String + Send>) {
    let cache_dir = config.cache.as_ref().map(|cache| cache.directory.display().to_string());
    let told = Told { name: config.name.clone(), cache_dir, started: SystemClock.now(), requests, store, drive };
    let told = Arc::new(told);
    let for_metrics = Arc::clone(&told);
    let tell_metrics = move || {
        let report = for_metrics.report().into_bytes(MAX_METRICS_BYTES);
        metrics::exposition(&String::from_utf8_lossy(&report), &for_metrics.requests.latencies())
    };
    (Arc::new(move |max| told.report().into_bytes(max)), Box::new(tell_metrics))
}

impl Told {
    fn report(&self) -> Report {
        let mut report = Report::default();
        report.number("format", FORMAT);
        report.text("version", env!("CARGO_PKG_VERSION"));
        report.number("pid", std::process::id().into());
        report.text("source", &self.name);
        report.number("uptime_seconds", SystemClock.now().saturating_duration_since(self.started).as_secs());
        self.requests.tell(&mut report);
        report.number("throttles", self.requests.throttles());
        if let Some(store) = &self.store {
            self.tell_store(store, &mut report);
        }
        self.drive.tell(&mut report);
        report
    }

    fn tell_store(&self, store: &Store, report: &mut Report) {
        let stats = store.stats();
        report.text("cache.directory", self.cache_dir.as_deref().unwrap_or_default());
        report.number("cache.limit_bytes", stats.limit_bytes);
        if let Some(used) = stats.used_bytes {
            report.number("cache.used_bytes", used);
        }
        for (name, value) in [
            ("hits", stats.hits),
            ("misses", stats.misses),
            ("late", stats.late),
            ("damaged", stats.damaged),
            ("written_bytes", stats.written_bytes),
            ("dropped_bytes", stats.dropped_bytes),
            ("evicted", stats.evicted),
        ] {
            report.number(&format!("cache.{name}"), value);
        }
    }
}
