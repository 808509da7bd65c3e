//! The report: a new file that only its owner can read, to be attached to an issue.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Rights of a report: what goes into it is fit for all, but when it is given to whom is its owner's business.
const MODE: u32 = 0o600;

/// Makes the file at `path`.
///
/// # Errors
/// Also if anything is there already, a symbolic link too.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}
