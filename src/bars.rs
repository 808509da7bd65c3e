//! How far a walk has come, for whoever waits: a bar on a terminal, a line now and then elsewhere. On standard error.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::outcome::Kept;
use crate::policy::size::human_size;
use crate::sync::lock;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Files, bytes, rate, and how long the rest of what was found so far takes.
const BAR: &str = "{msg} {bytes} of {total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left";

/// Shows how far a walk has come.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// Bytes found.
    found: AtomicU64,
    said_at: Mutex<Instant>,
}

impl Progress {
    pub(super) fn start() -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // A bar of the crate's own making, if it does not take ours.
            bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress { bar, found: AtomicU64::new(0), said_at: Mutex::new(Instant::now()) }
    }

    /// So many bytes more are to be kept.
    pub(super) fn found(&self, bytes: u64) {
        self.found.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc_length(bytes);
        }
    }

    /// So much is kept by now.
    pub(super) fn kept(&self, kept: Kept) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} files,", kept.files));
            return bar.set_position(kept.bytes);
        }
        let mut said_at = lock(&self.said_at);
        if said_at.elapsed() >= LINE_EVERY {
            *said_at = Instant::now();
            let found = human_size(self.found.load(Ordering::Relaxed).max(kept.bytes));
            eprintln!("koofs: {} files, {} of {found} so far", kept.files, human_size(kept.bytes));
        }
    }

    /// The walk is over.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
