//! What the filesystem tells of itself, for `koofs status` and metrics.

use super::DriveFs;
use crate::stats::Report;

/// How many of the ranges that are being fetched a report tells, and so much of each path: it has 16,000 bytes.
const MAX_TOLD_FETCHES: usize = 16;
const MAX_TOLD_CHARS: usize = 120;

impl DriveFs {
    /// Says how it is, from memory, the longest part last: what is being fetched, some of them.
    pub fn tell(&self, report: &mut Report) {
        self.figures.tell(report);
        self.content.tell(report);
        self.users.tell(report);
        report.number("retries.listing", self.lister.retries());
        report.number("tree.inodes", self.inodes.len() as u64);
        report.number("tree.open_files", self.files.len() as u64);
        report.number("tree.open_directories", self.dirs.len() as u64);
        for (index, fetch) in self.content.fetches().iter().take(MAX_TOLD_FETCHES).enumerate() {
            let path = self.inodes.path_of_file(&fetch.id, fetch.version).unwrap_or_else(|| "?".to_owned());
            let shown: String = path.chars().take(MAX_TOLD_CHARS).collect();
            let since = self.clock.now().saturating_duration_since(fetch.since);
            report.text(&format!("fetching.{index}.path"), &shown);
            report.number(&format!("fetching.{index}.offset"), fetch.range.start);
            report.number(&format!("fetching.{index}.length"), fetch.range.len());
            report.number(&format!("fetching.{index}.ms"), u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        }
    }
}
