//! The log file, which can be opened again by its name while others write to it: a program that has moved it away, like
//! logrotate(8), sends SIGHUP then.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::error::MountError;
use crate::sync::lock;

/// The rights of a log file: it names files and hosts, which are nobody else's business.
const LOG_FILE_MODE: u32 = 0o600;

/// A log file. Clones write to the same one.
#[derive(Clone)]
pub(super) struct LogFile {
    path: PathBuf,
    /// Held for no longer than it takes to take a share of it: opening again does not wait for a write.
    file: Arc<Mutex<Arc<File>>>,
}

impl LogFile {
    /// The file at `path`, an absolute one: appended to, made if it is not there, and private.
    ///
    /// # Errors
    /// [`MountError::LogFile`], [`MountError::UnsafeLogFile`].
    pub(super) fn open(path: &Path) -> Result<LogFile, MountError> {
        Ok(LogFile { path: path.to_owned(), file: Arc::new(Mutex::new(Arc::new(open(path)?))) })
    }

    /// Writes to whatever is at the path now, from the next line on.
    ///
    /// # Errors
    /// As [`LogFile::open`]; the old file stays in use.
    pub(super) fn reopen(&self) -> Result<(), MountError> {
        let file = open(&self.path)?;
        *lock(&self.file) = Arc::new(file);
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = Arc::clone(&lock(&self.file));
        (&*file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back.
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn moved_file_is_left_alone_after_reopening_and_stays_in_use_if_that_fails() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("d/log"), directory.path().join("d/log.1"));
        std::fs::create_dir(directory.path().join("d")).unwrap();
        let log = LogFile::open(&path).unwrap();
        let write = |line: &str| writeln!(log.clone(), "{line}").unwrap();
        write("one");
        std::fs::rename(&path, &moved).unwrap();
        write("two");
        log.reopen().unwrap();
        write("three");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((text(&moved).as_str(), text(&path).as_str()), ("one\ntwo\n", "three\n"));
        std::fs::rename(directory.path().join("d"), directory.path().join("e")).unwrap();
        assert!(log.reopen().is_err());
        write("four");
        assert_eq!(text(&directory.path().join("e/log")), "three\nfour\n");
    }
}
