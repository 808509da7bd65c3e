//! Secrets in files: read again whenever they may have changed, refused where others can read or write them, never shown.

use std::fmt;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Secret;
use crate::policy::shell::shell_word;

/// The largest secret file that is read, in bytes. Tokens are tens to a few thousand.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Which state of a file was read. Equal stamps mean that nobody has written it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    modified: (i64, i64),
    inode: u64,
    len: u64,
}

impl FileStamp {
    fn of(metadata: &Metadata) -> FileStamp {
        FileStamp { modified: (metadata.mtime(), metadata.mtime_nsec()), inode: metadata.ino(), len: metadata.len() }
    }

    /// The stamp of the file at `path` now, if it can be looked at.
    pub fn at(path: &Path) -> Option<FileStamp> {
        std::fs::metadata(path).ok().as_ref().map(FileStamp::of)
    }
}

/// Why a secret file cannot be used. `Display` is one line with a remedy; it shows nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFileError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// The system's error text.
    Unreadable(String),
    NotAFile,
    /// Others can do this with it: "read" or "write".
    TooOpen(&'static str),
    TooLarge,
    NotText,
    Empty,
}

impl fmt::Display for SecretFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Unreadable(reason) => {
                write!(f, "cannot read {path} ({reason}): check the path, and that this user may read it")
            }
            Problem::NotAFile => write!(f, "{path} is not a file: name the file that holds the secret"),
            Problem::TooOpen(verb) => {
                write!(f, "{path} can be {verb} by others: run chmod 600 {}", shell_word(&self.path))
            }
            Problem::TooLarge => write!(f, "{path} is too large for a secret: check the path"),
            Problem::NotText => write!(f, "{path} holds more than one line of text: put the secret alone into it"),
            Problem::Empty => write!(f, "{path} is empty: put the secret into it"),
        }
    }
}

/// The line in the file at `path`, without its end, and which state of the file that was. Where `path` is a link, the file that
/// it leads to counts.
///
/// # Errors
/// [`SecretFileError`], also if others can read or write the file.
pub fn read_secret(path: &Path) -> Result<(Secret, FileStamp), SecretFileError> {
    let fail = |problem| SecretFileError { path: path.to_owned(), problem };
    let unreadable = |error: io::Error| fail(Problem::Unreadable(error.to_string()));
    // If it is a pipe, opening must not wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(fail(Problem::NotAFile));
    }
    let rights = metadata.permissions().mode();
    if let Some((_, verb)) = [(0o044, "read"), (0o022, "written")].into_iter().find(|(others, _)| rights & others != 0)
    {
        return Err(fail(Problem::TooOpen(verb)));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(fail(Problem::TooLarge));
    }
    let text = std::str::from_utf8(&bytes).ok().map(|text| text.trim_end_matches(['\n', '\r']));
    match text.filter(|text| !text.contains(char::is_control)) {
        None => Err(fail(Problem::NotText)),
        Some(text) if text.trim().is_empty() => Err(fail(Problem::Empty)),
        Some(text) => Ok((Secret::new(text), FileStamp::of(&metadata))),
    }
}
