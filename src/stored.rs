//! `koofs cache`: what is kept on the disk, on standard output; and how it is cleared and checked. Touches no network.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use crate::bars::Progress;
use crate::config::{CacheAction, CacheCommand, Report};
use crate::policy::printable::printable;
use crate::policy::size::human_size;
use crate::store::StoreError;
use crate::store::identity::LISTINGS_LABEL;
use crate::store::upkeep::{self, SourceSummary, Verified};

/// Does what is asked for; what to say of it.
///
/// # Errors
/// If the directory cannot be used.
pub fn run(command: &CacheCommand) -> Result<Report, StoreError> {
    let directory = &command.directory;
    match &command.action {
        CacheAction::Show => show(directory),
        CacheAction::Clear(source) => clear(directory, source.as_deref()),
        CacheAction::Verify => verify(directory).map(verified),
    }
}

/// What there is of one source: files and listings together.
#[derive(Default)]
struct Row {
    bytes: u64,
    pinned_bytes: u64,
    blobs: u64,
    oldest: Option<SystemTime>,
}

fn show(directory: &Path) -> Result<Report, StoreError> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for summary in upkeep::summaries(directory)? {
        let row = rows.entry(name_of(&summary)).or_default();
        row.bytes += summary.bytes;
        row.pinned_bytes += summary.pinned_bytes;
        row.blobs += summary.blobs;
        row.oldest = match (row.oldest, summary.oldest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    let sum = rows.values().map(|row| row.bytes).sum();
    let pinned = pinned_part(rows.values().map(|row| row.pinned_bytes).sum());
    let mut lines = vec![format!("{}{pinned} in {}", human_size(sum), printable(&directory.display().to_string()))];
    lines.extend(rows.iter().map(|(name, row)| {
        let oldest = row.oldest.map_or_else(|| "-".to_owned(), date);
        let pinned = pinned_part(row.pinned_bytes);
        format!("{:>6} {:>9} {:>10}  {}{pinned}", human_size(row.bytes), row.blobs, oldest, printable(name))
    }));
    Ok(Report { lines, is_well: true })
}

/// Says how much of it is pinned, if anything is.
fn pinned_part(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(" ({} pinned)", human_size(bytes)) }
}

/// A source without a name is called by its key.
fn name_of(summary: &SourceSummary) -> String {
    let label = summary.label.as_deref().map(|label| label.strip_suffix(LISTINGS_LABEL).unwrap_or(label));
    label.map_or_else(|| summary.key.to_string(), str::to_owned)
}

fn date(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn clear(directory: &Path, source: Option<&str>) -> Result<Report, StoreError> {
    let summaries = upkeep::summaries(directory)?;
    let removed = |freed, pinned| format!("{}{} removed", human_size(freed), pinned_part(pinned));
    let Some(source) = source else {
        let pinned = summaries.iter().map(|summary| summary.pinned_bytes).sum();
        let freed = upkeep::clear(directory, None)?;
        return Ok(Report { lines: vec![removed(freed, pinned)], is_well: true });
    };
    let mut is_known = false;
    let (mut freed, mut pinned) = (0, 0);
    for summary in summaries {
        if name_of(&summary) == source || summary.key.to_string() == source {
            is_known = true;
            pinned += summary.pinned_bytes;
            freed += upkeep::clear(directory, Some(summary.key))?;
        }
    }
    let line = match is_known {
        true => removed(freed, pinned),
        false => format!("nothing is kept of {}: koofs cache shows what is", printable(source)),
    };
    Ok(Report { lines: vec![line], is_well: is_known })
}

/// Reads all of it, and shows how far that has come.
fn verify(directory: &Path) -> Result<Verified, StoreError> {
    let progress = Progress::start("blobs");
    progress.found(upkeep::summaries(directory)?.iter().map(|summary| summary.bytes).sum());
    let found = upkeep::verify(directory, |seen| progress.reached(seen.blobs, seen.bytes));
    progress.end();
    found
}

fn verified(found: Verified) -> Report {
    let Verified { blobs, bytes, damaged, unreadable } = found;
    let mut line = format!("{blobs} blobs, {}, are as they were written", human_size(bytes));
    if damaged > 0 {
        line.push_str(&format!("; {damaged} were not, and are removed"));
    }
    if unreadable > 0 {
        line.push_str(&format!("; {unreadable} could not be read or removed: check the disk"));
    }
    Report { lines: vec![line], is_well: damaged + unreadable == 0 }
}
