//! Where log lines go, and which: ours by `-v`, those of other crates never below warnings, as they would log links.

use std::io::Write;
use std::panic;
use std::path::Path;
use std::sync::Mutex;

use env_logger::{Builder, Target};
use log::{LevelFilter, Record, error, warn};

use super::error::MountError;
use super::log_file::LogFile;
use crate::clock::lock;
use crate::policy::printable::{one_line, printable};

/// Where the log of this process goes, if that is a file.
static LOG_FILE: Mutex<Option<LogFile>> = Mutex::new(None);

/// Starts the log of this process, at most once: to `log_file` (made readable for the user only, appended to), else to
/// standard error. A panic is one log line from now on.
///
/// # Errors
/// [`MountError::LogFile`], [`MountError::UnsafeLogFile`].
pub fn start(verbosity: u8, log_file: Option<&Path>) -> Result<(), MountError> {
    let mut builder = Builder::new();
    if let Some(path) = log_file {
        let file = LogFile::open(path)?;
        builder.target(Target::Pipe(Box::new(file.clone())));
        *lock(&LOG_FILE) = Some(file);
    }
    builder.filter_level(LevelFilter::Warn).filter_module("koofs", level(verbosity));
    builder.format(|out, record| writeln!(out, "{}", line(record)));
    // A second start, in tests only, keeps the first log.
    if builder.try_init().is_ok() {
        panic::set_hook(Box::new(|panic| error!("BUG: {panic}")));
    }
    Ok(())
}

/// Goes on in whatever is at the log file's path now; does nothing where the log goes elsewhere.
pub(super) fn reopen() {
    let file = lock(&LOG_FILE).clone();
    if let Some(Err(error)) = file.map(|file| file.reopen()) {
        warn!("the log file cannot be opened again, so the old one is kept: {}", one_line(&error));
    }
}

fn level(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// One line whatever the message: file names are remote text.
fn line(record: &Record<'_>) -> String {
    let message = record.args().to_string();
    let now = jiff::Timestamp::now();
    format!("{now:.3} {:5} {}: {}", record.level(), record.target(), printable(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_stays_one_line_and_starts_with_the_time() {
        let line =
            line(&Record::builder().args(format_args!("a\nb")).target("koofs::fs").level(log::Level::Warn).build());
        assert!(line.ends_with("Z WARN  koofs::fs: a\\nb"), "{line}");
    }

    #[test]
    fn verbosity_raises_the_level() {
        let levels: Vec<_> = (0..5).map(level).collect();
        assert_eq!(
            levels,
            [LevelFilter::Warn, LevelFilter::Info, LevelFilter::Debug, LevelFilter::Trace, LevelFilter::Trace]
        );
    }
}
