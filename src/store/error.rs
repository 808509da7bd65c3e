//! Why a store cannot be used, with what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A directory that cannot be used as a store.
#[derive(Debug)]
pub enum StoreError {
    /// It belongs to another user, who could put wrong bytes there and read ours.
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Others may look into it.
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something, and none of it is a store's.
    NotEmpty(PathBuf),
    /// It cannot be made, opened or looked into.
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No thread can be started.
    Threads(io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotOurs { path, owner, user } => write!(
                f,
                "the cache directory {} belongs to user {owner}, not to user {user} who runs koofs: choose another by --cache-dir",
                path.display()
            ),
            StoreError::TooOpen { path, mode } => write!(
                f,
                "others may look into the cache directory {} (mode {mode:03o}): run chmod 700 on it, or choose another by --cache-dir",
                path.display()
            ),
            StoreError::NotEmpty(path) => write!(
                f,
                "the cache directory {} holds other files: choose an empty or a new one by --cache-dir",
                path.display()
            ),
            StoreError::Io { path, .. } => {
                write!(f, "the cache directory {} cannot be used: choose another by --cache-dir", path.display())
            }
            StoreError::Threads(_) => f.write_str("no threads can be started for the cache directory"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::Io { source, .. } | StoreError::Threads(source) => Some(source),
            StoreError::NotOurs { .. } | StoreError::TooOpen { .. } | StoreError::NotEmpty(_) => None,
        }
    }
}
