//! Where log lines go, and which: ours by `-v`, those of other crates never below warnings, as they would log links.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::panic;
use std::path::Path;

use env_logger::{Builder, Target};
use log::{LevelFilter, Record, error};

use super::error::MountError;
use crate::policy::printable::printable;

/// The rights of a log file: it names files and hosts, which are nobody else's business.
const LOG_FILE_MODE: u32 = 0o600;

/// Starts the log of this process, at most once: to `log_file` (made readable for the user only, appended to), else to
/// standard error. A panic is one log line from now on.
///
/// # Errors
/// [`MountError::LogFile`], [`MountError::UnsafeLogFile`].
pub fn start(verbosity: u8, log_file: Option<&Path>) -> Result<(), MountError> {
    let mut builder = Builder::new();
    if let Some(path) = log_file {
        builder.target(Target::Pipe(Box::new(open(path)?)));
    }
    builder.filter_level(LevelFilter::Warn).filter_module("koofs", level(verbosity));
    builder.format(|out, record| writeln!(out, "{}", line(record)));
    // A second start, in tests only, keeps the first log.
    if builder.try_init().is_ok() {
        panic::set_hook(Box::new(|panic| error!("BUG: {panic}")));
    }
    Ok(())
}

/// Opens the log file to append to it. A regular file is private then, whatever its rights were.
///
/// Refused is what another user may have put there: a file of theirs, which they can read whatever its rights; a second name of
/// a file of ours, or a symbolic link to one, which would be written to and lose its rights. Terminals, pipes and `/dev/null`
/// are used as they are: they keep nothing, and `/dev/stderr` is a link to one of them.
fn open(path: &Path) -> Result<File, MountError> {
    let failed = |error| MountError::LogFile(path.to_owned(), error);
    let refused = |why: String| MountError::UnsafeLogFile(path.to_owned(), why);
    // SAFETY: cannot fail and touches no memory.
    let user = unsafe { libc::geteuid() };
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(LOG_FILE_MODE);
    match fs::symlink_metadata(path) {
        // Links of root's are the system's: /dev/stderr.
        Ok(link) if link.is_symlink() && link.uid() != user && link.uid() != 0 => {
            return Err(refused(format!("is a link of another user (uid {})", link.uid())));
        }
        Ok(link) if link.is_symlink() => {}
        // Should it become a link meanwhile, opening it fails.
        _ => {
            options.custom_flags(libc::O_NOFOLLOW);
        }
    }
    let file = options.open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.file_type().is_block_device() {
        return Err(refused("is a disk".to_owned()));
    }
    if metadata.is_file() {
        if metadata.uid() != user {
            return Err(refused(format!("belongs to another user (uid {}), who could read it", metadata.uid())));
        }
        if metadata.nlink() > 1 {
            return Err(refused("has another name (a hard link), which may be another user's".to_owned()));
        }
        if metadata.mode() & 0o7777 != LOG_FILE_MODE {
            file.set_permissions(Permissions::from_mode(LOG_FILE_MODE)).map_err(failed)?;
        }
    }
    Ok(file)
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
