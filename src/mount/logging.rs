//! Where log lines go, and which: ours by `-v`, those of other crates never below warnings, as they would log links.

use std::io::{self, Write};
use std::panic;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use env_logger::{Builder, Target};
use log::{LevelFilter, Record, error, warn};

use super::error::MountError;
use super::log_file::LogFile;
use super::log_queue::LogQueue;
use crate::policy::printable::{one_line, printable};
use crate::sync::lock;

/// Where the log of this process goes, if that is a file.
static LOG_FILE: Mutex<Option<LogFile>> = Mutex::new(None);

/// What this process logs through.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Starts the log of this process, at most once: to `log_file` (made readable for the user only, appended to), else to
/// standard error. A panic is one log line from now on.
///
/// # Errors
/// [`MountError::LogFile`], [`MountError::UnsafeLogFile`].
pub fn start(verbosity: u8, log_file: Option<&Path>) -> Result<(), MountError> {
    let mut builder = Builder::new();
    let queue = match log_file {
        Some(path) => {
            let file = LogFile::open(path)?;
            *lock(&LOG_FILE) = Some(file.clone());
            LogQueue::new(Box::new(file))
        }
        None => LogQueue::new(Box::new(io::stderr())),
    };
    builder.target(Target::Pipe(Box::new(queue.clone())));
    builder.filter_level(LevelFilter::Warn).filter_module("koofs", level(verbosity));
    builder.format(|out, record| writeln!(out, "{}", line(record)));
    // A second start, in tests only, keeps the first log.
    if builder.try_init().is_ok() {
        let _ = QUEUE.set(queue);
        panic::set_hook(Box::new(|panic| error!("BUG: {panic}")));
    }
    Ok(())
}

/// Starts a thread that writes the log from now on, so that nobody waits for a terminal or disk that stands still. What is left
/// when the process exits is written then, for a second at most. Not before a fork, which no thread survives, nor before signals
/// are blocked, which a thread inherits.
pub(super) fn write_behind() {
    let Some(queue) = QUEUE.get() else { return };
    if let Err(error) = queue.start_thread() {
        warn!("there is no thread for the log, so whoever logs waits for it: {}", one_line(&error));
        return;
    }
    // SAFETY: the function is there as long as the process, and does not unwind into C: it neither panics nor calls what may.
    if unsafe { libc::atexit(flush_at_exit) } != 0 {
        warn!("the last lines of this log may be missing: the system has no room for another exit handler");
    }
}

extern "C" fn flush_at_exit() {
    if let Some(queue) = QUEUE.get() {
        queue.flush();
    }
}

/// Opens the log file's path anew, and writes there from now on; does nothing where the log goes elsewhere.
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
