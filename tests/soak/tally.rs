//! What a run counts, and how it tells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::calls;
use super::mount::Sample;
use super::ops::Outcome;
use super::plan::Kind;
use crate::emulator::Counters;
use crate::emulator::pattern::{self, PERIOD};

/// All that was counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Workers that have not ended.
    pub(crate) working: usize,
    operations: u64,
    cut: u64,
    checked_calls: u64,
    slowest_ms: u64,
    late: u64,
    bytes: u64,
    well: BTreeMap<String, u64>,
    under_faults: BTreeMap<String, u64>,
    overwritten: u64,
    silent_calls: u64,
    recovery: Duration,
    /// After each phase, when nobody was there.
    samples: Vec<Sample>,
    /// The most of each at any moment.
    peak: Sample,
    phase: PhaseTally,
    /// Files that were read in any phase.
    known_files: BTreeSet<String>,
}

/// What was counted in the phase under way.
#[derive(Debug, Default)]
struct PhaseTally {
    operations: u64,
    errors: BTreeMap<String, u64>,
    bytes: u64,
    folders: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Tally {
    pub(crate) fn begin(&mut self) {
        let files = std::mem::take(&mut self.phase).files;
        self.known_files.extend(files);
    }

    pub(crate) fn operation(&mut self, kind: Kind, outcome: &Outcome) {
        self.operations += 1;
        self.phase.operations += 1;
        self.cut += u64::from(outcome.cut);
        self.checked_calls += outcome.calls;
        self.slowest_ms = self.slowest_ms.max(outcome.slowest_ms);
        self.late += outcome.late;
        self.overwritten += outcome.overwritten;
        self.bytes += outcome.bytes;
        self.phase.bytes += outcome.bytes;
        let by_errno = if kind.has_faults() { &mut self.under_faults } else { &mut self.well };
        for (errno, count) in &outcome.errors {
            *by_errno.entry(errno.clone()).or_default() += count;
            *self.phase.errors.entry(errno.clone()).or_default() += count;
        }
        self.phase.folders.extend(outcome.folders.iter().cloned());
        self.phase.files.extend(outcome.files.iter().cloned());
    }

    pub(crate) fn sampled(&mut self, sample: Sample) {
        self.peak.resident_kib = self.peak.resident_kib.max(sample.resident_kib);
        self.peak.peak_kib = self.peak.peak_kib.max(sample.peak_kib);
        self.peak.threads = self.peak.threads.max(sample.threads);
        self.peak.descriptors = self.peak.descriptors.max(sample.descriptors);
    }

    pub(crate) fn recovered(&mut self, took: Duration) {
        self.recovery = self.recovery.max(took);
    }

    /// Directories that had to be listed in this phase.
    pub(crate) fn folders(&self) -> &BTreeSet<String> {
        &self.phase.folders
    }

    /// Files that had to be read in this phase.
    pub(crate) fn files(&self) -> &BTreeSet<String> {
        &self.phase.files
    }

    /// How many of them were not read in any phase before.
    pub(crate) fn new_files(&self) -> usize {
        self.phase.files.difference(&self.known_files).count()
    }

    /// Ends a phase; the line about it.
    pub(crate) fn phase(
        &mut self,
        kind: Kind,
        before: &Counters,
        after: &Counters,
        sample: Sample,
        (quiet, late, silent): (Duration, u64, u64),
    ) -> String {
        self.samples.push(sample);
        self.silent_calls += silent;
        let gets = after.calls_of("object") - before.calls_of("object");
        let mut line = format!(
            "{} operations, {} API calls, {gets} GETs, {} sent for {} read; quiet after {:.1} s and {late} more calls, then {silent} calls of upkeep; {} MiB, {} \
             threads, {} descriptors",
            self.phase.operations,
            after.api_calls() - before.api_calls(),
            mib(after.object_bytes_sent - before.object_bytes_sent),
            mib(self.phase.bytes),
            quiet.as_secs_f64(),
            sample.resident_kib / 1024,
            sample.threads,
            sample.descriptors,
        );
        if !self.phase.errors.is_empty() {
            let _ = write!(line, "; {}", shown(&self.phase.errors));
        }
        if kind.has_faults() {
            let fired: u64 = after.faults.values().sum::<u64>() - before.faults.values().sum::<u64>();
            let _ = write!(line, "; {fired} faults fired");
        }
        line
    }

    /// Whether memory, threads or descriptors have grown since the process was warm.
    pub(crate) fn growth(
        &self,
        warm: usize,
        budget_kib: u64,
        resident_margin_kib: u64,
        threads_margin: u64,
        descriptors_margin: u64,
    ) -> Result<(), String> {
        if self.samples.len() < 2 * warm {
            return Ok(());
        }
        let most = |of: fn(&Sample) -> u64| self.samples[..warm].iter().map(of).max().unwrap_or(0);
        let least = |of: fn(&Sample) -> u64| self.samples.iter().rev().take(warm).map(of).min().unwrap_or(0);
        let resident: fn(&Sample) -> u64 = |sample| sample.resident_kib;
        let threads: fn(&Sample) -> u64 = |sample| sample.threads;
        let descriptors: fn(&Sample) -> u64 = |sample| sample.descriptors;
        let checks = [
            ("KiB", least(resident), most(resident).max(budget_kib) + resident_margin_kib),
            ("threads", least(threads), most(threads) + threads_margin),
            ("descriptors", least(descriptors), most(descriptors) + descriptors_margin),
        ];
        for (what, now, most) in checks {
            if now > most {
                return Err(format!("growth: {now} {what}, at most {most} were expected; {:?}", self.samples));
            }
        }
        Ok(())
    }

    /// The summary of a run.
    pub(crate) fn summary(&self, totals: &Counters) -> String {
        let first = self.samples.first().copied().unwrap_or_default();
        let last = self.samples.last().copied().unwrap_or_default();
        let object_calls = totals.calls_of("object");
        format!(
            "operations      {} ({} cut short by the end of their phase), {} system calls timed, {} compared\n\
             overwritten     {} times a file was seen as before a refresh, as size and time are the same\n\
             errors          under faults: {}; without: {}\n\
             requests        {} API calls, {object_calls} GETs, {} sent; {} faults fired\n\
             nobody there    {} calls of upkeep, 0 others; errors outlasted their faults by {:.0} s at most\n\
             late            {} calls beyond the time limit; the slowest took {:.1} s\n\
             memory          {} MiB after the first phase, {} after the last; at most {} MiB\n\
             threads         {} after the first phase, {} after the last; at most {}\n\
             descriptors     {} after the first phase, {} after the last; at most {}",
            self.operations,
            self.cut,
            self.checked_calls,
            mib(self.bytes),
            self.overwritten,
            shown(&self.under_faults),
            shown(&self.well),
            calls(totals) - object_calls,
            mib(totals.object_bytes_sent),
            totals.faults.values().sum::<u64>(),
            self.silent_calls,
            self.recovery.as_secs_f64(),
            self.late,
            self.slowest_ms as f64 / 1000.0,
            first.resident_kib / 1024,
            last.resident_kib / 1024,
            self.peak.peak_kib / 1024,
            first.threads,
            last.threads,
            self.peak.threads,
            first.descriptors,
            last.descriptors,
            self.peak.descriptors,
        )
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn shown(errors: &BTreeMap<String, u64>) -> String {
    if errors.is_empty() {
        return "none".to_owned();
    }
    errors.iter().map(|(errno, count)| format!("{errno} {count}")).collect::<Vec<_>>().join(", ")
}

/// How many lines files of pattern bytes have.
pub(crate) struct Lines {
    /// How many line feeds are in the table before each place.
    before: Vec<u32>,
}

impl Lines {
    pub(crate) fn new() -> Lines {
        let mut before = vec![0];
        let mut count = 0;
        for byte in pattern::expected(0, 0, PERIOD as usize) {
            count += u32::from(byte == b'\n');
            before.push(count);
        }
        Lines { before }
    }

    /// How many lines `size` bytes from `shift` on are for `grep -c ''`: one that does not end is one, too.
    pub(crate) fn count(&self, shift: u64, size: u64) -> u64 {
        if size == 0 {
            return 0;
        }
        let at = |place: u64| {
            place / PERIOD * u64::from(self.before[PERIOD as usize]) + u64::from(self.before[(place % PERIOD) as usize])
        };
        let ends = pattern::slice(shift, size - 1, 1)[..] == b"\n"[..];
        at(shift + size) - at(shift) + u64::from(!ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_grep_does() {
        let lines = Lines::new();
        for (shift, size) in [(0, 0), (5, 1), (5, 100_000), (PERIOD - 3, 4096), (PERIOD - 3, 3 * PERIOD + 17)] {
            let bytes = pattern::expected(shift, 0, size as usize);
            let feeds = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            let open = bytes.last().is_some_and(|byte| *byte != b'\n');
            assert_eq!(lines.count(shift, size), feeds + u64::from(open), "{shift} {size}");
        }
    }
}
