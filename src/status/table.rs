//! A status for people.

use std::fmt::Write;

use super::lines::Lines;
use crate::policy::printable::printable;
use crate::policy::size::human_size;

/// What requests are for, in the order of their lines.
const PURPOSES: [&str; 5] = ["listing", "links", "login", "other", "content"];

/// One mount of several: mountpoint, source, state, and what there is to say.
pub(super) type Row = [String; 5];

/// The line of a mount that has answered.
pub(super) fn row(mountpoint: &str, lines: &Lines) -> Row {
    let memory = human_size(lines.number("memory.used_bytes"));
    let up = age(lines.number("uptime_seconds"));
    [printable(mountpoint).into_owned(), lines.text("source").to_owned(), "alive".to_owned(), up, memory]
}

/// The line of one that has not.
pub(super) fn row_without(mountpoint: &str, source: &str, state: &str) -> Row {
    let unknown = || "-".to_owned();
    [printable(mountpoint).into_owned(), printable(source).into_owned(), state.to_owned(), unknown(), unknown()]
}

/// The lines under a heading, or that there are none.
pub(super) fn of_rows(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "nothing is mounted\n".to_owned();
    }
    let heading = ["MOUNTPOINT", "SOURCE", "STATE", "UP", "MEMORY"].map(str::to_owned);
    let all: Vec<&Row> = std::iter::once(&heading).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |row: &&Row| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    all.iter().map(line).collect()
}

/// All of one mount.
pub(super) fn of_one(mountpoint: &str, lines: &Lines) -> String {
    let mut text = String::new();
    // A String takes what it is given.
    let _ = write_one(&mut text, mountpoint, lines);
    text
}

fn write_one(text: &mut String, mountpoint: &str, lines: &Lines) -> std::fmt::Result {
    let size = |name: &str| human_size(lines.number(name));
    let (source, up, pid) = (lines.text("source"), age(lines.number("uptime_seconds")), lines.number("pid"));
    writeln!(text, "{source} at {}, up {up}, process {pid}", printable(mountpoint))?;
    let (used, budget) = (size("memory.used_bytes"), size("memory.budget_bytes"));
    writeln!(text, "memory    {used} of {budget}, {} at most", size("memory.peak_bytes"))?;
    if lines.has("cache.directory") {
        let used = if lines.has("cache.used_bytes") { size("cache.used_bytes") } else { "?".to_owned() };
        let (limit, directory) = (size("cache.limit_bytes"), lines.text("cache.directory"));
        let found = share(lines.number("cache.hits"), lines.number("cache.misses") + lines.number("cache.late"));
        writeln!(text, "cache     {used} of {limit} in {directory}, {found} found")?;
    }
    for what in ["reads", "lookups"] {
        let from_memory = lines.number(&format!("{what}.from_memory"));
        let waited = lines.number(&format!("{what}.waited"));
        let found = share(from_memory, waited);
        writeln!(text, "{what:9} {} answered, {found} from memory", from_memory + waited)?;
    }
    let open = ["tree.open_files", "tree.open_directories", "tree.inodes"].map(|name| lines.number(name));
    writeln!(text, "tree      {} files and {} directories open, {} entries known", open[0], open[1], open[2])?;
    writeln!(text, "\nREQUESTS     COUNT  RUNNING    BYTES      P50      P99  ERRORS")?;
    for purpose in PURPOSES {
        let name = |what: &str| format!("requests.{purpose}.{what}");
        let number = |what: &str| lines.number(&name(what));
        let time = |what: &str| if lines.has(&name(what)) { duration(number(what)) } else { "-".to_owned() };
        let (count, running, bytes) = (number("count"), number("running"), human_size(number("bytes")));
        let (p50, p99) = (time("p50_us"), time("p99_us"));
        let errors = counts(lines, &name("errors."));
        let line = format!("{purpose:10} {count:7} {running:8} {bytes:>8} {p50:>8} {p99:>8}  {errors}");
        writeln!(text, "{}", line.trim_end())?;
    }
    let retries = lines.number("retries.content") + lines.number("retries.listing");
    let (throttles, renewed) = (lines.number("throttles"), lines.number("links.renewed"));
    writeln!(text, "\n{retries} tried again, {throttles} asked for fewer requests, {renewed} links renewed")?;
    let errors = counts(lines, "errors.");
    if !errors.is_empty() {
        writeln!(text, "errors to programs: {errors}")?;
    }
    write_users(text, lines)?;
    for (name, path) in lines.below("fetching.").filter(|(name, _)| name.ends_with(".path")) {
        let number = |what: &str| lines.number(&format!("fetching.{}{what}", name.trim_end_matches("path")));
        let (from, len) = (human_size(number("offset")), human_size(number("length")));
        let since = duration(number("ms").saturating_mul(1000));
        writeln!(text, "fetching  {}  {len} from {from} on, since {since}", path.trim_matches('"'))?;
    }
    Ok(())
}

/// Who has cost most, with a heading, if there is anybody.
fn write_users(text: &mut String, lines: &Lines) -> std::fmt::Result {
    let mut users = lines.below("users.").filter(|(name, _)| name.ends_with(".pid")).peekable();
    if users.peek().is_some() {
        writeln!(text, "\nPROCESS           PID    FILES  FOLDERS    BYTES   WAITED")?;
    }
    for (name, pid) in users {
        let field = |what: &str| format!("users.{}{what}", name.trim_end_matches("pid"));
        let number = |what: &str| lines.number(&field(what));
        let called = match lines.text(&field("name")) {
            "" => "?",
            name => name,
        };
        let (files, folders, waited) = (number("files"), number("directories"), number("waited"));
        let bytes = human_size(number("bytes"));
        writeln!(text, "{called:12} {pid:>8} {files:8} {folders:8} {bytes:>8} {waited:8}")?;
    }
    Ok(())
}

/// `timeout 3, throttled 1` of what lies below `prefix`.
fn counts(lines: &Lines, prefix: &str) -> String {
    lines.below(prefix).map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Which part of `hits` and `others` the hits are.
fn share(hits: u64, others: u64) -> String {
    match hits + others {
        0 => "-".to_owned(),
        sum => format!("{} %", hits.saturating_mul(100) / sum),
    }
}

/// A time since the start, by its two largest units.
fn age(seconds: u64) -> String {
    let [days, hours, minutes, seconds] = [seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// A time with its unit, to about two digits.
fn duration(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{}ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{}ms", micros / 1000),
        _ => format!("{}.{}s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0, 64, 9_999, 10_000, 999_999, 1_200_000].map(duration),
            ["0.0ms", "0.0ms", "9.9ms", "10ms", "999ms", "1.2s"]
        );
        assert_eq!([59, 61, 3_660, 90_000].map(age), ["59s", "1m01s", "1h01m", "1d01h"]);
    }

    #[test]
    fn mounts_stand_in_columns() {
        let rows = [row_without("/mnt", "koofs:share-01234567", "dead"), row("/srv/a\nb", &Lines::default())];
        let text = of_rows(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("MOUNTPOINT  SOURCE") && lines[2].starts_with("/srv/a\\nb"), "{text}");
        assert_eq!(lines[0].find("STATE"), lines[1].find("dead"));
        assert_eq!(of_rows(&[]), "nothing is mounted\n");
    }
}
