//! How far long work has come, for whoever waits: a bar on a terminal, a line now and then elsewhere. On standard error.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::policy::size::human_size;
use crate::sync::lock;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Things, bytes, rate, and how long the rest of what was found so far takes.
const BAR: &str = "{msg} {bytes} of {total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left";

/// Shows how far long work has come.
pub struct Progress {
    /// What is counted, for people: `files`.
    what: &'static str,
    bar: Option<ProgressBar>,
    /// Bytes found.
    found: AtomicU64,
    said_at: Mutex<Instant>,
}

impl Progress {
    /// Nothing is done yet of what is counted in `what`.
    pub fn start(what: &'static str) -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            // A bar of the crate's own making, if it does not take ours.
            bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress { what, bar, found: AtomicU64::new(0), said_at: Mutex::new(Instant::now()) }
    }

    /// So many bytes more are to be done.
    pub fn found(&self, bytes: u64) {
        self.found.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc_length(bytes);
        }
    }

    /// So many things, and bytes of them, are done by now.
    pub fn reached(&self, count: u64, bytes: u64) {
        let what = self.what;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{count} {what},"));
            return bar.set_position(bytes);
        }
        let mut said_at = lock(&self.said_at);
        if said_at.elapsed() >= LINE_EVERY {
            *said_at = Instant::now();
            let found = human_size(self.found.load(Ordering::Relaxed).max(bytes));
            eprintln!("koofs: {count} {what}, {} of {found} so far", human_size(bytes));
        }
    }

    /// It is over.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
