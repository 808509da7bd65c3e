//! Where log lines go, and which: ours by `-v`, those of other crates never below warnings, as they would log links.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::panic;
use std::path::Path;

use env_logger::{Builder, Target};
use log::{LevelFilter, Record, error};

use super::error::MountError;
use crate::policy::printable::printable;

/// Starts the log of this process, at most once: to `log_file` (made readable for the user only, appended to), else to
/// standard error. A panic is one log line from now on.
///
/// # Errors
/// [`MountError::LogFile`].
pub fn start(verbosity: u8, log_file: Option<&Path>) -> Result<(), MountError> {
    let mut builder = Builder::new();
    if let Some(path) = log_file {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(|error| MountError::LogFile(path.to_owned(), error))?;
        builder.target(Target::Pipe(Box::new(file)));
    }
    builder.filter_level(LevelFilter::Warn).filter_module("koofs", level(verbosity));
    builder.format(|out, record| writeln!(out, "{}", line(record)));
    // A second start, in tests only, keeps the first log.
    if builder.try_init().is_ok() {
        panic::set_hook(Box::new(|panic| error!("BUG: {panic}")));
    }
    Ok(())
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
